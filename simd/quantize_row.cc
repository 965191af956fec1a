#include "simd/quantize_row.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/quantize_row.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h
#include "simd/quantize_row-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {
void QuantizeActivationRow(const float* x, size_t row,
                           const MutableActivationRows& out) {
  QuantizeActivationRowImpl(x, row, out);
}
}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace etalon::simd {
HWY_EXPORT(QuantizeActivationRow);
void QuantizeActivationRow(const float* x, size_t row,
                           const MutableActivationRows& out) {
  HWY_DYNAMIC_DISPATCH(QuantizeActivationRow)(x, row, out);
}
}  // namespace etalon::simd
#endif  // HWY_ONCE
