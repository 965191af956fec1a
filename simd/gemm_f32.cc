#include <algorithm>
#include <cstring>

#include "quant/f16.h"
#include "simd/dequantize.h"
#include "simd/gemm.h"
#include "simd/gemm_f32_many.h"
#include "simd/gemm_panel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/gemm_f32.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h
#include "simd/f16-inl.h"
#include "simd/gemm_f32_many-inl.h"
#include "simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {

// Sixteen weights from k on, widened exactly. Rows may start at any address.
struct ReadF32 {
  static constexpr size_t kBytes = 4;
  static HWY_INLINE F32x16 Load(const std::byte* row, size_t k) {
    return Load16(reinterpret_cast<const float*>(row) + k);
  }
};
struct ReadF16 {
  static constexpr size_t kBytes = 2;
  static HWY_INLINE F32x16 Load(const std::byte* row, size_t k) {
    return LoadF16x16(reinterpret_cast<const uint16_t*>(row) + k);
  }
};
struct ReadBF16 {
  static constexpr size_t kBytes = 2;
  static HWY_INLINE F32x16 Load(const std::byte* row, size_t k) {
    const uint16_t* p = reinterpret_cast<const uint16_t*>(row) + k;
    F32x16 r;
#if HWY_TARGET == HWY_SCALAR
    for (size_t i = 0; i < kLanes; ++i) r.v[i] = VF(BF16ToF32(p[i]));
#else
    const hn::RebindToUnsigned<DF> du;
    const hn::Rebind<uint16_t, DF> du16;
    for (size_t i = 0; i < kVecs; ++i) {
      const auto bits = hn::LoadU(du16, p + i * kRealLanes);
      r.v[i] = hn::BitCast(DF(), hn::ShiftLeft<16>(hn::PromoteTo(du, bits)));
    }
#endif
    return r;
  }
};
// The last n < 16 weights, the rest +0.
template <class Read>
HWY_INLINE F32x16 LoadWeightTail(const std::byte* row, size_t k, size_t n) {
  HWY_ALIGN std::byte buf[kLanes * Read::kBytes] = {};
  std::memcpy(buf, row + k * Read::kBytes, n * Read::kBytes);
  return Read::Load(buf, 0);
}

// kR weight rows x kT activation rows, whole K in registers: every weight
// vector is widened once for kT rows.
template <class Read, size_t kR, size_t kT>
HWY_INLINE void TileF32(const std::byte* const* w, const float* x,
                        size_t x_stride, size_t k_size, float* sums) {
  F32x16 acc[kR][kT];
#pragma GCC unroll 8
  for (size_t r = 0; r < kR; ++r) {
#pragma GCC unroll 8
    for (size_t t = 0; t < kT; ++t) acc[r][t] = Zero16();
  }
  size_t k = 0;
  for (; k + kLanes <= k_size; k += kLanes) {
    F32x16 xs[kT];
#pragma GCC unroll 8
    for (size_t t = 0; t < kT; ++t) xs[t] = Load16(x + t * x_stride + k);
#pragma GCC unroll 8
    for (size_t r = 0; r < kR; ++r) {
      const F32x16 ws = Read::Load(w[r], k);
#pragma GCC unroll 8
      for (size_t t = 0; t < kT; ++t) acc[r][t] = Fma16(ws, xs[t], acc[r][t]);
    }
  }
  if (const size_t n = k_size - k; n > 0) {
    F32x16 xs[kT];
#pragma GCC unroll 8
    for (size_t t = 0; t < kT; ++t) {
      xs[t] = LoadTail16(x + t * x_stride + k, n);
    }
#pragma GCC unroll 8
    for (size_t r = 0; r < kR; ++r) {
      const F32x16 ws = LoadWeightTail<Read>(w[r], k, n);
#pragma GCC unroll 8
      for (size_t t = 0; t < kT; ++t) acc[r][t] = Fma16(ws, xs[t], acc[r][t]);
    }
  }
#pragma GCC unroll 8
  for (size_t r = 0; r < kR; ++r) {
#pragma GCC unroll 8
    for (size_t t = 0; t < kT; ++t) sums[r * kT + t] = Fold16(acc[r][t]);
  }
}

// Accumulators fill half of the registers; the rest holds operands.
#if HWY_TARGET == HWY_AVX3
inline constexpr size_t kTileRows = 4, kTileTokens = 4;
#elif HWY_TARGET == HWY_SCALAR
inline constexpr size_t kTileRows = 1, kTileTokens = 1;
#else
inline constexpr size_t kTileRows = 2, kTileTokens = 2;
#endif

