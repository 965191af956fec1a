// f16 as raw bits, to and from the 16 virtual lanes. Both directions are those
// of quant/f16.h bit for bit, NaN payloads included. Highway's own conversions
// agree where the instruction set has them (F16C, NEON); its scalar ones
// truncate and turn Inf and NaN into numbers, so that target takes the integer
// code. Per-target: see Highway's foreach_target.
#if defined(ETALON_SIMD_F16_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ETALON_SIMD_F16_INL_H_
#undef ETALON_SIMD_F16_INL_H_
#else
#define ETALON_SIMD_F16_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"
#include "quant/f16.h"
#include "simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {

// 16 halves, widened exactly.
HWY_INLINE F32x16 LoadF16x16(const uint16_t* HWY_RESTRICT p) {
  F32x16 r;
#if HWY_TARGET == HWY_SCALAR
  for (size_t i = 0; i < kLanes; ++i) r.v[i] = VF(F16ToF32(p[i]));
#else
  const hn::Rebind<hwy::float16_t, DF> dh;
  const hn::RebindToUnsigned<decltype(dh)> du;
  for (size_t i = 0; i < kVecs; ++i) {
    const auto bits = hn::LoadU(du, p + i * kRealLanes);
    r.v[i] = hn::PromoteTo(DF(), hn::BitCast(dh, bits));
  }
#endif
  return r;
}

// The first n < 16 halves, the rest +0: nothing past p[n - 1] is touched.
HWY_INLINE F32x16 LoadTailF16x16(const uint16_t* HWY_RESTRICT p, size_t n) {
  HWY_ALIGN uint16_t buf[kLanes] = {};
  for (size_t i = 0; i < n; ++i) buf[i] = p[i];
  return LoadF16x16(buf);
}

// Rounds to nearest even; from 65520 on Inf, subnormals kept.
HWY_INLINE void StoreF16x16(F32x16 a, uint16_t* HWY_RESTRICT p) {
#if HWY_TARGET == HWY_SCALAR
  for (size_t i = 0; i < kLanes; ++i) p[i] = F32ToF16(a.v[i].raw);
#else
  const hn::Rebind<hwy::float16_t, DF> dh;
  const hn::RebindToUnsigned<decltype(dh)> du;
  for (size_t i = 0; i < kVecs; ++i) {
    const auto half = hn::DemoteTo(dh, a.v[i]);
    hn::StoreU(hn::BitCast(du, half), du, p + i * kRealLanes);
  }
#endif
}

HWY_INLINE void StoreTailF16x16(F32x16 a, uint16_t* HWY_RESTRICT p, size_t n) {
  HWY_ALIGN uint16_t buf[kLanes];
  StoreF16x16(a, buf);
  for (size_t i = 0; i < n; ++i) p[i] = buf[i];
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
