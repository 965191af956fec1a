#include "simd/attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/attention_pack.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h
#include "simd/lanes-inl.h"

// Once per file, not per target.
#ifndef ETALON_SIMD_ATTENTION_PACK_CC_ONCE_
#define ETALON_SIMD_ATTENTION_PACK_CC_ONCE_
#include <algorithm>
#include <cstdint>
#endif  // ETALON_SIMD_ATTENTION_PACK_CC_ONCE_

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {

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
