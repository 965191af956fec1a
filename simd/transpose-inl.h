// 16 x 16 squares of 32-bit lanes in registers. Per-target: see Highway's
// foreach_target.
#if defined(ETALON_SIMD_TRANSPOSE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ETALON_SIMD_TRANSPOSE_INL_H_
#undef ETALON_SIMD_TRANSPOSE_INL_H_
#else
#define ETALON_SIMD_TRANSPOSE_INL_H_
#endif

#include <cstddef>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX3
// r[i] lane j becomes r[j] lane i, lanes of 32 bits.
HWY_INLINE void Transpose16(__m512i* r) {
  __m512i a[16];
  HWY_UNROLL(4)
  for (size_t q = 0; q < 4; ++q) {
    const __m512i* x = r + 4 * q;
    const __m512i b0 = _mm512_unpacklo_epi32(x[0], x[1]);
    const __m512i b1 = _mm512_unpackhi_epi32(x[0], x[1]);
    const __m512i b2 = _mm512_unpacklo_epi32(x[2], x[3]);
    const __m512i b3 = _mm512_unpackhi_epi32(x[2], x[3]);
    a[4 * q + 0] = _mm512_unpacklo_epi64(b0, b2);
    a[4 * q + 1] = _mm512_unpackhi_epi64(b0, b2);
    a[4 * q + 2] = _mm512_unpacklo_epi64(b1, b3);
    a[4 * q + 3] = _mm512_unpackhi_epi64(b1, b3);
  }
  // a[4 q + i]: block k of 4 lanes holds column 4 k + i of rows 4 q ... 4 q
  // + 3.
  HWY_UNROLL(4)
  for (size_t i = 0; i < 4; ++i) {
    const __m512i even01 = _mm512_shuffle_i32x4(a[i], a[4 + i], 0x88);
    const __m512i odd01 = _mm512_shuffle_i32x4(a[i], a[4 + i], 0xDD);
    const __m512i even23 = _mm512_shuffle_i32x4(a[8 + i], a[12 + i], 0x88);
    const __m512i odd23 = _mm512_shuffle_i32x4(a[8 + i], a[12 + i], 0xDD);
    r[i] = _mm512_shuffle_i32x4(even01, even23, 0x88);
    r[4 + i] = _mm512_shuffle_i32x4(odd01, odd23, 0x88);
    r[8 + i] = _mm512_shuffle_i32x4(even01, even23, 0xDD);
    r[12 + i] = _mm512_shuffle_i32x4(odd01, odd23, 0xDD);
  }
}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
