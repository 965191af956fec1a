// Number and block formats, decoded from their specification
// (quant/block_formats.h has the layouts). Everything here is exact: an f16 is
// an integer times 2^-24, so a weight d * w + c * m is an integer below 2^53
// times 2^-24, which a double holds.
#ifndef ETALON_REFERENCE_FORMATS_H_
#define ETALON_REFERENCE_FORMATS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "etalon/types.h"

namespace etalon::reference {

double F16ToDouble(uint16_t bits);
double BF16ToDouble(uint16_t bits);
// Nearest f16, ties to even, overflow to infinity; NaN stays NaN.
uint16_t DoubleToF16(double x);
inline double RoundedToF16(double x) { return F16ToDouble(DoubleToF16(x)); }

struct Format {
  size_t block_size;  // elements
  size_t block_bytes;
};
// nullopt for types that no weight has.
std::optional<Format> WeightFormat(TensorType type);
std::string FormatName(TensorType type);

// One block as the formula its format stands for:
//   weight[i] = d * w[i] + c * m[i]
// Q4_K and Q5_K: w = sc * q, c = -dmin, m the 6-bit minimum; Q4_1 and Q5_1:
// c = m, m[i] = 1; the others have no second term.
struct IntegerBlock {
  double d = 0.0;
  double c = 0.0;
  bool has_min = false;
  std::array<int16_t, 256> w{};
  std::array<int16_t, 256> m{};
};
// Precondition: IsQuantized(type) and WeightFormat(type).
void DecodeBlock(TensorType type, const std::byte* block, IntegerBlock& out);

// row.size() elements of a stored row of any weight type, exactly.
void DecodeRow(TensorType type, const std::byte* data, std::span<double> row);

}  // namespace etalon::reference

#endif  // ETALON_REFERENCE_FORMATS_H_
