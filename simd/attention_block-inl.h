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
#include "quant/block_formats.h"
#include "quant/f16.h"
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

// Columns [column, column + width) as [n, width] f32 at `block`, +0 from
// head_dim on.
template <class T>
void Widen(const T* HWY_RESTRICT x, size_t stride, size_t n, size_t head_dim,
           size_t column, size_t width, float* HWY_RESTRICT block) {
  const size_t end = HWY_MIN(head_dim, column + width) - column;
  for (size_t p = 0; p < n; ++p) {
    const T* HWY_RESTRICT from = x + p * stride + column;
    float* HWY_RESTRICT to = block + p * width;
    size_t d = 0;
    for (; d + kLanes <= end; d += kLanes) Store16(LoadKv(from + d), to + d);
    if (d < end) Store16(LoadKvTail(from + d, end - d), to + d);
  }
}

struct F32Rows {
  const float* data;
  size_t stride;
};

// Rows of Q8_0 blocks: d * q is exact in f32.
inline void WidenQ8_0(const BlockQ8_0* HWY_RESTRICT x, size_t stride, size_t n,
                      size_t head_dim, size_t column, size_t width,
                      float* HWY_RESTRICT block) {
  const hn::Rebind<int8_t, DF> d8;
  const hn::RebindToSigned<DF> d32;
  const size_t end = HWY_MIN(head_dim, column + width);
  for (size_t p = 0; p < n; ++p) {
    float* HWY_RESTRICT row = block + p * width;
    for (size_t d = column; d < end; d += kLanes) {
      const BlockQ8_0& b = x[p * stride + d / kQk];
      const VF scale = hn::Set(DF(), F16ToF32(b.d));
      for (size_t i = 0; i < kLanes; i += kRealLanes) {
        const auto q = hn::PromoteTo(d32, hn::LoadU(d8, b.qs + d % kQk + i));
        hn::StoreU(hn::Mul(hn::ConvertTo(DF(), q), scale), DF(),
                   row + d - column + i);
      }
    }
    for (size_t d = end - column; d < width; ++d) row[d] = 0.0f;
  }
}

// Bytes of n elements; for Q8_0 n is a multiple of its block.
HWY_INLINE size_t BytesOf(TensorType type, size_t n) {
  if (type == TensorType::kF32) return 4 * n;
  if (type == TensorType::kQ8_0) return n / kQk * sizeof(BlockQ8_0);
  return 2 * n;
}

// Columns [column, column + width) of positions [begin, begin + n) as f32 rows
// of whole steps: the cache itself where it is that already and may lie apart,
// else widened into a.block. Columns of a power of two apart share few sets of
// L1: what is read often should be together.
inline F32Rows BlockOf(const AttentionChunkArgs& a, const KvRows& rows,
                       size_t head_dim, size_t begin, size_t n, size_t column,
                       size_t width, bool together) {
  const std::byte* data = rows.data + BytesOf(rows.type, begin * rows.stride);
  switch (rows.type) {
    case TensorType::kF16:
      Widen(reinterpret_cast<const uint16_t*>(data), rows.stride, n, head_dim,
            column, width, a.block);
      break;
    case TensorType::kBF16:
      Widen(reinterpret_cast<const Bf16*>(data), rows.stride, n, head_dim,
            column, width, a.block);
      break;
    case TensorType::kQ8_0:
      WidenQ8_0(reinterpret_cast<const BlockQ8_0*>(data), rows.stride / kQk, n,
                head_dim, column, width, a.block);
      break;
    default: {
      const float* x = reinterpret_cast<const float*>(data);
      if (head_dim % kLanes == 0 && !together) {
        return {x + column, rows.stride};
      }
      Widen(x, rows.stride, n, head_dim, column, width, a.block);
    }
  }
  return {a.block, width};
}

// All columns.
inline F32Rows BlockOf(const AttentionChunkArgs& a, const KvRows& rows,
                       size_t head_dim, size_t begin, size_t n) {
  return BlockOf(a, rows, head_dim, begin, n, 0, PaddedHeadDim(head_dim),
                 false);
}

// Can a few rows be read straight from the cache?
HWY_INLINE bool IsDirect(TensorType type, size_t head_dim) {
  return head_dim % kLanes == 0 &&
         (type == TensorType::kF32 || type == TensorType::kF16);
}

// Asks L2 for positions [begin, begin + n) of a chunk of `end`. To be inlined
// into a function that does something: g++ 12 takes one that only prefetches to
// be without effect and drops the calls.
HWY_INLINE void Request(const KvRows& rows, size_t head_dim, size_t begin,
                        size_t n, size_t end) {
  const size_t bytes = BytesOf(rows.type, (head_dim + kQk - 1) / kQk * kQk);
  for (size_t p = begin; p < HWY_MIN(begin + n, end); ++p) {
    const std::byte* row = rows.data + BytesOf(rows.type, p * rows.stride);
    for (size_t i = 0; i < bytes; i += 64) {
      __builtin_prefetch(row + i, 0, 2);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
