#include "simd/gemm_combine.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/gemm_combine.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h
#include "simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {

void WeightedRowSumTarget(const float* y, size_t stride,
                          std::span<const size_t> rows,
                          std::span<const float> weights,
                          std::span<float> out) {
  const size_t n = out.size();
  for (size_t i = 0; i < n; i += kLanes) {
    F32x16 acc = Zero16();
    const bool tail = n - i < kLanes;
    for (size_t j = 0; j < rows.size(); ++j) {
      const float* p = y + rows[j] * stride + i;
      acc = Fma16(Set16(weights[j]), tail ? LoadTail16(p, n - i) : Load16(p),
                  acc);
    }
    if (tail) {
      StoreTail16(acc, &out[i], n - i);
    } else {
      Store16(acc, &out[i]);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace etalon::simd {

HWY_EXPORT(WeightedRowSumTarget);

void WeightedRowSum(const float* y, size_t stride, std::span<const size_t> rows,
                    std::span<const float> weights, std::span<float> out) {
  HWY_DYNAMIC_DISPATCH(WeightedRowSumTarget)(y, stride, rows, weights, out);
}

}  // namespace etalon::simd
#endif  // HWY_ONCE
