// Are the bounds true, and do they bite? Plain f32 kernels in the most naive
// order must pass the any-order profile on every family of data; each with one
// planted error must fail it somewhere.
#include "reference/bounds.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <vector>

#include "reference/oracle.h"
#include "tests/util/random.h"
#include "tests/util/shapes.h"
#include "tests/util/tolerance.h"

namespace etalon::reference {
namespace {

using test::Family;
using test::PaddedMatrix;
using test::Random;
using test::WithinBound;

constexpr Family kAll[] = {
    Family::kNormal,  Family::kUniform, Family::kWide,     Family::kExactInt,
    Family::kOutlier, Family::kOffset,  Family::kCancel,   Family::kSubnormal,
    Family::kTiny,    Family::kLarge,   Family::kConstant, Family::kZero};

TEST(Gamma, IsTheAccumulatedRoundingOrInfinite) {
  EXPECT_DOUBLE_EQ(Gamma(2, 0x1p-24), 0x1p-23 / (1 - 0x1p-23));
  EXPECT_TRUE(std::isinf(Gamma(0x1p24, 0x1p-24)));
  EXPECT_TRUE(std::isinf(Gamma(0x1p30, 0x1p-24)));
}

TEST(Profile, ChainsFollowTheLanes) {
  EXPECT_EQ(CpuStrictProfile().Chain(1000), 63 + 4);
  EXPECT_EQ(CpuStrictProfile().Chain(1), 1);
  EXPECT_EQ(CpuStrictProfile().DotChain(1000), 67);
  EXPECT_EQ(AnyOrderF32Profile().Chain(1000), 1000);
  EXPECT_EQ(AnyOrderF32Profile().DotChain(1000), 1001);
  EXPECT_EQ(CpuStrictProfile().Rescales(257), 2);
  EXPECT_EQ(AnyOrderF32Profile().Rescales(257), 257);
}

// How often a kernel leaves the bound, over all families.
size_t Violations(const std::function<bool(Family, Random&)>& passes) {
  size_t n = 0;
  for (const Family family : kAll) {
    for (uint32_t seed = 0; seed < 4; ++seed) {
      Random rng(test::TestSeed() + seed, 31);
      n += passes(family, rng) ? 0 : 1;
    }
  }
  return n;
}

enum class RmsBug { kNone, kEpsOutsideRoot, kMeanOfNPlusOne, kOnePlusWeight };

bool RmsPasses(RmsBug bug, Family family, Random& rng) {
  const size_t n = 100;
  const auto x = rng.Vector(family, n);
  const auto w = rng.Vector(Family::kNormal, n);
  const float eps = 1e-5f;
  std::vector<float> out(n);
  const auto oracle =
      RmsNormOracle({{x.data(), 1, n}, w, eps, {out.data(), 1, n}, {}});
  float sum = 0.0f;
  for (const float v : x) sum += v * v;
  const float count = bug == RmsBug::kMeanOfNPlusOne ? n + 1 : n;
  const float rstd = bug == RmsBug::kEpsOutsideRoot
                         ? 1.0f / (std::sqrt(sum / count) + eps)
                         : 1.0f / std::sqrt(sum / count + eps);
  for (size_t i = 0; i < n; ++i) {
    out[i] = x[i] * rstd * (bug == RmsBug::kOnePlusWeight ? 1 + w[i] : w[i]);
  }
  return static_cast<bool>(
      WithinBound(out, oracle->value,
                  RmsNormTolerance(*oracle, AnyOrderF32Profile(), n), {}));
}

TEST(Bounds, RmsNorm) {
  const auto violations = [](RmsBug bug) {
    return Violations([bug](Family family, Random& rng) {
      return RmsPasses(bug, family, rng);
    });
  };
  EXPECT_EQ(violations(RmsBug::kNone), 0u);
  EXPECT_GT(violations(RmsBug::kEpsOutsideRoot), 0u);
  EXPECT_GT(violations(RmsBug::kMeanOfNPlusOne), 20u);
  EXPECT_GT(violations(RmsBug::kOnePlusWeight), 20u);
}

enum class SoftmaxBug { kNone, kEpsInSum, kTruncatedToBf16, kExpScaled };

float Bf16Truncated(float x) {
  return std::bit_cast<float>(std::bit_cast<uint32_t>(x) & 0xFFFF0000u);
}

bool SoftmaxPasses(SoftmaxBug bug, Family family, Random& rng) {
  const size_t n = 60;
  const auto x = rng.Vector(family, n);
  std::vector<float> out(n);
  const auto oracle = SoftmaxOracle({{x.data(), 1, n}, {out.data(), 1, n}});
  const float max = *std::max_element(x.begin(), x.end());
  float sum = bug == SoftmaxBug::kEpsInSum ? 1e-4f : 0.0f;
  for (size_t i = 0; i < n; ++i) {
    out[i] = std::exp((x[i] - max) *
                      (bug == SoftmaxBug::kExpScaled ? 1.0001f : 1.0f));
    sum += out[i];
  }
  // Two loops: joined, g++ 12.2 at -O1 drops the masking from the store.
  for (float& p : out) p /= sum;
  if (bug == SoftmaxBug::kTruncatedToBf16) {
    for (float& p : out) p = Bf16Truncated(p);
  }
  return static_cast<bool>(
      WithinBound(out, oracle->value,
                  SoftmaxTolerance(*oracle, AnyOrderF32Profile(), n), {}));
}

TEST(Bounds, Softmax) {
  const auto violations = [](SoftmaxBug bug) {
    return Violations([bug](Family family, Random& rng) {
      return SoftmaxPasses(bug, family, rng);
    });
  };
  EXPECT_EQ(violations(SoftmaxBug::kNone), 0u);
  EXPECT_GT(violations(SoftmaxBug::kEpsInSum), 10u);
  EXPECT_GT(violations(SoftmaxBug::kTruncatedToBf16), 10u);
  EXPECT_GT(violations(SoftmaxBug::kExpScaled), 10u);
}

enum class GemmBug { kNone, kLastElementDropped, kBiasTwice, kF16Accumulator };

bool GemmPasses(GemmBug bug, Family family, Random& rng) {
  const size_t k = 70;
  const auto x = rng.Vector(family, k);
  const auto w = rng.Vector(Family::kNormal, k);
  const std::vector<float> bias = {0.25f};
  std::vector<float> out(1);
  const GemmPart part = {
      {TensorType::kF32, reinterpret_cast<const std::byte*>(w.data()), 1, k,
       4 * k},
      bias,
      {out.data(), 1, 1},
      1.0f};
  const auto oracle = GemmOracle({{x.data(), 1, k}, {&part, 1}}, 0);
  float sum = 0.0f;
  for (size_t i = 0; i < k; ++i) {
    if (bug == GemmBug::kLastElementDropped && i + 1 == k) continue;
    sum += x[i] * w[i];
    if (bug == GemmBug::kF16Accumulator) {
      sum = static_cast<float>(static_cast<_Float16>(sum));
    }
  }
  out[0] = sum + bias[0] * (bug == GemmBug::kBiasTwice ? 2.0f : 1.0f);
  return static_cast<bool>(
      WithinBound(out, oracle->value,
                  GemmTolerance(*oracle, AnyOrderF32Profile(), part.weights,
                                Activations::kAuto),
                  {}));
}

TEST(Bounds, Gemm) {
  const auto violations = [](GemmBug bug) {
    return Violations([bug](Family family, Random& rng) {
      return GemmPasses(bug, family, rng);
    });
  };
  EXPECT_EQ(violations(GemmBug::kNone), 0u);
  EXPECT_GT(violations(GemmBug::kLastElementDropped), 20u);
  EXPECT_GT(violations(GemmBug::kBiasTwice), 20u);
  EXPECT_GT(violations(GemmBug::kF16Accumulator), 10u);
}

enum class RopeBug { kNone, kSign, kNeighbour };

bool RopePasses(RopeBug bug, Family family, Random& rng) {
  const size_t half = 8;
  const auto x = rng.Vector(family, 2 * half);
  const auto cos = rng.Vector(Family::kUniform, half);
  const auto sin = rng.Vector(Family::kUniform, half);
  const std::vector<int32_t> position = {0};
  std::vector<float> out = x;
  const auto oracle = RopeOracle({{out.data(), 1, 1, 2 * half, 0, 0},
                                  position,
                                  {cos.data(), 1, half},
                                  {sin.data(), 1, half},
                                  RopeStyle::kHalfSplit});
  for (size_t i = 0; i < half; ++i) {
    const size_t j = bug == RopeBug::kNeighbour ? i ^ 1 : i + half;
    const float s = bug == RopeBug::kSign ? -sin[i] : sin[i];
    out[i] = x[i] * cos[i] - x[j] * s;
    out[i + half] = x[i] * s + x[i + half] * cos[i];
  }
  return static_cast<bool>(WithinBound(
      out, oracle->value, RopeTolerance(*oracle, AnyOrderF32Profile()), {}));
}

TEST(Bounds, Rope) {
  const auto violations = [](RopeBug bug) {
    return Violations([bug](Family family, Random& rng) {
      return RopePasses(bug, family, rng);
    });
  };
  EXPECT_EQ(violations(RopeBug::kNone), 0u);
  EXPECT_GT(violations(RopeBug::kSign), 20u);
  EXPECT_GT(violations(RopeBug::kNeighbour), 20u);
}

enum class SwiGluBug { kNone, kSwapped, kGeluTanh };

bool SwiGluPasses(SwiGluBug bug, Family family, Random& rng) {
  const size_t n = 64;
  const auto gate = rng.Vector(family, n);
  const auto up = rng.Vector(Family::kNormal, n);
  std::vector<float> out(n);
  const auto oracle = SwiGluOracle(
      {{gate.data(), 1, n}, {up.data(), 1, n}, {out.data(), 1, n}});
  for (size_t i = 0; i < n; ++i) {
    const float g = bug == SwiGluBug::kSwapped ? up[i] : gate[i];
    const float u = bug == SwiGluBug::kSwapped ? gate[i] : up[i];
    out[i] = g / (1.0f + std::exp(-g)) * u;
    if (bug == SwiGluBug::kGeluTanh) {
      out[i] = 0.5f * g *
               (1.0f + std::tanh(0.7978846f * (g + 0.044715f * g * g * g))) * u;
    }
  }
  return static_cast<bool>(WithinBound(
      out, oracle->value, SwiGluTolerance(*oracle, AnyOrderF32Profile()), {}));
}

TEST(Bounds, SwiGlu) {
  const auto violations = [](SwiGluBug bug) {
    return Violations([bug](Family family, Random& rng) {
      return SwiGluPasses(bug, family, rng);
    });
  };
  EXPECT_EQ(violations(SwiGluBug::kNone), 0u);
  EXPECT_GT(violations(SwiGluBug::kSwapped), 20u);
  EXPECT_GT(violations(SwiGluBug::kGeluTanh), 10u);
}

enum class AttentionBug {
  kNone,
  kScaleOff,       // by 0.1 %
  kLastKeyMissed,  // kv_len - 1
  kValueRowOff,    // V of the next position for the last key
  kOutF16,         // output through f16
  kSumEps,         // + 1e-4 in the denominator
};

bool AttentionPasses(AttentionBug bug, Family family, Random& rng) {
  const size_t head_dim = 24;
  const size_t kv_len = 45;
  const auto q = rng.Vector(family, head_dim);
  const auto k = rng.Vector(Family::kNormal, kv_len * head_dim);
  const auto v =
      rng.Vector(family == Family::kOffset ? Family::kOffset : Family::kNormal,
                 kv_len * head_dim);
  std::vector<float> out(head_dim, 0.0f);
  const auto cache = [&](const std::vector<float>& data) {
    return KvView{TensorType::kF32,
                  reinterpret_cast<const std::byte*>(data.data()),
                  1,
                  kv_len,
                  head_dim,
                  kv_len * head_dim,
                  head_dim};
  };
  const float scale = 0.2f;
  const AttentionArgs args = {{q.data(), 1, 1, head_dim, head_dim, head_dim},
                              cache(k),
                              cache(v),
                              kv_len,
                              scale,
                              true,
                              {out.data(), 1, 1, head_dim, head_dim, head_dim}};
  const auto oracle = AttentionOracle(args);
  const size_t n = bug == AttentionBug::kLastKeyMissed ? kv_len - 1 : kv_len;
  // Online softmax, rescaled at every key: the worst order there is.
  float max = -INFINITY;
  float sum = 0.0f;
  for (size_t p = 0; p < n; ++p) {
    float s = 0.0f;
    for (size_t d = 0; d < head_dim; ++d) s += q[d] * k[p * head_dim + d];
    s *= bug == AttentionBug::kScaleOff ? scale * 1.001f : scale;
    const float m = std::max(max, s);
    const float rescale = std::exp(max - m);
    const float e = std::exp(s - m);
    const size_t row =
        bug == AttentionBug::kValueRowOff && p + 1 == n ? p - 1 : p;
    for (size_t d = 0; d < head_dim; ++d) {
      out[d] = out[d] * rescale + e * v[row * head_dim + d];
    }
    sum = sum * rescale + e;
    max = m;
  }
  if (bug == AttentionBug::kSumEps) sum += 1e-4f;
  for (float& o : out) {
    o /= sum;
    if (bug == AttentionBug::kOutF16) {
      o = static_cast<float>(static_cast<_Float16>(o));
    }
  }
  return static_cast<bool>(WithinBound(
      out, oracle->value,
      AttentionTolerance(*oracle, AnyOrderF32Profile(), head_dim, kv_len), {}));
}

TEST(Bounds, Attention) {
  const auto violations = [](AttentionBug bug) {
    return Violations([bug](Family family, Random& rng) {
      return AttentionPasses(bug, family, rng);
    });
  };
  EXPECT_EQ(violations(AttentionBug::kNone), 0u);
  EXPECT_GT(violations(AttentionBug::kScaleOff), 4u);
  EXPECT_GT(violations(AttentionBug::kLastKeyMissed), 20u);
  EXPECT_GT(violations(AttentionBug::kValueRowOff), 20u);
  EXPECT_GT(violations(AttentionBug::kOutF16), 20u);
  EXPECT_GT(violations(AttentionBug::kSumEps), 4u);
}

// Nothing is written when an op refuses its arguments, and the message names
// what is wrong.
TEST(Errors, AreTypedAndLeaveTheOutputAlone) {
  Workspace workspace;
  ExecContext ctx{&workspace, nullptr, 1};
  const std::vector<float> x(32, 1.0f);
  std::vector<float> out(32, 7.0f);
  const Span2D<const float> in(x.data(), 1, 32);
  const Backend& ref = ReferenceBackend();
  const auto refused = [&](const Status& status, const char* names) {
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(status.error().message.find(names), std::string::npos)
        << status.error().message;
    for (const float v : out) EXPECT_EQ(v, 7.0f);
  };
  refused(ref.add({in, in, {out.data(), 1, 31}}, ctx), "out is [1, 31]");
  refused(ref.rms_norm({in, {}, -1.0f, {out.data(), 1, 32}, {}}, ctx), "eps");
  const std::vector<int32_t> tokens = {2};
  const WeightMatrix table = {TensorType::kF32,
                              reinterpret_cast<const std::byte*>(x.data()), 1,
                              32, 128};
  refused(ref.embedding({table, tokens, {out.data(), 1, 32}}, ctx), "token 2");
  WeightMatrix q8k = table;
  q8k.type = TensorType::kQ8_K;
  const GemmPart part = {q8k, {}, {out.data(), 1, 1}, 1.0f};
  refused(ref.gemm({in, {&part, 1}, Activations::kAuto}, ctx), "Q8_K");
  const std::vector<int32_t> position = {0};
  refused(ref.rope({{out.data(), 1, 1, 32, 32, 32},
                    position,
                    {x.data(), 0, 16},
                    {x.data(), 0, 16},
                    RopeStyle::kHalfSplit},
                   ctx),
          "position 0");
  const KvView cache = {TensorType::kF32,
                        reinterpret_cast<const std::byte*>(x.data()),
                        1,
                        2,
                        16,
                        32,
                        16};
  AttentionArgs attention = {
      {x.data(), 1, 1, 16, 16, 16},  cache, cache, 3, 1.0f, true,
      {out.data(), 1, 1, 16, 16, 16}};
  refused(ref.attention(attention, ctx), "kv_len 3");
  attention.kv_len = 2;
  attention.scale = NAN;
  refused(ref.attention(attention, ctx), "scale");
}

}  // namespace
}  // namespace etalon::reference
