// Rows of scores become rows of bf16 weights. Included without a guard, in the
// AVX-512 pass of attention_bf16.cc only, after attention_bf16_pack-inl.h.

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace N_AVX3_BF16 {

using HWY_NAMESPACE::Exp16;
using HWY_NAMESPACE::F32x16;
using HWY_NAMESPACE::VF;

inline constexpr float kInf = std::numeric_limits<float>::infinity();

HWY_INLINE __m512 Exp(__m512 x) { return Exp16(F32x16{{VF{x}}}).v[0].raw; }

// One row of scores becomes weights: the first n positions, the others up to
// n_keys +0. Updates m and l; returns what the earlier o is to be scaled by.
HWY_INLINE float WeighRow(const float* HWY_RESTRICT s, size_t n, size_t n_keys,
                          float scale, uint16_t* HWY_RESTRICT w,
                          float* HWY_RESTRICT m, float* HWY_RESTRICT l) {
  const __m512 factor = _mm512_set1_ps(scale);
  const __m512 minus_inf = _mm512_set1_ps(-kInf);
  const size_t whole = n / kDepth * kDepth;
  const __mmask16 low = FirstLanes(n - whole);
  const __mmask16 high = FirstLanes(n - whole > 16 ? n - whole - 16 : 0);
  __m512 max0 = minus_inf, max1 = minus_inf;
  for (size_t p = 0; p < whole; p += kDepth) {
    max0 = _mm512_max_ps(max0, _mm512_mul_ps(_mm512_load_ps(s + p), factor));
    max1 =
        _mm512_max_ps(max1, _mm512_mul_ps(_mm512_load_ps(s + p + 16), factor));
  }
  if (whole < n) {
    max0 = _mm512_mask_max_ps(max0, low, max0,
                              _mm512_mul_ps(_mm512_load_ps(s + whole), factor));
    max1 = _mm512_mask_max_ps(
        max1, high, max1,
        _mm512_mul_ps(_mm512_load_ps(s + whole + 16), factor));
  }
  const float chunk_max = _mm512_reduce_max_ps(_mm512_max_ps(max0, max1));
  const float now = chunk_max > *m ? chunk_max : *m;
  const float base = now == -kInf ? 0.0f : now;
  const __m512 shift = _mm512_set1_ps(-base);
  __m512 sum0 = _mm512_setzero_ps(), sum1 = _mm512_setzero_ps();
  for (size_t p = 0; p < whole; p += kDepth) {
    const __m512 e0 =
        Exp(_mm512_fmadd_ps(_mm512_load_ps(s + p), factor, shift));
    const __m512 e1 =
        Exp(_mm512_fmadd_ps(_mm512_load_ps(s + p + 16), factor, shift));
    sum0 = _mm512_add_ps(sum0, e0);
    sum1 = _mm512_add_ps(sum1, e1);
    _mm512_store_si512(w + p, (__m512i)_mm512_cvtne2ps_pbh(e1, e0));
  }
  if (whole < n) {
    const __m512 e0 = _mm512_maskz_mov_ps(
        low, Exp(_mm512_fmadd_ps(_mm512_load_ps(s + whole), factor, shift)));
    const __m512 e1 = _mm512_maskz_mov_ps(
        high,
        Exp(_mm512_fmadd_ps(_mm512_load_ps(s + whole + 16), factor, shift)));
    sum0 = _mm512_add_ps(sum0, e0);
    sum1 = _mm512_add_ps(sum1, e1);
    _mm512_store_si512(w + whole, (__m512i)_mm512_cvtne2ps_pbh(e1, e0));
  }
  for (size_t p = (n + kDepth - 1) / kDepth * kDepth; p < n_keys; p += kDepth) {
    _mm512_store_si512(w + p, _mm512_setzero_si512());
  }
  const float keep =
      _mm_cvtss_f32(_mm512_castps512_ps128(Exp(_mm512_set1_ps(*m - base))));
  *m = now;
  *l = *l * keep + _mm512_reduce_add_ps(_mm512_add_ps(sum0, sum1));
  return keep;
}

}  // namespace N_AVX3_BF16
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();
