#include "simd/outer_product.h"

#include <algorithm>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/outer_product.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h
#include "simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {

// Register tile: kTileRows x kColVecs vectors. AVX-512: 24 of 32 registers are
// sums, 2 hold B, one a broadcast of A; AVX2: 12 of 16. Both divide 192 rows.
#if HWY_TARGET == HWY_AVX3
inline constexpr size_t kOuterRows = 12;
inline constexpr size_t kColVecs = 2;
#elif HWY_TARGET == HWY_SCALAR
inline constexpr size_t kOuterRows = 1;
inline constexpr size_t kColVecs = 16;
#else
inline constexpr size_t kOuterRows = 6;
inline constexpr size_t kColVecs = 2;
#endif
inline constexpr size_t kOuterCols = kColVecs * kRealLanes;

#if HWY_TARGET != HWY_SCALAR
// Four rows, adjacent along p, by transposed 4 x 4 squares; p from where it
// ended is returned.
template <size_t kWidth>
HWY_INLINE size_t PackFourRows(const float* x, size_t row, size_t k,
                               float* HWY_RESTRICT to) {
  const hn::FixedTag<float, 4> d;
  size_t p = 0;
  for (; p + 4 <= k; p += 4) {
    const auto r0 = hn::LoadU(d, x + p);
    const auto r1 = hn::LoadU(d, x + row + p);
    const auto r2 = hn::LoadU(d, x + 2 * row + p);
    const auto r3 = hn::LoadU(d, x + 3 * row + p);
    const auto even = hn::InterleaveLower(d, r0, r2);
    const auto odd = hn::InterleaveLower(d, r1, r3);
    const auto even2 = hn::InterleaveUpper(d, r0, r2);
    const auto odd2 = hn::InterleaveUpper(d, r1, r3);
    float* at = to + p * kWidth;
    hn::StoreU(hn::InterleaveLower(d, even, odd), d, at);
    hn::StoreU(hn::InterleaveUpper(d, even, odd), d, at + kWidth);
    hn::StoreU(hn::InterleaveLower(d, even2, odd2), d, at + 2 * kWidth);
    hn::StoreU(hn::InterleaveUpper(d, even2, odd2), d, at + 3 * kWidth);
  }
  return p;
}
#endif

// A panel of kWidth rows of a strided matrix: to[p * kWidth + i] = x(i, p),
// rows past the last one +0.
template <size_t kWidth>
HWY_INLINE void PackPanel(const float* x, size_t row, size_t col, size_t n,
                          size_t k, float* HWY_RESTRICT to) {
  if (n == kWidth && row == 1) {
    for (size_t p = 0; p < k; ++p) {
      std::memcpy(to + p * kWidth, x + p * col, kWidth * sizeof(float));
    }
    return;
  }
  if (n < kWidth) std::fill(to, to + k * kWidth, 0.0f);
  size_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  for (; col == 1 && i + 4 <= n; i += 4) {
    const float* from = x + i * row;
    size_t p = PackFourRows<kWidth>(from, row, k, to + i);
    for (; p < k; ++p) {
      for (size_t r = 0; r < 4; ++r) {
        to[p * kWidth + i + r] = from[r * row + p];
      }
    }
  }
#endif
  for (; i < n; ++i) {
    const float* from = x + i * row;
    for (size_t p = 0; p < k; ++p) to[p * kWidth + i] = from[p * col];
  }
}

