#include "io/npy.h"

#include <fmt/format.h>

#include <bit>

namespace etalon::io {

static_assert(std::endian::native == std::endian::little);

Expected<std::string> NpyHeader(std::string_view dtype,
                                std::span<const uint64_t> shape) {
  std::string extents;
  for (const uint64_t extent : shape) extents += fmt::format("{}, ", extent);
  if (shape.size() > 1) extents.resize(extents.size() - 2);
  if (shape.size() == 1) extents.resize(extents.size() - 1);  // "(3,)"
  std::string dict =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}",
                  dtype, extents);
  // Magic, version 1.0, u16 length of the rest: spaces to a multiple of 64
  // that ends in a newline.
  constexpr size_t kPrefix = 10;
  while ((kPrefix + dict.size() + 1) % 64 != 0) dict += ' ';
  dict += '\n';
  ETALON_ENSURE(dict.size() <= UINT16_MAX, "npy: too many dimensions");
  std::string header("\x93NUMPY\x01\x00", 8);
  header += static_cast<char>(dict.size() & 0xFF);
  header += static_cast<char>(dict.size() >> 8);
  return header + dict;
}

}  // namespace etalon::io
