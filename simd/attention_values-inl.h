// The values of a chunk, weighted and added to the outputs of all rows.
// Per-target: see foreach_target.
#if defined(ETALON_SIMD_ATTENTION_VALUES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ETALON_SIMD_ATTENTION_VALUES_INL_H_
#undef ETALON_SIMD_ATTENTION_VALUES_INL_H_
#else
#define ETALON_SIMD_ATTENTION_VALUES_INL_H_
#endif

#include <cstddef>

#include "etalon/attention.h"
#include "hwy/highway.h"
#include "simd/attention.h"
#include "simd/attention_block-inl.h"
#include "simd/attention_tile-inl.h"
#include "simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {

// Adds positions [begin, begin + count) for the rows [row, row + n_rows) of a
// register tile, each as far as it sees: all of them up to the nearest limit,
// then each alone. w is the weight of `row` at `begin`; v has `width` columns,
// those of the outputs from `column` on.
template <bool kPrefetch, class T>
void AddValuesOfTile(const AttentionChunkArgs& a, size_t row, size_t n_rows,
                     const Weights& w, const T* v, size_t v_stride,
                     size_t begin, size_t count, const T* const* ahead,
                     size_t column, size_t width) {
  const size_t dim = PaddedHeadDim(a.head_dim_v);
  const auto seen = [&](size_t r) {
    const size_t n = a.n_visible[row + r];
    return n > begin ? HWY_MIN(n - begin, count) : 0;
  };
  size_t common = count;
  for (size_t r = 0; r < n_rows; ++r) common = HWY_MIN(common, seen(r));
  float* o = a.state.o + row * dim + column;
  if (common > 0) {
    switch (n_rows) {
      case 1:
        AddValues<1, kPrefetch>(w, v, v_stride, common, ahead, o, dim, width);
        break;
      case 2:
        AddValues<HWY_MIN(2, kTileRows), kPrefetch>(w, v, v_stride, common,
                                                    ahead, o, dim, width);
        break;
      case 3:
        AddValues<HWY_MIN(3, kTileRows), kPrefetch>(w, v, v_stride, common,
                                                    ahead, o, dim, width);
        break;
      case 4:
        AddValues<HWY_MIN(4, kTileRows), kPrefetch>(w, v, v_stride, common,
                                                    ahead, o, dim, width);
        break;
      default:
        AddValues<kTileRows, kPrefetch>(w, v, v_stride, common, ahead, o, dim,
                                        width);
    }
  }
  for (size_t r = 0; r < n_rows; ++r) {
    if (seen(r) == common) continue;
    AddValues<1, false>(w.From(common, r), v + common * v_stride, v_stride,
                        seen(r) - common, ahead, o + r * dim, dim, width);
  }
}

// Columns of a block of values. A register tile takes them all, and the fewer
// they are the more positions the block has room for: fewer loads and stores of
// the tile's sums.
inline constexpr size_t kValueColumns = 64;

inline void ValuesBlocked(const AttentionChunkArgs& a, size_t n) {
  const bool few = a.n_rows <= kAttentionFewRows;
  const size_t dim = PaddedHeadDim(a.head_dim_v);
  for (size_t column = 0; column < dim; column += kValueColumns) {
    const size_t width = HWY_MIN(kValueColumns, dim - column);
    const size_t room = kAttentionBlock * dim / width;
    for (size_t begin = 0; begin < n; begin += room) {
      const size_t count = HWY_MIN(room, n - begin);
      const F32Rows block =
          BlockOf(a, a.v, a.head_dim_v, begin, count, column, width);
      for (size_t row = 0; row < a.n_rows; row += kValueRows) {
        const size_t n_rows = HWY_MIN(kValueRows, a.n_rows - row);
        const size_t group = row / kLanes * kLanes;
        const Weights w =
            few ? Weights{a.scores + row * kKvChunk + begin, 1, kKvChunk}
                : Weights{a.scores + group * kKvChunk + begin * kLanes +
                              (row - group),
                          kLanes, 1};
        AddValuesOfTile<false, float>(a, row, n_rows, w, block.data,
                                      block.stride, begin, count, nullptr,
                                      column, width);
      }
    }
  }
}

inline void ClearOutputs(const AttentionChunkArgs& a) {
  const size_t dim = PaddedHeadDim(a.head_dim_v);
  for (size_t r = 0; r < a.n_rows; ++r) {
    if (a.n_visible[r] == 0) continue;
    for (size_t d = 0; d < dim; d += kLanes) {
      Store16(Zero16(), a.state.o + r * dim + d);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
