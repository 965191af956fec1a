#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "etalon/gemm.h"
#include "etalon/moe.h"
#include "etalon/simd_tier.h"
#include "simd/elementwise.h"
#include "tests/util/random.h"
#include "tests/util/random_weights.h"
#include "tests/util/shapes.h"
#include "tests/util/ulp.h"

namespace etalon {
namespace {

using test::BitDiff;
using test::Family;
using test::MakeWeights;
using test::PaddedMatrix;
using test::Random;
using test::RandomWeights;

constexpr size_t kModelDim = 256, kFfnDim = 512, kExperts = 6;

struct Experts {
  RandomWeights bytes;
  ExpertWeights view;
  Experts(TensorType type, size_t rows, size_t cols, Random& rng)
      : bytes(MakeWeights(type, kExperts * rows, cols, rng)) {
    view.first = bytes.view();
    view.first.rows = rows;
    view.n_experts = kExperts;
    view.expert_stride_bytes = rows * bytes.stride_bytes;
  }
};

struct Mix {
  TensorType gate, up, down;
  Activations activations;
};

class MoeFfnTest : public testing::Test {
 protected:
  MoeFfnTest() { ctx_.workspace = &workspace_; }
  ~MoeFfnTest() override {
    EXPECT_TRUE(SetActiveSimdTier(SupportedSimdTiers().back()));
  }
  // The formula, token by token, on the ops that have tests of their own.
  std::vector<float> OneByOne(const MoeFfnArgs& a) {
    ExecContext ctx{&workspace_, nullptr, 1};
    std::vector<float> out(a.x.rows * kModelDim);
    for (size_t t = 0; t < a.x.rows; ++t) {
      float* acc = &out[t * kModelDim];
      for (size_t k = 0; k < a.experts.cols; ++k) {
        const size_t e = static_cast<size_t>(a.experts.row(t)[k]);
        std::vector<float> g(kFfnDim), u(kFfnDim), y(kModelDim);
        const auto gemm = [&](const ExpertWeights& w, Span2D<const float> in,
                              std::vector<float>& o) {
          GemmPart p{w.expert(e), {}, {o.data(), 1, o.size()}};
          if (!w.scales.empty()) p.scale = w.scales[e];
          EXPECT_TRUE(ops::Gemm({in, {&p, 1}, a.activations}, ctx));
        };
        gemm(a.gate, a.x.Rows(t, t + 1), g);
        gemm(a.up, a.x.Rows(t, t + 1), u);
        const Span2D<float> h(g.data(), 1, kFfnDim);
        simd::SwiGlu(g.data(), u.data(), g.data(), kFfnDim);
        gemm(a.down, h, y);
        for (size_t i = 0; i < kModelDim; ++i) {
          acc[i] = std::fma(a.weights.row(t)[k], y[i], acc[i]);
        }
      }
    }
    return out;
  }
  Workspace workspace_;
  ExecContext ctx_;
};

TEST_F(MoeFfnTest, BatchingByExpertChangesNoBit) {
  SCOPED_TRACE(test::SeedNote());
  Random rng(11);
  for (const Mix mix : {Mix{TensorType::kQ4_K, TensorType::kQ4_K,
                            TensorType::kQ6_K, Activations::kAuto},
                        Mix{TensorType::kQ8_0, TensorType::kQ4_K,
                            TensorType::kQ5_0, Activations::kAuto},
                        Mix{TensorType::kF16, TensorType::kQ5_1,
                            TensorType::kBF16, Activations::kAuto},
                        Mix{TensorType::kQ4_K, TensorType::kQ4_K,
                            TensorType::kQ6_K, Activations::kF32}}) {
    Experts gate(mix.gate, kFfnDim, kModelDim, rng);
    Experts up(mix.up, kFfnDim, kModelDim, rng);
    Experts down(mix.down, kModelDim, kFfnDim, rng);
    const std::vector<float> scales = rng.Vector(Family::kNormal, kExperts);
    down.view.scales = scales;
    for (const size_t n_tokens : {1u, 2u, 19u}) {
      const size_t n_used = 3;
      const PaddedMatrix x(rng.Vector(Family::kNormal, n_tokens * kModelDim),
                           n_tokens, kModelDim);
      std::vector<int32_t> experts;
      for (size_t i = 0; i < n_tokens * n_used; ++i) {
        // Expert 4 never: a group may be empty.
        const size_t e = rng.Below(kExperts - 1);
        experts.push_back(static_cast<int32_t>(e == 4 ? 5 : e));
      }
      const std::vector<float> weights =
          rng.Vector(Family::kUniform, n_tokens * n_used);
      PaddedMatrix out(n_tokens, kModelDim);
      const MoeFfnArgs args{x.view(),
                            {experts.data(), n_tokens, n_used},
                            {weights.data(), n_tokens, n_used},
                            gate.view,
                            up.view,
                            down.view,
                            out.view(),
                            mix.activations};
      ASSERT_TRUE(SetActiveSimdTier(SimdTier::kScalar));
      const std::vector<float> want = OneByOne(args);
      for (const SimdTier tier : SupportedSimdTiers()) {
        ASSERT_TRUE(SetActiveSimdTier(tier));
        for (const int threads : {1, 2, 3}) {
          PaddedMatrix fresh(n_tokens, kModelDim);
          MoeFfnArgs again = args;
          again.out = fresh.view();
          ctx_.n_threads = threads;
          ASSERT_TRUE(ops::MoeFfn(again, ctx_));
          EXPECT_EQ(BitDiff(fresh.Dense(), want), 0u)
              << SimdTierName(tier) << " tokens=" << n_tokens;
          EXPECT_TRUE(fresh.PaddingIntact());
        }
      }
    }
  }
}

TEST_F(MoeFfnTest, OnlyChosenExpertsAreReadAndWorkspaceBoundHolds) {
  Random rng(12);
  Experts gate(TensorType::kQ4_K, kFfnDim, kModelDim, rng);
  Experts up(TensorType::kQ4_K, kFfnDim, kModelDim, rng);
  Experts down(TensorType::kQ6_K, kModelDim, kFfnDim, rng);
  // NaN everywhere but in experts 1 and 3.
  for (Experts* w : {&gate, &up, &down}) {
    const size_t size = w->view.expert_stride_bytes;
    for (const size_t e : {0u, 2u, 4u, 5u}) {
      std::fill_n(w->bytes.bytes.begin() + static_cast<ptrdiff_t>(e * size),
                  size, std::byte{0xFF});
    }
  }
  const std::vector<float> x = rng.Vector(Family::kNormal, 2 * kModelDim);
  const int32_t experts[] = {1, 3, 3, 1};
  const float weights[] = {0.5f, 0.5f, 0.75f, 0.25f};
  std::vector<float> out(2 * kModelDim);
  Workspace workspace;
  ASSERT_TRUE(workspace.Reserve(
      ops::MoeFfnWorkspaceBytes(2, 2, kModelDim, kFfnDim, kExperts, 2)));
  ExecContext ctx{&workspace, nullptr, 2};
  ASSERT_TRUE(ops::MoeFfn({{x.data(), 2, kModelDim},
                           {experts, 2, 2},
                           {weights, 2, 2},
                           gate.view,
                           up.view,
                           down.view,
                           {out.data(), 2, kModelDim}},
                          ctx));
  for (const float y : out) EXPECT_TRUE(std::isfinite(y));
  EXPECT_EQ(workspace.growths(), 0u);
}

// Enough pairs that experts go in waves, and outputs too.
TEST_F(MoeFfnTest, WavesChangeNoBitAndWorkspaceBoundHolds) {
  SCOPED_TRACE(test::SeedNote());
  Random rng(14);
  constexpr size_t kTokens = 700, kUsed = 4, kDim = 768, kHidden = 32;
  for (const Mix mix : {Mix{TensorType::kQ4_K, TensorType::kQ8_0,
                            TensorType::kQ4_0, Activations::kAuto},
                        Mix{TensorType::kQ4_K, TensorType::kF16,
                            TensorType::kF32, Activations::kAuto}}) {
    const Experts gate(mix.gate, kHidden, kDim, rng);
    const Experts up(mix.up, kHidden, kDim, rng);
    const Experts down(mix.down, kDim, kHidden, rng);
    const std::vector<float> x = rng.Vector(Family::kNormal, kTokens * kDim);
    std::vector<int32_t> experts;
    for (size_t t = 0; t < kTokens; ++t) {
      // All tokens take expert 2, none expert 5.
      for (const size_t e : {t % 2, size_t{2}, size_t{3}, size_t{4}}) {
        experts.push_back(static_cast<int32_t>(e));
      }
    }
    const std::vector<float> weights =
        rng.Vector(Family::kUniform, kTokens * kUsed);
    const auto rows = [&](size_t begin, size_t n, std::vector<float>& out) {
      return MoeFfnArgs{{&x[begin * kDim], n, kDim},
                        {&experts[begin * kUsed], n, kUsed},
                        {&weights[begin * kUsed], n, kUsed},
                        gate.view,
                        up.view,
                        down.view,
                        {&out[begin * kDim], n, kDim},
                        mix.activations};
    };
    std::vector<float> want(kTokens * kDim), got(kTokens * kDim);
    for (size_t t = 0; t < kTokens; ++t) {
      ASSERT_TRUE(ops::MoeFfn(rows(t, 1, want), ctx_));
    }
    Workspace workspace;
    ASSERT_TRUE(workspace.Reserve(
        ops::MoeFfnWorkspaceBytes(kTokens, kUsed, kDim, kHidden, kExperts, 2)));
    ExecContext ctx{&workspace, nullptr, 2};
    ASSERT_TRUE(ops::MoeFfn(rows(0, kTokens, got), ctx));
    EXPECT_EQ(BitDiff(got, want), 0u) << TypeName(mix.down);
    EXPECT_EQ(workspace.growths(), 0u);
  }
}

TEST_F(MoeFfnTest, BrokenContractsAreTypedErrors) {
  Random rng(13);
  const Experts gate(TensorType::kQ4_K, kFfnDim, kModelDim, rng);
  const Experts up(TensorType::kQ4_K, kFfnDim, kModelDim, rng);
  const Experts down(TensorType::kQ4_K, kModelDim, kFfnDim, rng);
  std::vector<float> x(kModelDim), out(kModelDim);
  const int32_t experts[] = {0, 5};
  const int32_t outside[] = {0, 6};
  const int32_t negative[] = {-1, 0};
  const float weights[] = {0.5f, 0.5f};
  const MoeFfnArgs good{{x.data(), 1, kModelDim},
                        {experts, 1, 2},
                        {weights, 1, 2},
                        gate.view,
                        up.view,
                        down.view,
                        {out.data(), 1, kModelDim}};
  ASSERT_TRUE(ops::MoeFfn(good, ctx_));
  const auto refused = [&](const MoeFfnArgs& a) {
    const Status s = ops::MoeFfn(a, ctx_);
    ASSERT_FALSE(s);
    EXPECT_EQ(s.error().code, ErrorCode::kInvalidArgument);
  };
  MoeFfnArgs a = good;
  a.experts.data = outside, refused(a);
  a.experts.data = negative, refused(a);
  a = good, a.weights.cols = 1, refused(a);
  a = good, a.out.cols = 128, refused(a);
  a = good, a.out.data = x.data(), refused(a);
  a = good, a.up.n_experts = 5, refused(a);
  a = good, a.up.first.rows = 256, refused(a);
  a = good, a.down.first.cols = 256, refused(a);
  a = good, a.gate.expert_stride_bytes = 1, refused(a);
  a = good, a.down.scales = weights, refused(a);
}

}  // namespace
}  // namespace etalon
