// Attention scores of many query rows: 16 rows lie side by side in the lanes of
// a vector, so neither the fold of a dot nor the softmax moves data between
// lanes. Per-target: see foreach_target.
#if defined(ETALON_SIMD_ATTENTION_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ETALON_SIMD_ATTENTION_LANES_INL_H_
#undef ETALON_SIMD_ATTENTION_LANES_INL_H_
#else
#define ETALON_SIMD_ATTENTION_LANES_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <limits>

#include "etalon/attention.h"
#include "hwy/highway.h"
#include "simd/exp-inl.h"
#include "simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {

// x, loaded once for all its uses: g++ would rather load it again for each, and
// with one load per fma the load ports are the limit.
HWY_INLINE F32x16 InRegister(F32x16 x) {
#if HWY_TARGET == HWY_AVX3
  asm("" : "+v"(x.v[0].raw));
#endif
  return x;
}

// The virtual lanes of a dot in the order in which the fold 8, 4, 2, 1 joins
// them: neighbours first, then pairs of neighbours, and so on.
inline constexpr size_t kFoldOrder[kLanes] = {0, 8, 4, 12, 2, 10, 6, 14,
                                              1, 9, 5, 13, 3, 11, 7, 15};

// dots[c, g] of virtual lane j: its terms d = 16 step + j in ascending order.
// kSteps, where not 0, is `steps`: unrolled, because a loop of few turns costs
// as much as one of them.
template <size_t kGroups, size_t kKeys, size_t kSteps>
HWY_INLINE void SumLane(const float* HWY_RESTRICT rows, size_t row_stride,
                        const float* const* HWY_RESTRICT k, size_t j,
                        size_t steps, F32x16* HWY_RESTRICT dots) {
  const auto step = [&](size_t d) HWY_ATTR {
    F32x16 lanes[kGroups];
    HWY_UNROLL(4)
    for (size_t g = 0; g < kGroups; ++g) {
      lanes[g] = InRegister(Load16(rows + g * kLanes));
    }
    HWY_UNROLL(8)
    for (size_t c = 0; c < kKeys; ++c) {
      const F32x16 key = Set16(k[c][d]);
      HWY_UNROLL(4)
      for (size_t g = 0; g < kGroups; ++g) {
        dots[c * kGroups + g] = Fma16(lanes[g], key, dots[c * kGroups + g]);
      }
    }
    rows += row_stride;
  };
  HWY_UNROLL(16)
  for (size_t n = 0; n < kGroups * kKeys; ++n) dots[n] = Zero16();
  if constexpr (kSteps != 0) {
    HWY_UNROLL(8)
    for (size_t s = 0; s < kSteps; ++s) step(s * kLanes + j);
  } else {
    for (size_t s = 0; s < steps; ++s) step(s * kLanes + j);
  }
}

// scores[g, c, :] = fl(q[g, :] . k[c] * scale) for kGroups groups of 16 rows
// and kKeys keys; groups of scores are kKvChunk * 16 apart, keys 16.
// q is [16 virtual lanes, steps, n_groups, 16 rows]: lane j of a dot takes
// d = 16 step + j. Virtual lanes are summed one after the other; two neighbours
// are joined in registers, what waits to be joined after that lies in
// `pending`, at most 3 deep.
template <size_t kGroups, size_t kKeys, size_t kSteps>
HWY_INLINE void DotLanes(const float* HWY_RESTRICT q, size_t n_groups,
                         const float* const* HWY_RESTRICT keys, size_t steps,
                         float scale, float* HWY_RESTRICT scores) {
  constexpr size_t kDots = kGroups * kKeys;
  HWY_ALIGN float pending[3 * kDots * kLanes];
  const float* k[kKeys];
  HWY_UNROLL(8)
  for (size_t c = 0; c < kKeys; ++c) k[c] = keys[c];
  const size_t row_stride = n_groups * kLanes;
  F32x16 first[kDots], dots[kDots];
  HWY_UNROLL(1)
  for (size_t i = 0; i < kLanes / 2; ++i) {
    const size_t j = kFoldOrder[2 * i];
    SumLane<kGroups, kKeys, kSteps>(q + j * steps * row_stride, row_stride, k,
                                    j, steps, first);
    SumLane<kGroups, kKeys, kSteps>(q + (j + 8) * steps * row_stride,
                                    row_stride, k, j + 8, steps, dots);
    HWY_UNROLL(16)
    for (size_t n = 0; n < kDots; ++n) dots[n] = Add16(first[n], dots[n]);
    float* HWY_RESTRICT level = pending;
    for (size_t t = i; t % 2 == 1; t /= 2) {
      HWY_UNROLL(16)
      for (size_t n = 0; n < kDots; ++n) {
        dots[n] = Add16(Load16(level + n * kLanes), dots[n]);
      }
      level += kDots * kLanes;
    }
    if (i + 1 < kLanes / 2) {
      HWY_UNROLL(16)
      for (size_t n = 0; n < kDots; ++n) Store16(dots[n], level + n * kLanes);
    }
  }
  const F32x16 factor = Set16(scale);
  HWY_UNROLL(8)
  for (size_t c = 0; c < kKeys; ++c) {
    HWY_UNROLL(4)
    for (size_t g = 0; g < kGroups; ++g) {
      Store16(Mul16(dots[c * kGroups + g], factor),
              scores + (g * kKvChunk + c) * kLanes);
    }
  }
}

