#include "etalon/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "etalon/config.h"
#include "etalon/simd_tier.h"
#include "tests/simd/gemm_oracle.h"
#include "tests/util/random.h"
#include "tests/util/random_weights.h"
#include "tests/util/shapes.h"
#include "tests/util/ulp.h"

namespace etalon {

namespace ops {
bool SelfTestGemm();
}

namespace {

using test::BitDiff;
using test::Family;
using test::kWeightTypes;
using test::MakeWeights;
using test::PaddedMatrix;
using test::Random;
using test::RandomWeights;
using test::SeedNote;

class GemmTest : public testing::Test {
 protected:
  GemmTest() { ctx_.workspace = &workspace_; }
  ~GemmTest() override {
    EXPECT_TRUE(SetActiveSimdTier(SupportedSimdTiers().back()));
  }
  Workspace workspace_;
  ExecContext ctx_;
};

// Weight rows at a stride wider than a row, the padding 0xFF (NaN scales).
RandomWeights Strided(const RandomWeights& w, size_t padding) {
  RandomWeights r = w;
  r.stride_bytes = w.stride_bytes + padding;
  r.bytes.assign(w.rows * r.stride_bytes, std::byte{0xFF});
  for (size_t i = 0; i < w.rows; ++i) {
    std::memcpy(&r.bytes[i * r.stride_bytes], &w.bytes[i * w.stride_bytes],
                w.stride_bytes);
  }
  return r;
}

TEST_F(GemmTest, EveryTierThreadCountAndBatchGivesTheStatedBits) {
  SCOPED_TRACE(SeedNote());
  Random rng(1);
  for (const TensorType type : kWeightTypes) {
    SCOPED_TRACE(TypeName(type));
    const size_t block = GetTypeTraits(type).block_size;
    for (const size_t k : {block == 256 ? size_t{768} : size_t{352},
                           block == 1 ? size_t{77} : block}) {
      for (const size_t n : {1u, 15u, 16u, 17u, 65u}) {
        const RandomWeights w =
            Strided(MakeWeights(type, n, k, rng), 2 * (n % 3));
        const size_t max_m = n == 17 ? 64 : 17;
        const PaddedMatrix x(rng.Vector(Family::kOutlier, max_m * k), max_m, k);
        const std::vector<float> bias = rng.Vector(Family::kNormal, n);
        const std::vector<float> want =
            test::OracleGemm(w.view(), x.view(), false, bias.data(), 1.0f);
        for (const SimdTier tier : SupportedSimdTiers()) {
          SCOPED_TRACE(SimdTierName(tier));
          ASSERT_TRUE(SetActiveSimdTier(tier));
          for (const size_t m : {1u, 2u, 5u, 16u, 17u, 64u}) {
            if (m > max_m) continue;
            for (const int threads : {1, 2, 3, 4}) {
              if (threads > 1 && m != 5 && m != max_m) continue;
              PaddedMatrix out(m, n);
              const GemmPart part{w.view(), bias, out.view()};
              ctx_.n_threads = threads;
              ASSERT_TRUE(ops::Gemm({x.view().Rows(0, m), {&part, 1}}, ctx_));
              ASSERT_EQ(BitDiff(out.Dense(), {want.data(), m * n}), 0u)
                  << "M=" << m << " N=" << n << " K=" << k
                  << " threads=" << threads;
              ASSERT_TRUE(out.PaddingIntact());
            }
          }
        }
      }
    }
  }
}

TEST_F(GemmTest, F32ActivationsUseDequantisedWeightsOnEveryTier) {
  SCOPED_TRACE(SeedNote());
  Random rng(2);
  for (const TensorType type : kWeightTypes) {
    SCOPED_TRACE(TypeName(type));
    const size_t k = 512, n = 19;
    const RandomWeights w = MakeWeights(type, n, k, rng);
    const PaddedMatrix x(rng.Vector(Family::kNormal, 7 * k), 7, k);
    const std::vector<float> want =
        test::OracleGemm(w.view(), x.view(), true, nullptr, 0.3f);
    for (const SimdTier tier : SupportedSimdTiers()) {
      ASSERT_TRUE(SetActiveSimdTier(tier));
      PaddedMatrix out(7, n);
      GemmPart part{w.view(), {}, out.view()};
      part.scale = 0.3f;
      ctx_.n_threads = 2;
      ASSERT_TRUE(ops::Gemm({x.view(), {&part, 1}, Activations::kF32}, ctx_));
      EXPECT_EQ(BitDiff(out.Dense(), want), 0u) << SimdTierName(tier);
      // The run-time switch asks for the same thing.
      Config config;
      config.q8k_activations = false;
      ctx_.config = &config;
      PaddedMatrix again(7, n);
      part.out = again.view();
      ASSERT_TRUE(ops::Gemm({x.view(), {&part, 1}}, ctx_));
      EXPECT_EQ(BitDiff(again.Dense(), want), 0u);
      ctx_.config = nullptr;
    }
  }
}

TEST_F(GemmTest, PartsShareActivationsAndMayInterleaveInOneBuffer) {
  Random rng(3);
  const size_t k = 256, m = 9;
  const RandomWeights a = MakeWeights(TensorType::kQ4_K, 40, k, rng);
  const RandomWeights b = MakeWeights(TensorType::kQ8_0, 7, k, rng);
  const RandomWeights c = MakeWeights(TensorType::kF16, 33, k, rng);
  const PaddedMatrix x(rng.Vector(Family::kNormal, m * k), m, k);
  const auto oracle = [&](const RandomWeights& w) {
    return test::OracleGemm(w.view(), x.view(), false, nullptr, 1.0f);
  };
  for (const SimdTier tier : SupportedSimdTiers()) {
    ASSERT_TRUE(SetActiveSimdTier(tier));
    PaddedMatrix out(m, 80);
    const Span2D<float> o = out.view();
    const GemmPart parts[] = {
        {a.view(), {}, {o.data, m, 40, o.stride}},
        {b.view(), {}, {o.data + 40, m, 7, o.stride}},
        {c.view(), {}, {o.data + 47, m, 33, o.stride}},
    };
    ctx_.n_threads = 3;
    ASSERT_TRUE(ops::Gemm({x.view(), parts}, ctx_));
    const std::vector<float> wa = oracle(a), wb = oracle(b), wc = oracle(c);
    for (size_t i = 0; i < m; ++i) {
      EXPECT_EQ(BitDiff({&out.at(i, 0), 40}, {&wa[i * 40], 40}), 0u);
      EXPECT_EQ(BitDiff({&out.at(i, 40), 7}, {&wb[i * 7], 7}), 0u);
      EXPECT_EQ(BitDiff({&out.at(i, 47), 33}, {&wc[i * 33], 33}), 0u);
    }
    EXPECT_TRUE(out.PaddingIntact());
  }
}

// Extreme quants: every u8 x s8 product and 16-bit partial sum at its limit.
TEST_F(GemmTest, IntegerSumsDoNotSaturate) {
  const size_t k = 512, n = 16;
  for (const TensorType type : kWeightTypes) {
    if (!IsQuantized(type)) continue;
    for (const int fill : {0x00, 0xFF, 0x80, 0x7F}) {
      Random rng(4);
      RandomWeights w = MakeWeights(type, n, k, rng);
      const RandomWeights finite = w;
      // All quants and integer scales extreme, f16 scales left finite.
      const TypeTraits& t = GetTypeTraits(type);
      for (size_t at = 0; at < w.bytes.size(); at += t.block_bytes) {
        std::memset(&w.bytes[at], fill, t.block_bytes);
        const bool d_last = type == TensorType::kQ6_K;
        const bool two = type == TensorType::kQ4_1 ||
                         type == TensorType::kQ5_1 ||
                         type == TensorType::kQ4_K || type == TensorType::kQ5_K;
        const size_t d_at = d_last ? t.block_bytes - 2 : 0;
        std::memcpy(&w.bytes[at + d_at], &finite.bytes[at + d_at], two ? 4 : 2);
      }
      for (const float sign : {1.0f, -1.0f}) {
        const std::vector<float> values(3 * k, sign);
        const Span2D<const float> x(values.data(), 3, k);
        const std::vector<float> want =
            test::OracleGemm(w.view(), x, false, nullptr, 1.0f);
        for (const SimdTier tier : SupportedSimdTiers()) {
          ASSERT_TRUE(SetActiveSimdTier(tier));
          PaddedMatrix out(3, n);
          const GemmPart part{w.view(), {}, out.view()};
          ASSERT_TRUE(ops::Gemm({x, {&part, 1}}, ctx_));
          EXPECT_EQ(BitDiff(out.Dense(), want), 0u)
              << TypeName(type) << " " << SimdTierName(tier) << " " << fill;
        }
      }
    }
  }
}

TEST_F(GemmTest, NonFiniteActivationsReachTheirRowOnly) {
  Random rng(5);
  for (const TensorType type : kWeightTypes) {
    const size_t k = 512;
    const RandomWeights w = MakeWeights(type, 20, k, rng);
    PaddedMatrix x(rng.Vector(Family::kNormal, 3 * k), 3, k);
    x.at(1, 300) = INFINITY;
    const std::vector<float> want =
        test::OracleGemm(w.view(), x.view(), false, nullptr, 1.0f);
    for (const SimdTier tier : SupportedSimdTiers()) {
      ASSERT_TRUE(SetActiveSimdTier(tier));
      PaddedMatrix out(3, 20);
      const GemmPart part{w.view(), {}, out.view()};
      ASSERT_TRUE(ops::Gemm({x.view(), {&part, 1}}, ctx_));
      EXPECT_EQ(BitDiff(out.Dense(), want), 0u) << TypeName(type);
      EXPECT_TRUE(std::isfinite(out.at(0, 0)));
      EXPECT_FALSE(std::isfinite(out.at(1, 0)));
    }
  }
}

TEST_F(GemmTest, WorkspaceBoundHolds) {
  Random rng(6);
  for (const TensorType type : {TensorType::kQ4_K, TensorType::kQ8_0}) {
    const RandomWeights w = MakeWeights(type, 32, 512, rng);
    const std::vector<float> x = rng.Vector(Family::kNormal, 33 * 512);
    std::vector<float> out(33 * 32);
    Workspace workspace;
    ASSERT_TRUE(workspace.Reserve(ops::GemmWorkspaceBytes(33, 512, 3)));
    ExecContext ctx{&workspace, nullptr, 3};
    const GemmPart part{w.view(), {}, {out.data(), 33, 32}};
    ASSERT_TRUE(ops::Gemm({{x.data(), 33, 512}, {&part, 1}}, ctx));
    EXPECT_EQ(workspace.growths(), 0u);
  }
}

// So wide that the tokens are quantised in several groups.
TEST_F(GemmTest, GroupsOfTokensChangeNoBitAndTakeLessWorkspace) {
  SCOPED_TRACE(SeedNote());
  Random rng(8);
  constexpr size_t kM = 300, kK = 32768, kN = 5;
  const RandomWeights w = MakeWeights(TensorType::kQ4_K, kN, kK, rng);
  const std::vector<float> x = rng.Vector(Family::kNormal, kM * kK);
  const std::vector<float> bias = rng.Vector(Family::kNormal, kN);
  std::vector<float> out(kM * kN), want(kM * kN);
  Workspace workspace;
  const size_t bytes = ops::GemmWorkspaceBytes(kM, kK, 2, 1);
  EXPECT_LT(bytes, kM * kK);  // what the quants alone would take
  ASSERT_TRUE(workspace.Reserve(bytes));
  ExecContext ctx{&workspace, nullptr, 2};
  const GemmPart part{w.view(), bias, {out.data(), kM, kN}, 0.5f};
  ASSERT_TRUE(ops::Gemm({{x.data(), kM, kK}, {&part, 1}}, ctx));
  EXPECT_EQ(workspace.growths(), 0u);
  for (size_t m = 0; m < kM; ++m) {
    const GemmPart row{w.view(), bias, {&want[m * kN], 1, kN}, 0.5f};
    ASSERT_TRUE(ops::Gemm({{&x[m * kK], 1, kK}, {&row, 1}}, ctx_));
  }
  EXPECT_EQ(BitDiff(out, want), 0u);
}

TEST_F(GemmTest, BrokenContractsAreTypedErrorsAndWriteNothing) {
  Random rng(7);
  const RandomWeights w = MakeWeights(TensorType::kQ4_K, 8, 256, rng);
  PaddedMatrix x(rng.Vector(Family::kNormal, 2 * 256), 2, 256);
  PaddedMatrix out(2, 8);
  const std::vector<float> bias(8);
  const GemmPart good{w.view(), bias, out.view()};
  ASSERT_TRUE(ops::Gemm({x.view(), {&good, 1}}, ctx_));
  PaddedMatrix untouched(2, 8);
  const auto refused = [&](GemmPart part, Span2D<const float> input) {
    const Status s = ops::Gemm({input, {&part, 1}}, ctx_);
    EXPECT_FALSE(s);
    if (!s) {
      EXPECT_EQ(s.error().code, ErrorCode::kInvalidArgument);
      EXPECT_EQ(s.error().message.find('\n'), std::string::npos);
    }
    EXPECT_EQ(BitDiff(untouched.Dense(), std::vector<float>(16)), 0u);
  };
  GemmPart p = good;
  p.out = untouched.view();
  const GemmPart base = p;
  const Span2D<const float> in = x.view();
  refused(base, {in.data, 2, 255, in.stride});  // K
  refused(base, {in.data, 3, 256, in.stride});  // M
  refused(base, {in.data, 2, 256, 255});        // stride
  refused(base, {nullptr, 2, 256, 256});
  p = base, p.weights.cols = 128;
  refused(p, {in.data, 2, 128, in.stride});  // not a multiple of the block
  p = base, p.weights.type = TensorType::kQ8_K;
  refused(p, in);
  p = base, p.weights.type = static_cast<TensorType>(99);
  refused(p, in);
  p = base, p.weights.stride_bytes = 143;
  refused(p, in);
  p = base, p.weights.data = nullptr;
  refused(p, in);
  p = base, p.bias = std::span<const float>(bias).first(7);
  refused(p, in);
  p = base, p.out.cols = 7;
  refused(p, in);
  p = base, p.out.stride = 7;
  refused(p, in);
  p = base, p.out.data = nullptr;
  refused(p, in);
  // Aliases: out inside x, and two parts on one buffer.
  p = base, p.out = {x.view().data + 100, 2, 8, x.stride()};
  EXPECT_FALSE(ops::Gemm({in, {&p, 1}}, ctx_));
  const GemmPart twice[] = {good, good};
  EXPECT_FALSE(ops::Gemm({in, twice}, ctx_));
  ExecContext none;
  EXPECT_FALSE(ops::Gemm({in, {&good, 1}}, none));
}

TEST_F(GemmTest, StartUpSelfTestPassesOnEveryTier) {
  for (const SimdTier tier : SupportedSimdTiers()) {
    ASSERT_TRUE(SetActiveSimdTier(tier));
    EXPECT_TRUE(ops::SelfTestGemm()) << SimdTierName(tier);
  }
}

TEST_F(GemmTest, EmptyShapesAreNoWork) {
  Random rng(8);
  const RandomWeights w = MakeWeights(TensorType::kQ4_K, 8, 256, rng);
  const GemmPart part{w.view(), {}, {nullptr, 0, 8}};
  EXPECT_TRUE(ops::Gemm({{nullptr, 0, 256}, {&part, 1}}, ctx_));
  EXPECT_TRUE(ops::Gemm({{nullptr, 0, 256}, {}}, ctx_));
}

// The second product of a pair finds the first one's sums in its scratch.
TEST_F(GemmTest, NoColumnsGiveTheBiasOnEveryTier) {
  Random rng(9);
  constexpr size_t kRows = 48, kTokens = 40;
  const std::vector<float> bias = rng.Vector(Family::kNormal, kRows);
  for (const TensorType type : kWeightTypes) {
    SCOPED_TRACE(TypeName(type));
    const RandomWeights full = MakeWeights(type, kRows, 256, rng);
    const std::vector<float> x = rng.Vector(Family::kNormal, kTokens * 256);
    WeightMatrix none = full.view();
    none.cols = 0;
    for (const SimdTier tier : SupportedSimdTiers()) {
      SCOPED_TRACE(SimdTierName(tier));
      ASSERT_TRUE(SetActiveSimdTier(tier));
      std::vector<float> out(kTokens * kRows);
      const Span2D<float> to(out.data(), kTokens, kRows);
      const GemmPart before{full.view(), {}, to};
      ASSERT_TRUE(ops::Gemm({{x.data(), kTokens, 256}, {&before, 1}}, ctx_));
      const GemmPart part{none, bias, to};
      ASSERT_TRUE(ops::Gemm({{x.data(), kTokens, 0}, {&part, 1}}, ctx_));
      for (size_t i = 0; i < out.size(); ++i) {
        ASSERT_EQ(out[i], bias[i % kRows]) << i;
      }
    }
  }
}

}  // namespace
}  // namespace etalon
