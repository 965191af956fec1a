// The sampler: which tokens may be drawn, how often, and that nothing else than
// options, seed and logits decides.
#include "model/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include "tests/util/random.h"

namespace etalon::model {
namespace {

using testing::HasSubstr;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// No filter, no penalty.
SamplerOptions Plain(uint64_t seed = 1) {
  SamplerOptions o;
  o.temperature = 1.0f;
  o.top_k = 0;
  o.top_p = 1.0f;
  o.min_p = 0.0f;
  o.seed = seed;
  return o;
}

std::map<int32_t, int> Draw(const SamplerOptions& options,
                            const std::vector<float>& logits, int n) {
  Sampler sampler(options);
  std::map<int32_t, int> counts;
  for (int i = 0; i < n; ++i) {
    const auto token = sampler.Sample(logits);
    EXPECT_TRUE(token) << token.error().message;
    if (token) ++counts[*token];
  }
  return counts;
}

std::set<int32_t> Drawn(const SamplerOptions& options,
                        const std::vector<float>& logits) {
  std::set<int32_t> ids;
  for (const auto& [id, count] : Draw(options, logits, 4000)) ids.insert(id);
  return ids;
}

// Logits whose softmax is p.
std::vector<float> LogitsOf(const std::vector<double>& p) {
  std::vector<float> logits;
  for (const double x : p) logits.push_back(static_cast<float>(std::log(x)));
  return logits;
}

TEST(Argmax, TiesGoToTheLowestId) {
  EXPECT_EQ(*Argmax(std::vector<float>{1, 5, 5, 2, 5}), 1);
  EXPECT_EQ(*Argmax(std::vector<float>{-0.0f, 0.0f}), 0);
  EXPECT_EQ(*Argmax(std::vector<float>{7, 7, 7}), 0);
  EXPECT_EQ(*Argmax(std::vector<float>{-kInf, -3}), 1);
  EXPECT_EQ(*Argmax(std::vector<float>{4}), 0);
}

TEST(Sampler, TemperatureZeroIsArgmaxWhateverTheFilters) {
  test::Random rng(/*stream=*/911);
  for (int round = 0; round < 50; ++round) {
    std::vector<float> logits(200);
    // Few values: many ties.
    for (float& x : logits) x = static_cast<float>(rng.Below(9));
    for (SamplerOptions o : {SamplerOptions(), Plain()}) {
      o.temperature = 0;
      o.seed = rng.Bits();
      EXPECT_EQ(*Sampler(o).Sample(logits), *Argmax(logits));
    }
  }
}

TEST(Sampler, NonFiniteLogitsAreErrorsNotTokens) {
  for (const float temperature : {0.0f, 1.0f}) {
    SamplerOptions o = Plain();
    o.temperature = temperature;
    Sampler sampler(o);
    auto token = sampler.Sample(std::vector<float>{1, kNan, 2});
    ASSERT_FALSE(token);
    EXPECT_EQ(token.error().code, ErrorCode::kBadInput);
    EXPECT_EQ(token.error().message, "logits[1]: nan, need a number");
    token = sampler.Sample(std::vector<float>{1, 2, kInf});
    ASSERT_FALSE(token);
    EXPECT_EQ(token.error().message, "logits[2]: inf, need a number");
    token = sampler.Sample(std::vector<float>{-kInf, -kInf});
    ASSERT_FALSE(token);
    EXPECT_THAT(token.error().message, HasSubstr("no token allowed"));
    EXPECT_FALSE(sampler.Sample({}));
  }
  EXPECT_FALSE(Argmax(std::vector<float>{kNan}));
  EXPECT_FALSE(Argmax(std::vector<float>{-kInf}));
}

TEST(Sampler, BannedTokensAreNeverDrawn) {
  EXPECT_EQ(Drawn(Plain(), {-kInf, 1, -kInf, 1, -kInf}),
            (std::set<int32_t>{1, 3}));
}

TEST(Sampler, TopKKeepsTheLikeliestTiesByLowestId) {
  SamplerOptions o = Plain();
  o.top_k = 3;
  EXPECT_EQ(Drawn(o, {1, 2, 2, 1, 2, 1}), (std::set<int32_t>{1, 2, 4}));
  o.top_k = 4;
  EXPECT_EQ(Drawn(o, {1, 2, 2, 1, 2, 1}), (std::set<int32_t>{0, 1, 2, 4}));
  o.top_k = 1;
  EXPECT_EQ(Drawn(o, {1, 2, 2}), (std::set<int32_t>{1}));
  o.top_k = 100;
  EXPECT_EQ(Drawn(o, {1, 2}).size(), 2u);
  for (const int32_t off : {0, -1}) {
    o.top_k = off;
    EXPECT_EQ(Drawn(o, {1, 2, 1}).size(), 3u);
  }
}

TEST(Sampler, TopPKeepsTheSmallestSetThatReachesTheMass) {
  const std::vector<float> logits = LogitsOf({0.1, 0.5, 0.15, 0.25});
  SamplerOptions o = Plain();
  for (const auto& [top_p, kept] :
       std::map<float, std::set<int32_t>>{{0.0f, {1}},
                                          {0.3f, {1}},
                                          {0.49f, {1}},
                                          {0.6f, {1, 3}},
                                          {0.74f, {1, 3}},
                                          {0.8f, {1, 2, 3}},
                                          {0.95f, {0, 1, 2, 3}},
                                          {1.0f, {0, 1, 2, 3}}}) {
    o.top_p = top_p;
    EXPECT_EQ(Drawn(o, logits), kept) << top_p;
  }
}

TEST(Sampler, MinPDropsBelowAShareOfTheLikeliest) {
  const std::vector<float> logits = LogitsOf({0.1, 0.5, 0.15, 0.25});
  SamplerOptions o = Plain();
  for (const auto& [min_p, kept] :
       std::map<float, std::set<int32_t>>{{0.0f, {0, 1, 2, 3}},
                                          {0.19f, {0, 1, 2, 3}},
                                          {0.21f, {1, 2, 3}},
                                          {0.4f, {1, 3}},
                                          {0.6f, {1}},
                                          {1.0f, {1}}}) {
    o.min_p = min_p;
    EXPECT_EQ(Drawn(o, logits), kept) << min_p;
  }
}

TEST(Sampler, TemperatureComesAfterTheFilters) {
  // At temperature 10 all are nearly equal; top-p saw 0.5 and 0.25 first.
  SamplerOptions o = Plain();
  o.temperature = 10.0f;
  o.top_p = 0.6f;
  EXPECT_EQ(Drawn(o, LogitsOf({0.1, 0.5, 0.15, 0.25})),
            (std::set<int32_t>{1, 3}));
}

TEST(Sampler, ExtremeTemperatures) {
  SamplerOptions o = Plain();
  for (const float cold : {1e-6f, 1e-20f, 1e-38f, 1e-45f}) {
    o.temperature = cold;
    EXPECT_EQ(Drawn(o, {1, 3, 2}), (std::set<int32_t>{1})) << cold;
    EXPECT_EQ(Drawn(o, {3, 1, 3}), (std::set<int32_t>{0, 2})) << cold;
  }
  o.temperature = 1e6f;
  EXPECT_EQ(Drawn(o, {1, 30, 2}).size(), 3u);
}

// Pearson's chi-square; the bound is the 1 - 1e-6 quantile for 7 degrees of
// freedom, so a true distribution fails once in a million seeds.
TEST(Sampler, DrawsFollowTheSoftmaxAtEachTemperature) {
  const std::vector<float> logits = {0.3f, -1, 2, 1.5f, 0, -0.5f, 1, -2};
  for (const float temperature : {0.5f, 1.0f, 2.0f}) {
    SamplerOptions o = Plain(/*seed=*/12345);
    o.temperature = temperature;
    constexpr int kDraws = 40000;
    const auto counts = Draw(o, logits, kDraws);
    double total = 0;
    for (const float x : logits) {
      total +=
          std::exp(static_cast<double>(x) / static_cast<double>(temperature));
    }
    double chi2 = 0;
    for (size_t i = 0; i < logits.size(); ++i) {
      const double want = kDraws *
                          std::exp(static_cast<double>(logits[i]) /
                                   static_cast<double>(temperature)) /
                          total;
      const auto it = counts.find(static_cast<int32_t>(i));
      const double got = it == counts.end() ? 0 : it->second;
      chi2 += (got - want) * (got - want) / want;
    }
    EXPECT_LE(chi2, 40.52) << temperature;
    EXPECT_GT(chi2, 0.3) << "too even to be random";
  }
}

TEST(Sampler, SeedAndLogitsDecideNothingElse) {
  test::Random rng(/*stream=*/912);
  std::vector<std::vector<float>> steps;
  for (int i = 0; i < 60; ++i) {
    steps.push_back(rng.Vector(test::Family::kNormal, 100));
  }
  const auto run = [&](uint64_t seed) {
    SamplerOptions o;
    o.seed = seed;
    o.repeat_penalty = 1.1f;
    Sampler sampler(o);
    std::vector<int32_t> out;
    for (const auto& logits : steps) {
      out.push_back(*sampler.Sample(logits));
      sampler.Accept(out.back());
    }
    return out;
  };
  EXPECT_EQ(run(7), run(7));
  EXPECT_NE(run(7), run(8));
  EXPECT_NE(run(0), run(1));
  EXPECT_NE(run(1), run(uint64_t{1} << 63 | 1));
}

// Greedy after penalties shows the penalised logits' order.
int32_t GreedyAfter(SamplerOptions o, const std::vector<int32_t>& seen,
                    const std::vector<float>& logits) {
  o.temperature = 0;
  Sampler sampler(o);
  for (const int32_t token : seen) sampler.Accept(token);
  return *sampler.Sample(logits);
}

TEST(Sampler, RepeatPenaltyDividesPositiveAndMultipliesNegative) {
  SamplerOptions o = Plain();
  o.repeat_penalty = 2.0f;
  EXPECT_EQ(GreedyAfter(o, {}, {3, 2}), 0);
  EXPECT_EQ(GreedyAfter(o, {0}, {3, 2}), 1);       // 1.5 < 2
  EXPECT_EQ(GreedyAfter(o, {0}, {5, 2}), 0);       // 2.5 > 2
  EXPECT_EQ(GreedyAfter(o, {0}, {-1, -1.5f}), 1);  // -2 < -1.5
  EXPECT_EQ(GreedyAfter(o, {0, 0, 0}, {5, 2}), 0) << "not once per occurrence";
}

TEST(Sampler, PresenceCountsOnceFrequencyEachTime) {
  SamplerOptions o = Plain();
  o.presence_penalty = 1.0f;
  EXPECT_EQ(GreedyAfter(o, {0, 0, 0}, {3, 1.5f}), 0);  // 2
  EXPECT_EQ(GreedyAfter(o, {0}, {3, 2.5f}), 1);
  o.presence_penalty = 0.0f;
  o.frequency_penalty = 1.0f;
  EXPECT_EQ(GreedyAfter(o, {0}, {3, 1.5f}), 0);        // 2
  EXPECT_EQ(GreedyAfter(o, {0, 0, 0}, {3, 1.5f}), 1);  // 0
  o.frequency_penalty = -1.0f;                         // a reward
  EXPECT_EQ(GreedyAfter(o, {1, 1}, {3, 1.5f}), 1);
}

TEST(Sampler, PenaltiesForgetBeyondTheirWindow) {
  SamplerOptions o = Plain();
  o.presence_penalty = 10.0f;
  o.repeat_last_n = 2;
  EXPECT_EQ(GreedyAfter(o, {0, 1, 1}, {3, 2}), 0);
  EXPECT_EQ(GreedyAfter(o, {0, 1}, {3, 2, 1}), 2);
  EXPECT_EQ(GreedyAfter(o, {0, 1, 0, 1}, {3, 2, 1}), 2);
  o.repeat_last_n = 0;
  EXPECT_EQ(GreedyAfter(o, {0, 0}, {3, 2}), 0);
  o.repeat_last_n = -1;
  std::vector<int32_t> seen(1000, 1);
  seen[0] = 0;
  EXPECT_EQ(GreedyAfter(o, seen, {3, 2, 1}), 2);
}

TEST(Sampler, AcceptedIdsOutsideTheLogitsDoNoHarm) {
  SamplerOptions o = Plain();
  o.repeat_penalty = 2.0f;
  EXPECT_EQ(GreedyAfter(o, {-5, 99}, {1, 2}), 1);
}

TEST(Sampler, PenaltiesThatOverflowAreAnError) {
  SamplerOptions o = Plain();
  o.repeat_penalty = 1e-38f;
  Sampler sampler(o);
  sampler.Accept(0);
  EXPECT_FALSE(sampler.Sample(std::vector<float>{100, 1}));
}

TEST(SamplerOptions, RangesAreChecked) {
  EXPECT_TRUE(CheckSamplerOptions({}));
  struct Bad {
    void (*set)(SamplerOptions&);
    const char* message;
  };
  for (const Bad& bad : {
           Bad{[](SamplerOptions& o) { o.temperature = -1; },
               "temperature: -1"},
           Bad{[](SamplerOptions& o) { o.temperature = kNan; }, "temperature"},
           Bad{[](SamplerOptions& o) { o.temperature = kInf; }, "temperature"},
           Bad{[](SamplerOptions& o) { o.top_p = 1.5f; },
               "top-p: 1.5 is outside 0..1"},
           Bad{[](SamplerOptions& o) { o.top_p = -1; }, "top-p"},
           Bad{[](SamplerOptions& o) { o.min_p = 2; }, "min-p: 2"},
           Bad{[](SamplerOptions& o) { o.repeat_penalty = 0; },
               "repeat-penalty: 0 must be > 0"},
           Bad{[](SamplerOptions& o) { o.repeat_penalty = kInf; },
               "repeat-penalty"},
           Bad{[](SamplerOptions& o) { o.presence_penalty = kNan; },
               "presence-penalty"},
           Bad{[](SamplerOptions& o) { o.frequency_penalty = 101; },
               "frequency-penalty: 101 is outside -100..100"},
           Bad{[](SamplerOptions& o) { o.repeat_last_n = -2; },
               "repeat-last-n: -2"},
       }) {
    SamplerOptions o;
    bad.set(o);
    const Status status = CheckSamplerOptions(o);
    ASSERT_FALSE(status) << bad.message;
    EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(status.error().message, HasSubstr(bad.message));
  }
}

}  // namespace
}  // namespace etalon::model
