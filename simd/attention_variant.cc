#include "simd/attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/attention_variant.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h
#include "simd/attention_few-inl.h"
#include "simd/attention_values-inl.h"
#include "simd/exp-inl.h"
#include "simd/lanes-inl.h"
#include "simd/tanh-inl.h"

// Once per file, not per target.
#ifndef ETALON_SIMD_ATTENTION_VARIANT_CC_ONCE_
#define ETALON_SIMD_ATTENTION_VARIANT_CC_ONCE_
#include <algorithm>
#include <cstdint>
#include <limits>

namespace etalon::simd {
namespace {

constexpr float kMinusInf = -std::numeric_limits<float>::infinity();

// What one row sees of a chunk.
class Sight {
 public:
  Sight(const AttentionVariantArgs& a, size_t row)
      : mask_(a.mask == nullptr ? nullptr : a.mask[row]),
        first_(a.first == nullptr ? 0 : a.first[row]),
        end_(a.chunk.n_visible[row]) {}

  size_t first() const { return first_; }
  size_t end() const { return end_; }
  bool Sees(size_t p) const {
    return p >= first_ && p < end_ &&
           (mask_ == nullptr || !(mask_[p] == kMinusInf));
  }
  // The first run [begin, end) of visible positions at or after p, within
  // [p, limit); empty when begin == end.
  void NextRun(size_t p, size_t limit, size_t* begin, size_t* end) const {
    limit = std::min(limit, end_);
    p = std::max(p, first_);
    while (p < limit && !Sees(p)) ++p;
    *begin = std::min(p, limit);
    while (p < limit && Sees(p)) ++p;
    *end = std::max(*begin, std::min(p, limit));
  }

