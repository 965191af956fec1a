// C = A B or C += A B for f32 matrices with free strides, single-threaded: the
// products of backward passes. Lanes are columns of C, so no sum crosses lanes
// and the order is that of the contract (include/etalon/backward.h) on every
// vector width: chunks of 256 terms, each an fma chain from +0, added in
// ascending order to C.
#ifndef ETALON_SIMD_OUTER_PRODUCT_H_
#define ETALON_SIMD_OUTER_PRODUCT_H_

#include <cstddef>

namespace etalon::simd {

struct OuterProductArgs {
  size_t m = 0, n = 0, k = 0;
  const float* a = nullptr;  // A(i, p) = a[i * a_row + p * a_col]
  size_t a_row = 0, a_col = 0;
  const float* b = nullptr;  // B(p, j) = b[p * b_row + j * b_col]
  size_t b_row = 0, b_col = 0;
  float* c = nullptr;  // C(i, j) = c[i * c_row + j]
  size_t c_row = 0;
  // The first chunk is added to C; otherwise it is stored, and C is not read.
  bool accumulate = false;
  // Length of a chunk of the sum; at most kMaxSumChunk.
  size_t chunk = 256;
};

inline constexpr size_t kMaxSumChunk = 256;
// The largest m and n of one call, what scratch is made for.
inline constexpr size_t kOuterMaxRows = 192;
inline constexpr size_t kOuterMaxCols = 512;
// Floats of scratch, 64-byte aligned.
inline constexpr size_t kOuterScratchFloats =
    (kOuterMaxRows + kOuterMaxCols) * kMaxSumChunk;

void OuterProduct(const OuterProductArgs& args, float* scratch);

}  // namespace etalon::simd

#endif  // ETALON_SIMD_OUTER_PRODUCT_H_
