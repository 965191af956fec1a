// Attention problems as dense data, and ways to hand them to the op: types,
// layouts, capacities, with NaN wherever nothing may be read.
#ifndef ETALON_TESTS_OPS_ATTENTION_FIXTURE_H_
#define ETALON_TESTS_OPS_ATTENTION_FIXTURE_H_

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "etalon/attention.h"
#include "etalon/config.h"
#include "quant/f16.h"
#include "tests/ops/attention_oracle.h"
#include "tests/util/random.h"
#include "tests/util/tolerance.h"

namespace etalon::test {

struct AttentionShape {
  size_t n_tokens = 1;
  size_t n_kv_heads = 1;
  size_t q_per_kv = 1;
  size_t kv_len = 1;
  size_t head_dim = 16;
  TensorType type = TensorType::kF32;
  bool causal = true;

  size_t n_heads() const { return n_kv_heads * q_per_kv; }
  size_t Limit(size_t t) const {
    return causal ? kv_len - n_tokens + t + 1 : kv_len;
  }
  std::string Text() const {
    return "tokens " + std::to_string(n_tokens) + " kv_heads " +
           std::to_string(n_kv_heads) + " q_per_kv " +
           std::to_string(q_per_kv) + " kv_len " + std::to_string(kv_len) +
           " head_dim " + std::to_string(head_dim) +
           (type == TensorType::kF16 ? " f16" : " f32") +
           (causal ? " causal" : "");
  }
};

// A cache of either layout. Everything but the written positions is NaN.
class Cache {
 public:
  Cache(const AttentionShape& s, size_t capacity, bool token_major)
      : shape_(s), capacity_(capacity) {
    constexpr size_t kPad = 3;
    if (token_major) {
      head_stride_ = s.head_dim + kPad;
      pos_stride_ = s.n_kv_heads * head_stride_;
    } else {
      pos_stride_ = s.head_dim + kPad;
      head_stride_ = capacity * pos_stride_;
    }
    const size_t n = s.n_kv_heads * capacity * (s.head_dim + kPad);
    half_.assign(n, 0x7e01);
    wide_.assign(n, std::nanf(""));
  }
  // x: [n_kv_heads, kv_len, head_dim]
  void Fill(std::span<const float> x) {
    for (size_t h = 0; h < shape_.n_kv_heads; ++h) {
      for (size_t p = 0; p < shape_.kv_len; ++p) {
        for (size_t d = 0; d < shape_.head_dim; ++d) {
          const size_t at = h * head_stride_ + p * pos_stride_ + d;
          const float value = x[(h * shape_.kv_len + p) * shape_.head_dim + d];
          wide_[at] = value;
          half_[at] = F32ToF16(value);
        }
      }
    }
  }
  KvView view() const {
    const bool half = shape_.type == TensorType::kF16;
    return {shape_.type,
            half ? reinterpret_cast<const std::byte*>(half_.data())
                 : reinterpret_cast<const std::byte*>(wide_.data()),
            shape_.n_kv_heads,
            capacity_,
            shape_.head_dim,
            head_stride_,
            pos_stride_};
  }

 private:
  AttentionShape shape_;
  size_t capacity_;
  size_t head_stride_ = 0;
  size_t pos_stride_ = 0;
  std::vector<uint16_t> half_;
  std::vector<float> wide_;
};

struct RunOptions {
  int n_threads = 1;
  size_t spare_capacity = 0;
  bool token_major = false;
  size_t split = 0;  // tokens per call, 0 for all at once
  Config config = {};
};

struct AttentionProblem {
  AttentionShape shape;
  float scale;
  std::vector<float> q;  // [n_tokens, n_heads, head_dim]
  std::vector<float> k;  // [n_kv_heads, kv_len, head_dim]
  std::vector<float> v;

  AttentionProblem(const AttentionShape& s, uint32_t stream)
      : shape(s), scale(1.0f / std::sqrt(static_cast<float>(s.head_dim))) {
    Random random(stream);
    q = random.Vector(Family::kNormal, s.n_tokens * s.n_heads() * s.head_dim);
    k = random.Vector(Family::kNormal, s.n_kv_heads * s.kv_len * s.head_dim);
    v = random.Vector(Family::kNormal, s.n_kv_heads * s.kv_len * s.head_dim);
    RoundToType();
  }
  // After k or v were changed: values that the cache's type can hold.
  void RoundToType() {
    if (shape.type != TensorType::kF16) return;
    for (float& x : k) x = F16ToF32(F32ToF16(x));
    for (float& x : v) x = F16ToF32(F32ToF16(x));
  }
  float& K(size_t h, size_t p, size_t d) {
    return k[(h * shape.kv_len + p) * shape.head_dim + d];
  }
  float& V(size_t h, size_t p, size_t d) {
    return v[(h * shape.kv_len + p) * shape.head_dim + d];
  }
  AttentionRow Row(size_t t, size_t h) const {
    const size_t at = h / shape.q_per_kv * shape.kv_len * shape.head_dim;
    return {q.data() + (t * shape.n_heads() + h) * shape.head_dim,
            k.data() + at,
            v.data() + at,
            shape.Limit(t),
            shape.head_dim,
            scale};
  }

