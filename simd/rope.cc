#include "simd/rope.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/rope.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h
#include "simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {

// y0 = fma(x0, c, -fl(x1 s)), y1 = fma(x0, s, fl(x1 c)).
template <class V>
HWY_INLINE void RotatePair(V& x0, V& x1, V c, V s) {
  const V y0 = Fma(x0, c, hn::Neg(hn::Mul(x1, s)));
  x1 = Fma(x0, s, hn::Mul(x1, c));
  x0 = y0;
}

HWY_INLINE void Rotate16(F32x16& x0, F32x16& x1, const F32x16& c,
                         const F32x16& s) {
  for (size_t i = 0; i < kVecs; ++i) {
    RotatePair(x0.v[i], x1.v[i], c.v[i], s.v[i]);
  }
}

void HalfSplit(float* x, size_t n_heads, size_t head_stride, const float* cos,
               const float* sin, size_t half) {
  // Tables outside, heads inside: a table's 16 values serve every head.
  size_t i = 0;
  for (; i + kLanes <= half; i += kLanes) {
    const F32x16 c = Load16(cos + i);
    const F32x16 s = Load16(sin + i);
    for (size_t h = 0; h < n_heads; ++h) {
      float* p = x + h * head_stride + i;
      F32x16 x0 = Load16(p);
      F32x16 x1 = Load16(p + half);
      Rotate16(x0, x1, c, s);
      Store16(x0, p);
      Store16(x1, p + half);
    }
  }
  if (i == half) return;
  const size_t rest = half - i;
  const F32x16 c = LoadTail16(cos + i, rest);
  const F32x16 s = LoadTail16(sin + i, rest);
  for (size_t h = 0; h < n_heads; ++h) {
    float* p = x + h * head_stride + i;
    F32x16 x0 = LoadTail16(p, rest);
    F32x16 x1 = LoadTail16(p + half, rest);
    Rotate16(x0, x1, c, s);
    StoreTail16(x0, p, rest);
    StoreTail16(x1, p + half, rest);
  }
}

// 16 pairs at p: 32 consecutive floats.
HWY_INLINE void RotateInterleaved16(float* HWY_RESTRICT p, const F32x16& c,
                                    const F32x16& s) {
  for (size_t i = 0; i < kVecs; ++i) {
    float* q = p + 2 * i * kRealLanes;
#if HWY_TARGET == HWY_SCALAR
    VF x0(q[0]), x1(q[1]);
    RotatePair(x0, x1, c.v[i], s.v[i]);
    q[0] = x0.raw;
    q[1] = x1.raw;
#else
    VF x0, x1;
    hn::LoadInterleaved2(DF(), q, x0, x1);
    RotatePair(x0, x1, c.v[i], s.v[i]);
    hn::StoreInterleaved2(x0, x1, DF(), q);
#endif
  }
}

void Interleaved(float* x, size_t n_heads, size_t head_stride, const float* cos,
                 const float* sin, size_t half) {
  size_t i = 0;
  for (; i + kLanes <= half; i += kLanes) {
    const F32x16 c = Load16(cos + i);
    const F32x16 s = Load16(sin + i);
    for (size_t h = 0; h < n_heads; ++h) {
      RotateInterleaved16(x + h * head_stride + 2 * i, c, s);
    }
  }
  if (i == half) return;
  const size_t rest = half - i;
  const F32x16 c = LoadTail16(cos + i, rest);
  const F32x16 s = LoadTail16(sin + i, rest);
  for (size_t h = 0; h < n_heads; ++h) {
    float* p = x + h * head_stride + 2 * i;
    HWY_ALIGN float pairs[2 * kLanes] = {};
    for (size_t j = 0; j < 2 * rest; ++j) pairs[j] = p[j];
    RotateInterleaved16(pairs, c, s);
    for (size_t j = 0; j < 2 * rest; ++j) p[j] = pairs[j];
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace etalon::simd {

HWY_EXPORT(HalfSplit);
HWY_EXPORT(Interleaved);

void RopeHalfSplit(float* x, size_t n_heads, size_t head_stride,
                   const float* cos, const float* sin, size_t half) {
  HWY_DYNAMIC_DISPATCH(HalfSplit)(x, n_heads, head_stride, cos, sin, half);
}
void RopeInterleaved(float* x, size_t n_heads, size_t head_stride,
                     const float* cos, const float* sin, size_t half) {
  HWY_DYNAMIC_DISPATCH(Interleaved)(x, n_heads, head_stride, cos, sin, half);
}

}  // namespace etalon::simd
#endif  // HWY_ONCE
