#include "simd/attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/attention_pack.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h
#include "simd/lanes-inl.h"
#include "simd/transpose-inl.h"

// Once per file, not per target.
#ifndef ETALON_SIMD_ATTENTION_PACK_CC_ONCE_
#define ETALON_SIMD_ATTENTION_PACK_CC_ONCE_
#include <algorithm>
#include <cstdint>
#endif  // ETALON_SIMD_ATTENTION_PACK_CC_ONCE_

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {

// Elements [d, d + 16) of n rows, each beside the others: those of element j at
// out + j * stride. Rows from n to 16 and elements from head_dim on are +0.
#if HWY_TARGET == HWY_AVX3
void PackSquare(const float* const* rows, size_t n, size_t d, size_t head_dim,
                float* HWY_RESTRICT out, size_t stride) {
  const size_t count = HWY_MIN(kLanes, head_dim - d);
  const __mmask16 present = static_cast<__mmask16>((1u << count) - 1);
  __m512i r[kLanes];
  if (HWY_LIKELY(n == kLanes)) {
    HWY_UNROLL(16)
    for (size_t i = 0; i < kLanes; ++i) {
      r[i] = _mm512_maskz_loadu_epi32(present, rows[i] + d);
    }
  } else {
    HWY_UNROLL(16)
    for (size_t i = 0; i < kLanes; ++i) {
      r[i] = i < n ? _mm512_maskz_loadu_epi32(present, rows[i] + d)
                   : _mm512_setzero_si512();
    }
  }
  Transpose16(r);
  HWY_UNROLL(16)
  for (size_t i = 0; i < kLanes; ++i) {
    _mm512_storeu_si512(out + i * stride, r[i]);
  }
}
#else
void PackSquare(const float* const* rows, size_t n, size_t d, size_t head_dim,
                float* HWY_RESTRICT out, size_t stride) {
  const hn::RebindToSigned<DF> di;
  const auto rows_apart =
      hn::Mul(hn::Iota(di, 0), hn::Set(di, static_cast<int32_t>(kLanes)));
  const size_t count = HWY_MIN(kLanes, head_dim - d);
  HWY_ALIGN float block[kLanes * kLanes] = {};
  for (size_t r = 0; r < n; ++r) {
    const float* HWY_RESTRICT x = rows[r] + d;
    Store16(count == kLanes ? Load16(x) : LoadTail16(x, count),
            block + r * kLanes);
  }
  for (size_t j = 0; j < kLanes; ++j) {
    for (size_t i = 0; i < kLanes; i += kRealLanes) {
      hn::StoreU(hn::GatherIndex(DF(), block + i * kLanes + j, rows_apart),
                 DF(), out + j * stride + i);
    }
  }
}
#endif

void PackQueriesImpl(const float* const* rows, size_t n_rows, size_t head_dim,
                     float* HWY_RESTRICT q) {
  const size_t dim = PaddedHeadDim(head_dim);
  if (n_rows <= kAttentionFewRows) {
    std::fill_n(q, PaddedRows(n_rows) * dim, 0.0f);
    for (size_t r = 0; r < n_rows; ++r) {
      std::copy_n(rows[r], head_dim, q + r * dim);
    }
    return;
  }
  // q[j, step, group, lane]: see DotLanes.
  const size_t n_groups = PaddedRows(n_rows) / kLanes;
  const size_t steps = dim / kLanes;
  for (size_t row = 0; row < n_rows; row += kLanes) {
    for (size_t s = 0; s < steps; ++s) {
      PackSquare(rows + row, HWY_MIN(kLanes, n_rows - row), s * kLanes,
                 head_dim, q + (s * n_groups + row / kLanes) * kLanes,
                 steps * n_groups * kLanes);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace etalon::simd {

HWY_EXPORT(PackQueriesImpl);

void PackQueries(const float* const* rows, size_t n_rows, size_t head_dim,
                 float* q) {
  HWY_DYNAMIC_DISPATCH(PackQueriesImpl)(rows, n_rows, head_dim, q);
}

}  // namespace etalon::simd
#endif  // HWY_ONCE
