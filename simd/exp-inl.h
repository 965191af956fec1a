// The vector exp of profile strict; the bound and the special cases are stated
// in exp.h. Per-target: see Highway's foreach_target.
#if defined(ETALON_SIMD_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ETALON_SIMD_EXP_INL_H_
#undef ETALON_SIMD_EXP_INL_H_
#else
#define ETALON_SIMD_EXP_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"
#include "simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {

// [lo, hi] for numbers; NaN passes. On x86 min and max return the second
// operand when either is NaN, on NEON a NaN; Highway's scalar target would
// return the number.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ClampKeepNaN(D d, V x, float lo, float hi) {
#if HWY_TARGET == HWY_SCALAR
  static_cast<void>(d);
  const float below = hi < x.raw ? hi : x.raw;
  return V(lo > below ? lo : below);
#else
  return hn::Max(hn::Set(d, lo), hn::Min(hn::Set(d, hi), x));
#endif
}

// y * 2^n with one rounding; n as a number and as the difference of two
// integers, t - magic.
template <class D, class V = hn::Vec<D>, class I>
HWY_INLINE V TimesPowerOfTwo(D d, V y, [[maybe_unused]] V n, I t, I magic) {
#if HWY_TARGET == HWY_AVX3
  if constexpr (hn::MaxLanes(D()) == 16) {
    return V{_mm512_scalef_ps(y.raw, n.raw)};
  }
#endif
  const hn::RebindToSigned<D> di;
  const auto ni = hn::Sub(t, magic);
  const auto n1 = hn::ShiftRight<1>(ni);
  const auto n2 = hn::Sub(ni, n1);
  const auto bias = hn::Set(di, int32_t{127});
  const V s1 = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(n1, bias)));
  const V s2 = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(n2, bias)));
  return hn::Mul(hn::Mul(y, s1), s2);
}

// exp(x) = 2^n * exp(r), n = rint(x / ln 2), |r| <= ln(2) / 2 + 2^-19.
//
// r: x - n * kLn2Hi is exact, as both terms are multiples of 2^-25 or of
// ulp(x) and the difference is below 1/2 (Sterbenz-like); one rounding comes
// with kLn2Lo.
// exp(r) = 1 + (r + r^2 q(r)): q is the minimax polynomial of degree 5 for the
// relative error of exp on |r| <= 0.3467 (Remez in 40 digits): 2^-34. Degree 4
// (2^-28) costs one fma less but exceeds 1 ULP on a few inputs.
// 2^n goes on in two exact halves or by one instruction, so a subnormal result
// is rounded once more but never flushed, and n = 128 does not overflow early.
// A NaN runs through every step: its n is garbage, but 2^garbage is never NaN
// itself.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ExpStrict(D d, V x) {
  const hn::RebindToSigned<D> di;
  constexpr float kMagic = 0x1.8p+23f;  // x + kMagic holds rint(x) in low bits
  constexpr float kLog2e = 0x1.715476p+0f;
  constexpr float kLn2Hi = 0x1.62e430p-1f;
  constexpr float kLn2Lo = -0x1.05c610p-29f;
  constexpr float kQ0 = 0x1.0p-1f;
  constexpr float kQ1 = 0x1.555554p-3f;
  constexpr float kQ2 = 0x1.55548ep-5f;
  constexpr float kQ3 = 0x1.111272p-7f;
  constexpr float kQ4 = 0x1.6d8d38p-10f;
  constexpr float kQ5 = 0x1.9f086ep-13f;

  // exp(-104) < 2^-150 rounds to +0, exp(89) to +Inf.
  x = ClampKeepNaN(d, x, -104.0f, 89.0f);

  const V magic = hn::Set(d, kMagic);
  const V t = Fma(x, hn::Set(d, kLog2e), magic);
  const V n = hn::Sub(t, magic);
  V r = Fma(n, hn::Set(d, -kLn2Hi), x);
  r = Fma(n, hn::Set(d, -kLn2Lo), r);

  V q = Fma(hn::Set(d, kQ5), r, hn::Set(d, kQ4));
  q = Fma(q, r, hn::Set(d, kQ3));
  q = Fma(q, r, hn::Set(d, kQ2));
  q = Fma(q, r, hn::Set(d, kQ1));
  q = Fma(q, r, hn::Set(d, kQ0));
  const V y = hn::Add(hn::Set(d, 1.0f), Fma(q, hn::Mul(r, r), r));

  return TimesPowerOfTwo(d, y, n, hn::BitCast(di, t), hn::BitCast(di, magic));
}

HWY_INLINE F32x16 Exp16(F32x16 x) {
  F32x16 r;
  for (size_t i = 0; i < kVecs; ++i) r.v[i] = ExpStrict(DF(), x.v[i]);
  return r;
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
