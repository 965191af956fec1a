// Register tiles of attention: a few query rows times a few keys, and a few
// rows of weights times a strip of values. Per-target: see foreach_target.
#if defined(ETALON_SIMD_ATTENTION_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ETALON_SIMD_ATTENTION_TILE_INL_H_
#undef ETALON_SIMD_ATTENTION_TILE_INL_H_
#else
#define ETALON_SIMD_ATTENTION_TILE_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"
#include "simd/f16-inl.h"
#include "simd/lanes-inl.h"
#include "simd/read_ahead.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {

// Dots per QK tile: their accumulators (kVecs registers each) with the operands
// fill the register file: 16 of 32 on AVX-512, where they also fold into
// exactly one register; 8 of 16 on AVX2; the scalar target has one dot's lanes.
inline constexpr size_t kTileDots = kVecs == 1 ? 16 : kVecs == 2 ? 4 : 1;
// Rows of a QK tile at most: each key is widened once for all of them.
inline constexpr size_t kTileRows = kVecs == 1 ? 8 : kVecs == 2 ? 2 : 1;
// Rows of a PV tile that must finish on its own.
inline constexpr size_t kValueRows = kVecs == 1 ? 4 : kVecs == 2 ? 2 : 1;
// Rows of a PV tile over a block of values in L1: with 4 strips 24 sums, so
// that 10 loads serve 24 products instead of 8 serving 16.
inline constexpr size_t kBlockRows = kVecs == 1 ? 6 : kValueRows;
// Strips of 16 lanes in the PV tile of kRows rows: as many accumulators as a QK
// tile has, but 8 for one row: longer ones than a common head_dim help nobody.
template <size_t kRows>
inline constexpr size_t kTileStrips = kRows == 3 || kRows == 6
                                          ? kTileDots / 4
                                          : HWY_MIN(kTileDots / kRows, 8);

// An element of a bf16 cache: its bits are the upper half of an f32.
struct Bf16 {
  uint16_t bits;
};

HWY_INLINE F32x16 LoadKv(const Bf16* HWY_RESTRICT p) {
  const hn::Rebind<uint16_t, DF> d16;
  const hn::RebindToUnsigned<DF> d32;
  F32x16 r;
  for (size_t i = 0; i < kVecs; ++i) {
    const auto bits =
        hn::LoadU(d16, reinterpret_cast<const uint16_t*>(p) + i * kRealLanes);
    r.v[i] = hn::BitCast(DF(), hn::ShiftLeft<16>(hn::PromoteTo(d32, bits)));
  }
  return r;
}
HWY_INLINE F32x16 LoadKvTail(const Bf16* HWY_RESTRICT p, size_t n) {
  HWY_ALIGN Bf16 buf[kLanes] = {};
  for (size_t i = 0; i < n; ++i) buf[i] = p[i];
  return LoadKv(buf);
}
HWY_INLINE F32x16 LoadKv(const float* HWY_RESTRICT p) { return Load16(p); }
HWY_INLINE F32x16 LoadKv(const uint16_t* HWY_RESTRICT p) {
  return LoadF16x16(p);
}
HWY_INLINE F32x16 LoadKvTail(const float* HWY_RESTRICT p, size_t n) {
  return LoadTail16(p, n);
}
HWY_INLINE F32x16 LoadKvTail(const uint16_t* HWY_RESTRICT p, size_t n) {
  return LoadTailF16x16(p, n);
}

#if HWY_TARGET == HWY_AVX3
// Folds 16 accumulators at once: the additions of Fold16, lane for lane, with
// the lanes of different dots side by side. Halves, quarters, pairs and lanes
// are brought together by one shuffle per operand, 30 shuffles and 15 additions
// in all instead of 16 * 7 instructions. out[i] = fl(dot i * scale).
HWY_INLINE void FoldTile(const F32x16* HWY_RESTRICT acc, float scale,
                         float* HWY_RESTRICT out) {
  __m512 quarter[8];  // l[j] += l[j + 8], of dots {4 k + i, 4 (k + 1) + i}
  HWY_UNROLL(8)
  for (size_t n = 0; n < 8; ++n) {
    const size_t i = n / 2, k = n % 2 * 2;
    const __m512 a = acc[4 * k + i].v[0].raw, b = acc[4 * k + 4 + i].v[0].raw;
    quarter[n] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44),
                               _mm512_shuffle_f32x4(a, b, 0xEE));
  }
  __m512 pair[4];  // l[j] += l[j + 4]: block k belongs to dot 4 k + i
  HWY_UNROLL(4)
  for (size_t i = 0; i < 4; ++i) {
    const __m512 a = quarter[2 * i], b = quarter[2 * i + 1];
    pair[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88),
                            _mm512_shuffle_f32x4(a, b, 0xDD));
  }
  __m512 lane[2];  // l[j] += l[j + 2]
  HWY_UNROLL(2)
  for (size_t i = 0; i < 2; ++i) {
    const __m512 a = pair[2 * i], b = pair[2 * i + 1];
    lane[i] = _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44),
                            _mm512_shuffle_ps(a, b, 0xEE));
  }
  // l[j] += l[j + 1]
  const __m512 sum = _mm512_add_ps(_mm512_shuffle_ps(lane[0], lane[1], 0x88),
                                   _mm512_shuffle_ps(lane[0], lane[1], 0xDD));
  _mm512_storeu_ps(out, _mm512_mul_ps(sum, _mm512_set1_ps(scale)));
}
#else
HWY_INLINE void FoldTile(const F32x16* HWY_RESTRICT acc, float scale,
                         float* HWY_RESTRICT out) {
  HWY_UNROLL(16)
  for (size_t i = 0; i < kTileDots; ++i) out[i] = Fold16(acc[i]) * scale;
}
#endif

