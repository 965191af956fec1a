// Operands of the bf16 tile unit. A tile of the left operand is 16 rows of 32
// elements as they lie; of the right operand, 16 rows of 16 pairs: pair (i, j)
// holds elements 2 i and 2 i + 1 of column j. Included without a guard, in the
// AVX-512 pass of attention_bf16.cc only.

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace N_AVX3_BF16 {

inline constexpr size_t kTileBytes = 1024;
inline constexpr size_t kDepth = 32;  // elements per tile product

HWY_INLINE __mmask16 FirstLanes(size_t n) {
  return static_cast<__mmask16>((1u << HWY_MIN(n, 16)) - 1);
}

// Elements [0, n) of a row, n up to 32, what is past them +0; with a factor,
// times that.
HWY_INLINE __m512i RoundRow(const float* x, size_t n) {
  if (HWY_LIKELY(n >= kDepth)) {
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + 16),
                                        _mm512_loadu_ps(x));
  }
  return (__m512i)_mm512_cvtne2ps_pbh(
      _mm512_maskz_loadu_ps(FirstLanes(n > 16 ? n - 16 : 0), x + 16),
      _mm512_maskz_loadu_ps(FirstLanes(n), x));
}
HWY_INLINE __m512i RoundRow(const uint16_t* x, size_t n) {
  __m256i low, high;
  if (HWY_LIKELY(n >= kDepth)) {
    low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
    high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + 16));
  } else {
    low = _mm256_maskz_loadu_epi16(FirstLanes(n), x);
    high = _mm256_maskz_loadu_epi16(FirstLanes(n > 16 ? n - 16 : 0), x + 16);
  }
  return (__m512i)_mm512_cvtne2ps_pbh(_mm512_cvtph_ps(high),
                                      _mm512_cvtph_ps(low));
}
HWY_INLINE __m512i RoundScaledRow(const float* x, size_t n, float factor) {
  const __m512 f = _mm512_set1_ps(factor);
  return (__m512i)_mm512_cvtne2ps_pbh(
      _mm512_mul_ps(
          f, _mm512_maskz_loadu_ps(FirstLanes(n > 16 ? n - 16 : 0), x + 16)),
      _mm512_mul_ps(f, _mm512_maskz_loadu_ps(FirstLanes(n), x)));
}

// [n_keys / 16][depths] tiles of K^T: column = key, pairs along head_dim; keys
// from n on are +0.
template <class T>
void PackKeys(const T* k, size_t stride, size_t n, size_t n_keys,
              size_t head_dim, std::byte* out) {
  for (size_t p = 0; p < n_keys; p += 16) {
    for (size_t d = 0; d < head_dim; d += kDepth) {
      const T* x = k + p * stride + d;
      __m512i r[16];
      if (HWY_LIKELY(p + 16 <= n && d + kDepth <= head_dim)) {
        HWY_UNROLL(16)
        for (size_t i = 0; i < 16; ++i) r[i] = RoundRow(x + i * stride, kDepth);
      } else {
        for (size_t i = 0; i < 16; ++i) {
          r[i] = p + i < n ? RoundRow(x + i * stride, head_dim - d)
                           : _mm512_setzero_si512();
        }
      }
      HWY_NAMESPACE::Transpose16(r);
      HWY_UNROLL(16)
      for (size_t i = 0; i < 16; ++i) _mm512_store_si512(out + 64 * i, r[i]);
      out += kTileBytes;
    }
  }
}

HWY_INLINE __mmask32 SpecialElements(__m512i x) {
  const __m512i exponent = _mm512_set1_epi16(0x7f80);
  return _mm512_cmpeq_epi16_mask(_mm512_and_si512(x, exponent), exponent);
}

// [dim / 16][n_keys / 32] tiles of V: column = element, pairs along positions;
// dim is head_dim in steps of 32. NaN and Inf are packed as +0; returns whether
// there were none.
template <class T>
bool PackValues(const T* v, size_t stride, size_t n, size_t n_keys,
                size_t head_dim, std::byte* out) {
  alignas(64) uint16_t low_pairs[32], high_pairs[32];
  for (size_t i = 0; i < 16; ++i) {
    low_pairs[2 * i] = static_cast<uint16_t>(i);
    low_pairs[2 * i + 1] = static_cast<uint16_t>(32 + i);
    high_pairs[2 * i] = static_cast<uint16_t>(16 + i);
    high_pairs[2 * i + 1] = static_cast<uint16_t>(48 + i);
  }
  const __m512i low = _mm512_load_si512(low_pairs);
  const __m512i high = _mm512_load_si512(high_pairs);
  const size_t column = n_keys / kDepth * kTileBytes;
  __mmask32 special = 0;
  for (size_t p = 0; p < n_keys; p += 2) {
    std::byte* line = out + p / kDepth * kTileBytes + p % kDepth / 2 * 64;
    for (size_t d = 0; d < head_dim; d += kDepth) {
      const T* x = v + p * stride + d;
      const __m512i a =
          p < n ? RoundRow(x, head_dim - d) : _mm512_setzero_si512();
      const __m512i b = p + 1 < n ? RoundRow(x + stride, head_dim - d)
                                  : _mm512_setzero_si512();
      special |= SpecialElements(a) | SpecialElements(b);
      std::byte* to = line + d / 16 * column;
      _mm512_store_si512(to, _mm512_permutex2var_epi16(a, low, b));
      _mm512_store_si512(to + column, _mm512_permutex2var_epi16(a, high, b));
    }
  }
  if (special == 0) return true;
  for (size_t i = 0; i < Bf16HeadDim(head_dim) / 16 * column; i += 64) {
    const __m512i x = _mm512_load_si512(out + i);
    _mm512_store_si512(out + i, _mm512_maskz_mov_epi16(~SpecialElements(x), x));
  }
  return false;
}

}  // namespace N_AVX3_BF16
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();
