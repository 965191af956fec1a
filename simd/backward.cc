#include "simd/backward.h"

#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/backward.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h
#include "simd/exp-inl.h"
#include "simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {

// Sixteen elements from i on, of which `count` exist.
HWY_INLINE F32x16 LoadSome16(const float* p, size_t i, size_t n) {
  return i + kLanes <= n ? Load16(p + i) : LoadTail16(p + i, n - i);
}
HWY_INLINE void StoreSome16(F32x16 v, float* p, size_t i, size_t n) {
  if (i + kLanes <= n) return Store16(v, p + i);
  StoreTail16(v, p + i, n - i);
}
HWY_INLINE F32x16 Sub16(F32x16 a, F32x16 b) {
  F32x16 r;
  for (size_t i = 0; i < kVecs; ++i) r.v[i] = hn::Sub(a.v[i], b.v[i]);
  return r;
}

// The 16 virtual lanes in f64.
using DD = hn::CappedTag<double, kLanes>;
using VD = hn::Vec<DD>;
constexpr size_t kRealLanesD = hn::MaxLanes(DD());
constexpr size_t kVecsD = kLanes / kRealLanesD;

// sum[j] = fma(a[j], b[j], sum[j]) in f64; products of two f32 are exact.
HWY_INLINE void AddProducts16(F32x16 a, F32x16 b, VD* sum) {
  HWY_ALIGN float as[kLanes], bs[kLanes];
  Store16(a, as);
  Store16(b, bs);
  const hn::Rebind<float, DD> df;
  for (size_t i = 0; i < kVecsD; ++i) {
    const VD x = hn::PromoteTo(DD(), hn::LoadU(df, as + i * kRealLanesD));
    const VD y = hn::PromoteTo(DD(), hn::LoadU(df, bs + i * kRealLanesD));
    sum[i] = Fma(x, y, sum[i]);
  }
}
HWY_INLINE double FoldD(const VD* sum) {
  HWY_ALIGN double lane[kLanes];
  for (size_t i = 0; i < kVecsD; ++i) {
    hn::Store(sum[i], DD(), lane + i * kRealLanesD);
  }
  for (size_t h = kLanes / 2; h >= 1; h /= 2) {
    for (size_t j = 0; j < h; ++j) lane[j] += lane[j + h];
  }
  return lane[0];
}

void RmsNormBackwardRowImpl(const float* x, const float* weight, float rstd,
                            const float* d_out, float* d_x, size_t n) {
  const F32x16 r = Set16(rstd);
  const auto gradient = [&](size_t i) {
    const F32x16 d = LoadSome16(d_out, i, n);
    return weight == nullptr ? d : Mul16(d, LoadSome16(weight, i, n));
  };
  VD sum[kVecsD];
  for (size_t i = 0; i < kVecsD; ++i) sum[i] = hn::Zero(DD());
  for (size_t i = 0; i < n; i += kLanes) {
    AddProducts16(gradient(i), Mul16(LoadSome16(x, i, n), r), sum);
  }
  const F32x16 m =
      Set16(static_cast<float>(FoldD(sum) / static_cast<double>(n)));
  for (size_t i = 0; i < n; i += kLanes) {
    const F32x16 xh = Mul16(LoadSome16(x, i, n), r);
    StoreSome16(Mul16(r, Sub16(gradient(i), Mul16(xh, m))), d_x, i, n);
  }
}

void RmsNormBackwardWeightImpl(const float* x, float rstd, const float* d_out,
                               float* sum, size_t n) {
  const F32x16 r = Set16(rstd);
  for (size_t i = 0; i < n; i += kLanes) {
    const F32x16 xh = Mul16(LoadSome16(x, i, n), r);
    StoreSome16(Fma16(LoadSome16(d_out, i, n), xh, LoadSome16(sum, i, n)), sum,
                i, n);
  }
}