 private:
  const float* mask_;
  size_t first_, end_;
};

}  // namespace
}  // namespace etalon::simd
#endif  // ETALON_SIMD_ATTENTION_VARIANT_CC_ONCE_

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {
namespace {

// [first, end) of all rows together; false when none sees anything.
bool Extent(const AttentionVariantArgs& a, size_t* first, size_t* end) {
  *first = kKvChunk;
  *end = 0;
  for (size_t r = 0; r < a.chunk.n_rows; ++r) {
    const Sight sight(a, r);
    if (sight.end() == 0) continue;
    *first = HWY_MIN(*first, sight.first());
    *end = HWY_MAX(*end, sight.end());
  }
  return *first < *end;
}

// Softcap, ALiBi and mask of positions [begin, end) of one row.
void EditScores(const AttentionVariantArgs& a, size_t row, size_t begin,
                size_t end, float* HWY_RESTRICT scores) {
  const hn::RebindToSigned<DF> di;
  const F32x16 cap = Set16(a.softcap);
  for (size_t p = begin / kLanes * kLanes; p < end; p += kLanes) {
    F32x16 s = Load16(scores + p);
    if (a.softcap != 0.0f) {
      for (size_t i = 0; i < kVecs; ++i) s.v[i] = hn::Div(s.v[i], cap.v[i]);
      s = Mul16(cap, Tanh16(s));
    }
    if (a.slopes != nullptr) {
      const VF slope = hn::Set(DF(), -a.slopes[row]);
      const auto pos = hn::Set(di, a.pos[row]);
      for (size_t i = 0; i < kVecs; ++i) {
        const auto at = hn::Iota(di, static_cast<int32_t>(p + i * kRealLanes));
        const VF distance = hn::ConvertTo(DF(), hn::Abs(hn::Sub(pos, at)));
        s.v[i] = Fma(slope, distance, s.v[i]);
      }
    }
    if (a.mask != nullptr) {
      const float* HWY_RESTRICT mask = a.mask[row] + p;
      const size_t n = HWY_MIN(kLanes, end - p);
      s = Add16(s, n == kLanes ? Load16(mask) : LoadTail16(mask, n));
    }
    Store16(s, scores + p);
  }
}

// Hidden positions from 0 to the last visible one become -Inf.
void Hide(const Sight& sight, bool masked, float* HWY_RESTRICT scores) {
  std::fill_n(scores, HWY_MIN(sight.first(), sight.end()), kMinusInf);
  if (!masked) return;
  for (size_t p = sight.first(); p < sight.end(); ++p) {
    if (!sight.Sees(p)) scores[p] = kMinusInf;
  }
}

void Scores(const AttentionVariantArgs& a, size_t first, size_t end) {
  // Blocks of keys that lie before the first position in sight are left out.
  ScoresByBlocks<kTileRows>(a.chunk, first / kAttentionBlock * kAttentionBlock,
                            end);
  for (size_t r = 0; r < a.chunk.n_rows; ++r) {
    const Sight sight(a, r);
    if (sight.end() == 0) continue;
    float* scores = a.chunk.scores + r * kKvChunk;
    EditScores(a, r, sight.first(), sight.end(), scores);
    Hide(sight, a.mask != nullptr, scores);
  }
}

// Values [begin, begin + count) of a block for one row, run by run.
void AddRuns(const AttentionVariantArgs& a, size_t row, const F32Rows& block,
             size_t begin, size_t count) {
  const size_t dim = PaddedHeadDim(a.chunk.head_dim_v);
  const Sight sight(a, row);
  const float* scores = a.chunk.scores + row * kKvChunk;
  ReadAhead nothing;
  for (size_t p = begin; p < begin + count;) {
    size_t from, to;
    sight.NextRun(p, begin + count, &from, &to);
    if (from == to) return;
    AddValues<1, false>(Weights<1>{{scores + from}},
                        block.data + (from - begin) * block.stride,
                        block.stride, to - from, nothing, false,
                        a.chunk.state.o + row * dim, dim, dim);
    p = to;
  }
}

// A row's values begin anywhere, so the outputs are cleared beforehand.
void ClearOutputs(const AttentionChunkArgs& a) {
  const size_t dim = PaddedHeadDim(a.head_dim_v);
  for (size_t r = 0; r < a.n_rows; ++r) {
    if (a.n_visible[r] != 0) std::fill_n(a.state.o + r * dim, dim, 0.0f);
  }
}

void Values(const AttentionVariantArgs& a, size_t first, size_t end) {
  const AttentionChunkArgs& chunk = a.chunk;
  const size_t start = first / kAttentionBlock * kAttentionBlock;
  ReadAhead nothing;
  for (size_t begin = start; begin < end; begin += kAttentionBlock) {
    const size_t count = HWY_MIN(kAttentionBlock, end - begin);
    const F32Rows block =
        BlockOf(chunk, chunk.v, chunk.head_dim_v, begin, count);
    for (size_t row = 0; row < chunk.n_rows; row += kValueRows) {
      const size_t n_rows = HWY_MIN(kValueRows, chunk.n_rows - row);
      bool whole = a.mask == nullptr;
      for (size_t r = row; r < row + n_rows; ++r) {
        whole = whole && Sight(a, r).first() <= begin;
      }
      if (whole) {
        Weights<1> w;
        for (size_t r = 0; r < n_rows; ++r) {
          w.row[r] = chunk.scores + (row + r) * kKvChunk + begin;
        }
        AddValuesOfTile<false>(chunk, row, n_rows, w, block.data, block.stride,
                               begin, count, nothing, 0,
                               PaddedHeadDim(chunk.head_dim_v), false);
        continue;
      }
      for (size_t r = row; r < row + n_rows; ++r) {
        AddRuns(a, r, block, begin, count);
      }
    }
  }
}

}  // namespace

void AttentionVariantChunkImpl(const AttentionVariantArgs& a) {
  size_t first, end;
  if (!Extent(a, &first, &end)) return;
  Scores(a, first, end);
  for (size_t r = 0; r < a.chunk.n_rows; ++r) {
    if (a.chunk.n_visible[r] == 0) continue;
    Softmax(a.chunk.scores + r * kKvChunk, a.chunk.n_visible[r],
            a.chunk.state.m + r, a.chunk.state.l + r);
  }
  ClearOutputs(a.chunk);
  Values(a, first, end);
}

void AttentionVariantWeightsImpl(const AttentionVariantArgs& a, const float* m,
                                 const float* l, float* const* probs) {
  size_t first, end;
  if (!Extent(a, &first, &end)) return;
  Scores(a, first, end);
  for (size_t r = 0; r < a.chunk.n_rows; ++r) {
    const Sight sight(a, r);
    const VF base = hn::Set(DF(), m[r] == kMinusInf ? 0.0f : m[r]);
    const VF inverse = hn::Set(DF(), 1.0f / l[r]);
    const float* HWY_RESTRICT scores = a.chunk.scores + r * kKvChunk;
    for (size_t p = 0; p < sight.end(); p += kLanes) {
      F32x16 x = Load16(scores + p);
      for (size_t i = 0; i < kVecs; ++i) {
        x.v[i] = hn::Mul(ExpStrict(DF(), hn::Sub(x.v[i], base)), inverse);
      }
      StoreTail16(x, probs[r] + p, HWY_MIN(kLanes, sight.end() - p));
    }
    // Also where the whole row is NaN.
    for (size_t p = 0; p < sight.end(); ++p) {
      if (!sight.Sees(p)) probs[r][p] = 0.0f;
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace etalon::simd {

HWY_EXPORT(AttentionVariantChunkImpl);
HWY_EXPORT(AttentionVariantWeightsImpl);

void AttentionVariantChunk(const AttentionVariantArgs& args) {
  HWY_DYNAMIC_DISPATCH(AttentionVariantChunkImpl)(args);
}

void AttentionVariantWeights(const AttentionVariantArgs& args, const float* m,
                             const float* l, float* const* probs) {
  HWY_DYNAMIC_DISPATCH(AttentionVariantWeightsImpl)(args, m, l, probs);
}

}  // namespace etalon::simd
#endif  // HWY_ONCE
