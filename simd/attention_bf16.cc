#include "simd/attention_bf16.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "etalon/simd_tier.h"
#include "simd/target.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/attention_bf16.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h
#include "simd/transpose-inl.h"

// In the AVX-512 pass only: tile instructions are asm, bf16 conversions and
// products intrinsics of a wider target string.
#if HWY_TARGET == HWY_AVX3
#undef HWY_TARGET_STR
#define HWY_TARGET_STR HWY_TARGET_STR_AVX3 ",avx512bf16"
#include "simd/attention_bf16_pack-inl.h"
// Then
#include "simd/attention_bf16_softmax-inl.h"
// Then
#include "simd/attention_bf16_dot-inl.h"
#include "simd/attention_bf16_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace N_AVX3_BF16 {

inline constexpr size_t kScoreRow = kKvChunk * sizeof(float);

struct Scratch {
  std::byte* keys;
  std::byte* values;
  // [32, 256] f32; weights, bf16, take the first half of each row's place.
  std::byte* scores;
  float* products;  // [32, 32]

  Scratch(std::byte* p, size_t head_dim) {
    const size_t packed = kKvChunk * Bf16HeadDim(head_dim) * sizeof(uint16_t);
    keys = p;
    values = p + packed;
    p += 2 * packed;
    scores = p;
    p += kBf16Rows * kScoreRow;
    products = reinterpret_cast<float*>(p);
  }
};

// o = o * keep + products, columns [d, d + 32) of the rows that see anything.
HWY_INLINE void AddProducts(const float* HWY_RESTRICT products,
                            const float* HWY_RESTRICT keep,
                            const size_t* n_visible, size_t n_rows, size_t d,
                            size_t dim, float* HWY_RESTRICT o) {
  for (size_t r = 0; r < n_rows; ++r) {
    if (n_visible[r] == 0) continue;
    const __m512 scale = _mm512_set1_ps(keep[r]);
    float* to = o + r * dim + d;
    const float* from = products + r * kDepth;
    _mm512_storeu_ps(
        to, _mm512_fmadd_ps(_mm512_loadu_ps(to), scale, _mm512_load_ps(from)));
    if (d + 16 < dim) {
      _mm512_storeu_ps(to + 16, _mm512_fmadd_ps(_mm512_loadu_ps(to + 16), scale,
                                                _mm512_load_ps(from + 16)));
    }
  }
}

template <class T>
const T* Elements(const KvRows& rows) {
  return reinterpret_cast<const T*>(rows.data);
}

// NaN and Inf among the values, packed as 0: added to the rows that see them,
// since a weight of 0 in the others would make them NaN.
inline void AddSpecialValues(const std::byte* weights, const Bf16ChunkArgs& a,
                             size_t row, size_t n_rows, size_t n) {
  const auto widen = [](uint16_t x) {
    const uint32_t bits = static_cast<uint32_t>(x) << 16;
    float f;
    std::memcpy(&f, &bits, 4);
    return f;
  };
  const size_t dim = PaddedHeadDim(a.head_dim);
  alignas(64) uint16_t values[kDepth];
  for (size_t p = 0; p < n; ++p) {
    for (size_t d = 0; d < a.head_dim; d += kDepth) {
      const size_t at = p * a.v.stride + d;
      const __m512i x =
          a.v.type == TensorType::kF16
              ? RoundRow(Elements<uint16_t>(a.v) + at, a.head_dim - d)
              : RoundRow(Elements<float>(a.v) + at, a.head_dim - d);
      if (SpecialElements(x) == 0) continue;
      _mm512_store_si512(values, x);
      for (size_t i = 0; i < kDepth; ++i) {
        if ((SpecialElements(x) >> i & 1) == 0) continue;
        for (size_t r = 0; r < n_rows; ++r) {
          if (a.n_visible[row + r] <= p) continue;
          a.state.o[(row + r) * dim + d + i] +=
              widen(reinterpret_cast<const uint16_t*>(weights +
                                                      r * kScoreRow)[p]) *
              widen(values[i]);
        }
      }
    }
  }
}

// Returns whether all values are finite.
bool PackChunk(const Bf16ChunkArgs& a, size_t n, size_t n_keys,
               const Scratch& to) {
  if (a.k.type == TensorType::kF16) {
    PackKeys(Elements<uint16_t>(a.k), a.k.stride, n, n_keys, a.head_dim,
             to.keys);
  } else {
    PackKeys(Elements<float>(a.k), a.k.stride, n, n_keys, a.head_dim, to.keys);
  }
  if (a.v.type == TensorType::kF16) {
    return PackValues(Elements<uint16_t>(a.v), a.v.stride, n, n_keys,
                      a.head_dim, to.values);
  }
  return PackValues(Elements<float>(a.v), a.v.stride, n, n_keys, a.head_dim,
                    to.values);
}