  // out [n_tokens, n_heads, head_dim]; the op writes into rows with gaps.
  std::vector<float> Run(const RunOptions& o = {}) const {
    const size_t dim = shape.head_dim;
    const size_t capacity = shape.kv_len + o.spare_capacity;
    Cache ck(shape, capacity, o.token_major),
        cv(shape, capacity, o.token_major);
    ck.Fill(k);
    cv.Fill(v);
    const size_t head_stride = dim + 1;
    const size_t token_stride = shape.n_heads() * head_stride + 2;
    constexpr float kUntouched = -77.0f;
    std::vector<float> gappy(shape.n_tokens * token_stride, kUntouched);
    Workspace workspace;
    ExecContext ctx{&workspace, &o.config, o.n_threads};
    const size_t step = o.split == 0 ? shape.n_tokens : o.split;
    for (size_t t = 0; t < shape.n_tokens; t += step) {
      const size_t n = std::min(step, shape.n_tokens - t);
      AttentionArgs args;
      args.q = {q.data() + t * shape.n_heads() * dim,
                n,
                shape.n_heads(),
                dim,
                shape.n_heads() * dim,
                dim};
      args.k = ck.view();
      args.v = cv.view();
      args.kv_len = shape.causal ? shape.Limit(t + n - 1) : shape.kv_len;
      args.scale = scale;
      args.causal = shape.causal;
      args.out = {gappy.data() + t * token_stride,
                  n,
                  shape.n_heads(),
                  dim,
                  token_stride,
                  head_stride};
      const Status status = ops::Attention(args, ctx);
      EXPECT_TRUE(status.has_value()) << status.error().message;
    }
    std::vector<float> out;
    out.reserve(q.size());
    for (size_t i = 0; i < gappy.size(); ++i) {
      const size_t in_token = i % token_stride;
      const bool element = in_token / head_stride < shape.n_heads() &&
                           in_token % head_stride < dim;
      if (element) {
        out.push_back(gappy[i]);
      } else {
        EXPECT_EQ(gappy[i], kUntouched) << "written between rows at " << i;
      }
    }
    return out;
  }

  std::vector<float> StrictOrder() const {
    std::vector<float> out(q.size());
    for (size_t t = 0; t < shape.n_tokens; ++t) {
      for (size_t h = 0; h < shape.n_heads(); ++h) {
        AttentionInStrictOrder(
            Row(t, h), out.data() + (t * shape.n_heads() + h) * shape.head_dim);
      }
    }
    return out;
  }
  void ExpectWithinBound(std::span<const float> out, const std::string& where,
                         bool strict = true,
                         RatioStats* stats = nullptr) const {
    std::vector<double> value(q.size()), bound(q.size());
    for (size_t t = 0; t < shape.n_tokens; ++t) {
      const AttentionChains chains =
          strict ? StrictChains(shape.head_dim, shape.Limit(t))
                 : SequentialChains(shape.head_dim, shape.Limit(t));
      for (size_t h = 0; h < shape.n_heads(); ++h) {
        const size_t at = (t * shape.n_heads() + h) * shape.head_dim;
        AttentionBound(Row(t, h), chains, value.data() + at, bound.data() + at);
      }
    }
    EXPECT_TRUE(WithinBound(out, value, bound,
                            {"attention", shape.Text(), where}, stats));
  }
  void ExpectSame(std::span<const float> actual,
                  std::span<const float> expected,
                  const std::string& where) const {
    EXPECT_TRUE(SameBits(actual, expected, {"attention", shape.Text(), where}));
  }
};

// Runs `body` on every tier that dispatches to code of its own, best first, and
// restores the tier. VNNI and AMX have nothing for attention: their kernels are
// those of AVX-512, so only the best of the three is run.
template <class Body>
void ForEachTier(const Body& body) {
  const SimdTier before = ActiveSimdTier();
  const std::vector<SimdTier>& tiers = SupportedSimdTiers();
  for (size_t i = tiers.size(); i-- > 0;) {
    const bool same_code = tiers[i] >= SimdTier::kAvx512;
    if (same_code && i + 1 < tiers.size()) continue;
    ASSERT_TRUE(SetActiveSimdTier(tiers[i]).has_value());
    body(tiers[i]);
  }
  ASSERT_TRUE(SetActiveSimdTier(before).has_value());
}

}  // namespace etalon::test

#endif  // ETALON_TESTS_OPS_ATTENTION_FIXTURE_H_
