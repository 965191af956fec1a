#include "simd/rms_norm.h"

#include <cmath>
#include <cstddef>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/rms_norm.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h
#include "simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {

// The 16 virtual lanes in f64.
using DD = hn::CappedTag<double, kLanes>;
using VD = hn::Vec<DD>;
constexpr size_t kRealLanesD = hn::MaxLanes(DD());
constexpr size_t kVecsD = kLanes / kRealLanesD;

// sum[j] += p[j]^2 for 16 lanes. A square of an f32 is exact in f64, so that
// fused or not is one rounding either way.
HWY_INLINE void AddSquares16(const float* HWY_RESTRICT p, VD* sum) {
  const hn::Rebind<float, DD> df;
  for (size_t i = 0; i < kVecsD; ++i) {
    const VD v = hn::PromoteTo(DD(), hn::LoadU(df, p + i * kRealLanesD));
    sum[i] = Fma(v, v, sum[i]);
  }
}

HWY_INLINE double SumOfSquares(const float* HWY_RESTRICT x, size_t n) {
  VD sum[kVecsD];
  for (size_t i = 0; i < kVecsD; ++i) sum[i] = hn::Zero(DD());
  size_t d = 0;
  for (; d + kLanes <= n; d += kLanes) AddSquares16(x + d, sum);
  if (d < n) {
    HWY_ALIGN float tail[kLanes] = {};
    for (size_t j = 0; d + j < n; ++j) tail[j] = x[d + j];
    AddSquares16(tail, sum);
  }
  HWY_ALIGN double lane[kLanes];
  for (size_t i = 0; i < kVecsD; ++i) {
    hn::Store(sum[i], DD(), lane + i * kRealLanesD);
  }
  for (size_t h = kLanes / 2; h >= 1; h /= 2) {
    for (size_t j = 0; j < h; ++j) lane[j] += lane[j + h];
  }
  return lane[0];
}

void RmsNormRowsImpl(Span2D<const float> x, const float* weight, float eps,
                     Span2D<float> out, float* rstd) {
  const size_t n = x.cols;
  for (size_t t = 0; t < x.rows; ++t) {
    const float* xt = x.data + t * x.stride;
    float* yt = out.data + t * out.stride;
    const double mean = SumOfSquares(xt, n) / static_cast<double>(n);
    const float r =
        static_cast<float>(1.0 / std::sqrt(mean + static_cast<double>(eps)));
    if (rstd != nullptr) rstd[t] = r;

    const F32x16 r16 = Set16(r);
    size_t d = 0;
    for (; d + kLanes <= n; d += kLanes) {
      F32x16 y = Mul16(Load16(xt + d), r16);
      if (weight != nullptr) y = Mul16(y, Load16(weight + d));
      Store16(y, yt + d);
    }
    if (d < n) {
      F32x16 y = Mul16(LoadTail16(xt + d, n - d), r16);
      if (weight != nullptr) y = Mul16(y, LoadTail16(weight + d, n - d));
      StoreTail16(y, yt + d, n - d);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace etalon::simd {

HWY_EXPORT(RmsNormRowsImpl);

void RmsNormRows(Span2D<const float> x, const float* weight, float eps,
                 Span2D<float> out, float* rstd) {
  HWY_DYNAMIC_DISPATCH(RmsNormRowsImpl)(x, weight, eps, out, rstd);
}

}  // namespace etalon::simd
#endif  // HWY_ONCE
