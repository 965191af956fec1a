#include "simd/softmax.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "simd/exp.h"
#include "tests/simd/tier_scope.h"
#include "tests/util/random.h"
#include "tests/util/shapes.h"
#include "tests/util/ulp.h"

namespace etalon {
namespace {

using test::Family;
using test::PaddedMatrix;
using test::TierScope;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// The order that etalon/elementwise.h states; exp itself has its own tests.
std::vector<float> Plain(const std::vector<float>& x) {
  const float m = *std::max_element(x.begin(), x.end());
  std::vector<float> e(x.size());
  float lane[16] = {};
  for (size_t i = 0; i < x.size(); ++i) {
    const float shifted = x[i] - m;
    simd::Exp(&shifted, &e[i], 1);
    lane[i % 16] += e[i];
  }
  for (size_t h = 8; h >= 1; h /= 2) {
    for (size_t j = 0; j < h; ++j) lane[j] += lane[j + h];
  }
  const float inverse = 1.0f / lane[0];
  for (float& v : e) v *= inverse;
  return e;
}

TEST(SoftmaxRows, FollowsTheStatedOrderOnEveryTier) {
  test::Random rng(331);
  for (const SimdTier tier : SupportedSimdTiers()) {
    for (const Family family : test::kFamilies) {
      for (const size_t n : test::EdgesAround({8, 16, 32, 64})) {
        std::vector<float> x(2 * n);
        rng.Fill(family, x);
        const PaddedMatrix in(x, 2, n);
        PaddedMatrix out(2, n, 7);
        TierScope scope(tier);
        simd::SoftmaxRows(in.view(), out.view());
        EXPECT_TRUE(out.PaddingIntact());
        for (size_t t = 0; t < 2; ++t) {
          const std::vector<float> expected =
              Plain(std::vector<float>(&x[t * n], &x[t * n] + n));
          for (size_t i = 0; i < n; ++i) {
            ASSERT_TRUE(test::SameBits(out.at(t, i), expected[i]))
                << SimdTierName(tier) << " " << test::FamilyName(family)
                << " n = " << n << " at " << i << ", " << test::SeedNote();
          }
        }
      }
    }
  }
}

TEST(SoftmaxRows, NanOrPlusInfinityOrOnlyMinusInfinityMakesTheRowNan) {
  for (const SimdTier tier : SupportedSimdTiers()) {
    SCOPED_TRACE(SimdTierName(tier));
    TierScope scope(tier);
    for (const size_t n : {1u, 15u, 16u, 17u, 40u}) {
      for (size_t bad = 0; bad < n; ++bad) {
        for (const float value : {kNaN, kInf}) {
          std::vector<float> x(n, 1.0f);
          x[bad] = value;
          simd::SoftmaxRows({x.data(), 1, n}, {x.data(), 1, n});
          for (const float p : x) ASSERT_TRUE(std::isnan(p)) << n << " " << bad;
        }
      }
      std::vector<float> x(n, -kInf);
      simd::SoftmaxRows({x.data(), 1, n}, {x.data(), 1, n});
      for (const float p : x) EXPECT_TRUE(std::isnan(p));
    }
  }
}

TEST(SoftmaxRows, MinusInfinityIsAMask) {
  for (const SimdTier tier : SupportedSimdTiers()) {
    TierScope scope(tier);
    std::vector<float> x(37, -kInf);
    x[5] = 2.0f;
    x[36] = 2.0f;
    simd::SoftmaxRows({x.data(), 1, 37}, {x.data(), 1, 37});
    for (size_t i = 0; i < x.size(); ++i) {
      EXPECT_EQ(x[i], i == 5 || i == 36 ? 0.5f : 0.0f);
    }
  }
}

}  // namespace
}  // namespace etalon
