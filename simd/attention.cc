#include "simd/attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/attention.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h
#include "simd/attention_tile-inl.h"
#include "simd/exp-inl.h"
#include "simd/lanes-inl.h"

// Once per file, not per target: constants and the way blocks are walked.
#ifndef ETALON_SIMD_ATTENTION_CC_ONCE_
#define ETALON_SIMD_ATTENTION_CC_ONCE_

#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>

namespace etalon::simd {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// Few rows meet each key once and should wait for DRAM only: keys and values
// are widened in registers and asked for ahead of time. More rows would widen
// the same element again and again; they get blocks widened beforehand.
constexpr size_t kDirectRows = 8;
// Positions between two looks at the same strip of values: what the second
// half of a row's lanes needs is then still in L1, and DRAM sees whole rows.
constexpr size_t kDirectBlock = 32;
// How far ahead to prefetch: 2 KiB, in whole positions.
constexpr size_t kPrefetchBytes = 2048;

template <class T>
size_t PrefetchElements(size_t head_dim, size_t stride) {
  return (kPrefetchBytes / (head_dim * sizeof(T)) + 1) * stride;
}

template <class T>
const T* Elements(const KvRows& rows) {
  return reinterpret_cast<const T*>(rows.data);
}

}  // namespace
}  // namespace etalon::simd
#endif  // ETALON_SIMD_ATTENTION_CC_ONCE_

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {
namespace {

// Scores of kRows rows from `row` on against the keys at positions pos[c],
// where kConsecutive those from pos[0] on.
template <size_t kRows, bool kPrefetch, bool kConsecutive, class T>
HWY_INLINE void ScoreTile(const AttentionChunkArgs& a, size_t row,
                          const T* const* k, const size_t* pos, size_t ahead) {
  constexpr size_t kKeys = kTileDots / kRows;
  const size_t dim = PaddedHeadDim(a.head_dim);
  HWY_ALIGN float tile[kTileDots];
  DotTile<kRows, kPrefetch>(a.q + row * dim, dim, k, dim, ahead, a.scale, tile);
  for (size_t r = 0; r < kRows; ++r) {
    float* scores = a.scores + (row + r) * kKvChunk;
    if (kConsecutive) {
      std::memcpy(scores + pos[0], tile + r * kKeys, kKeys * sizeof(float));
    } else {
      for (size_t c = 0; c < kKeys; ++c) scores[pos[c]] = tile[r * kKeys + c];
    }
  }
}

// The tile's keys come from kKeys equal stretches of the chunk: DRAM serves
// several streams faster than one. A position past the end repeats the last
// one, whose score is then stored twice.
template <size_t kRows, class T>
void ScoresDirect(const AttentionChunkArgs& a, size_t n) {
  constexpr size_t kKeys = kTileDots / kRows;
  const T* k = Elements<T>(a.k);
  const size_t stretch = (n + kKeys - 1) / kKeys;
  const size_t ahead = PrefetchElements<T>(a.head_dim, a.k.stride);
  for (size_t j = 0; j < stretch; ++j) {
    const T* keys[kKeys];
    size_t pos[kKeys];
    for (size_t c = 0; c < kKeys; ++c) {
      pos[c] = HWY_MIN(c * stretch + j, n - 1);
      keys[c] = k + pos[c] * a.k.stride;
    }
    ScoreTile<kRows, true, false>(a, 0, keys, pos, ahead);
    for (size_t row = kRows; row < a.n_rows; row += kRows) {
      ScoreTile<kRows, false, false>(a, row, keys, pos, 0);
    }
  }
}

// [n, PaddedHeadDim] f32 at `block`, lanes past head_dim +0.
template <class T>
void Widen(const T* HWY_RESTRICT x, size_t stride, size_t n, size_t head_dim,
           float* HWY_RESTRICT block) {
  const size_t dim = PaddedHeadDim(head_dim);
  for (size_t p = 0; p < n; ++p) {
    size_t d = 0;
    for (; d + kLanes <= head_dim; d += kLanes) {
      Store16(LoadKv(x + p * stride + d), block + p * dim + d);
    }
    if (d < head_dim) {
      Store16(LoadKvTail(x + p * stride + d, head_dim - d),
              block + p * dim + d);
    }
  }
}

struct F32Rows {
  const float* data;
  size_t stride;
};

// Positions [begin, begin + n) as f32 rows of whole steps: the cache itself
// where it is that already, else widened.
HWY_INLINE F32Rows BlockOf(const AttentionChunkArgs& a, const KvRows& rows,
                           size_t begin, size_t n) {
  if (rows.type == TensorType::kF16) {
    Widen(Elements<uint16_t>(rows) + begin * rows.stride, rows.stride, n,
          a.head_dim, a.block);
    return {a.block, PaddedHeadDim(a.head_dim)};
  }
  const float* x = Elements<float>(rows) + begin * rows.stride;
  if (a.head_dim % kLanes == 0) return {x, rows.stride};
  Widen(x, rows.stride, n, a.head_dim, a.block);
  return {a.block, PaddedHeadDim(a.head_dim)};
}

void ScoresBlocked(const AttentionChunkArgs& a, size_t n) {
  constexpr size_t kKeys = kTileDots / kTileRows;
  for (size_t begin = 0; begin < n; begin += kAttentionBlock) {
    const size_t count = HWY_MIN(kAttentionBlock, n - begin);
    const F32Rows block = BlockOf(a, a.k, begin, count);
    for (size_t row = 0; row < a.n_rows; row += kTileRows) {
      for (size_t j = 0; j < count; j += kKeys) {
        const float* keys[kKeys];
        size_t pos[kKeys];
        for (size_t c = 0; c < kKeys; ++c) {
          const size_t p = HWY_MIN(j + c, count - 1);
          pos[c] = begin + p;
          keys[c] = block.data + p * block.stride;
        }
        if (j + kKeys <= count) {
          ScoreTile<kTileRows, false, true>(a, row, keys, pos, 0);
        } else {
          ScoreTile<kTileRows, false, false>(a, row, keys, pos, 0);
        }
      }
    }
  }
}

template <class T>
void Scores(const AttentionChunkArgs& a, size_t n) {
  if (a.n_rows > kDirectRows || a.head_dim % kLanes != 0) {
    ScoresBlocked(a, n);
  } else if (a.n_rows == 1) {
    ScoresDirect<1, T>(a, n);
  } else if (a.n_rows == 2) {
    ScoresDirect<HWY_MIN(2, kTileRows), T>(a, n);
  } else {
    ScoresDirect<kTileRows, T>(a, n);
  }
}

// m = max s; s becomes e = exp(s - m); l = sum e. Positions n .. to the next
// step of 16 take part as s = -Inf: e is +0 there and cannot change l.
HWY_INLINE void Softmax(float* HWY_RESTRICT s, size_t n, float* HWY_RESTRICT m,
                        float* HWY_RESTRICT l) {
  const size_t steps = (n + kLanes - 1) / kLanes * kLanes;
  for (size_t p = n; p < steps; ++p) s[p] = -kInf;
  F32x16 max = Load16(s);
  for (size_t p = kLanes; p < steps; p += kLanes) {
    const F32x16 x = Load16(s + p);
    for (size_t i = 0; i < kVecs; ++i) max.v[i] = hn::Max(max.v[i], x.v[i]);
  }
  HWY_ALIGN float lane[kLanes];
  Store16(max, lane);
  float chunk_max = lane[0];
  for (size_t i = 1; i < kLanes; ++i) {
    chunk_max = lane[i] > chunk_max ? lane[i] : chunk_max;
  }
  const F32x16 base = Set16(chunk_max == -kInf ? 0.0f : chunk_max);
  F32x16 sum = Zero16();
  for (size_t p = 0; p < steps; p += kLanes) {
    F32x16 x = Load16(s + p);
    for (size_t i = 0; i < kVecs; ++i) x.v[i] = hn::Sub(x.v[i], base.v[i]);
    const F32x16 e = Exp16(x);
    Store16(e, s + p);
    sum = Add16(sum, e);
  }
  *m = chunk_max;
  *l = Fold16(sum);
}

// Adds positions [0, n) of a block whose weights start at w, for kRows rows.
template <size_t kRows, bool kPrefetch, class T>
void AddValues(const float* w, const T* v, size_t v_stride, size_t n, float* o,
               size_t dim, size_t ahead) {
  const size_t strips = dim / kLanes;
  size_t s = 0;
  for (; s + kTileStrips <= strips; s += kTileStrips) {
    ValueTile<kRows, kTileStrips, kPrefetch>(
        w, kKvChunk, v + s * kLanes, v_stride, n, ahead, o + s * kLanes, dim);
  }
  for (; s < strips; ++s) {
    ValueTile<kRows, 1, kPrefetch>(w, kKvChunk, v + s * kLanes, v_stride, n,
                                   ahead, o + s * kLanes, dim);
  }
}

// The same for rows [row, row + n_rows) of a register tile, each as far as it
// sees: all of them up to the nearest limit, then each alone.
template <bool kPrefetch, class T>
void AddValuesOfTile(const AttentionChunkArgs& a, size_t row, size_t n_rows,
                     const T* v, size_t v_stride, size_t begin, size_t count,
                     size_t ahead) {
  const size_t dim = PaddedHeadDim(a.head_dim);
  const auto seen = [&](size_t r) {
    const size_t n = a.n_visible[row + r];
    return n > begin ? HWY_MIN(n - begin, count) : 0;
  };
  size_t common = count;
  for (size_t r = 0; r < n_rows; ++r) common = HWY_MIN(common, seen(r));
  const float* w = a.scores + row * kKvChunk + begin;
  float* o = a.state.o + row * dim;
  if (common > 0) {
    switch (n_rows) {
      case 1:
        AddValues<1, kPrefetch>(w, v, v_stride, common, o, dim, ahead);
        break;
      case 2:
        AddValues<HWY_MIN(2, kTileRows), kPrefetch>(w, v, v_stride, common, o,
                                                    dim, ahead);
        break;
      case 3:
        AddValues<HWY_MIN(3, kTileRows), kPrefetch>(w, v, v_stride, common, o,
                                                    dim, ahead);
        break;
      default:
        AddValues<kTileRows, kPrefetch>(w, v, v_stride, common, o, dim, ahead);
    }
  }
  for (size_t r = 0; r < n_rows; ++r) {
    if (seen(r) == common) continue;
    AddValues<1, false>(w + r * kKvChunk + common, v + common * v_stride,
                        v_stride, seen(r) - common, o + r * dim, dim, 0);
  }
}

template <class T>
void ValuesDirect(const AttentionChunkArgs& a, size_t n) {
  const T* v = Elements<T>(a.v);
  const size_t ahead = PrefetchElements<T>(a.head_dim, a.v.stride);
  for (size_t begin = 0; begin < n; begin += kDirectBlock) {
    const size_t count = HWY_MIN(kDirectBlock, n - begin);
    const T* block = v + begin * a.v.stride;
    AddValuesOfTile<true>(a, 0, HWY_MIN(kTileRows, a.n_rows), block, a.v.stride,
                          begin, count, ahead);
    for (size_t row = kTileRows; row < a.n_rows; row += kTileRows) {
      AddValuesOfTile<false>(a, row, HWY_MIN(kTileRows, a.n_rows - row), block,
                             a.v.stride, begin, count, 0);
    }
  }
}

void ValuesBlocked(const AttentionChunkArgs& a, size_t n) {
  for (size_t begin = 0; begin < n; begin += kAttentionBlock) {
    const size_t count = HWY_MIN(kAttentionBlock, n - begin);
    const F32Rows block = BlockOf(a, a.v, begin, count);
    for (size_t row = 0; row < a.n_rows; row += kTileRows) {
      AddValuesOfTile<false>(a, row, HWY_MIN(kTileRows, a.n_rows - row),
                             block.data, block.stride, begin, count, 0);
    }
  }
}

template <class T>
void Values(const AttentionChunkArgs& a, size_t n) {
  if (a.n_rows > kDirectRows || a.head_dim % kLanes != 0) {
    ValuesBlocked(a, n);
  } else {
    ValuesDirect<T>(a, n);
  }
}

}  // namespace

void AttentionChunkImpl(const AttentionChunkArgs& a) {
  const size_t dim = PaddedHeadDim(a.head_dim);
  size_t n = 0;
  for (size_t r = 0; r < a.n_rows; ++r) n = HWY_MAX(n, a.n_visible[r]);
  if (n == 0) return;

  if (a.k.type == TensorType::kF16) {
    Scores<uint16_t>(a, n);
  } else {
    Scores<float>(a, n);
  }
  for (size_t r = 0; r < a.n_rows; ++r) {
    if (a.n_visible[r] == 0) continue;
    Softmax(a.scores + r * kKvChunk, a.n_visible[r], a.state.m + r,
            a.state.l + r);
    for (size_t d = 0; d < dim; d += kLanes) {
      Store16(Zero16(), a.state.o + r * dim + d);
    }
  }
  if (a.v.type == TensorType::kF16) {
    Values<uint16_t>(a, n);
  } else {
    Values<float>(a, n);
  }
}

void MergeSoftmaxStatesImpl(size_t n_rows, size_t head_dim,
                            const size_t* n_visible, const SoftmaxStates& into,
                            const SoftmaxStates& later) {
  const size_t dim = PaddedHeadDim(head_dim);
  for (size_t r = 0; r < n_rows; ++r) {
    if (n_visible[r] == 0) continue;
    const float m = later.m[r] > into.m[r] ? later.m[r] : into.m[r];
    const float base = m == -kInf ? 0.0f : m;
    const F32x16 scale_into = Exp16(Set16(into.m[r] - base));
    const F32x16 scale_later = Exp16(Set16(later.m[r] - base));
    into.m[r] = m;
    HWY_ALIGN float sum[kLanes];
    Store16(Fma16(Set16(later.l[r]), scale_later,
                  Mul16(Set16(into.l[r]), scale_into)),
            sum);
    into.l[r] = sum[0];
    for (size_t d = r * dim; d < (r + 1) * dim; d += kLanes) {
      Store16(Fma16(Load16(later.o + d), scale_later,
                    Mul16(Load16(into.o + d), scale_into)),
              into.o + d);
    }
  }
}

void FinishAttentionRowImpl(float l, const float* HWY_RESTRICT o,
                            size_t head_dim, float* HWY_RESTRICT out) {
  const F32x16 inverse = Set16(1.0f / l);
  const VF nan = hn::Set(DF(), std::bit_cast<float>(0x7fc00000u));
  for (size_t d = 0; d < head_dim; d += kLanes) {
    F32x16 x = Mul16(Load16(o + d), inverse);
    for (size_t i = 0; i < kVecs; ++i) {
      x.v[i] = hn::IfThenElse(hn::IsNaN(x.v[i]), nan, x.v[i]);
    }
    if (d + kLanes <= head_dim) {
      Store16(x, out + d);
    } else {
      StoreTail16(x, out + d, head_dim - d);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace etalon::simd {

HWY_EXPORT(AttentionChunkImpl);
HWY_EXPORT(MergeSoftmaxStatesImpl);
HWY_EXPORT(FinishAttentionRowImpl);

void AttentionChunk(const AttentionChunkArgs& args) {
  HWY_DYNAMIC_DISPATCH(AttentionChunkImpl)(args);
}

void MergeSoftmaxStates(size_t n_rows, size_t head_dim, const size_t* n_visible,
                        const SoftmaxStates& into, const SoftmaxStates& later) {
  HWY_DYNAMIC_DISPATCH(MergeSoftmaxStatesImpl)
  (n_rows, head_dim, n_visible, into, later);
}

void FinishAttentionRow(float l, const float* o, size_t head_dim, float* out) {
  HWY_DYNAMIC_DISPATCH(FinishAttentionRowImpl)(l, o, head_dim, out);
}

}  // namespace etalon::simd
#endif  // HWY_ONCE