// The chunk's sums of one register tile, from packed panels.
HWY_INLINE void TileSums(const float* HWY_RESTRICT a,
                         const float* HWY_RESTRICT b, size_t k,
                         VF (&sum)[kOuterRows][kColVecs]) {
#pragma GCC unroll 16
  for (size_t i = 0; i < kOuterRows; ++i) {
#pragma GCC unroll 16
    for (size_t j = 0; j < kColVecs; ++j) sum[i][j] = hn::Zero(DF());
  }
  for (size_t p = 0; p < k; ++p) {
    VF bs[kColVecs];
#pragma GCC unroll 16
    for (size_t j = 0; j < kColVecs; ++j) {
      bs[j] = hn::LoadU(DF(), b + j * kRealLanes);
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < kOuterRows; ++i) {
      const VF as = hn::Set(DF(), a[i]);
#pragma GCC unroll 16
      for (size_t j = 0; j < kColVecs; ++j) {
        sum[i][j] = Fma(as, bs[j], sum[i][j]);
      }
    }
    a += kOuterRows;
    b += kOuterCols;
  }
}

HWY_NOINLINE void Tile(const float* a, const float* b, size_t k, size_t rows,
                       size_t cols, bool add, float* c, size_t c_row) {
  VF sum[kOuterRows][kColVecs];
  TileSums(a, b, k, sum);
  if (rows == kOuterRows && cols == kOuterCols) {
#pragma GCC unroll 16
    for (size_t i = 0; i < kOuterRows; ++i) {
#pragma GCC unroll 16
      for (size_t j = 0; j < kColVecs; ++j) {
        float* to = c + i * c_row + j * kRealLanes;
        VF s = sum[i][j];
        if (add) s = hn::Add(hn::LoadU(DF(), to), s);
        hn::StoreU(s, DF(), to);
      }
    }
    return;
  }
  HWY_ALIGN float edge[kOuterRows * kOuterCols];
#pragma GCC unroll 16
  for (size_t i = 0; i < kOuterRows; ++i) {
#pragma GCC unroll 16
    for (size_t j = 0; j < kColVecs; ++j) {
      hn::StoreU(sum[i][j], DF(), edge + i * kOuterCols + j * kRealLanes);
    }
  }
  for (size_t i = 0; i < rows; ++i) {
    for (size_t j = 0; j < cols; ++j) {
      float* to = c + i * c_row + j;
      *to = add ? *to + edge[i * kOuterCols + j] : edge[i * kOuterCols + j];
    }
  }
}

void OuterProductTarget(const OuterProductArgs& g, float* scratch) {
  float* b_panels = scratch;
  float* a_panels = scratch + kOuterMaxCols * kMaxSumChunk;
  for (size_t p = 0; p < g.k; p += g.chunk) {
    const size_t k = std::min(g.chunk, g.k - p);
    const bool add = g.accumulate || p > 0;
    for (size_t j = 0; j < g.n; j += kOuterCols) {
      PackPanel<kOuterCols>(g.b + p * g.b_row + j * g.b_col, g.b_col, g.b_row,
                            std::min(kOuterCols, g.n - j), k, b_panels + j * k);
    }
    for (size_t i = 0; i < g.m; i += kOuterRows) {
      PackPanel<kOuterRows>(g.a + i * g.a_row + p * g.a_col, g.a_row, g.a_col,
                            std::min(kOuterRows, g.m - i), k, a_panels + i * k);
    }
    // A panel of B stays in L1 while all of A, in L2, passes by.
    for (size_t j = 0; j < g.n; j += kOuterCols) {
      for (size_t i = 0; i < g.m; i += kOuterRows) {
        Tile(a_panels + i * k, b_panels + j * k, k,
             std::min(kOuterRows, g.m - i), std::min(kOuterCols, g.n - j), add,
             g.c + i * g.c_row + j, g.c_row);
      }
    }
  }
  if (g.k > 0 || g.accumulate) return;
  for (size_t i = 0; i < g.m; ++i) {
    std::fill(g.c + i * g.c_row, g.c + i * g.c_row + g.n, 0.0f);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace etalon::simd {

HWY_EXPORT(OuterProductTarget);

void OuterProduct(const OuterProductArgs& args, float* scratch) {
  HWY_DYNAMIC_DISPATCH(OuterProductTarget)(args, scratch);
}

}  // namespace etalon::simd
#endif  // HWY_ONCE
