// A chunk for a few query rows, one token's heads: keys and values straight
// from the cache. Per-target: see foreach_target.
#if defined(ETALON_SIMD_ATTENTION_FEW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ETALON_SIMD_ATTENTION_FEW_INL_H_
#undef ETALON_SIMD_ATTENTION_FEW_INL_H_
#else
#define ETALON_SIMD_ATTENTION_FEW_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <limits>

#include "etalon/attention.h"
#include "hwy/highway.h"
#include "simd/attention.h"
#include "simd/attention_block-inl.h"
#include "simd/attention_tile-inl.h"
#include "simd/attention_values-inl.h"
#include "simd/exp-inl.h"
#include "simd/lanes-inl.h"
#include "simd/transpose-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {

// Positions between two looks at the same strip of values: what the second
// half of a row's lanes needs is then still in L1, and DRAM sees whole rows.
inline constexpr size_t kDirectBlock = 32;

// Few rows meet each key once and should wait for DRAM only: keys and values
// are widened in registers, and asked for half a chunk ahead: the values while
// the keys are read, the next chunk's keys while the values are.
inline ReadAhead AheadOfKeys(const AttentionChunkArgs& a, size_t n) {
  return {a.v.data, BytesOf(a.v.type, a.head_dim_v),
          BytesOf(a.v.type, a.v.stride), n};
}
// The next chunk is taken to be as long as this one. After the last a line that
// is there already is asked for again and again.
inline ReadAhead AheadOfValues(const AttentionChunkArgs& a, size_t n) {
  if (a.next_k.data == nullptr) return {a.v.data, 0, 0, 0};
  return {a.next_k.data, BytesOf(a.next_k.type, a.head_dim),
          BytesOf(a.next_k.type, a.next_k.stride), n};
}

// Scores of kRows rows from `row` on against the keys at positions pos[c].
template <size_t kRows, bool kPrefetch, class T>
HWY_INLINE void ScoreTile(const AttentionChunkArgs& a, size_t row,
                          const T* const* k, const size_t* pos,
                          ReadAhead& ahead) {
  constexpr size_t kKeys = kTileDots / kRows;
  const size_t dim = PaddedHeadDim(a.head_dim);
  HWY_ALIGN float tile[kTileDots];
  DotTile<kRows, kPrefetch>(a.q + row * dim, dim, k, dim, ahead, a.scale, tile);
  for (size_t r = 0; r < kRows; ++r) {
    float* scores = a.scores + (row + r) * kKvChunk;
    for (size_t c = 0; c < kKeys; ++c) scores[pos[c]] = tile[r * kKeys + c];
  }
}

#if HWY_TARGET == HWY_AVX3
// ScoresDirect of a whole chunk: with 16 tiles at a time the scores of a row
// and stream come to lie side by side by transposition, where storing each of
// them took a seventh of the time.
template <size_t kRows, class T>
void ScoresOfWholeChunk(const AttentionChunkArgs& a) {
  constexpr size_t kKeys = kTileDots / kRows;
  constexpr size_t kStretch = kKvChunk / kKeys;
  static_assert(kStretch % kLanes == 0);
  const size_t dim = PaddedHeadDim(a.head_dim);
  const T* k = Elements<T>(a.k);
  ReadAhead ahead = AheadOfKeys(a, kKvChunk);
  HWY_ALIGN float tiles[kLanes * kTileDots];
  for (size_t begin = 0; begin < kStretch; begin += kLanes) {
    for (size_t j = begin; j < begin + kLanes; ++j) {
      const T* keys[kKeys];
      HWY_UNROLL(16)
      for (size_t c = 0; c < kKeys; ++c) {
        keys[c] = k + (c * kStretch + j) * a.k.stride;
      }
      DotTile<kRows, true>(a.q, dim, keys, dim, ahead, a.scale,
                           tiles + (j - begin) * kTileDots);
    }
    __m512i dots[kTileDots];
    HWY_UNROLL(16)
    for (size_t i = 0; i < kLanes; ++i) {
      dots[i] = _mm512_load_si512(tiles + i * kTileDots);
    }
    Transpose16(dots);
    HWY_UNROLL(16)
    for (size_t i = 0; i < kTileDots; ++i) {
      _mm512_storeu_si512(
          a.scores + i / kKeys * kKvChunk + i % kKeys * kStretch + begin,
          dots[i]);
    }
  }
}
#endif

