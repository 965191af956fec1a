#include "simd/elementwise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/elementwise.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h
#include "simd/exp-inl.h"
#include "simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {

HWY_INLINE F32x16 SwiGlu16(F32x16 gate, F32x16 up) {
  F32x16 r;
  const VF one = hn::Set(DF(), 1.0f);
  for (size_t i = 0; i < kVecs; ++i) {
    const VF e = ExpStrict(DF(), hn::Neg(gate.v[i]));
    r.v[i] = hn::Mul(hn::Div(gate.v[i], hn::Add(one, e)), up.v[i]);
  }
  return r;
}

// out[i] = f(a[i], b[i]) in steps of 16.
template <class F>
HWY_INLINE void ForEach16(const float* a, const float* b, float* out, size_t n,
                          const F& f) {
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    Store16(f(Load16(a + i), Load16(b + i)), out + i);
  }
  if (i < n) {
    const size_t rest = n - i;
    StoreTail16(f(LoadTail16(a + i, rest), LoadTail16(b + i, rest)), out + i,
                rest);
  }
}

struct SwiGluOp {
  HWY_INLINE F32x16 operator()(F32x16 g, F32x16 u) const {
    return SwiGlu16(g, u);
  }
};
struct AddOp {
  HWY_INLINE F32x16 operator()(F32x16 a, F32x16 b) const { return Add16(a, b); }
};

void SwiGluSlice(const float* gate, const float* up, float* out, size_t n) {
  ForEach16(gate, up, out, n, SwiGluOp());
}
void AddSlice(const float* a, const float* b, float* out, size_t n) {
  ForEach16(a, b, out, n, AddOp());
}
void ScaleSlice(const float* x, float scale, float* out, size_t n) {
  const F32x16 s = Set16(scale);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    Store16(Mul16(Load16(x + i), s), out + i);
  }
  if (i < n) {
    StoreTail16(Mul16(LoadTail16(x + i, n - i), s), out + i, n - i);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace etalon::simd {

HWY_EXPORT(SwiGluSlice);
HWY_EXPORT(AddSlice);
HWY_EXPORT(ScaleSlice);

void SwiGlu(const float* gate, const float* up, float* out, size_t n) {
  HWY_DYNAMIC_DISPATCH(SwiGluSlice)(gate, up, out, n);
}
void Add(const float* a, const float* b, float* out, size_t n) {
  HWY_DYNAMIC_DISPATCH(AddSlice)(a, b, out, n);
}
void Scale(const float* x, float scale, float* out, size_t n) {
  HWY_DYNAMIC_DISPATCH(ScaleSlice)(x, scale, out, n);
}

}  // namespace etalon::simd
#endif  // HWY_ONCE
