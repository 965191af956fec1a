#include "simd/attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/attention.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h
#include "simd/attention_lanes-inl.h"
#include "simd/attention_tile-inl.h"
#include "simd/exp-inl.h"
#include "simd/lanes-inl.h"

// Once per file, not per target: constants and the way blocks are walked.
#ifndef ETALON_SIMD_ATTENTION_CC_ONCE_
#define ETALON_SIMD_ATTENTION_CC_ONCE_

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>

namespace etalon::simd {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// Positions between two looks at the same strip of values: what the second
// half of a row's lanes needs is then still in L1, and DRAM sees whole rows.
constexpr size_t kDirectBlock = 32;
// How far ahead of a few rows keys and values are asked for, into L2: enough to
// cover the latency of DRAM. Measured on one core, f16, 8 kv heads x 128, 2
// rows, as a share of the read roof: 4 KiB into L2 85 %, into L1 82 %; 16 KiB
// into L2 80 %, into L1 76 %.
constexpr size_t kPrefetchBytes = 4096;

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

// Few rows meet each key once and should wait for DRAM only: keys and values
// are widened in registers and asked for ahead of time. What is read in which
// order: in step j the keys j, stretch + j, 2 stretch + j, ... of kKeys equal
// stretches (DRAM serves several streams faster than one), then the values from
// first to last, then the next chunk. The prefetch runs ahead in that
// order, across its joints.
template <class T>
class ReadAhead {
 public:
  ReadAhead(const AttentionChunkArgs& a, size_t n, size_t n_keys)
      : a_(a), n_(n), n_keys_(n_keys), stretch_((n + n_keys - 1) / n_keys) {
    const size_t rows = kPrefetchBytes / (a.head_dim * sizeof(T));
    steps_ = HWY_MAX(1, HWY_MIN(rows, kKvChunk / 2) / n_keys);
  }
  size_t stretch() const { return stretch_; }
  // The row to ask for when key c of step j is read.
  const T* AtKey(size_t c, size_t j) const {
    if (j + steps_ < stretch_) return Key(a_.k, c * stretch_ + j + steps_);
    return Value((j + steps_ - stretch_) * n_keys_ + c);
  }
  // The row to ask for when value p is read.
  const T* AtValue(size_t p) const { return Value(p + steps_ * n_keys_); }

 private:
  const T* Key(const KvRows& rows, size_t p) const {
    return Elements<T>(rows) + HWY_MIN(p, n_ - 1) * rows.stride;
  }
  const T* Value(size_t p) const {
    if (p < n_ || a_.next_k.data == nullptr) return Key(a_.v, p);
    // The next chunk, taken to be as long as this one.
    const size_t i = p - n_;
    return Key(a_.next_k, i % n_keys_ * stretch_ + i / n_keys_);
  }

