#include "simd/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/simd/tier_scope.h"
#include "tests/util/random.h"
#include "tests/util/ulp.h"

namespace etalon {
namespace {

using test::Family;
using test::TierScope;

constexpr float kGuard = -77.0f;

// Order of etalon/rope.h for one head.
void PlainRope(float* x, const float* cos, const float* sin, size_t half,
               bool interleaved) {
  for (size_t i = 0; i < half; ++i) {
    float& x0 = interleaved ? x[2 * i] : x[i];
    float& x1 = interleaved ? x[2 * i + 1] : x[i + half];
    const float minus = -(x1 * sin[i]);
    const float plus = x1 * cos[i];
    const float y0 = std::fma(x0, cos[i], minus);
    x1 = std::fma(x0, sin[i], plus);
    x0 = y0;
  }
}

// Requirement B-15, both pairings, with lanes beyond rotary_dim.
TEST(RopeKernel, FollowsTheStatedOrderAndLeavesOtherLanesAlone) {
  test::Random rng(351);
  for (const SimdTier tier : SupportedSimdTiers()) {
    TierScope scope(tier);
    for (const Family family :
         {Family::kNormal, Family::kWide, Family::kTiny, Family::kZero}) {
      for (const bool interleaved : {false, true}) {
        for (size_t half = 0; half <= 49; ++half) {
          constexpr size_t kHeads = 3;
          const size_t stride = 2 * half + 5;
          std::vector<float> cos(half), sin(half);
          rng.Fill(Family::kUniform, cos);
          rng.Fill(Family::kUniform, sin);
          std::vector<float> x(kHeads * stride, kGuard);
          for (size_t h = 0; h < kHeads; ++h) {
            for (size_t i = 0; i < 2 * half; ++i) {
              x[h * stride + i] = rng.Draw(family, i);
            }
          }
          std::vector<float> expected = x;
          for (size_t h = 0; h < kHeads; ++h) {
            PlainRope(&expected[h * stride], cos.data(), sin.data(), half,
                      interleaved);
          }
          const auto kernel =
              interleaved ? simd::RopeInterleaved : simd::RopeHalfSplit;
          kernel(x.data(), kHeads, stride, cos.data(), sin.data(), half);
          for (size_t i = 0; i < x.size(); ++i) {
            ASSERT_TRUE(test::SameBits(x[i], expected[i]))
                << SimdTierName(tier) << " interleaved " << interleaved
                << " half " << half << " at " << i << ", " << test::SeedNote();
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace etalon