template <class Read, size_t kR>
HWY_INLINE void RowsTimesTokens(const GemmRows& g, Span2D<const float> x,
                                const std::byte* const* w, size_t row) {
  const auto store = [&](size_t r, size_t t, float sum) {
    const float y = sum * g.scale;
    g.out.data[t * g.out.stride + row + r] =
        g.bias != nullptr ? y + g.bias[row + r] : y;
  };
  size_t t = 0;
  for (; t + kTileTokens <= x.rows; t += kTileTokens) {
    float sums[kR * kTileTokens];
    TileF32<Read, kR, kTileTokens>(w, x.data + t * x.stride, x.stride, x.cols,
                                   sums);
    for (size_t r = 0; r < kR; ++r) {
      for (size_t i = 0; i < kTileTokens; ++i) {
        store(r, t + i, sums[r * kTileTokens + i]);
      }
    }
  }
  for (; t < x.rows; ++t) {
    float sums[kR];
    TileF32<Read, kR, 1>(w, x.data + t * x.stride, x.stride, x.cols, sums);
    for (size_t r = 0; r < kR; ++r) store(r, t, sums[r]);
  }
}

template <class Read>
HWY_NOINLINE void GemmF32Rows(GemmRows g, Span2D<const float> x,
                              [[maybe_unused]] float* scratch) {
#if HWY_TARGET != HWY_SCALAR
  if (UsesGemmF32Many(x.rows, x.cols)) {
    const size_t done = GemmF32Many<Read>(g, x, scratch);
    if (done == x.rows) return;
    g.out = g.out.Rows(done, x.rows);
    x = x.Rows(done, x.rows);
  }
#endif
  size_t row = g.row_begin;
  const std::byte* w[kTileRows];
  for (; row + kTileRows <= g.row_end; row += kTileRows) {
    for (size_t r = 0; r < kTileRows; ++r) w[r] = g.weights.row(row + r);
    RowsTimesTokens<Read, kTileRows>(g, x, w, row);
  }
  for (; row < g.row_end; ++row) {
    w[0] = g.weights.row(row);
    RowsTimesTokens<Read, 1>(g, x, w, row);
  }
}

// Quantised weights: kTileRows rows at a time, dequantised into scratch.
HWY_NOINLINE void GemmF32Dequantised(const GemmRows& g, Span2D<const float> x,
                                     float* scratch) {
  for (size_t row = g.row_begin; row < g.row_end; row += kTileRows) {
    const size_t n = std::min(kTileRows, g.row_end - row);
    const std::byte* w[kTileRows] = {};
    for (size_t r = 0; r < n; ++r) {
      float* at = scratch + r * x.cols;
      DequantizeRow(g.weights.type, g.weights.row(row + r), x.cols, at);
      w[r] = reinterpret_cast<const std::byte*>(at);
    }
    if (n == kTileRows) {
      RowsTimesTokens<ReadF32, kTileRows>(g, x, w, row);
    } else {
      for (size_t r = 0; r < n; ++r) {
        RowsTimesTokens<ReadF32, 1>(g, x, w + r, row + r);
      }
    }
  }
}

void GemmF32Target(const GemmRows& g, Span2D<const float> x,
                   std::byte* scratch) {
  float* floats = reinterpret_cast<float*>(scratch);
  switch (g.weights.type) {
    case TensorType::kF32:
      return GemmF32Rows<ReadF32>(g, x, floats);
    case TensorType::kF16:
      return GemmF32Rows<ReadF16>(g, x, floats);
    case TensorType::kBF16:
      return GemmF32Rows<ReadBF16>(g, x, floats);
    default:
      return GemmF32Dequantised(g, x, floats);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace etalon::simd {

HWY_EXPORT(GemmF32Target);

void GemmF32(const GemmRows& rows, Span2D<const float> x, std::byte* scratch) {
  HWY_DYNAMIC_DISPATCH(GemmF32Target)(rows, x, scratch);
}

size_t GemmScratchBytes(size_t m, size_t k) {
  constexpr size_t kMaxTileRows = 4;
  const size_t quantized =
      kMaxPanels * (std::min(m, kTokenTile) + 32) * kLineBytes +
      std::max(kMaxGroups, kAmxGroups) * kMaxPanelBytes + kAmxScratchBytes;
  const size_t dequantized = kMaxTileRows * k * sizeof(float);
  const size_t many =
      UsesGemmF32Many(m, k) ? GemmF32ManyFloats(k) * sizeof(float) : 0;
  const size_t bytes = std::max({quantized, dequantized, many});
  return (bytes + kLineBytes - 1) / kLineBytes * kLineBytes;
}

}  // namespace etalon::simd
#endif  // HWY_ONCE
