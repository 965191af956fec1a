#include "simd/tanh.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/tanh.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h
#include "simd/lanes-inl.h"
#include "simd/tanh-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {

void TanhSlice(const float* x, float* out, size_t n) {
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    Store16(Tanh16(Load16(x + i)), out + i);
  }
  if (i < n) StoreTail16(Tanh16(LoadTail16(x + i, n - i)), out + i, n - i);
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace etalon::simd {

HWY_EXPORT(TanhSlice);

void Tanh(const float* x, float* out, size_t n) {
  HWY_DYNAMIC_DISPATCH(TanhSlice)(x, out, n);
}

}  // namespace etalon::simd
#endif  // HWY_ONCE