template <class Unit>
HWY_INLINE void ChunkOn(const Bf16ChunkArgs& a) {
  size_t n = 0;
  for (size_t r = 0; r < a.n_rows; ++r) n = std::max(n, a.n_visible[r]);
  if (n == 0) return;
  const size_t n_keys = (n + kDepth - 1) / kDepth * kDepth;
  const size_t dim = PaddedHeadDim(a.head_dim);
  const size_t depths = Bf16HeadDim(a.head_dim) / kDepth;
  const Scratch at(a.scratch, a.head_dim);
  const bool finite = PackChunk(a, n, n_keys, at);
  const Unit unit;
  for (size_t row = 0; row < a.n_rows; row += kBf16Rows) {
    const size_t n_rows = std::min(kBf16Rows, a.n_rows - row);
    size_t most = 0;
    for (size_t r = row; r < row + n_rows; ++r) {
      most = std::max(most, a.n_visible[r]);
    }
    if (most == 0) continue;
    const size_t keys = (most + kDepth - 1) / kDepth * kDepth;
    const auto* q =
        reinterpret_cast<const std::byte*>(a.q + row * Bf16HeadDim(a.head_dim));
    for (size_t p = 0; p < keys; p += kDepth) {
      unit.Product(q, depths * 64, at.keys + p / 16 * depths * kTileBytes,
                   depths * kTileBytes, depths, at.scores + p * sizeof(float),
                   kScoreRow);
    }
    alignas(64) float keep[kBf16Rows];
    WeighRows(at.scores, kScoreRow, a.n_visible + row, n_rows, keys,
              a.state.m + row, a.state.l + row, keep);
    for (size_t d = 0; d < dim; d += kDepth) {
      unit.Product(at.scores, kScoreRow,
                   at.values + d / 16 * (n_keys / kDepth) * kTileBytes,
                   n_keys / kDepth * kTileBytes, keys / kDepth,
                   reinterpret_cast<std::byte*>(at.products),
                   kDepth * sizeof(float));
      AddProducts(at.products, keep, a.n_visible + row, n_rows, d, dim,
                  a.state.o + row * dim);
    }
    if (!finite) AddSpecialValues(at.scores, a, row, n_rows, n);
  }
}

void Chunk(const Bf16ChunkArgs& a, bool tiles) {
  if (tiles) {
    ChunkOn<TileUnit>(a);
  } else {
    ChunkOn<DotUnit>(a);
  }
}

void PackQueries(const float* const* rows, size_t n_rows, size_t head_dim,
                 float factor, uint16_t* q) {
  const size_t dim = Bf16HeadDim(head_dim);
  for (size_t r = 0; r < Bf16Rows(n_rows); ++r) {
    for (size_t d = 0; d < dim; d += kDepth) {
      _mm512_storeu_si512(
          q + r * dim + d,
          r < n_rows ? RoundScaledRow(rows[r] + d, head_dim - d, factor)
                     : _mm512_setzero_si512());
    }
  }
}

}  // namespace N_AVX3_BF16
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET == HWY_AVX3

#if HWY_ONCE
namespace etalon::simd {

#if HWY_ARCH_X86
namespace N_AVX3_BF16 {
void Chunk(const Bf16ChunkArgs& a, bool tiles);
void PackQueries(const float* const* rows, size_t n_rows, size_t head_dim,
                 float factor, uint16_t* q);
}  // namespace N_AVX3_BF16
#endif

namespace {

[[maybe_unused]] bool HasTiles() {
  return ActiveSimdTier() >= SimdTier::kAmx && GetCpuFeatures().amx_bf16;
}

}  // namespace

bool HasAttentionBf16() {
  return ActiveSimdTier() >= SimdTier::kAvx512Vnni &&
         GetCpuFeatures().avx512_bf16;
}

size_t AttentionBf16ScratchBytes(size_t head_dim) {
  return 2 * kKvChunk * Bf16HeadDim(head_dim) * sizeof(uint16_t) +
         kBf16Rows * kKvChunk * sizeof(float) + kBf16Rows * 32 * sizeof(float);
}

void PackQueriesBf16([[maybe_unused]] const float* const* rows,
                     [[maybe_unused]] size_t n_rows,
                     [[maybe_unused]] size_t head_dim,
                     [[maybe_unused]] float scale,
                     [[maybe_unused]] uint16_t* q) {
#if HWY_ARCH_X86
  constexpr float kLog2E = 0x1.715476p+0f;
  N_AVX3_BF16::PackQueries(rows, n_rows, head_dim, scale * kLog2E, q);
#endif
}

void AttentionChunkBf16([[maybe_unused]] const Bf16ChunkArgs& args) {
#if HWY_ARCH_X86
  N_AVX3_BF16::Chunk(args, HasTiles());
#endif
}

}  // namespace etalon::simd
#endif  // HWY_ONCE
