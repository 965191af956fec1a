// exp on slices; the vector form for other kernels is in exp-inl.h.
//   out[i] = exp(x[i]); out may be x.
// Error: at most 1 ULP over all 2^32 inputs (tested exhaustively), exp(+-0) =
// 1, overflow to +Inf, underflow through correctly placed subnormals to +0,
// exp(-Inf) = +0, NaN kept. The same bits on every target.
#ifndef ETALON_SIMD_EXP_H_
#define ETALON_SIMD_EXP_H_

#include <cstddef>

namespace etalon::simd {
void Exp(const float* x, float* out, size_t n);
}

#endif  // ETALON_SIMD_EXP_H_
