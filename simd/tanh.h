// tanh on slices; the vector form for other kernels is in tanh-inl.h.
//   out[i] = tanh(x[i]); out may be x.
// Error: at most 2 ULP over all 2^32 inputs, tanh(+-0) = +-0, tanh(+-Inf) =
// +-1, NaN kept. The same bits on every target.
#ifndef ETALON_SIMD_TANH_H_
#define ETALON_SIMD_TANH_H_

#include <cstddef>

namespace etalon::simd {
void Tanh(const float* x, float* out, size_t n);
}

#endif  // ETALON_SIMD_TANH_H_
