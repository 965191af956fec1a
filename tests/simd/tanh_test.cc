#include "simd/tanh.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "tests/simd/tier_scope.h"
#include "tests/util/ulp.h"

namespace etalon {
namespace {

// All positive bit patterns up to `end` with a stride that visits every
// exponent with changing mantissas; tanh is odd.
std::vector<float> Inputs() {
  std::vector<float> x;
  for (uint32_t bits = 0; bits < 0x7f800000u; bits += 2053) {
    x.push_back(std::bit_cast<float>(bits));
  }
  return x;
}

TEST(Tanh, AtMostTwoUlp) {
  const std::vector<float> x = Inputs();
  std::vector<float> y(x.size());
  simd::Tanh(x.data(), y.data(), x.size());
  double worst = 0.0;
  float at = 0.0f;
  for (size_t i = 0; i < x.size(); ++i) {
    const double exact = std::tanh(static_cast<double>(x[i]));
    const double error = test::UlpError(y[i], exact);
    if (!(error <= worst)) {
      worst = error;
      at = x[i];
    }
  }
  EXPECT_TRUE(worst <= 2.0) << worst << " ulp at " << at;
  std::printf("  tanh: max %.3f ulp at %g\n", worst, static_cast<double>(at));
}

TEST(Tanh, OneBitPatternOnEveryTierAndOdd) {
  const std::vector<float> x = Inputs();
  std::vector<float> minus(x), first(x.size()), y(x.size());
  for (float& v : minus) v = -v;
  simd::Tanh(x.data(), first.data(), x.size());
  for (const SimdTier tier : SupportedSimdTiers()) {
    const test::TierScope scope(tier);
    simd::Tanh(x.data(), y.data(), x.size());
    EXPECT_EQ(test::BitDiff(y, first), 0u) << SimdTierName(tier);
    simd::Tanh(minus.data(), y.data(), x.size());
    for (float& v : y) v = -v;
    EXPECT_EQ(test::BitDiff(y, first), 0u) << SimdTierName(tier);
  }
}

TEST(Tanh, SpecialValues) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const float x[] = {0.0f, -0.0f, kInf, -kInf, 100.0f, -1e30f, 1e-44f};
  const float want[] = {0.0f, -0.0f, 1.0f, -1.0f, 1.0f, -1.0f, 1e-44f};
  float y[8];
  for (const SimdTier tier : SupportedSimdTiers()) {
    const test::TierScope scope(tier);
    simd::Tanh(x, y, 7);
    EXPECT_EQ(test::BitDiff({y, 7}, {want, 7}), 0u) << SimdTierName(tier);
    const float nan = std::nanf("");
    simd::Tanh(&nan, y, 1);
    EXPECT_TRUE(std::isnan(y[0])) << SimdTierName(tier);
  }
}

}  // namespace
}  // namespace etalon
