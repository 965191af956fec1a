// Quantised activations as the matrix kernels read them: a structure of arrays,
// so that a kernel streams the int8 values of a row without meeting scales.
//   qs    [rows, cols]               int8, |q| <= 127
//   d     [rows, cols / block]       f32 scale of each block
//   bsums [rows, cols / bsum_group]  exact int16 sums of the group's q
// Q8_K rows: block 256, bsum_group 16. Q8_0 rows: block 32, bsum_group 32; d is
// the f16-rounded scale widened to f32. The values are those of
// quant/quantize_row.h, bit for bit.
// Every array starts 64-byte aligned when laid out by PlaceActivationRows;
// qs_stride is a multiple of 64 bytes. Bytes of a row past `cols` are
// unspecified. A block with d = NaN (non-finite input) has qs = bsums = 0.
#ifndef ETALON_SIMD_ACTIVATION_ROWS_H_
#define ETALON_SIMD_ACTIVATION_ROWS_H_

#include <cstddef>
#include <cstdint>

#include "etalon/tensor.h"
#include "etalon/types.h"

namespace etalon::simd {

struct ActivationRows {
  size_t rows = 0;
  size_t cols = 0;   // a multiple of block
  size_t block = 0;  // 256 (Q8_K) or 32 (Q8_0)
  const int8_t* qs = nullptr;
  size_t qs_stride = 0;  // bytes from row to row
  const float* d = nullptr;
  size_t d_stride = 0;  // elements
  const int16_t* bsums = nullptr;
  size_t bsums_stride = 0;  // elements

  size_t bsum_group() const { return block == 256 ? 16 : 32; }
};

// The same buffer while it is being filled.
struct MutableActivationRows {
  size_t rows = 0;
  size_t cols = 0;
  size_t block = 0;
  int8_t* qs = nullptr;
  size_t qs_stride = 0;
  float* d = nullptr;
  size_t d_stride = 0;
  int16_t* bsums = nullptr;
  size_t bsums_stride = 0;

  ActivationRows View() const {
    return {rows, cols, block, qs, qs_stride, d, d_stride, bsums, bsums_stride};
  }
};

// Bytes that PlaceActivationRows needs, and the layout of `rows` x `cols`
// activations of type Q8_K or Q8_0 in `memory` (64-byte aligned). Precondition:
// cols is a multiple of the type's block.
size_t ActivationRowsBytes(TensorType type, size_t rows, size_t cols);
MutableActivationRows PlaceActivationRows(TensorType type, size_t rows,
                                          size_t cols, void* memory);

}  // namespace etalon::simd

#endif  // ETALON_SIMD_ACTIVATION_ROWS_H_
