// The vector tanh of profile strict; the bound is stated in tanh.h. Per-target:
// see Highway's foreach_target.
#if defined(ETALON_SIMD_TANH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ETALON_SIMD_TANH_INL_H_
#undef ETALON_SIMD_TANH_INL_H_
#else
#define ETALON_SIMD_TANH_INL_H_
#endif

#include <cstddef>

#include "hwy/highway.h"
#include "simd/exp-inl.h"
#include "simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {

// Below 0.625: x + x^3 p(x^2), p a least-squares fit reweighted towards the
// minimax of the relative error (2^-28.4 with these f32 coefficients). From
// there on 1 - 2 / (exp(2 |x|) + 1): the subtraction cancels at most one bit.
// exp(2 |x|) = Inf gives 1; a NaN takes the second way and stays.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V TanhStrict(D d, V x) {
  constexpr float kP0 = -0x1.555554p-2f;
  constexpr float kP1 = 0x1.111066p-3f;
  constexpr float kP2 = -0x1.b9ee90p-5f;
  constexpr float kP3 = 0x1.638b54p-6f;
  constexpr float kP4 = -0x1.0bf4e8p-7f;
  constexpr float kP5 = 0x1.18e194p-9f;
  const V ax = hn::Abs(x);
  const V y = hn::Mul(ax, ax);
  V p = Fma(hn::Set(d, kP5), y, hn::Set(d, kP4));
  p = Fma(p, y, hn::Set(d, kP3));
  p = Fma(p, y, hn::Set(d, kP2));
  p = Fma(p, y, hn::Set(d, kP1));
  p = Fma(p, y, hn::Set(d, kP0));
  const V small = Fma(hn::Mul(ax, y), p, ax);
  const V one = hn::Set(d, 1.0f);
  const V e = ExpStrict(d, hn::Add(ax, ax));
  const V large = hn::Sub(one, hn::Div(hn::Set(d, 2.0f), hn::Add(e, one)));
  const V magnitude =
      hn::IfThenElse(hn::Lt(ax, hn::Set(d, 0.625f)), small, large);
  return hn::CopySign(magnitude, x);
}

HWY_INLINE F32x16 Tanh16(F32x16 x) {
  F32x16 r;
  for (size_t i = 0; i < kVecs; ++i) r.v[i] = TanhStrict(DF(), x.v[i]);
  return r;
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
