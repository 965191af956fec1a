// The values of a chunk, weighted and added to the outputs of all rows.
// Per-target: see foreach_target.
#if defined(ETALON_SIMD_ATTENTION_VALUES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ETALON_SIMD_ATTENTION_VALUES_INL_H_
#undef ETALON_SIMD_ATTENTION_VALUES_INL_H_
#else
#define ETALON_SIMD_ATTENTION_VALUES_INL_H_
#endif

#include <cstddef>
#include <type_traits>

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
// then each alone. w is the weights from `begin` on; v has `width` columns,
// those of the outputs from `column` on. `fresh`: the outputs are new.
template <bool kPrefetch, size_t kStep, class T>
void AddValuesOfTile(const AttentionChunkArgs& a, size_t row, size_t n_rows,
                     const Weights<kStep>& w, const T* v, size_t v_stride,
                     size_t begin, size_t count, ReadAhead& ahead,
                     size_t column, size_t width, bool fresh) {
  const size_t dim = PaddedHeadDim(a.head_dim_v);
  const auto seen = [&](size_t r) {
    const size_t n = a.n_visible[row + r];
    return n > begin ? HWY_MIN(n - begin, count) : 0;
  };
  size_t common = count;
  for (size_t r = 0; r < n_rows; ++r) common = HWY_MIN(common, seen(r));
  float* o = a.state.o + row * dim + column;
  if (common > 0) {
    const auto add = [&]<size_t kRows>(std::integral_constant<size_t, kRows>) {
      AddValues<HWY_MIN(kRows, kTileRows), kPrefetch>(
          w, v, v_stride, common, ahead, fresh, o, dim, width);
    };
    switch (n_rows) {
      case 1:
        add(std::integral_constant<size_t, 1>());
        break;
      case 2:
        add(std::integral_constant<size_t, 2>());
        break;
      case 3:
        add(std::integral_constant<size_t, 3>());
        break;
      case 4:
        add(std::integral_constant<size_t, 4>());
        break;
      case 6:
        if constexpr (!kPrefetch) add(std::integral_constant<size_t, 6>());
        break;
      default:
        add(std::integral_constant<size_t, kTileRows>());
    }
  }
  for (size_t r = 0; r < n_rows; ++r) {
    if (seen(r) == common) continue;
    const Weights<kStep> alone{{w.row[r] + common * kStep}};
    AddValues<1, false>(alone, v + common * v_stride, v_stride,
                        seen(r) - common, ahead, fresh && common == 0,
                        o + r * dim, dim, width);
  }
}

// Columns of a block of values. A register tile takes them all, and the fewer
// they are the more positions the block has room for: fewer loads and stores of
// the tile's sums.
inline constexpr size_t kValueColumns = 64;

// kStep: the rows' scores lie one after the other (1) or 16 side by side.
template <size_t kStep>
void ValuesBlocked(const AttentionChunkArgs& a, size_t n) {
  constexpr size_t kRows = kStep == 1 ? kValueRows : kBlockRows;
  const size_t dim = PaddedHeadDim(a.head_dim_v);
  ReadAhead nothing;
  for (size_t column = 0; column < dim; column += kValueColumns) {
    const size_t width = HWY_MIN(kValueColumns, dim - column);
    const size_t room = kAttentionBlock * dim / width;
    for (size_t begin = 0; begin < n; begin += room) {
      const size_t count = HWY_MIN(room, n - begin);
      const F32Rows block =
          BlockOf(a, a.v, a.head_dim_v, begin, count, column, width, true);
      for (size_t row = 0; row < a.n_rows;) {
        const size_t left = a.n_rows - row;
        const size_t n_rows = left >= kRows ? kRows : HWY_MIN(kValueRows, left);
        Weights<kStep> w;
        for (size_t r = 0; r < n_rows; ++r) {
          const size_t i = (row + r) / kStep * kStep;
          w.row[r] = a.scores + i * kKvChunk + begin * kStep + (row + r - i);
        }
        AddValuesOfTile<false>(a, row, n_rows, w, block.data, block.stride,
                               begin, count, nothing, column, width,
                               begin == 0);
        row += n_rows;
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
