// Rows of f32 to Q8_K and Q8_0 activations, per target.
#if defined(ETALON_SIMD_QUANTIZE_ROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ETALON_SIMD_QUANTIZE_ROW_INL_H_
#undef ETALON_SIMD_QUANTIZE_ROW_INL_H_
#else
#define ETALON_SIMD_QUANTIZE_ROW_INL_H_
#endif

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "hwy/highway.h"
#include "quant/block_formats.h"
#include "quant/f16.h"
#include "quant/quantize_row.h"
#include "simd/activation_rows.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {
#if HWY_TARGET != HWY_SCALAR
namespace hn = hwy::HWY_NAMESPACE;

using QrF32 = hn::CappedTag<float, 16>;
using QrI32 = hn::RebindToSigned<QrF32>;
using QrVF = hn::Vec<QrF32>;

// Magnitudes are compared as integers: the bits of |x| order as |x| does, and
// NaN and Inf come out above every finite value, so that one maximum serves
// the finiteness check too.
struct BlockRange {
  int32_t magnitude_bits;  // of the largest |x|
  float max;               // largest x
  float min;               // smallest x
};

template <size_t kCount>
HWY_INLINE BlockRange RangeOfBlock(const float* HWY_RESTRICT x) {
  const QrF32 df;
  const QrI32 di;
  const size_t step = hn::Lanes(df);
  QrVF vmax = hn::LoadU(df, x);
  QrVF vmin = vmax;
  auto vbits = hn::BitCast(di, hn::Abs(vmax));
  for (size_t i = step; i < kCount; i += step) {
    const QrVF v = hn::LoadU(df, x + i);
    vmax = hn::Max(vmax, v);
    vmin = hn::Min(vmin, v);
    vbits = hn::Max(vbits, hn::BitCast(di, hn::Abs(v)));
  }
  return {hn::GetLane(hn::MaxOfLanes(di, vbits)),
          hn::GetLane(hn::MaxOfLanes(df, vmax)),
          hn::GetLane(hn::MinOfLanes(df, vmin))};
}

// q[i] = RNE(scale * x[i]) for kCount values, and their sum. NearestInt rounds
// half to even in the default rounding mode; |scale * x| < 127.5 by the
// callers' choice of scale, so that no clamp can fire.
template <size_t kCount>
HWY_INLINE int16_t QuantizeGroup(const float* HWY_RESTRICT x, QrVF scale,
                                 int8_t* HWY_RESTRICT q) {
  const QrF32 df;
  const QrI32 di;
  const hn::Rebind<int8_t, QrF32> d8;
  auto sum = hn::Zero(di);
  for (size_t i = 0; i < kCount; i += hn::Lanes(df)) {
    const auto v = hn::NearestInt(hn::Mul(scale, hn::LoadU(df, x + i)));
    sum = hn::Add(sum, v);
    hn::StoreU(hn::DemoteTo(d8, v), d8, q + i);
  }
  return static_cast<int16_t>(hn::GetLane(hn::SumOfLanes(di, sum)));
}

// kQkK values, and their sums by 16.
#if HWY_TARGET == HWY_AVX3
// Values are narrowed four vectors at a time, and summed as bytes: a vector at
// a time takes twice the instructions.
HWY_INLINE void QuantizeGroups(const float* HWY_RESTRICT x, QrVF scale,
                               int8_t* HWY_RESTRICT q,
                               int16_t* HWY_RESTRICT sums) {
  // Narrowing works by 128 bits: word 4 j + p of it is words j of vector p.
  const __m512i order =
      _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i sign = _mm512_set1_epi8(-128);
  const auto value = [&](size_t i) HWY_ATTR {
    return _mm512_cvtps_epi32(_mm512_mul_ps(scale.raw, _mm512_loadu_ps(x + i)));
  };
  __m128i eights[4];  // sums of 8, plus 8 * 128
#pragma GCC unroll 4
  for (size_t i = 0; i < 4; ++i) {
    const size_t at = 64 * i;
    const __m512i v = _mm512_permutexvar_epi32(
        order,
        _mm512_packs_epi16(_mm512_packs_epi32(value(at), value(at + 16)),
                           _mm512_packs_epi32(value(at + 32), value(at + 48))));
    _mm512_storeu_si512(q + at, v);
    eights[i] = _mm512_cvtepi64_epi16(
        _mm512_sad_epu8(_mm512_xor_si512(v, sign), _mm512_setzero_si512()));
  }
  const __m256i low = _mm256_set_m128i(eights[1], eights[0]);
  const __m256i high = _mm256_set_m128i(eights[3], eights[2]);
  const __m512i all = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  const __m512i sixteens =
      _mm512_sub_epi32(_mm512_madd_epi16(all, _mm512_set1_epi16(1)),
                       _mm512_set1_epi32(16 * 128));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums),
                      _mm512_cvtepi32_epi16(sixteens));
}
#else
HWY_INLINE void QuantizeGroups(const float* HWY_RESTRICT x, QrVF scale,
                               int8_t* HWY_RESTRICT q,
                               int16_t* HWY_RESTRICT sums) {
  for (size_t g = 0; g < 16; ++g) {
    sums[g] = QuantizeGroup<16>(x + 16 * g, scale, q + 16 * g);
  }
}
#endif

