#include "simd/softmax.h"

#include <cstddef>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/softmax.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h
#include "simd/exp-inl.h"
#include "simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {

constexpr float kMinusInf = -std::numeric_limits<float>::infinity();

// As LoadTail16, but padded with what neither a maximum nor a sum of exps
// notices: exp(-Inf - m) = +0.
HWY_INLINE F32x16 LoadTailMinusInf16(const float* HWY_RESTRICT p, size_t n) {
  HWY_ALIGN float buf[kLanes];
  for (size_t i = 0; i < kLanes; ++i) buf[i] = i < n ? p[i] : kMinusInf;
  return Load16(buf);
}

HWY_INLINE F32x16 MaxLanes16(F32x16 a, F32x16 b) {
  F32x16 r;
  for (size_t i = 0; i < kVecs; ++i) r.v[i] = hn::Max(a.v[i], b.v[i]);
  return r;
}

// The maximum does not depend on the order. Where it does (NaN, signed zeros)
// nothing shows: a NaN comes back as its own exp and spoils l, and x - m is
// a zero of some sign, whose exp is 1.
HWY_INLINE float RowMax(const float* HWY_RESTRICT x, size_t n) {
  F32x16 m = Set16(kMinusInf);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) m = MaxLanes16(m, Load16(x + i));
  if (i < n) m = MaxLanes16(m, LoadTailMinusInf16(x + i, n - i));
  HWY_ALIGN float lane[kLanes];
  Store16(m, lane);
  float best = lane[0];
  for (size_t j = 1; j < kLanes; ++j) best = lane[j] > best ? lane[j] : best;
  return best;
}

HWY_INLINE F32x16 ExpOfDifference16(F32x16 x, F32x16 m) {
  F32x16 r;
  for (size_t i = 0; i < kVecs; ++i) {
    r.v[i] = ExpStrict(DF(), hn::Sub(x.v[i], m.v[i]));
  }
  return r;
}

void SoftmaxRowsImpl(Span2D<const float> x, Span2D<float> out) {
  const size_t n = x.cols;
  for (size_t t = 0; t < x.rows; ++t) {
    const float* xt = x.data + t * x.stride;
    float* yt = out.data + t * out.stride;
    const F32x16 m = Set16(RowMax(xt, n));

    F32x16 l = Zero16();
    size_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
      const F32x16 e = ExpOfDifference16(Load16(xt + i), m);
      l = Add16(l, e);
      Store16(e, yt + i);
    }
    if (i < n) {
      const F32x16 e = ExpOfDifference16(LoadTailMinusInf16(xt + i, n - i), m);
      l = Add16(l, e);
      StoreTail16(e, yt + i, n - i);
    }

    const F32x16 inv_l = Set16(1.0f / Fold16(l));
    for (i = 0; i + kLanes <= n; i += kLanes) {
      Store16(Mul16(Load16(yt + i), inv_l), yt + i);
    }
    if (i < n) {
      StoreTail16(Mul16(LoadTail16(yt + i, n - i), inv_l), yt + i, n - i);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace etalon::simd {

HWY_EXPORT(SoftmaxRowsImpl);

void SoftmaxRows(Span2D<const float> x, Span2D<float> out) {
  HWY_DYNAMIC_DISPATCH(SoftmaxRowsImpl)(x, out);
}

}  // namespace etalon::simd
#endif  // HWY_ONCE
