#include "simd/attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/attention.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h
#include "simd/attention_few-inl.h"
#include "simd/attention_many-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {

void AttentionChunkImpl(const AttentionChunkArgs& a) {
  size_t n = 0;
  for (size_t r = 0; r < a.n_rows; ++r) n = HWY_MAX(n, a.n_visible[r]);
  if (n == 0) return;
  if (a.n_rows > kAttentionFewRows) {
    ChunkOfMany(a, n);
  } else if (a.n_rows == 1) {
    ChunkOfFew<1>(a, n);
  } else if (a.n_rows == 2) {
    ChunkOfFew<2>(a, n);
  } else if (a.n_rows <= 4) {
    ChunkOfFew<4>(a, n);
  } else {
    ChunkOfFew<8>(a, n);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace etalon::simd {

HWY_EXPORT(AttentionChunkImpl);

void AttentionChunk(const AttentionChunkArgs& args) {
  HWY_DYNAMIC_DISPATCH(AttentionChunkImpl)(args);
}

}  // namespace etalon::simd
#endif  // HWY_ONCE