// The signed x of largest magnitude, the first one if +a and -a tie.
HWY_INLINE float FirstLargest(const float* x, const BlockRange& range) {
  if (range.max > -range.min) return range.max;
  if (range.max < -range.min) return range.min;
  for (size_t i = 0; i < kQkK; ++i) {
    if (std::abs(x[i]) == range.max) return x[i];
  }
  return 0.0f;  // not reached: the largest magnitude is one of the block's
}

HWY_INLINE void ClearBlock(float d, size_t block, size_t n_bsums, float* d_out,
                           int8_t* q, int16_t* bsums) {
  *d_out = d;
  std::memset(q, 0, block);
  std::memset(bsums, 0, n_bsums * sizeof(int16_t));
}

HWY_INLINE void QuantizeBlockQ8K(const float* HWY_RESTRICT x,
                                 int8_t* HWY_RESTRICT q, float* HWY_RESTRICT d,
                                 int16_t* HWY_RESTRICT bsums) {
  const BlockRange range = RangeOfBlock<kQkK>(x);
  const float amax = std::bit_cast<float>(range.magnitude_bits);
  if (!std::isfinite(amax)) {
    return ClearBlock(std::numeric_limits<float>::quiet_NaN(), kQkK, 16, d, q,
                      bsums);
  }
  if (amax < kQuantizeZeroBelow) return ClearBlock(0.0f, kQkK, 16, d, q, bsums);
  const float iscale = -127.0f / FirstLargest(x, range);
  QuantizeGroups(x, hn::Set(QrF32(), iscale), q, bsums);
  *d = 1.0f / iscale;
}

HWY_INLINE void QuantizeBlockQ80(const float* HWY_RESTRICT x,
                                 int8_t* HWY_RESTRICT q, float* HWY_RESTRICT d,
                                 int16_t* HWY_RESTRICT bsums) {
  const BlockRange range = RangeOfBlock<kQk>(x);
  const float amax = std::bit_cast<float>(range.magnitude_bits);
  const float d16 = F16ToF32(F32ToF16(amax / 127.0f));
  if (!std::isfinite(d16)) {  // amax is, or d16 overflows
    return ClearBlock(std::numeric_limits<float>::quiet_NaN(), kQk, 1, d, q,
                      bsums);
  }
  if (amax < kQuantizeZeroBelow) return ClearBlock(0.0f, kQk, 1, d, q, bsums);
  *bsums = QuantizeGroup<kQk>(x, hn::Set(QrF32(), 127.0f / amax), q);
  *d = d16;
}

HWY_INLINE void QuantizeActivationRowImpl(const float* HWY_RESTRICT x,
                                          size_t row,
                                          const MutableActivationRows& out) {
  int8_t* q = out.qs + row * out.qs_stride;
  float* d = out.d + row * out.d_stride;
  int16_t* bsums = out.bsums + row * out.bsums_stride;
  if (out.block == kQkK) {
    for (size_t b = 0; b < out.cols / kQkK; ++b) {
      QuantizeBlockQ8K(x + b * kQkK, q + b * kQkK, d + b, bsums + b * 16);
    }
  } else {
    for (size_t b = 0; b < out.cols / kQk; ++b) {
      QuantizeBlockQ80(x + b * kQk, q + b * kQk, d + b, bsums + b);
    }
  }
}

#else  // HWY_SCALAR: through the scalar blocks

inline void QuantizeActivationRowImpl(const float* x, size_t row,
                                      const MutableActivationRows& out) {
  int8_t* q = out.qs + row * out.qs_stride;
  float* d = out.d + row * out.d_stride;
  int16_t* bsums = out.bsums + row * out.bsums_stride;
  for (size_t b = 0; b < out.cols / out.block; ++b) {
    if (out.block == kQkK) {
      BlockQ8_K block;
      QuantizeRowQ8K(x + b * kQkK, kQkK, &block);
      std::memcpy(q + b * kQkK, block.qs, kQkK);
      std::memcpy(bsums + b * 16, block.bsums, sizeof(block.bsums));
      d[b] = block.d;
    } else {
      BlockQ8_0 block;
      QuantizeRowQ80(x + b * kQk, kQk, &block);
      std::memcpy(q + b * kQk, block.qs, kQk);
      int sum = 0;
      for (const int8_t v : block.qs) sum += v;
      bsums[b] = static_cast<int16_t>(sum);
      d[b] = F16ToF32(block.d);
    }
  }
}

#endif  // HWY_TARGET
}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