// Of a few rows, keys straight from the cache, as kKeys streams. A position
// past the end repeats the last one, whose score is then stored twice.
template <size_t kRows, class T>
void ScoresDirect(const AttentionChunkArgs& a, size_t n) {
#if HWY_TARGET == HWY_AVX3
  if (n == kKvChunk && a.n_rows <= kRows) {
    ScoresOfWholeChunk<kRows, T>(a);
    return;
  }
#endif
  constexpr size_t kKeys = kTileDots / kRows;
  const T* k = Elements<T>(a.k);
  ReadAhead ahead = AheadOfKeys(a, n);
  const size_t stretch = (n + kKeys - 1) / kKeys;
  for (size_t j = 0; j < stretch; ++j) {
    const T* keys[kKeys];
    size_t pos[kKeys];
    for (size_t c = 0; c < kKeys; ++c) {
      pos[c] = HWY_MIN(c * stretch + j, n - 1);
      keys[c] = k + pos[c] * a.k.stride;
    }
    ScoreTile<kRows, true>(a, 0, keys, pos, ahead);
    for (size_t row = kRows; row < a.n_rows; row += kRows) {
      ScoreTile<kRows, false>(a, row, keys, pos, ahead);
    }
  }
}

// Of all rows, blocks of keys from `first` (a multiple of a block) on up to
// `end`; keys are widened or padded to whole steps where need be.
template <size_t kRows>
void ScoresByBlocks(const AttentionChunkArgs& a, size_t first, size_t end) {
  constexpr size_t kKeys = kTileDots / kRows;
  ReadAhead nothing;
  for (size_t begin = first; begin < end; begin += kAttentionBlock) {
    const size_t count = HWY_MIN(kAttentionBlock, end - begin);
    const F32Rows block = BlockOf(a, a.k, a.head_dim, begin, count);
    for (size_t j = 0; j < count; j += kKeys) {
      const float* keys[kKeys];
      size_t pos[kKeys];
      for (size_t c = 0; c < kKeys; ++c) {
        const size_t p = HWY_MIN(j + c, count - 1);
        pos[c] = begin + p;
        keys[c] = block.data + p * block.stride;
      }
      for (size_t row = 0; row < a.n_rows; row += kRows) {
        ScoreTile<kRows, false>(a, row, keys, pos, nothing);
      }
    }
  }
}

template <size_t kRows>
void ScoresOfFew(const AttentionChunkArgs& a, size_t n) {
  constexpr size_t kTile = HWY_MIN(kRows, kTileRows);
  if (!IsDirect(a.k.type, a.head_dim)) {
    ScoresByBlocks<kTile>(a, 0, n);
  } else if (a.k.type == TensorType::kF16) {
    ScoresDirect<kTile, uint16_t>(a, n);
  } else {
    ScoresDirect<kTile, float>(a, n);
  }
}

// m = max s; s becomes e = exp(s - m); l = sum e. Positions n .. to the next
// step of 16 take part as s = -Inf: e is +0 there and cannot change l.
HWY_INLINE void Softmax(float* HWY_RESTRICT s, size_t n, float* HWY_RESTRICT m,
                        float* HWY_RESTRICT l) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
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

// Eight rows exactly make a tile of their own; else tiles of kValueRows.
inline size_t ValueTileRows(size_t n_rows) {
  return n_rows == kTileRows ? kTileRows : kValueRows;
}

template <class T>
void ValuesDirect(const AttentionChunkArgs& a, size_t n) {
  const T* v = Elements<T>(a.v);
  ReadAhead ahead = AheadOfValues(a, n);
  const size_t tile = ValueTileRows(a.n_rows);
  const size_t dim = PaddedHeadDim(a.head_dim_v);
  for (size_t begin = 0; begin < n; begin += kDirectBlock) {
    const size_t count = HWY_MIN(kDirectBlock, n - begin);
    const T* block = v + begin * a.v.stride;
    for (size_t row = 0; row < a.n_rows; row += tile) {
      const size_t n_rows = HWY_MIN(tile, a.n_rows - row);
      Weights<1> w;
      for (size_t r = 0; r < n_rows; ++r) {
        w.row[r] = a.scores + (row + r) * kKvChunk + begin;
      }
      if (row == 0) {
        AddValuesOfTile<true>(a, row, n_rows, w, block, a.v.stride, begin,
                              count, ahead, 0, dim, begin == 0);
      } else {
        AddValuesOfTile<false>(a, row, n_rows, w, block, a.v.stride, begin,
                               count, ahead, 0, dim, begin == 0);
      }
    }
  }
}

// kRows: rows of the QK tile.
template <size_t kRows>
void ChunkOfFew(const AttentionChunkArgs& a, size_t n) {
  ScoresOfFew<kRows>(a, n);
  for (size_t r = 0; r < a.n_rows; ++r) {
    if (a.n_visible[r] == 0) continue;
    Softmax(a.scores + r * kKvChunk, a.n_visible[r], a.state.m + r,
            a.state.l + r);
  }
  if (!IsDirect(a.v.type, a.head_dim_v)) {
    ValuesBlocked<1>(a, n);
  } else if (a.v.type == TensorType::kF16) {
    ValuesDirect<uint16_t>(a, n);
  } else {
    ValuesDirect<float>(a, n);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
