// Dequantisation, scalar: rows of any type to f32. The formulas are those of
// quant/block_formats.h.
// Error: 0 ULP, the correctly rounded value. Every product d * sc * q, dmin * m
// and d * q of an f16 scale is exact in f32 (11 bits of scale, at most 6 of sc
// and 6 of q; Q6_K 11 + 7 + 6), so that only the final sum rounds; Q8_K's f32
// scale times q rounds once. Products are taken left to right, which decides
// the sign of a zero. A non-finite scale gives what IEEE arithmetic
// gives: NaN and Inf are never hidden.
#ifndef ETALON_QUANT_DEQUANTIZE_H_
#define ETALON_QUANT_DEQUANTIZE_H_

#include <cstddef>
#include <cstdint>

#include "etalon/types.h"
#include "quant/block_formats.h"

namespace etalon {

// The eight 6-bit scales and minimums of a Q4_K or Q5_K block.
struct KScales {
  uint8_t sc[8];
  uint8_t m[8];
};
KScales UnpackKScales(const uint8_t packed[12]);
void PackKScales(const KScales& scales, uint8_t packed[12]);

void DequantizeBlock(const BlockQ4_0& block, float* out);  // out [32]
void DequantizeBlock(const BlockQ4_1& block, float* out);
void DequantizeBlock(const BlockQ5_0& block, float* out);
void DequantizeBlock(const BlockQ5_1& block, float* out);
void DequantizeBlock(const BlockQ8_0& block, float* out);
void DequantizeBlock(const BlockQ4_K& block, float* out);  // out [256]
void DequantizeBlock(const BlockQ5_K& block, float* out);
void DequantizeBlock(const BlockQ6_K& block, float* out);
void DequantizeBlock(const BlockQ8_K& block, float* out);

// out[i] = element i of a stored row, i < n. Precondition: the type is known, n
// is a multiple of its block, row is aligned as its block (4 bytes suffice).
void DequantizeRow(TensorType type, const std::byte* row, size_t n, float* out);

}  // namespace etalon

#endif  // ETALON_QUANT_DEQUANTIZE_H_
