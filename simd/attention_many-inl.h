// A chunk for many query rows, 16 by 16 in the lanes of vectors. Per-target:
// see foreach_target.
#if defined(ETALON_SIMD_ATTENTION_MANY_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ETALON_SIMD_ATTENTION_MANY_INL_H_
#undef ETALON_SIMD_ATTENTION_MANY_INL_H_
#else
#define ETALON_SIMD_ATTENTION_MANY_INL_H_
#endif

#include <cstddef>

#include "etalon/attention.h"
#include "hwy/highway.h"
#include "simd/attention.h"
#include "simd/attention_block-inl.h"
#include "simd/attention_lanes-inl.h"
#include "simd/attention_tile-inl.h"
#include "simd/attention_values-inl.h"
#include "simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {

// What the next block and the values will read, asked for evenly over the walk
// of all groups through a block: a burst would keep what the products load
// waiting. Here the share of keys [j, j + n_keys) met by n_groups groups.
HWY_INLINE void RequestShare(const AttentionChunkArgs& a, size_t begin,
                             size_t count, size_t group, size_t n_groups,
                             size_t j, size_t n_keys, size_t n) {
  const size_t all = PaddedRows(a.n_rows) / kLanes;
  const size_t done = group * count + j * HWY_MIN(n_groups, all - group);
  const size_t from = done / all;
  const size_t to = (done + n_keys * n_groups) / all;
  Request(a.v, a.head_dim_v, begin + from, to - from, n);
  const size_t next = begin + kAttentionBlock + from;
  if (next < n) {
    Request(a.k, a.head_dim, next, to - from, n);
  } else if (a.next_k.data != nullptr) {
    Request(a.next_k, a.head_dim, next - n, to - from, kAttentionBlock);
  }
}

// What any row of groups [group, group + n_groups) sees of positions
// [begin, begin + count).
inline size_t SeenByGroups(const AttentionChunkArgs& a, size_t group,
                           size_t n_groups, size_t begin, size_t count) {
  const size_t end = HWY_MIN((group + n_groups) * kLanes, a.n_rows);
  size_t seen = begin;
  for (size_t r = group * kLanes; r < end; ++r) {
    seen = HWY_MAX(seen, a.n_visible[r]);
  }
  return HWY_MIN(seen - begin, count);
}

// Of groups [group, group + kGroups) of 16 rows against a block of keys, as far
// as any of the rows sees.
template <size_t kGroups, size_t kKeys, size_t kSteps>
void LanesOfBlock(const AttentionChunkArgs& a, const F32Rows& block,
                  size_t begin, size_t count, size_t group, size_t n) {
  const size_t steps = PaddedHeadDim(a.head_dim) / kLanes;
  const size_t n_groups = PaddedRows(a.n_rows) / kLanes;
  const size_t seen = SeenByGroups(a, group, kGroups, begin, count);
  for (size_t j = 0; j < seen; j += kKeys) {
    RequestShare(a, begin, count, group, kGroups, j, kKeys, n);
    const float* keys[kKeys];
    for (size_t c = 0; c < kKeys; ++c) {
      keys[c] = block.data + HWY_MIN(j + c, count - 1) * block.stride;
    }
    DotLanes<kGroups, kKeys, kSteps>(
        a.q + group * kLanes, n_groups, keys, steps, a.scale,
        a.scores + (group * kKvChunk + begin + j) * kLanes);
  }
}

// Three groups times four keys: 12 sums and as many that wait for them, with
// the operands of a step, fill 32 registers.
template <size_t kSteps>
void LanesOfGroups(const AttentionChunkArgs& a, const F32Rows& block,
                   size_t begin, size_t count, size_t n) {
  const size_t n_groups = PaddedRows(a.n_rows) / kLanes;
  for (size_t g = 0; g < n_groups;) {
    if constexpr (kVecs > 1) {  // fewer registers, or narrower ones
      LanesOfBlock<1, HWY_MIN(kTileDots, 4), 0>(a, block, begin, count, g, n);
      g += 1;
    } else if (n_groups - g == 1) {
      LanesOfBlock<1, 8, kSteps>(a, block, begin, count, g, n);
      g += 1;
    } else if (n_groups - g == 2 || n_groups - g == 4) {
      LanesOfBlock<2, 4, kSteps>(a, block, begin, count, g, n);
      g += 2;
    } else {
      LanesOfBlock<3, 4, kSteps>(a, block, begin, count, g, n);
      g += 3;
    }
  }
}

inline void ScoresOfMany(const AttentionChunkArgs& a, size_t n) {
  const size_t steps = PaddedHeadDim(a.head_dim) / kLanes;
  for (size_t begin = 0; begin < n; begin += kAttentionBlock) {
    const size_t count = HWY_MIN(kAttentionBlock, n - begin);
    const F32Rows block = BlockOf(a, a.k, a.head_dim, begin, count);
    if (steps == 8) {
      LanesOfGroups<8>(a, block, begin, count, n);
    } else if (steps == 4) {
      LanesOfGroups<4>(a, block, begin, count, n);
    } else {
      LanesOfGroups<0>(a, block, begin, count, n);
    }
  }
}

inline void SoftmaxOfMany(const AttentionChunkArgs& a) {
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

inline void ChunkOfMany(const AttentionChunkArgs& a, size_t n) {
  ScoresOfMany(a, n);
  SoftmaxOfMany(a);
  ValuesBlocked<kLanes>(a, n);
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
