// What every attention op checks of the views it is handed: layouts, ranges of
// addresses, overlaps.
#ifndef ETALON_OPS_ATTENTION_LAYOUT_H_
#define ETALON_OPS_ATTENTION_LAYOUT_H_

#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>

#include "etalon/attention.h"

namespace etalon::ops {

// A view of any kind: [n0, n1, head_dim], element strides s0 and s1. Elements
// come in blocks (of 1 but for Q8_0), whose last one a row may not fill.
struct Layout {
  std::string_view name;
  const void* data;
  size_t block;
  size_t block_bytes;
  size_t alignment;
  size_t n0, s0;
  std::string_view s0_name;
  size_t n1, s1;
  std::string_view s1_name;
  size_t head_dim;
};

template <class T>
Layout LayoutOf(std::string_view name, const HeadsView<T>& x) {
  return {name,           x.data,         1,
          sizeof(T),      sizeof(T),      x.n_tokens,
          x.token_stride, "token_stride", x.n_heads,
          x.head_stride,  "head_stride",  x.head_dim};
}
template <class Byte>
Layout LayoutOf(std::string_view name, const BasicKvView<Byte>& x) {
  const TypeTraits& type = GetTypeTraits(x.type);  // CheckKvType came first
  return {name,
          x.data,
          type.block_size,
          type.block_bytes,
          x.type == TensorType::kF32 ? size_t{4} : size_t{2},
          x.n_kv_heads,
          x.head_stride,
          "head_stride",
          x.kv_capacity,
          x.pos_stride,
          "pos_stride",
          x.head_dim};
}

struct AddressRange {
  uintptr_t begin = 0;
  uintptr_t end = 0;
  bool Overlaps(const AddressRange& o) const {
    return begin < o.end && o.begin < end;
  }
};

// (n - 1) * stride + inner, false when it does not fit.
inline bool Extent(size_t n, size_t stride, size_t inner, size_t* out) {
  size_t product;
  return !__builtin_mul_overflow(n - 1, stride, &product) &&
         !__builtin_add_overflow(product, inner, out);
}

// Rows may not share elements: one of the two dimensions must lie wholly
// inside a step of the other. Precondition: no extent is 0.
inline Expected<AddressRange> CheckLayout(const Layout& x) {
  ETALON_ENSURE(x.data != nullptr, fmt::format("{}: data is null", x.name));
  const auto begin = reinterpret_cast<uintptr_t>(x.data);
  ETALON_ENSURE(begin % x.alignment == 0,
                fmt::format("{}: data is not aligned to its {}-byte elements",
                            x.name, x.alignment));
  for (const auto& [name, stride] :
       {std::pair{x.s0_name, x.s0}, std::pair{x.s1_name, x.s1}}) {
    ETALON_ENSURE(stride % x.block == 0,
                  fmt::format("{}: {} {} is not a multiple of the block of {}",
                              x.name, name, stride, x.block));
  }
  const size_t row = (x.head_dim + x.block - 1) / x.block * x.block;
  ETALON_ENSURE(x.n0 == 1 || x.s0 >= row,
                fmt::format("{}: {} {} is below head_dim {}", x.name, x.s0_name,
                            x.s0, x.head_dim));
  ETALON_ENSURE(x.n1 == 1 || x.s1 >= row,
                fmt::format("{}: {} {} is below head_dim {}", x.name, x.s1_name,
                            x.s1, x.head_dim));
  size_t e0 = 0, e1 = 0, elements = 0, bytes = 0;
  const bool fits =
      Extent(x.n0, x.s0, row, &e0) && Extent(x.n1, x.s1, row, &e1) &&
      Extent(x.n0, x.s0, e1, &elements) &&
      !__builtin_mul_overflow(elements / x.block, x.block_bytes, &bytes) &&
      bytes <= std::numeric_limits<uintptr_t>::max() - begin;
  ETALON_ENSURE(fits, fmt::format("{}: {} x {} rows at strides {} and {} "
                                  "exceed the address space",
                                  x.name, x.n0, x.n1, x.s0, x.s1));
  ETALON_ENSURE(
      x.n0 == 1 || x.n1 == 1 || x.s0 >= e1 || x.s1 >= e0,
      fmt::format("{}: rows overlap: {} {} and {} {} for {} x {} rows of {}",
                  x.name, x.s0_name, x.s0, x.s1_name, x.s1, x.n0, x.n1,
                  x.head_dim));
  return AddressRange{begin, begin + bytes};
}

// First to last byte of rows of n elements at two strides, which may be 0.
template <class T>
Expected<AddressRange> RangeOf(std::string_view name, T* data, size_t n0,
                               size_t s0, size_t n1, size_t s1, size_t n) {
  ETALON_ENSURE(data != nullptr, fmt::format("{}: data is null", name));
  const auto begin = reinterpret_cast<uintptr_t>(data);
  ETALON_ENSURE(begin % alignof(T) == 0,
                fmt::format("{}: data is not aligned to its {}-byte elements",
                            name, sizeof(T)));
  size_t e1 = 0, elements = 0, bytes = 0;
  const bool fits = Extent(n1, s1, n, &e1) && Extent(n0, s0, e1, &elements) &&
                    !__builtin_mul_overflow(elements, sizeof(T), &bytes) &&
                    bytes <= std::numeric_limits<uintptr_t>::max() - begin;
  ETALON_ENSURE(fits, fmt::format("{}: {} x {} rows at strides {} and {} "
                                  "exceed the address space",
                                  name, n0, n1, s0, s1));
  return AddressRange{begin, begin + bytes};
}

struct NamedRange {
  std::string_view name;
  AddressRange range;
};

// What a call reads; as many as there can be.
class Inputs {
 public:
  void Add(std::string_view name, const AddressRange& range) {
    ranges_[n_++] = {name, range};
  }
  Status CheckDisjoint(const NamedRange& out) const {
    for (size_t i = 0; i < n_; ++i) {
      ETALON_ENSURE(!out.range.Overlaps(ranges_[i].range),
                    fmt::format("{} overlaps {}", out.name, ranges_[i].name));
    }
    return {};
  }

 private:
  std::array<NamedRange, 8> ranges_;
  size_t n_ = 0;
};

}  // namespace etalon::ops

#endif  // ETALON_OPS_ATTENTION_LAYOUT_H_
