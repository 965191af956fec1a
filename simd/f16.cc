#include "simd/f16.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/f16.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h
#include "simd/f16-inl.h"
#include "simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {

void WidenF16Slice(const uint16_t* x, float* out, size_t n) {
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store16(LoadF16x16(x + i), out + i);
  if (i < n) StoreTail16(LoadTailF16x16(x + i, n - i), out + i, n - i);
}

void NarrowToF16Slice(const float* x, uint16_t* out, size_t n) {
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) StoreF16x16(Load16(x + i), out + i);
  if (i < n) StoreTailF16x16(LoadTail16(x + i, n - i), out + i, n - i);
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace etalon::simd {

HWY_EXPORT(WidenF16Slice);
HWY_EXPORT(NarrowToF16Slice);

void WidenF16(const uint16_t* x, float* out, size_t n) {
  HWY_DYNAMIC_DISPATCH(WidenF16Slice)(x, out, n);
}

void NarrowToF16(const float* x, uint16_t* out, size_t n) {
  HWY_DYNAMIC_DISPATCH(NarrowToF16Slice)(x, out, n);
}

}  // namespace etalon::simd
#endif  // HWY_ONCE