  const AttentionChunkArgs& a_;
  size_t n_, n_keys_, stretch_, steps_;
};

// Scores of kRows rows from `row` on against the keys at positions pos[c].
template <size_t kRows, bool kPrefetch, class T>
HWY_INLINE void ScoreTile(const AttentionChunkArgs& a, size_t row,
                          const T* const* k, const size_t* pos,
                          const T* const* ahead) {
  constexpr size_t kKeys = kTileDots / kRows;
  const size_t dim = PaddedHeadDim(a.head_dim);
  HWY_ALIGN float tile[kTileDots];
  DotTile<kRows, kPrefetch>(a.q + row * dim, dim, k, dim, ahead, a.scale, tile);
  for (size_t r = 0; r < kRows; ++r) {
    float* scores = a.scores + (row + r) * kKvChunk;
    for (size_t c = 0; c < kKeys; ++c) scores[pos[c]] = tile[r * kKeys + c];
  }
}

// Of a few rows, keys straight from the cache. A position past the end repeats
// the last one, whose score is then stored twice.
template <size_t kRows, class T>
void ScoresDirect(const AttentionChunkArgs& a, size_t n) {
  constexpr size_t kKeys = kTileDots / kRows;
  const T* k = Elements<T>(a.k);
  const ReadAhead<T> read(a, n, kKeys);
  for (size_t j = 0; j < read.stretch(); ++j) {
    const T* keys[kKeys];
    const T* ahead[kKeys];
    size_t pos[kKeys];
    for (size_t c = 0; c < kKeys; ++c) {
      pos[c] = HWY_MIN(c * read.stretch() + j, n - 1);
      keys[c] = k + pos[c] * a.k.stride;
      ahead[c] = read.AtKey(c, j);
    }
    ScoreTile<kRows, true>(a, 0, keys, pos, ahead);
    for (size_t row = kRows; row < a.n_rows; row += kRows) {
      ScoreTile<kRows, false>(a, row, keys, pos, ahead);
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

// Of a few rows whose keys must be padded to whole steps.
template <size_t kRows>
void ScoresWidened(const AttentionChunkArgs& a, size_t n) {
  constexpr size_t kKeys = kTileDots / kRows;
  for (size_t begin = 0; begin < n; begin += kAttentionBlock) {
    const size_t count = HWY_MIN(kAttentionBlock, n - begin);
    const F32Rows block = BlockOf(a, a.k, begin, count);
    for (size_t j = 0; j < count; j += kKeys) {
      const float* keys[kKeys];
      size_t pos[kKeys];
      for (size_t c = 0; c < kKeys; ++c) {
        const size_t p = HWY_MIN(j + c, count - 1);
        pos[c] = begin + p;
        keys[c] = block.data + p * block.stride;
      }
      for (size_t row = 0; row < a.n_rows; row += kRows) {
        ScoreTile<kRows, false>(a, row, keys, pos, keys);
      }
    }
  }
}

template <size_t kRows>
void ScoresOfFew(const AttentionChunkArgs& a, size_t n) {
  constexpr size_t kTile = HWY_MIN(kRows, kTileRows);
  if (a.head_dim % kLanes != 0) {
    ScoresWidened<kTile>(a, n);
  } else if (a.k.type == TensorType::kF16) {
    ScoresDirect<kTile, uint16_t>(a, n);
  } else {
    ScoresDirect<kTile, float>(a, n);
  }
}

// Asks L2 for positions [begin, begin + n) of a chunk of `end`.
void Request(const KvRows& rows, size_t head_dim, size_t begin, size_t n,
             size_t end) {
  const size_t element = rows.type == TensorType::kF16 ? 2 : 4;
  for (size_t p = begin; p < HWY_MIN(begin + n, end); ++p) {
    const std::byte* row = rows.data + p * rows.stride * element;
    for (size_t i = 0; i < head_dim * element; i += 64) {
      __builtin_prefetch(row + i, 0, 2);
    }
  }
}

// Of all groups of 16 rows against keys [j, j + kKeys) of a block.
template <size_t kGroups, size_t kKeys>
void LanesOfBlock(const AttentionChunkArgs& a, const F32Rows& block,
                  size_t begin, size_t count, size_t n) {
  const size_t steps = PaddedHeadDim(a.head_dim) / kLanes;
  const size_t n_groups = PaddedRows(a.n_rows) / kLanes;
  for (size_t j = 0; j < count; j += kKeys) {
    // Spread over the block: what the next one and the values will read.
    Request(a.k, a.head_dim, begin + j + kAttentionBlock, kKeys, n);
    Request(a.v, a.head_dim, begin + j, kKeys, n);
    const float* keys[kKeys];
    for (size_t c = 0; c < kKeys; ++c) {
      keys[c] = block.data + HWY_MIN(j + c, count - 1) * block.stride;
    }
    for (size_t g = 0; g < n_groups; g += kGroups) {
      DotLanes<kGroups, kKeys>(a.q + g * kLanes, n_groups, keys, steps, a.scale,
                               a.scores + (g * kKvChunk + begin + j) * kLanes);
    }
  }
}

void ScoresOfMany(const AttentionChunkArgs& a, size_t n) {
  const size_t n_groups = PaddedRows(a.n_rows) / kLanes;
  for (size_t begin = 0; begin < n; begin += kAttentionBlock) {
    const size_t count = HWY_MIN(kAttentionBlock, n - begin);
    const F32Rows block = BlockOf(a, a.k, begin, count);
    if constexpr (kVecs > 1) {
      // Fewer registers, or narrower ones: a group at a time.
      LanesOfBlock<1, HWY_MIN(kTileDots, 4)>(a, block, begin, count, n);
    } else if (n_groups == 1) {
      LanesOfBlock<1, 8>(a, block, begin, count, n);
    } else if (n_groups == 2) {
      LanesOfBlock<2, 8>(a, block, begin, count, n);
    } else if (n_groups == 3) {
      LanesOfBlock<3, 4>(a, block, begin, count, n);
    } else {
      LanesOfBlock<4, 4>(a, block, begin, count, n);
    }
  }
}

void SoftmaxOfMany(const AttentionChunkArgs& a) {
  for (size_t row = 0; row < a.n_rows; row += kLanes) {
    const size_t n_rows = HWY_MIN(kLanes, a.n_rows - row);
    size_t least = kKvChunk, most = 0;
    for (size_t r = 0; r < n_rows; ++r) {
      least = HWY_MIN(least, a.n_visible[row + r]);
      most = HWY_MAX(most, a.n_visible[row + r]);
    }
    if (most == 0) continue;
    HWY_ALIGN float seen[kLanes];
    HWY_ALIGN float m[kLanes];
    HWY_ALIGN float l[kLanes];
    for (size_t r = 0; r < kLanes; ++r) {
      seen[r] = static_cast<float>(r < n_rows ? a.n_visible[row + r] : most);
    }
    SoftmaxLanes(seen, least, most, a.scores + row * kKvChunk, m, l);
    for (size_t r = 0; r < n_rows; ++r) {
      if (a.n_visible[row + r] == 0) continue;
      a.state.m[row + r] = m[r];
      a.state.l[row + r] = l[r];
    }
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

// Adds positions [begin, begin + count) for the rows [row, row + n_rows) of a
// register tile, each as far as it sees: all of them up to the nearest limit,
// then each alone. w is the weight of `row` at `begin`.
template <bool kPrefetch, class T>
void AddValuesOfTile(const AttentionChunkArgs& a, size_t row, size_t n_rows,
                     const Weights& w, const T* v, size_t v_stride,
                     size_t begin, size_t count, const T* const* ahead) {
  const size_t dim = PaddedHeadDim(a.head_dim);
  const auto seen = [&](size_t r) {
    const size_t n = a.n_visible[row + r];
    return n > begin ? HWY_MIN(n - begin, count) : 0;
  };
  size_t common = count;
  for (size_t r = 0; r < n_rows; ++r) common = HWY_MIN(common, seen(r));
  float* o = a.state.o + row * dim;
  if (common > 0) {
    switch (n_rows) {
      case 1:
        AddValues<1, kPrefetch>(w, v, v_stride, common, ahead, o, dim);
        break;
      case 2:
        AddValues<HWY_MIN(2, kTileRows), kPrefetch>(w, v, v_stride, common,
                                                    ahead, o, dim);
        break;
      case 3:
        AddValues<HWY_MIN(3, kTileRows), kPrefetch>(w, v, v_stride, common,
                                                    ahead, o, dim);
        break;
      case 4:
        AddValues<HWY_MIN(4, kTileRows), kPrefetch>(w, v, v_stride, common,
                                                    ahead, o, dim);
        break;
      default:
        AddValues<kTileRows, kPrefetch>(w, v, v_stride, common, ahead, o, dim);
    }
  }
  for (size_t r = 0; r < n_rows; ++r) {
    if (seen(r) == common) continue;
    AddValues<1, false>(w.From(common, r), v + common * v_stride, v_stride,
                        seen(r) - common, ahead, o + r * dim, dim);
  }
}

// Eight rows exactly make a tile of their own; else tiles of kValueRows.
size_t ValueTileRows(size_t n_rows) {
  return n_rows == kTileRows ? kTileRows : kValueRows;
}

template <class T>
void ValuesDirect(const AttentionChunkArgs& a, size_t n, size_t n_keys) {
  const T* v = Elements<T>(a.v);
  const ReadAhead<T> read(a, n, n_keys);
  const size_t tile = ValueTileRows(a.n_rows);
  for (size_t begin = 0; begin < n; begin += kDirectBlock) {
    const size_t count = HWY_MIN(kDirectBlock, n - begin);
    const T* block = v + begin * a.v.stride;
    const T* ahead[kDirectBlock];
    for (size_t p = 0; p < count; ++p) ahead[p] = read.AtValue(begin + p);
    for (size_t row = 0; row < a.n_rows; row += tile) {
      const size_t n_rows = HWY_MIN(tile, a.n_rows - row);
      const Weights w{a.scores + row * kKvChunk + begin, 1, kKvChunk};
      if (row == 0) {
        AddValuesOfTile<true>(a, row, n_rows, w, block, a.v.stride, begin,
                              count, ahead);
      } else {
        AddValuesOfTile<false>(a, row, n_rows, w, block, a.v.stride, begin,
                               count, ahead);
      }
    }
  }
}

void ValuesBlocked(const AttentionChunkArgs& a, size_t n) {
  const bool few = a.n_rows <= kAttentionFewRows;
  for (size_t begin = 0; begin < n; begin += kAttentionBlock) {
    const size_t count = HWY_MIN(kAttentionBlock, n - begin);
    const F32Rows block = BlockOf(a, a.v, begin, count);
    for (size_t row = 0; row < a.n_rows; row += kValueRows) {
      const size_t n_rows = HWY_MIN(kValueRows, a.n_rows - row);
      const size_t group = row / kLanes * kLanes;
      const Weights w =
          few ? Weights{a.scores + row * kKvChunk + begin, 1, kKvChunk}
              : Weights{a.scores + group * kKvChunk + begin * kLanes +
                            (row - group),
                        kLanes, 1};
      AddValuesOfTile<false, float>(a, row, n_rows, w, block.data, block.stride,
                                    begin, count, nullptr);
    }
  }
}

void ClearOutputs(const AttentionChunkArgs& a) {
  const size_t dim = PaddedHeadDim(a.head_dim);
  for (size_t r = 0; r < a.n_rows; ++r) {
    if (a.n_visible[r] == 0) continue;
    for (size_t d = 0; d < dim; d += kLanes) {
      Store16(Zero16(), a.state.o + r * dim + d);
    }
  }
}

void ChunkOfMany(const AttentionChunkArgs& a, size_t n) {
  ScoresOfMany(a, n);
  SoftmaxOfMany(a);
  ClearOutputs(a);
  ValuesBlocked(a, n);
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
  ClearOutputs(a);
  constexpr size_t kKeys = kTileDots / HWY_MIN(kRows, kTileRows);
  if (a.head_dim % kLanes != 0) {
    ValuesBlocked(a, n);
  } else if (a.v.type == TensorType::kF16) {
    ValuesDirect<uint16_t>(a, n, kKeys);
  } else {
    ValuesDirect<float>(a, n, kKeys);
  }
}

}  // namespace

void AttentionChunkImpl(const AttentionChunkArgs& a) {
  size_t n = 0;
  for (size_t r = 0; r < a.n_rows; ++r) n = HWY_MAX(n, a.n_visible[r]);
  if (n == 0) return;
  if (a.n_rows > kAttentionFewRows) {
    ChunkOfMany(a, n);
  } else if (a.n_rows == 1) {
    ChunkOfFew<1>(a, n);
  } else if (a.n_rows == 2) {
    ChunkOfFew<2>(a, n);
  } else if (a.n_rows <= 4) {
    ChunkOfFew<4>(a, n);
  } else {
    ChunkOfFew<8>(a, n);
  }
}

void PackQueriesImpl(const float* const* rows, size_t n_rows, size_t head_dim,
                     float* HWY_RESTRICT q) {
  const size_t dim = PaddedHeadDim(head_dim);
  std::fill_n(q, PaddedRows(n_rows) * dim, 0.0f);
  if (n_rows <= kAttentionFewRows) {
    for (size_t r = 0; r < n_rows; ++r) {
      std::copy_n(rows[r], head_dim, q + r * dim);
    }
    return;
  }
  // q[j, step, group, lane]: see DotLanes. Blocks of 16 rows by 16 elements.
  const size_t n_groups = PaddedRows(n_rows) / kLanes;
  const size_t steps = dim / kLanes;
  const hn::RebindToSigned<DF> di;
  const auto rows_apart =
      hn::Mul(hn::Iota(di, 0), hn::Set(di, static_cast<int32_t>(kLanes)));
  HWY_ALIGN float block[kLanes * kLanes];
  for (size_t row = 0; row < n_rows; row += kLanes) {
    const size_t n = HWY_MIN(kLanes, n_rows - row);
    std::fill_n(block, kLanes * kLanes, 0.0f);
    for (size_t s = 0; s < steps; ++s) {
      const size_t count = HWY_MIN(kLanes, head_dim - s * kLanes);
      for (size_t r = 0; r < n; ++r) {
        const float* HWY_RESTRICT x = rows[row + r] + s * kLanes;
        Store16(count == kLanes ? Load16(x) : LoadTail16(x, count),
                block + r * kLanes);
      }
      for (size_t j = 0; j < kLanes; ++j) {
        float* HWY_RESTRICT lanes =
            q + ((j * steps + s) * n_groups + row / kLanes) * kLanes;
        for (size_t i = 0; i < kLanes; i += kRealLanes) {
          hn::StoreU(hn::GatherIndex(DF(), block + i * kLanes + j, rows_apart),
                     DF(), lanes + i);
        }
      }
    }
  }
}

// Sixteen rows at a time share the exponentials.
void MergeSoftmaxStatesImpl(size_t n_rows, size_t head_dim,
                            const size_t* n_visible, const SoftmaxStates& into,
                            const SoftmaxStates& later) {
  const size_t dim = PaddedHeadDim(head_dim);
  for (size_t row = 0; row < n_rows; row += kLanes) {
    const size_t n = HWY_MIN(kLanes, n_rows - row);
    HWY_ALIGN float m[kLanes];
    HWY_ALIGN float keep[kLanes] = {};  // exp(m1 - m)
    HWY_ALIGN float add[kLanes] = {};   // exp(m2 - m)
    for (size_t r = 0; r < n; ++r) {
      const float m1 = into.m[row + r], m2 = later.m[row + r];
      m[r] = m2 > m1 ? m2 : m1;
      const float base = m[r] == -kInf ? 0.0f : m[r];
      keep[r] = m1 - base;
      add[r] = m2 - base;
    }
    Store16(Exp16(Load16(keep)), keep);
    Store16(Exp16(Load16(add)), add);
    for (size_t r = 0; r < n; ++r) {
      const size_t i = row + r;
      if (n_visible[i] == 0) continue;
      const F32x16 a = Set16(keep[r]), b = Set16(add[r]);
      into.m[i] = m[r];
      HWY_ALIGN float sum[kLanes];
      Store16(Fma16(Set16(later.l[i]), b, Mul16(Set16(into.l[i]), a)), sum);
      into.l[i] = sum[0];
      for (size_t d = i * dim; d < (i + 1) * dim; d += kLanes) {
        Store16(Fma16(Load16(later.o + d), b, Mul16(Load16(into.o + d), a)),
                into.o + d);
      }
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
HWY_EXPORT(PackQueriesImpl);
HWY_EXPORT(MergeSoftmaxStatesImpl);
HWY_EXPORT(FinishAttentionRowImpl);

void AttentionChunk(const AttentionChunkArgs& args) {
  HWY_DYNAMIC_DISPATCH(AttentionChunkImpl)(args);
}

void PackQueries(const float* const* rows, size_t n_rows, size_t head_dim,
                 float* q) {
  HWY_DYNAMIC_DISPATCH(PackQueriesImpl)(rows, n_rows, head_dim, q);
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
