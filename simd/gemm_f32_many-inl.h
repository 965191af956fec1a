// Many tokens times f32 weights, with the bits of the 16 virtual lanes
// (etalon/gemm.h) but without a fold per output: SIMD lanes are weight rows,
// and each virtual lane is a chain of its own, k = j, j + 16, ... The 16 chains
// of a register tile are folded as whole tiles, in the fold's own tree. Per
// target, after lanes-inl.h; Read as in gemm_f32.cc.
#if defined(ETALON_SIMD_GEMM_F32_MANY_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ETALON_SIMD_GEMM_F32_MANY_INL_H_
#undef ETALON_SIMD_GEMM_F32_MANY_INL_H_
#else
#define ETALON_SIMD_GEMM_F32_MANY_INL_H_
#endif

#include <algorithm>

#include "hwy/highway.h"
#include "simd/gemm.h"
#include "simd/gemm_f32_many.h"
#include "simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {

// Register tile: kManyTokens x kManyVecs vectors of weight rows. AVX-512: 24
// sums, 2 weights and a broadcast in 32 registers; AVX2: 12 of 16.
#if HWY_TARGET == HWY_AVX3
inline constexpr size_t kManyTokens = 12, kManyVecs = 2;
#else
inline constexpr size_t kManyTokens = 6, kManyVecs = 2;
#endif
inline constexpr size_t kManyCols = kManyVecs * kRealLanes;
static_assert(kManyCols <= kManyRowsMax);

// to[(j * steps + i) * kManyCols + r] = W(row + r, 16 i + j), rows from n on 0.
template <class Read>
HWY_INLINE void PackLanes(const WeightMatrix& w, size_t row, size_t n,
                          float* HWY_RESTRICT to) {
  const size_t steps = w.cols / kLanes;
  if (n < kManyCols) std::fill(to, to + w.cols * kManyCols, 0.0f);
  for (size_t r = 0; r < n; ++r) {
    const std::byte* from = w.row(row + r);
    for (size_t i = 0; i < steps; ++i) {
      HWY_ALIGN float lane[kLanes];
      Store16(Read::Load(from, i * kLanes), lane);
      for (size_t j = 0; j < kLanes; ++j) {
        to[(j * steps + i) * kManyCols + r] = lane[j];
      }
    }
  }
}

using ManySums = VF[kManyTokens][kManyVecs];

// One virtual lane of all outputs of the tile: an fma chain from +0.
HWY_INLINE void LaneSums(const float* HWY_RESTRICT x, size_t stride,
                         const float* HWY_RESTRICT w, size_t steps,
                         ManySums& sum) {
#pragma GCC unroll 16
  for (size_t t = 0; t < kManyTokens; ++t) {
#pragma GCC unroll 4
    for (size_t v = 0; v < kManyVecs; ++v) sum[t][v] = hn::Zero(DF());
  }
  // Three tokens share a pointer: base, base + stride, base + 2 stride.
  const float* base[kManyTokens / 3];
#pragma GCC unroll 4
  for (size_t g = 0; g < kManyTokens / 3; ++g) base[g] = x + 3 * g * stride;
  for (size_t i = 0; i < steps; ++i) {
    VF ws[kManyVecs];
#pragma GCC unroll 4
    for (size_t v = 0; v < kManyVecs; ++v) {
      ws[v] = hn::LoadU(DF(), w + v * kRealLanes);
    }
#pragma GCC unroll 4
    for (size_t g = 0; g < kManyTokens / 3; ++g) {
#pragma GCC unroll 4
      for (size_t s = 0; s < 3; ++s) {
        const VF xs = hn::Set(DF(), base[g][s * stride]);
#pragma GCC unroll 4
        for (size_t v = 0; v < kManyVecs; ++v) {
          sum[3 * g + s][v] = Fma(ws[v], xs, sum[3 * g + s][v]);
        }
      }
      base[g] += kLanes;
    }
    w += kManyCols;
  }
}

template <class Fn>
HWY_INLINE void ForTile(const Fn& fn) {
#pragma GCC unroll 16
  for (size_t t = 0; t < kManyTokens; ++t) {
#pragma GCC unroll 4
    for (size_t v = 0; v < kManyVecs; ++v) fn(t, v);
  }
}

// Lanes come in the order 0 8 4 12 2 10 ...: a binary counter then merges
// exactly the pairs of the fold (l[j] += l[j + 8], + 4, + 2, + 1).
// `pending` holds one tile per level; the result is left in pending[4].
HWY_NOINLINE void FoldedTile(const float* x, size_t stride, const float* w,
                             size_t steps, float* pending) {
  constexpr size_t kTileFloats = kManyTokens * kManyCols;
  constexpr uint8_t kOrder[kLanes] = {0, 8, 4, 12, 2, 10, 6, 14,
                                      1, 9, 5, 13, 3, 11, 7, 15};
  for (size_t n = 0; n < kLanes; ++n) {
    const size_t j = kOrder[n];
    ManySums sum;
    LaneSums(x + j, stride, w + j * steps * kManyCols, steps, sum);
    size_t level = 0;
    for (; (n >> level & 1) != 0; ++level) {
      const float* HWY_RESTRICT earlier = pending + level * kTileFloats;
      ForTile([&](size_t t, size_t v) HWY_ATTR {
        sum[t][v] =
            hn::Add(hn::LoadU(DF(), earlier + t * kManyCols + v * kRealLanes),
                    sum[t][v]);
      });
    }
    float* HWY_RESTRICT to = pending + level * kTileFloats;
    ForTile([&](size_t t, size_t v) HWY_ATTR {
      hn::StoreU(sum[t][v], DF(), to + t * kManyCols + v * kRealLanes);
    });
  }
}

// Tokens [0, n) with n a multiple of kManyTokens; the number done is returned.
template <class Read>
HWY_INLINE size_t GemmF32Many(const GemmRows& g, Span2D<const float> x,
                              float* scratch) {
  static_assert(GemmF32ManyFloats(kLanes) >=
                kLanes * kManyCols + 5 * kManyTokens * kManyCols);
  float* packed = scratch;
  float* pending = scratch + x.cols * kManyCols;
  const float* folded = pending + 4 * kManyTokens * kManyCols;
  const size_t n_tokens = x.rows / kManyTokens * kManyTokens;
  const VF scale = hn::Set(DF(), g.scale);
  for (size_t row = g.row_begin; row < g.row_end; row += kManyCols) {
    const size_t n = std::min(kManyCols, g.row_end - row);
    PackLanes<Read>(g.weights, row, n, packed);
    for (size_t t = 0; t < n_tokens; t += kManyTokens) {
      FoldedTile(x.data + t * x.stride, x.stride, packed, x.cols / kLanes,
                 pending);
      for (size_t i = 0; i < kManyTokens; ++i) {
        float* to = g.out.data + (t + i) * g.out.stride + row;
        const float* from = folded + i * kManyCols;
        if (n < kManyCols) {
          for (size_t r = 0; r < n; ++r) {
            const float y = from[r] * g.scale;
            to[r] = g.bias != nullptr ? y + g.bias[row + r] : y;
          }
          continue;
        }
#pragma GCC unroll 4
        for (size_t v = 0; v < kManyVecs; ++v) {
          VF y = hn::Mul(hn::LoadU(DF(), from + v * kRealLanes), scale);
          if (g.bias != nullptr) {
            y = hn::Add(y, hn::LoadU(DF(), g.bias + row + v * kRealLanes));
          }
          hn::StoreU(y, DF(), to + v * kRealLanes);
        }
      }
    }
  }
  return n_tokens;
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
