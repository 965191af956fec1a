#include "simd/scalar_fma.h"

#include <cmath>

#include "simd/target.h"

namespace etalon::simd {
#if defined(__x86_64__)
namespace N_AVX_FMA {
__attribute__((target("fma"))) static void Fma16(const float* a, const float* b,
                                                 float* c) {
  for (int i = 0; i < 16; ++i) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
}
}  // namespace N_AVX_FMA
#endif

void ScalarFma16(const float* a, const float* b, float* c) {
#if defined(__x86_64__)
  static const bool has_fma = GetCpuFeatures().avx2;
  if (has_fma) return N_AVX_FMA::Fma16(a, b, c);
#endif
  for (int i = 0; i < 16; ++i) c[i] = std::fma(a[i], b[i], c[i]);
}

}  // namespace etalon::simd
