// Rows of scores become rows of bf16 weights. Included without a guard, in the
// AVX-512 pass of attention_bf16.cc only, after attention_bf16_pack-inl.h.

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace N_AVX3_BF16 {

inline constexpr float kInf = std::numeric_limits<float>::infinity();

// 2^x for x <= 0 and NaN; +0 below 2^-150. With f = x - floor(x) in [0, 1), the
// polynomial is 2^f within 2.69e-6 of its value (minimax of the relative error,
// by reweighted least squares in f64; checked on a grid of 10^6), 22.5 units of
// 2^-23; with its roundings and that of the scaling below 25. A weight is then
// rounded to 2^-8, so a better one would not show.
HWY_INLINE __m512 Exp2(__m512 x) {
  x = _mm512_max_ps(_mm512_set1_ps(-200.0f), x);  // the second operand if NaN
  constexpr int kFloor = 0x09;
  const __m512 f = _mm512_reduce_ps(x, kFloor);
  __m512 y = _mm512_set1_ps(0x1.bb7ccap-7f);
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(0x1.aa13f6p-5f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(0x1.ee798ap-3f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(0x1.62d166p-1f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(0x1.00002cp+0f));
  return _mm512_scalef_ps(y, x);  // y * 2^floor(x)
}

// The largest of n scores.
HWY_INLINE float MaxOfRow(const float* s, size_t n) {
  const size_t whole = n / kDepth * kDepth;
  const __mmask16 low = FirstLanes(n - whole);
  const __mmask16 high = FirstLanes(n - whole > 16 ? n - whole - 16 : 0);
  __m512 max0 = _mm512_set1_ps(-kInf), max1 = max0;
  for (size_t p = 0; p < whole; p += kDepth) {
    max0 = _mm512_max_ps(max0, _mm512_load_ps(s + p));
    max1 = _mm512_max_ps(max1, _mm512_load_ps(s + p + 16));
  }
  if (whole < n) {
    max0 = _mm512_mask_max_ps(max0, low, max0, _mm512_load_ps(s + whole));
    max1 = _mm512_mask_max_ps(max1, high, max1, _mm512_load_ps(s + whole + 16));
  }
  return _mm512_reduce_max_ps(_mm512_max_ps(max0, max1));
}

// A row of scores, in units of ln 2, becomes weights 2^(s - base): the first n
// positions, the others up to n_keys +0. Returns their sum before rounding. w
// may lie where s does: a weight is written behind the scores that are still to
// be read.
HWY_INLINE float WeighRow(const float* s, size_t n, size_t n_keys, float base,
                          uint16_t* w) {
  const size_t whole = n / kDepth * kDepth;
  const __mmask16 low = FirstLanes(n - whole);
  const __mmask16 high = FirstLanes(n - whole > 16 ? n - whole - 16 : 0);
  const __m512 shift = _mm512_set1_ps(base);
  __m512 sum0 = _mm512_setzero_ps(), sum1 = sum0;
  HWY_UNROLL(2)
  for (size_t p = 0; p < whole; p += kDepth) {
    const __m512 e0 = Exp2(_mm512_sub_ps(_mm512_load_ps(s + p), shift));
    const __m512 e1 = Exp2(_mm512_sub_ps(_mm512_load_ps(s + p + 16), shift));
    sum0 = _mm512_add_ps(sum0, e0);
    sum1 = _mm512_add_ps(sum1, e1);
    _mm512_store_si512(w + p, (__m512i)_mm512_cvtne2ps_pbh(e1, e0));
  }
  if (whole < n) {
    const __m512 e0 = _mm512_maskz_mov_ps(
        low, Exp2(_mm512_sub_ps(_mm512_load_ps(s + whole), shift)));
    const __m512 e1 = _mm512_maskz_mov_ps(
        high, Exp2(_mm512_sub_ps(_mm512_load_ps(s + whole + 16), shift)));
    sum0 = _mm512_add_ps(sum0, e0);
    sum1 = _mm512_add_ps(sum1, e1);
    _mm512_store_si512(w + whole, (__m512i)_mm512_cvtne2ps_pbh(e1, e0));
  }
  for (size_t p = (n + kDepth - 1) / kDepth * kDepth; p < n_keys; p += kDepth) {
    _mm512_store_si512(w + p, _mm512_setzero_si512());
  }
  return _mm512_reduce_add_ps(_mm512_add_ps(sum0, sum1));
}

// Scores [n_rows <= 32] of n_keys positions become weights in place; m and l
// are brought up to date, keep[r] is what the earlier o of a row is to be
// scaled by. Pass by pass over all rows: within one, each step would wait for
// the last.
inline void WeighRows(std::byte* scores, size_t row_bytes,
                      const size_t* n_visible, size_t n_rows, size_t n_keys,
                      float* m, float* l, float* keep) {
  float base[kBf16Rows];
  for (size_t r = 0; r < n_rows; ++r) {
    keep[r] = 0.0f;
    if (n_visible[r] == 0) continue;
    const float max = MaxOfRow(
        reinterpret_cast<const float*>(scores + r * row_bytes), n_visible[r]);
    const float now = max > m[r] ? max : m[r];
    base[r] = now == -kInf ? 0.0f : now;
    keep[r] = m[r] - base[r];
    m[r] = now;
  }
  for (size_t r = 0; r < n_rows; r += 16) {
    const __mmask16 lanes = FirstLanes(n_rows - r);
    _mm512_mask_storeu_ps(keep + r, lanes,
                          Exp2(_mm512_maskz_loadu_ps(lanes, keep + r)));
  }
  for (size_t r = 0; r < n_rows; ++r) {
    std::byte* x = scores + r * row_bytes;
    if (n_visible[r] == 0) {
      std::memset(x, 0, n_keys * sizeof(uint16_t));
      continue;
    }
    const float sum = WeighRow(reinterpret_cast<const float*>(x), n_visible[r],
                               n_keys, base[r], reinterpret_cast<uint16_t*>(x));
    l[r] = l[r] * keep[r] + sum;
  }
}

}  // namespace N_AVX3_BF16
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();