// scores[r * kKeys + c] = fl(q[r] . k[c] * scale) for kRows query rows
// (q_stride apart) and kKeys = kTileDots / kRows keys; dim is a multiple of 16.
// Where kPrefetch, a line is asked for as each line of keys is read.
template <size_t kRows, bool kPrefetch, class T>
HWY_INLINE void DotTile(const float* HWY_RESTRICT q, size_t q_stride,
                        const T* const* HWY_RESTRICT k, size_t dim,
                        ReadAhead& ahead, float scale,
                        float* HWY_RESTRICT scores) {
  constexpr size_t kKeys = kTileDots / kRows;
  constexpr size_t kPerLine = 64 / sizeof(T);
  F32x16 acc[kTileDots];
  HWY_UNROLL(16)
  for (size_t i = 0; i < kTileDots; ++i) acc[i] = Zero16();
  for (size_t d = 0; d < dim; d += kLanes) {
    F32x16 row[kRows];
    HWY_UNROLL(8)
    for (size_t r = 0; r < kRows; ++r) row[r] = Load16(q + r * q_stride + d);
    HWY_UNROLL(16)
    for (size_t c = 0; c < kKeys; ++c) {
      if (kPrefetch && d % kPerLine == 0) ahead.AskForLine();
      const F32x16 key = LoadKv(k[c] + d);
      HWY_UNROLL(8)
      for (size_t r = 0; r < kRows; ++r) {
        acc[r * kKeys + c] = Fma16(row[r], key, acc[r * kKeys + c]);
      }
    }
  }
  FoldTile(acc, scale, scores);
}

// Weights of a few rows: that of row r at position p is row[r][p * kStep].
template <size_t kStep>
struct Weights {
  const float* row[kTileRows];
};

// o[r, 16 s ..] = fma(w[r, p], v[p, 16 s ..], o) over ascending p < n, for
// kRows rows and kStrips strips of 16 lanes; `fresh`: o counts as +0 before.
// Where kPrefetch, a line is asked for as each line of values is read.
template <size_t kRows, size_t kStrips, bool kPrefetch, size_t kStep, class T>
HWY_NOINLINE void ValueTile(const Weights<kStep>& w, const T* HWY_RESTRICT v,
                            size_t v_stride, size_t n, ReadAhead& ahead,
                            bool fresh, float* HWY_RESTRICT o,
                            size_t o_stride) {
  constexpr size_t kPerLine = 64 / sizeof(T);
  F32x16 acc[kRows * kStrips];
  if (fresh) {
    HWY_UNROLL(24)
    for (size_t i = 0; i < kRows * kStrips; ++i) acc[i] = Zero16();
  } else {
    HWY_UNROLL(8)
    for (size_t r = 0; r < kRows; ++r) {
      HWY_UNROLL(8)
      for (size_t s = 0; s < kStrips; ++s) {
        acc[r * kStrips + s] = Load16(o + r * o_stride + s * kLanes);
      }
    }
  }
  const float* weights[kRows];
  HWY_UNROLL(8)
  for (size_t r = 0; r < kRows; ++r) weights[r] = w.row[r];
  ReadAhead in_registers = ahead;
  for (size_t p = 0; p < n; ++p) {
    const T* HWY_RESTRICT value = v + p * v_stride;
    F32x16 strip[kStrips];
    HWY_UNROLL(8)
    for (size_t s = 0; s < kStrips; ++s) {
      if (kPrefetch && s * kLanes % kPerLine == 0) in_registers.AskForLine();
      strip[s] = LoadKv(value + s * kLanes);
    }
    HWY_UNROLL(8)
    for (size_t r = 0; r < kRows; ++r) {
      const F32x16 weight = Set16(weights[r][p * kStep]);
      HWY_UNROLL(8)
      for (size_t s = 0; s < kStrips; ++s) {
        acc[r * kStrips + s] = Fma16(weight, strip[s], acc[r * kStrips + s]);
      }
    }
  }
  if (kPrefetch) ahead = in_registers;
  HWY_UNROLL(8)
  for (size_t r = 0; r < kRows; ++r) {
    HWY_UNROLL(8)
    for (size_t s = 0; s < kStrips; ++s) {
      Store16(acc[r * kStrips + s], o + r * o_stride + s * kLanes);
    }
  }
}

// All strips of kRows rows: `width` columns.
template <size_t kRows, bool kPrefetch, size_t kStep, class T>
void AddValues(const Weights<kStep>& w, const T* v, size_t v_stride, size_t n,
               ReadAhead& ahead, bool fresh, float* o, size_t o_stride,
               size_t width) {
  constexpr size_t kStrips = kTileStrips<kRows>;
  const size_t strips = width / kLanes;
  size_t s = 0;
  for (; s + kStrips <= strips; s += kStrips) {
    ValueTile<kRows, kStrips, kPrefetch>(w, v + s * kLanes, v_stride, n, ahead,
                                         fresh, o + s * kLanes, o_stride);
  }
  if constexpr (kStrips == 8) {
    if (s + 4 <= strips) {
      ValueTile<kRows, 4, kPrefetch>(w, v + s * kLanes, v_stride, n, ahead,
                                     fresh, o + s * kLanes, o_stride);
      s += 4;
    }
  }
  for (; s < strips; ++s) {
    ValueTile<kRows, 1, kPrefetch>(w, v + s * kLanes, v_stride, n, ahead, fresh,
                                   o + s * kLanes, o_stride);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
