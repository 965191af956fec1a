// Sixteen fused multiply-adds for the scalar target: c[i] = fl(a[i] * b[i] +
// c[i]) with one rounding. That target is compiled for processors without the
// instruction, where std::fma is a call; one call per lane, with everything in
// registers saved around it, took two thirds of its time.
#ifndef ETALON_SIMD_SCALAR_FMA_H_
#define ETALON_SIMD_SCALAR_FMA_H_

namespace etalon::simd {

void ScalarFma16(const float* a, const float* b, float* c);

}  // namespace etalon::simd

#endif  // ETALON_SIMD_SCALAR_FMA_H_
