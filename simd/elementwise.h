// Element-wise kernels on slices, single-threaded; etalon/elementwise.h states
// their order of evaluation and bounds. out may be any of the inputs.
#ifndef ETALON_SIMD_ELEMENTWISE_H_
#define ETALON_SIMD_ELEMENTWISE_H_

#include <cstddef>

namespace etalon::simd {

// out[i] = fl(fl(gate[i] / fl(1 + exp(-gate[i]))) * up[i])
void SwiGlu(const float* gate, const float* up, float* out, size_t n);
// out[i] = fl(a[i] + b[i])
void Add(const float* a, const float* b, float* out, size_t n);
// out[i] = fl(x[i] * scale)
void Scale(const float* x, float scale, float* out, size_t n);

}  // namespace etalon::simd

#endif  // ETALON_SIMD_ELEMENTWISE_H_
