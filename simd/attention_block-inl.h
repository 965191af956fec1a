// Keys and values of a chunk as f32 rows of whole 16-lane steps. Per-target:
// see foreach_target.
#if defined(ETALON_SIMD_ATTENTION_BLOCK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ETALON_SIMD_ATTENTION_BLOCK_INL_H_
#undef ETALON_SIMD_ATTENTION_BLOCK_INL_H_
#else
#define ETALON_SIMD_ATTENTION_BLOCK_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"
#include "simd/attention.h"
#include "simd/attention_tile-inl.h"
#include "simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {

template <class T>
HWY_INLINE const T* Elements(const KvRows& rows) {
  return reinterpret_cast<const T*>(rows.data);
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

// Asks L2 for positions [begin, begin + n) of a chunk of `end`.
inline void Request(const KvRows& rows, size_t head_dim, size_t begin, size_t n,
                    size_t end) {
  const size_t element = rows.type == TensorType::kF16 ? 2 : 4;
  for (size_t p = begin; p < HWY_MIN(begin + n, end); ++p) {
    const std::byte* row = rows.data + p * rows.stride * element;
    for (size_t i = 0; i < head_dim * element; i += 64) {
      __builtin_prefetch(row + i, 0, 2);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
