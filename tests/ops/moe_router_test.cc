// MoE router: etalon/moe.h.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "etalon/moe.h"
#include "tests/ops/row_ops_fixture.h"

namespace etalon {
namespace {

using test::ExpectError;
using test::Family;
using test::PaddedMatrix;
using test::TestContext;

struct Routed {
  std::vector<int32_t> experts;
  std::vector<float> weights;
};

// On padded views, so that padding that is read or written shows.
Routed Route(const std::vector<float>& logits, size_t n_tokens,
             size_t n_experts, size_t n_used, bool normalize, float scale,
             int n_threads) {
  const PaddedMatrix in(logits, n_tokens, n_experts);
  PaddedMatrix weights(n_tokens, n_used, 2);
  std::vector<int32_t> experts(n_tokens * (n_used + 1), -5);
  TestContext context(n_threads);
  const Status status =
      ops::MoeRouter({.logits = in.view(),
                      .normalize = normalize,
                      .scale = scale,
                      .experts = {experts.data(), n_tokens, n_used, n_used + 1},
                      .weights = weights.view()},
                     context.ctx);
  EXPECT_TRUE(status) << status.error().message;
  EXPECT_TRUE(weights.PaddingIntact());
  Routed r{{}, weights.Dense()};
  for (size_t t = 0; t < n_tokens; ++t) {
    for (size_t k = 0; k < n_used; ++k) {
      r.experts.push_back(experts[t * (n_used + 1) + k]);
    }
    EXPECT_EQ(experts[t * (n_used + 1) + n_used], -5);
  }
  return r;
}

TEST(MoeRouter, TakesTheLargestInDescendingOrderTiesToTheLowerIndex) {
  test::Random rng(421);
  for (const Family family :
       {Family::kNormal, Family::kExactInt, Family::kConstant}) {
    for (const size_t n_experts : {1u, 2u, 8u, 60u, 128u}) {
      for (const size_t n_used :
           {size_t{1}, std::min<size_t>(8, n_experts), n_experts}) {
        constexpr size_t kTokens = 5;
        std::vector<float> logits(kTokens * n_experts);
        rng.Fill(family, logits);
        const Routed r =
            Route(logits, kTokens, n_experts, n_used, true, 1.0f, 1);
        for (size_t t = 0; t < kTokens; ++t) {
          std::vector<int32_t> order(n_experts);
          std::iota(order.begin(), order.end(), 0);
          const float* row = &logits[t * n_experts];
          std::sort(order.begin(), order.end(), [row](int32_t a, int32_t b) {
            const float x = row[static_cast<size_t>(a)];
            const float y = row[static_cast<size_t>(b)];
            return x > y || (x == y && a < b);
          });
          for (size_t k = 0; k < n_used; ++k) {
            ASSERT_EQ(r.experts[t * n_used + k], order[k])
                << "token " << t << " slot " << k << " of " << n_used << "/"
                << n_experts << ", " << test::SeedNote();
          }
        }
      }
    }
  }
}

TEST(MoeRouter, WeightsAreTheSoftmaxNormalisedAndScaled) {
  test::Random rng(422);
  constexpr size_t kTokens = 20, kExperts = 64, kUsed = 6;
  std::vector<float> logits(kTokens * kExperts);
  rng.Fill(Family::kNormal, logits);
  for (const bool normalize : {true, false}) {
    const Routed r =
        Route(logits, kTokens, kExperts, kUsed, normalize, 2.5f, 1);
    for (size_t t = 0; t < kTokens; ++t) {
      double all = 0.0, chosen = 0.0;
      for (size_t e = 0; e < kExperts; ++e) {
        all += std::exp(static_cast<double>(logits[t * kExperts + e]));
      }
      const auto p = [&](size_t k) {
        const size_t e = static_cast<size_t>(r.experts[t * kUsed + k]);
        return std::exp(static_cast<double>(logits[t * kExperts + e])) / all;
      };
      for (size_t k = 0; k < kUsed; ++k) chosen += p(k);
      for (size_t k = 0; k < kUsed; ++k) {
        const double want = 2.5 * (normalize ? p(k) / chosen : p(k));
        EXPECT_NEAR(r.weights[t * kUsed + k], want, 30 * 0x1p-24 * want);
      }
    }
  }
}

TEST(MoeRouter, SameBitsOnEveryTierAndThreadCount) {
  test::Random rng(423);
  constexpr size_t kTokens = 300, kExperts = 67, kUsed = 8;
  std::vector<float> logits(kTokens * kExperts);
  rng.Fill(Family::kNormal, logits);
  Routed expected;
  test::OnEveryTierAndThreadCount([&](int n_threads) {
    const Routed r =
        Route(logits, kTokens, kExperts, kUsed, true, 1.0f, n_threads);
    if (expected.experts.empty()) expected = r;
    EXPECT_EQ(r.experts, expected.experts);
    EXPECT_EQ(test::BitDiff(r.weights, expected.weights), 0u);
  });
}

// Logits one ulp apart have one and the same f32 probability, yet an order.
TEST(MoeRouter, RankingIsByLogitNotByRoundedProbability) {
  const float a = 1e-6f;
  const Routed r =
      Route({0.0f, a, 0.0f, std::nextafterf(a, 1.0f)}, 1, 4, 2, true, 1.0f, 1);
  EXPECT_EQ(r.experts, (std::vector<int32_t>{3, 1}));
}

TEST(MoeRouter, NonFiniteLogitNamesTheToken) {
  TestContext context;
  std::vector<int32_t> experts(6);
  std::vector<float> weights(6);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(),
                          std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    std::vector<float> logits(3 * 8, 0.5f);
    logits[2 * 8 + 7] = bad;
    ExpectError(ops::MoeRouter({.logits = {logits.data(), 3, 8},
                                .normalize = true,
                                .scale = 1.0f,
                                .experts = {experts.data(), 3, 2},
                                .weights = {weights.data(), 3, 2}},
                               context.ctx),
                "token 2: logit of expert 7");
  }
}

TEST(MoeRouter, RefusesWhatBreaksTheContract) {
  TestContext context;
  std::vector<float> logits(24), weights(24);
  std::vector<int32_t> experts(24);
  const auto run = [&](size_t rows, size_t used, size_t weight_cols,
                       float scale) {
    return ops::MoeRouter({.logits = {logits.data(), 3, 8},
                           .normalize = true,
                           .scale = scale,
                           .experts = {experts.data(), rows, used},
                           .weights = {weights.data(), 3, weight_cols}},
                          context.ctx);
  };
  EXPECT_TRUE(run(3, 8, 8, 1.0f));
  ExpectError(run(3, 0, 0, 1.0f), "experts has 0 slots, need 1 to n_experts 8");
  ExpectError(run(3, 9, 9, 1.0f), "experts has 9 slots");
  ExpectError(run(2, 2, 2, 1.0f), "experts has 2 rows, need n_tokens 3");
  ExpectError(run(3, 2, 3, 1.0f), "weights is [3, 3]");
  ExpectError(run(3, 2, 2, std::numeric_limits<float>::infinity()),
              "scale = inf");
}

}  // namespace
}  // namespace etalon
