#include "simd/attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/attention_states.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h
#include "simd/exp-inl.h"
#include "simd/lanes-inl.h"

// Once per file, not per target.
#ifndef ETALON_SIMD_ATTENTION_STATES_CC_ONCE_
#define ETALON_SIMD_ATTENTION_STATES_CC_ONCE_
#include <bit>
#include <cstdint>
#include <limits>

namespace etalon::simd {
namespace {
constexpr float kInf = std::numeric_limits<float>::infinity();
}  // namespace
}  // namespace etalon::simd
#endif  // ETALON_SIMD_ATTENTION_STATES_CC_ONCE_

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {

// Sixteen rows at a time share the exponentials.
void MergeSoftmaxStatesImpl(size_t n_rows, size_t head_dim,
                            const size_t* n_visible, const SoftmaxStates& into,
                            const SoftmaxStates& later) {
  const size_t dim = PaddedHeadDim(head_dim);
  for (size_t row = 0; row < n_rows; row += kLanes) {
    const size_t n = HWY_MIN(kLanes, n_rows - row);
    HWY_ALIGN float m[kLanes];
    HWY_ALIGN float keep[kLanes] = {};  // exp(m1 - m)
    HWY_ALIGN float add[kLanes] = {};   // exp(m2 - m)
    for (size_t r = 0; r < n; ++r) {
      const float m1 = into.m[row + r], m2 = later.m[row + r];
      m[r] = m2 > m1 ? m2 : m1;
      const float base = m[r] == -kInf ? 0.0f : m[r];
      keep[r] = m1 - base;
      add[r] = m2 - base;
    }
    Store16(Exp16(Load16(keep)), keep);
    Store16(Exp16(Load16(add)), add);
    for (size_t r = 0; r < n; ++r) {
      const size_t i = row + r;
      if (n_visible[i] == 0) continue;
      const F32x16 a = Set16(keep[r]), b = Set16(add[r]);
      into.m[i] = m[r];
      HWY_ALIGN float sum[kLanes];
      Store16(Fma16(Set16(later.l[i]), b, Mul16(Set16(into.l[i]), a)), sum);
      into.l[i] = sum[0];
      for (size_t d = i * dim; d < (i + 1) * dim; d += kLanes) {
        Store16(Fma16(Load16(later.o + d), b, Mul16(Load16(into.o + d), a)),
                into.o + d);
      }
    }
  }
}

void MergeSinksImpl(size_t n_rows, size_t head_dim, const float* sinks,
                    const SoftmaxStates& into) {
  const size_t dim = PaddedHeadDim(head_dim);
  const F32x16 zero = Zero16();
  for (size_t r = 0; r < n_rows; ++r) {
    const float m = sinks[r] > into.m[r] ? sinks[r] : into.m[r];
    const float base = m == -kInf ? 0.0f : m;
    HWY_ALIGN float factors[kLanes] = {into.m[r] - base, sinks[r] - base};
    Store16(Exp16(Load16(factors)), factors);
    const F32x16 a = Set16(factors[0]), b = Set16(factors[1]);
    HWY_ALIGN float sum[kLanes];
    Store16(Fma16(Set16(1.0f), b, Mul16(Set16(into.l[r]), a)), sum);
    into.m[r] = m;
    into.l[r] = sum[0];
    for (size_t d = r * dim; d < (r + 1) * dim; d += kLanes) {
      Store16(Fma16(zero, b, Mul16(Load16(into.o + d), a)), into.o + d);
    }
  }
}

HWY_INLINE F32x16 OneKindOfNaN(F32x16 x) {
  const VF nan = hn::Set(DF(), std::bit_cast<float>(0x7fc00000u));
  for (size_t i = 0; i < kVecs; ++i) {
    x.v[i] = hn::IfThenElse(hn::IsNaN(x.v[i]), nan, x.v[i]);
  }
  return x;
}

void GateAttentionRowImpl(const float* HWY_RESTRICT gate, size_t head_dim,
                          float* HWY_RESTRICT out) {
  const VF one = hn::Set(DF(), 1.0f);
  for (size_t d = 0; d < head_dim; d += kLanes) {
    const size_t n = HWY_MIN(kLanes, head_dim - d);
    const bool whole = n == kLanes;
    F32x16 g = whole ? Load16(gate + d) : LoadTail16(gate + d, n);
    for (size_t i = 0; i < kVecs; ++i) {
      const VF e = ExpStrict(DF(), hn::Neg(g.v[i]));
      g.v[i] = hn::Div(one, hn::Add(one, e));
    }
    const F32x16 x = whole ? Load16(out + d) : LoadTail16(out + d, n);
    const F32x16 y = OneKindOfNaN(Mul16(x, g));
    if (whole) {
      Store16(y, out + d);
    } else {
      StoreTail16(y, out + d, n);
    }
  }
}

void FinishAttentionRowImpl(float l, const float* HWY_RESTRICT o,
                            size_t head_dim, float* HWY_RESTRICT out) {
  const F32x16 inverse = Set16(1.0f / l);
  for (size_t d = 0; d < head_dim; d += kLanes) {
    const F32x16 x = OneKindOfNaN(Mul16(Load16(o + d), inverse));
    if (d + kLanes <= head_dim) {
      Store16(x, out + d);
    } else {
      StoreTail16(x, out + d, head_dim - d);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace etalon::simd {

HWY_EXPORT(MergeSoftmaxStatesImpl);
HWY_EXPORT(MergeSinksImpl);
HWY_EXPORT(GateAttentionRowImpl);
HWY_EXPORT(FinishAttentionRowImpl);

void MergeSoftmaxStates(size_t n_rows, size_t head_dim, const size_t* n_visible,
                        const SoftmaxStates& into, const SoftmaxStates& later) {
  HWY_DYNAMIC_DISPATCH(MergeSoftmaxStatesImpl)
  (n_rows, head_dim, n_visible, into, later);
}

void MergeSinks(size_t n_rows, size_t head_dim, const float* sinks,
                const SoftmaxStates& into) {
  HWY_DYNAMIC_DISPATCH(MergeSinksImpl)(n_rows, head_dim, sinks, into);
}

void GateAttentionRow(const float* gate, size_t head_dim, float* out) {
  HWY_DYNAMIC_DISPATCH(GateAttentionRowImpl)(gate, head_dim, out);
}

void FinishAttentionRow(float l, const float* o, size_t head_dim, float* out) {
  HWY_DYNAMIC_DISPATCH(FinishAttentionRowImpl)(l, o, head_dim, out);
}

}  // namespace etalon::simd
#endif  // HWY_ONCE