void SwiGluBackwardImpl(const float* gate, const float* up, const float* d_out,
                        float* d_gate, float* d_up, size_t n) {
  const VF one = hn::Set(DF(), 1.0f);
  for (size_t i = 0; i < n; i += kLanes) {
    const F32x16 g = LoadSome16(gate, i, n);
    const F32x16 u = LoadSome16(up, i, n);
    const F32x16 d = LoadSome16(d_out, i, n);
    F32x16 dg, du;
    for (size_t v = 0; v < kVecs; ++v) {
      const VF e = ExpStrict(DF(), hn::Neg(g.v[v]));
      const VF s = hn::Div(one, hn::Add(one, e));
      // 1 - s without cancellation; e = Inf (g < -88) gives s = 0, so 1.
      const VF t = hn::Sub(one, s);
      du.v[v] = hn::Mul(d.v[v], hn::Mul(g.v[v], s));
      const VF slope = hn::Mul(s, Fma(g.v[v], t, one));
      dg.v[v] = hn::Mul(hn::Mul(d.v[v], u.v[v]), slope);
    }
    StoreSome16(dg, d_gate, i, n);
    StoreSome16(du, d_up, i, n);
  }
}

HWY_INLINE F32x16 LoadOrMinusInf16(const float* p, size_t i, size_t n) {
  if (i + kLanes <= n) return Load16(p + i);
  HWY_ALIGN float buf[kLanes];
  for (size_t j = 0; j < kLanes; ++j) {
    buf[j] = i + j < n ? p[i + j] : -std::numeric_limits<float>::infinity();
  }
  return Load16(buf);
}

// As SoftmaxRows (softmax.cc explains maximum and padding).
SoftmaxSums SoftmaxInPlaceImpl(float* x, size_t n) {
  F32x16 m = Set16(-std::numeric_limits<float>::infinity());
  for (size_t i = 0; i < n; i += kLanes) {
    const F32x16 xs = LoadOrMinusInf16(x, i, n);
    for (size_t v = 0; v < kVecs; ++v) m.v[v] = hn::Max(m.v[v], xs.v[v]);
  }
  HWY_ALIGN float lane[kLanes];
  Store16(m, lane);
  float best = lane[0];
  for (size_t j = 1; j < kLanes; ++j) best = lane[j] > best ? lane[j] : best;
  F32x16 l = Zero16();
  const F32x16 best16 = Set16(best);
  for (size_t i = 0; i < n; i += kLanes) {
    const F32x16 e = Exp16(Sub16(LoadOrMinusInf16(x, i, n), best16));
    l = Add16(l, e);
    StoreSome16(e, x, i, n);
  }
  const float sum = Fold16(l);
  const F32x16 inv = Set16(1.0f / sum);
  for (size_t i = 0; i < n; i += kLanes) {
    StoreSome16(Mul16(LoadSome16(x, i, n), inv), x, i, n);
  }
  return {best, sum};
}

void SoftmaxBackwardRowImpl(const float* p, float* dp, size_t n) {
  F32x16 sum = Zero16();
  for (size_t i = 0; i < n; i += kLanes) {
    sum = Fma16(LoadSome16(p, i, n), LoadSome16(dp, i, n), sum);
  }
  const F32x16 dot = Set16(Fold16(sum));
  for (size_t i = 0; i < n; i += kLanes) {
    const F32x16 d = Sub16(LoadSome16(dp, i, n), dot);
    StoreSome16(Mul16(LoadSome16(p, i, n), d), dp, i, n);
  }
}

void AddToImpl(const float* x, float* to, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) {
    StoreSome16(Add16(LoadSome16(to, i, n), LoadSome16(x, i, n)), to, i, n);
  }
}

