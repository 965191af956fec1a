#include "simd/rms_norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/simd/tier_scope.h"
#include "tests/util/random.h"
#include "tests/util/shapes.h"
#include "tests/util/ulp.h"

namespace etalon {
namespace {

using test::Family;
using test::PaddedMatrix;
using test::TierScope;

// The order that etalon/norm.h states, as a plain loop.
std::vector<float> Plain(const std::vector<float>& x,
                         const std::vector<float>& weight, float eps,
                         float* rstd) {
  double lane[16] = {};
  for (size_t d = 0; d < x.size(); ++d) {
    const double v = static_cast<double>(x[d]);
    lane[d % 16] = std::fma(v, v, lane[d % 16]);
  }
  for (size_t h = 8; h >= 1; h /= 2) {
    for (size_t j = 0; j < h; ++j) lane[j] += lane[j + h];
  }
  const double mean = lane[0] / static_cast<double>(x.size());
  *rstd = static_cast<float>(1.0 / std::sqrt(mean + static_cast<double>(eps)));
  std::vector<float> y(x.size());
  for (size_t d = 0; d < x.size(); ++d) {
    y[d] = x[d] * *rstd;
    if (!weight.empty()) y[d] *= weight[d];
  }
  return y;
}

std::vector<size_t> Widths() {
  std::vector<size_t> n = test::EdgesAround({8, 16, 32, 64});
  n.insert(n.end(), {260, 1000, 4096});
  return n;
}

// Requirement B-11 and the strict profile: the stated order on every tier.
TEST(RmsNormRows, FollowsTheStatedOrderOnEveryTier) {
  test::Random rng(321);
  for (const SimdTier tier : SupportedSimdTiers()) {
    TierScope scope(tier);
    for (const Family family : test::kFamilies) {
      for (const size_t n : Widths()) {
        std::vector<float> x(3 * n), weight(n);
        rng.Fill(family, x);
        rng.Fill(Family::kNormal, weight);
        for (const bool has_weight : {true, false}) {
          const PaddedMatrix in(x, 3, n);
          PaddedMatrix out(3, n, 5);
          float rstd[3];
          simd::RmsNormRows(in.view(), has_weight ? weight.data() : nullptr,
                            1e-5f, out.view(), rstd);
          EXPECT_TRUE(out.PaddingIntact());
          for (size_t t = 0; t < 3; ++t) {
            float expected_rstd;
            const std::vector<float> row(&x[t * n], &x[t * n] + n);
            const std::vector<float> expected =
                Plain(row, has_weight ? weight : std::vector<float>(), 1e-5f,
                      &expected_rstd);
            ASSERT_TRUE(test::SameBits(rstd[t], expected_rstd));
            for (size_t d = 0; d < n; ++d) {
              ASSERT_TRUE(test::SameBits(out.at(t, d), expected[d]))
                  << SimdTierName(tier) << " " << test::FamilyName(family)
                  << " n = " << n << " at " << d << ", " << test::SeedNote();
            }
          }
        }
      }
    }
  }
}

TEST(RmsNormRows, InPlaceEqualsOutOfPlace) {
  test::Random rng(322);
  std::vector<float> x(37), y(37);
  rng.Fill(Family::kNormal, x);
  simd::RmsNormRows({x.data(), 1, 37}, nullptr, 0.0f, {y.data(), 1, 37},
                    nullptr);
  simd::RmsNormRows({x.data(), 1, 37}, nullptr, 0.0f, {x.data(), 1, 37},
                    nullptr);
  EXPECT_EQ(test::BitDiff(x, y), 0u);
}

TEST(RmsNormRows, HugeAndTinyRowsDoNotOverflowTheSum) {
  std::vector<float> y(33);
  for (const float value : {3e38f, 1e-38f}) {
    const std::vector<float> x(33, value);
    simd::RmsNormRows({x.data(), 1, 33}, nullptr, 0.0f, {y.data(), 1, 33},
                      nullptr);
    for (const float v : y) EXPECT_NEAR(v, 1.0f, 0x1p-22f);
  }
}

}  // namespace
}  // namespace etalon
