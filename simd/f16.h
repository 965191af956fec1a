// f16 (IEEE half, raw bits) to and from f32 on slices; the vector form for
// other kernels is in f16-inl.h. The results are those of quant/f16.h, bit for
// bit on every target: widening is exact, narrowing rounds to nearest even,
// overflows to Inf from 65520 on, keeps subnormals, and NaN stays a quiet NaN.
// The slices must not overlap.
#ifndef ETALON_SIMD_F16_H_
#define ETALON_SIMD_F16_H_

#include <cstddef>
#include <cstdint>

namespace etalon::simd {
void WidenF16(const uint16_t* x, float* out, size_t n);
void NarrowToF16(const float* x, uint16_t* out, size_t n);
}  // namespace etalon::simd

#endif  // ETALON_SIMD_F16_H_
