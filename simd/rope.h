// Rotates the heads of one token, single-threaded; etalon/rope.h states the
// formula, the order of evaluation and the bound.
#ifndef ETALON_SIMD_ROPE_H_
#define ETALON_SIMD_ROPE_H_

#include <cstddef>

namespace etalon::simd {

// In place on n_heads heads, head h at x + h * head_stride; cos, sin [half].
// Pairs (i, i + half), i < half; lanes from 2 * half on are left alone.
void RopeHalfSplit(float* x, size_t n_heads, size_t head_stride,
                   const float* cos, const float* sin, size_t half);
// Pairs (2i, 2i + 1).
void RopeInterleaved(float* x, size_t n_heads, size_t head_stride,
                     const float* cos, const float* sin, size_t half);

}  // namespace etalon::simd

#endif  // ETALON_SIMD_ROPE_H_
