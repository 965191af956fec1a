// out[i] = element i of a stored row, i < n, vectorised: quant/dequantize.h
// bit for bit on every tier (a NaN stays NaN; its payload is not specified).
// Precondition: the type is known, n is a multiple of its block, row is aligned
// as its block (4 bytes suffice). Reads nothing past the row.
#ifndef ETALON_SIMD_DEQUANTIZE_H_
#define ETALON_SIMD_DEQUANTIZE_H_

#include <cstddef>

#include "etalon/types.h"

namespace etalon::simd {

void DequantizeRow(TensorType type, const std::byte* row, size_t n, float* out);

}  // namespace etalon::simd

#endif  // ETALON_SIMD_DEQUANTIZE_H_
