// The 16 virtual f32 lanes of profile strict, on whatever vectors the target
// has: one zmm, two ymm, four q registers or sixteen scalars. Per-target: no
// include guard in the usual sense, see Highway's foreach_target.
#if defined(ETALON_SIMD_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ETALON_SIMD_LANES_INL_H_
#undef ETALON_SIMD_LANES_INL_H_
#else
#define ETALON_SIMD_LANES_INL_H_
#endif

#include <cmath>
#include <cstddef>

#include "hwy/highway.h"
#include "simd/scalar_fma.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

inline constexpr size_t kLanes = 16;  // virtual lanes

using DF = hn::CappedTag<float, kLanes>;
using VF = hn::Vec<DF>;
inline constexpr size_t kRealLanes = hn::MaxLanes(DF());
inline constexpr size_t kVecs = kLanes / kRealLanes;  // registers per 16 lanes

// a * b + c with one rounding on every target. Highway's MulAdd is fused on
// AVX2, AVX3 and NEON; its scalar target is not.
#if HWY_TARGET == HWY_SCALAR
template <class V>
HWY_INLINE V Fma(V a, V b, V c) {
  return V(std::fma(a.raw, b.raw, c.raw));
}
#else
template <class V>
HWY_INLINE V Fma(V a, V b, V c) {
  return hn::MulAdd(a, b, c);
}
#endif

// 16 f32 lanes. Register arrays are indexed by constants only, in loops marked
// for unrolling, so that they stay in registers.
struct F32x16 {
  VF v[kVecs];
};

HWY_INLINE F32x16 Zero16() {
  F32x16 r;
  for (size_t i = 0; i < kVecs; ++i) r.v[i] = hn::Zero(DF());
  return r;
}
HWY_INLINE F32x16 Set16(float x) {
  F32x16 r;
  for (size_t i = 0; i < kVecs; ++i) r.v[i] = hn::Set(DF(), x);
  return r;
}
HWY_INLINE F32x16 Load16(const float* HWY_RESTRICT p) {
  F32x16 r;
  for (size_t i = 0; i < kVecs; ++i) {
    r.v[i] = hn::LoadU(DF(), p + i * kRealLanes);
  }
  return r;
}
// The first n < 16 elements, the rest +0: nothing past p[n - 1] is touched.
HWY_INLINE F32x16 LoadTail16(const float* HWY_RESTRICT p, size_t n) {
  HWY_ALIGN float buf[kLanes] = {};
  for (size_t i = 0; i < n; ++i) buf[i] = p[i];
  return Load16(buf);
}
HWY_INLINE void Store16(F32x16 a, float* HWY_RESTRICT p) {
  for (size_t i = 0; i < kVecs; ++i) {
    hn::StoreU(a.v[i], DF(), p + i * kRealLanes);
  }
}
HWY_INLINE void StoreTail16(F32x16 a, float* HWY_RESTRICT p, size_t n) {
  HWY_ALIGN float buf[kLanes];
  Store16(a, buf);
  for (size_t i = 0; i < n; ++i) p[i] = buf[i];
}
HWY_INLINE F32x16 Fma16(F32x16 a, F32x16 b, F32x16 c) {
#if HWY_TARGET == HWY_SCALAR
  ScalarFma16(&a.v[0].raw, &b.v[0].raw, &c.v[0].raw);
  return c;
#endif
  F32x16 r;
  for (size_t i = 0; i < kVecs; ++i) r.v[i] = Fma(a.v[i], b.v[i], c.v[i]);
  return r;
}
HWY_INLINE F32x16 Add16(F32x16 a, F32x16 b) {
  F32x16 r;
  for (size_t i = 0; i < kVecs; ++i) r.v[i] = hn::Add(a.v[i], b.v[i]);
  return r;
}
HWY_INLINE F32x16 Mul16(F32x16 a, F32x16 b) {
  F32x16 r;
  for (size_t i = 0; i < kVecs; ++i) r.v[i] = hn::Mul(a.v[i], b.v[i]);
  return r;
}

#if HWY_TARGET != HWY_SCALAR
// Folds one register: l[j] += l[j + h] for h = N/2, ..., 1.
template <class D>
HWY_INLINE float FoldVec(D d, hn::Vec<D> v) {
  if constexpr (hn::MaxLanes(D()) == 1) {
    return hn::GetLane(v);
  } else {
    const hn::Half<D> dh;
    return FoldVec(dh, hn::Add(hn::LowerHalf(dh, v), hn::UpperHalf(dh, v)));
  }
}
#endif

// The fixed fold: l[j] += l[j + 8], then 4, 2, 1; returns l[0].
HWY_INLINE float Fold16(F32x16 a) {
#if HWY_TARGET == HWY_SCALAR
  float l[kLanes];
  Store16(a, l);
  for (size_t h = kLanes / 2; h >= 1; h /= 2) {
    for (size_t j = 0; j < h; ++j) l[j] += l[j + h];
  }
  return l[0];
#else
  for (size_t h = kVecs / 2; h >= 1; h /= 2) {
    for (size_t j = 0; j < h; ++j) a.v[j] = hn::Add(a.v[j], a.v[j + h]);
  }
  return FoldVec(DF(), a.v[0]);
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
