#include "simd/elementwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "simd/exp.h"
#include "tests/simd/tier_scope.h"
#include "tests/util/random.h"
#include "tests/util/ulp.h"

namespace etalon {
namespace {

using test::Family;
using test::TierScope;

constexpr float kGuard = -77.0f;

// Order of etalon/elementwise.h.
float PlainSwiGlu(float gate, float up) {
  const float minus = -gate;
  float e;
  simd::Exp(&minus, &e, 1);
  const float s = gate / (1.0f + e);
  return s * up;
}

// Requirements B-10, B-13: the stated order on every tier and length, and
// nothing beyond the slice.
TEST(Elementwise, FollowsTheStatedOrderOnEveryTier) {
  test::Random rng(341);
  for (const SimdTier tier : SupportedSimdTiers()) {
    TierScope scope(tier);
    for (const Family family : test::kFamilies) {
      for (size_t n = 0; n <= 50; ++n) {
        std::vector<float> a(n), b(n);
        rng.Fill(family, a);
        rng.Fill(family, b);
        a.shrink_to_fit();
        b.shrink_to_fit();
        std::vector<float> swiglu(n + 1, kGuard), sum(n + 1, kGuard),
            scaled(n + 1, kGuard);
        simd::SwiGlu(a.data(), b.data(), swiglu.data(), n);
        simd::Add(a.data(), b.data(), sum.data(), n);
        simd::Scale(a.data(), 0.3f, scaled.data(), n);
        for (size_t i = 0; i < n; ++i) {
          ASSERT_TRUE(test::SameBits(swiglu[i], PlainSwiGlu(a[i], b[i])))
              << SimdTierName(tier) << " swiglu(" << a[i] << ", " << b[i]
              << "), " << test::SeedNote();
          ASSERT_TRUE(test::SameBits(sum[i], a[i] + b[i]));
          ASSERT_TRUE(test::SameBits(scaled[i], a[i] * 0.3f));
        }
        EXPECT_EQ(swiglu[n], kGuard);
        EXPECT_EQ(sum[n], kGuard);
        EXPECT_EQ(scaled[n], kGuard);
      }
    }
  }
}

TEST(Elementwise, NanAndInfinityPropagate) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const float nan = std::nanf("");
  for (const SimdTier tier : SupportedSimdTiers()) {
    TierScope scope(tier);
    const float gate[] = {nan, 1.0f, kInf, 2.0f, -kInf};
    const float up[] = {1.0f, nan, 1.0f, kInf, 1.0f};
    float y[5];
    simd::SwiGlu(gate, up, y, 5);
    EXPECT_TRUE(std::isnan(y[0]));
    EXPECT_TRUE(std::isnan(y[1]));
    EXPECT_EQ(y[2], kInf);
    EXPECT_EQ(y[3], kInf);
    EXPECT_TRUE(std::isnan(y[4]));  // -Inf / Inf
    simd::Add(gate, up, y, 5);
    EXPECT_TRUE(std::isnan(y[0]) && std::isnan(y[1]));
    EXPECT_EQ(y[2], kInf);
    EXPECT_EQ(y[4], -kInf);
  }
}

TEST(Elementwise, SwiGluOfAVeryNegativeGateIsASignedZero) {
  for (const SimdTier tier : SupportedSimdTiers()) {
    TierScope scope(tier);
    const float gate[] = {-89.0f, -89.0f, -1e30f};
    const float up[] = {3.0f, -3.0f, 1.0f};
    float y[3];
    simd::SwiGlu(gate, up, y, 3);
    EXPECT_TRUE(test::SameBits(y[0], -0.0f));
    EXPECT_TRUE(test::SameBits(y[1], 0.0f));
    EXPECT_TRUE(test::SameBits(y[2], -0.0f));
  }
}

}  // namespace
}  // namespace etalon
