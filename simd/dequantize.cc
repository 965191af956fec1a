#include "simd/dequantize.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/dequantize.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h
#include "simd/dequantize-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {
void DequantizeRow(TensorType type, const std::byte* row, size_t n,
                   float* out) {
  DequantizeRowImpl(type, row, n, out);
}
}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace etalon::simd {
HWY_EXPORT(DequantizeRow);
void DequantizeRow(TensorType type, const std::byte* row, size_t n,
                   float* out) {
  HWY_DYNAMIC_DISPATCH(DequantizeRow)(type, row, n, out);
}
}  // namespace etalon::simd
#endif  // HWY_ONCE