void AdamWImpl(const AdamWStep& s, const float* grad, float* m, float* v,
               float* param, size_t n) {
  const VF b1 = hn::Set(DF(), s.beta1), b2 = hn::Set(DF(), s.beta2);
  const VF c1 = hn::Set(DF(), 1.0f - s.beta1);
  const VF c2 = hn::Set(DF(), 1.0f - s.beta2);
  for (size_t i = 0; i < n; i += kLanes) {
    const F32x16 g16 = LoadSome16(grad, i, n);
    F32x16 m16 = LoadSome16(m, i, n), v16 = LoadSome16(v, i, n);
    F32x16 p16 = LoadSome16(param, i, n);
    for (size_t j = 0; j < kVecs; ++j) {
      const VF g = hn::Mul(g16.v[j], hn::Set(DF(), s.grad_factor));
      m16.v[j] = Fma(b1, m16.v[j], hn::Mul(c1, g));
      v16.v[j] = Fma(b2, v16.v[j], hn::Mul(c2, hn::Mul(g, g)));
      const VF root =
          hn::Mul(hn::Sqrt(v16.v[j]), hn::Set(DF(), s.inv_correction2));
      const VF step = hn::Div(hn::Mul(m16.v[j], hn::Set(DF(), s.step_size)),
                              hn::Add(root, hn::Set(DF(), s.eps)));
      p16.v[j] = hn::Sub(hn::Mul(p16.v[j], hn::Set(DF(), s.decay)), step);
    }
    StoreSome16(m16, m, i, n);
    StoreSome16(v16, v, i, n);
    StoreSome16(p16, param, i, n);
  }
}

double SumOfSquaresImpl(const float* x, size_t n) {
  VD sum[kVecsD];
  for (size_t i = 0; i < kVecsD; ++i) sum[i] = hn::Zero(DD());
  for (size_t i = 0; i < n; i += kLanes) {
    const F32x16 xs = LoadSome16(x, i, n);
    AddProducts16(xs, xs, sum);
  }
  return FoldD(sum);
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace etalon::simd {

HWY_EXPORT(RmsNormBackwardRowImpl);
HWY_EXPORT(RmsNormBackwardWeightImpl);
HWY_EXPORT(SwiGluBackwardImpl);
HWY_EXPORT(SoftmaxInPlaceImpl);
HWY_EXPORT(SoftmaxBackwardRowImpl);
HWY_EXPORT(AddToImpl);
HWY_EXPORT(AdamWImpl);
HWY_EXPORT(SumOfSquaresImpl);

void RmsNormBackwardRow(const float* x, const float* weight, float rstd,
                        const float* d_out, float* d_x, size_t n) {
  HWY_DYNAMIC_DISPATCH(RmsNormBackwardRowImpl)(x, weight, rstd, d_out, d_x, n);
}
void RmsNormBackwardWeight(const float* x, float rstd, const float* d_out,
                           float* sum, size_t n) {
  HWY_DYNAMIC_DISPATCH(RmsNormBackwardWeightImpl)(x, rstd, d_out, sum, n);
}
void SwiGluBackward(const float* gate, const float* up, const float* d_out,
                    float* d_gate, float* d_up, size_t n) {
  HWY_DYNAMIC_DISPATCH(SwiGluBackwardImpl)(gate, up, d_out, d_gate, d_up, n);
}
SoftmaxSums SoftmaxInPlace(float* x, size_t n) {
  return HWY_DYNAMIC_DISPATCH(SoftmaxInPlaceImpl)(x, n);
}
void SoftmaxBackwardRow(const float* p, float* dp, size_t n) {
  HWY_DYNAMIC_DISPATCH(SoftmaxBackwardRowImpl)(p, dp, n);
}
void AddTo(const float* x, float* to, size_t n) {
  HWY_DYNAMIC_DISPATCH(AddToImpl)(x, to, n);
}
void AdamW(const AdamWStep& step, const float* grad, float* m, float* v,
           float* param, size_t n) {
  HWY_DYNAMIC_DISPATCH(AdamWImpl)(step, grad, m, v, param, n);
}
double SumOfSquares(const float* x, size_t n) {
  return HWY_DYNAMIC_DISPATCH(SumOfSquaresImpl)(x, n);
}

}  // namespace etalon::simd
#endif  // HWY_ONCE