// Softmax of 16 rows over the scores [256, 16] of a chunk, where row r sees
// n_visible[r] positions, at least one of them more than 0: m = max s, s
// becomes e = exp(s - m), l = sum e. Positions from n_visible to the next step
// of 16 past the largest take part as s = -Inf: e is +0 there and cannot
// change l.
HWY_INLINE void SoftmaxLanes(const float* HWY_RESTRICT n_visible, size_t least,
                             size_t most, float* HWY_RESTRICT s,
                             float* HWY_RESTRICT m, float* HWY_RESTRICT l) {
  const VF minus_inf = hn::Set(DF(), -std::numeric_limits<float>::infinity());
  const size_t end = (most + kLanes - 1) / kLanes * kLanes;
  F32x16 max;
  for (size_t i = 0; i < kVecs; ++i) max.v[i] = minus_inf;
  for (size_t p = 0; p < least; ++p) {
    const F32x16 x = Load16(s + p * kLanes);
    for (size_t i = 0; i < kVecs; ++i) max.v[i] = hn::Max(max.v[i], x.v[i]);
  }
  const F32x16 limit = Load16(n_visible);
  for (size_t p = least; p < end; ++p) {
    F32x16 x = Load16(s + p * kLanes);
    const VF at = hn::Set(DF(), static_cast<float>(p));
    for (size_t i = 0; i < kVecs; ++i) {
      x.v[i] = hn::IfThenElse(hn::Lt(at, limit.v[i]), x.v[i], minus_inf);
      max.v[i] = hn::Max(max.v[i], x.v[i]);
    }
  }
  Store16(max, m);
  F32x16 base;
  for (size_t i = 0; i < kVecs; ++i) {
    base.v[i] =
        hn::IfThenElse(hn::Eq(max.v[i], minus_inf), hn::Zero(DF()), max.v[i]);
  }
  // Virtual lane j of the sum takes the positions p = j mod 16.
  HWY_ALIGN float sum[kLanes * kLanes];
  for (size_t j = 0; j < kLanes; ++j) Store16(Zero16(), sum + j * kLanes);
  const auto add = [&](size_t p, F32x16 e) HWY_ATTR {
    Store16(e, s + p * kLanes);
    float* HWY_RESTRICT lane = sum + p % kLanes * kLanes;
    Store16(Add16(Load16(lane), e), lane);
  };
  for (size_t p = 0; p < least; ++p) {
    F32x16 x = Load16(s + p * kLanes);
    for (size_t i = 0; i < kVecs; ++i) x.v[i] = hn::Sub(x.v[i], base.v[i]);
    add(p, Exp16(x));
  }
  // A hidden position's exponential is not taken of -Inf: AVX-512 takes 200
  // cycles for a result that underflows.
  for (size_t p = least; p < end; ++p) {
    F32x16 x = Load16(s + p * kLanes);
    const VF at = hn::Set(DF(), static_cast<float>(p));
    for (size_t i = 0; i < kVecs; ++i) {
      x.v[i] = hn::IfThenElseZero(hn::Lt(at, limit.v[i]),
                                  hn::Sub(x.v[i], base.v[i]));
    }
    F32x16 e = Exp16(x);
    for (size_t i = 0; i < kVecs; ++i) {
      e.v[i] = hn::IfThenElseZero(hn::Lt(at, limit.v[i]), e.v[i]);
    }
    add(p, e);
  }
  for (size_t h = kLanes / 2; h >= 1; h /= 2) {
    for (size_t j = 0; j < h; ++j) {
      Store16(Add16(Load16(sum + j * kLanes), Load16(sum + (j + h) * kLanes)),
              sum + j * kLanes);
    }
  }
  Store16(Load16(sum), l);
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
