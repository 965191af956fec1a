#include "reference/quantize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/util/random.h"

namespace etalon::reference {
namespace {

using test::Family;
using test::Random;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

// Round half to even without the library: compare with both neighbours.
int RoundEven(float x) {
  const float low = std::floor(x);
  const float rest = x - low;  // exact: |x| <= 128
  const int k = static_cast<int>(low);
  if (rest < 0.5f) return k;
  if (rest > 0.5f) return k + 1;
  return k % 2 == 0 ? k : k + 1;
}

TEST(QuantizeQ8K, EqualsItsRule) {
  for (const Family family : test::kFamilies) {
    Random rng(21);
    const auto x = rng.Vector(family, 512);
    const QuantizedRow row = QuantizeQ8K(x);
    ASSERT_EQ(row.q.size(), 512u);
    for (size_t b = 0; b < 2; ++b) {
      const auto first = x.begin() + static_cast<std::ptrdiff_t>(256 * b);
      const float max = *std::max_element(
          first, first + 256,
          [](float a, float c) { return std::abs(a) < std::abs(c); });
      if (std::abs(max) < 0x1p-120f) {
        EXPECT_EQ(row.d[b], 0.0f);
        continue;
      }
      const float iscale = -127.0f / max;
      EXPECT_EQ(row.d[b], 1.0f / iscale);
      for (size_t i = 256 * b; i < 256 * (b + 1); ++i) {
        ASSERT_EQ(row.q[i], RoundEven(iscale * x[i]))
            << FamilyName(family) << " element " << i;
        ASSERT_LE(std::abs(row.q[i]), 127);
      }
    }
  }
}

TEST(QuantizeQ8K, FirstOfEqualMagnitudesDecidesTheSign) {
  std::vector<float> x(256, 0.0f);
  x[10] = 2.0f;
  x[20] = -2.0f;
  EXPECT_LT(QuantizeQ8K(x).d[0], 0.0f);
  EXPECT_EQ(QuantizeQ8K(x).q[10], -127);
  EXPECT_EQ(QuantizeQ8K(x).q[20], 127);
  std::swap(x[10], x[20]);
  EXPECT_GT(QuantizeQ8K(x).d[0], 0.0f);
}

TEST(QuantizeQ8K, TiesGoToEvenAndMarginsAreZeroThere) {
  std::vector<float> x(256, 0.0f);
  x[0] = -127.0f;  // iscale = 1
  x[1] = 2.5f;
  x[2] = 3.5f;
  x[3] = -2.5f;
  x[4] = 3.0f;
  const QuantizedRow row = QuantizeQ8K(x);
  EXPECT_EQ(row.q[0], -127);
  EXPECT_EQ(row.q[1], 2);
  EXPECT_EQ(row.q[2], 4);
  EXPECT_EQ(row.q[3], -2);
  EXPECT_EQ(row.margin[1], 0.0f);
  EXPECT_EQ(row.margin[4], 0.5f);
}

TEST(QuantizeQ8K, TinyBlocksAreZeroAndNonFiniteBlocksAreNan) {
  std::vector<float> x(768, 0.0f);
  x[0] = 0x1.fffffep-121f;
  x[256] = 0x1p-120f;
  x[600] = kNan;
  const QuantizedRow row = QuantizeQ8K(x);
  EXPECT_EQ(row.d[0], 0.0f);
  EXPECT_EQ(row.q[0], 0);
  EXPECT_NE(row.d[1], 0.0f);
  EXPECT_EQ(row.q[256], -127);
  EXPECT_TRUE(std::isnan(row.d[2]));
  EXPECT_EQ(row.q[600], 0);
  x[600] = -kInf;
  EXPECT_TRUE(std::isnan(QuantizeQ8K(x).d[2]));
}

TEST(QuantizeQ8_0, EqualsItsRule) {
  for (const Family family : test::kFamilies) {
    Random rng(22);
    const auto x = rng.Vector(family, 96);
    const QuantizedRow row = QuantizeQ8_0(x);
    for (size_t b = 0; b < 3; ++b) {
      float amax = 0.0f;
      for (size_t i = 32 * b; i < 32 * (b + 1); ++i) {
        amax = std::fmax(amax, std::abs(x[i]));
      }
      if (amax < 0x1p-120f) {
        EXPECT_EQ(row.d[b], 0.0f);
        continue;
      }
      EXPECT_EQ(row.d[b],
                static_cast<float>(static_cast<_Float16>(amax / 127.0f)));
      for (size_t i = 32 * b; i < 32 * (b + 1); ++i) {
        ASSERT_EQ(row.q[i], RoundEven(127.0f / amax * x[i]))
            << FamilyName(family) << " element " << i;
      }
    }
  }
}

TEST(QuantizeQ8_0, ScaleBeyondF16IsNan) {
  std::vector<float> x(32, 0.0f);
  x[5] = 127.0f * 65519.0f;
  EXPECT_EQ(QuantizeQ8_0(x).d[0], 65504.0f);
  x[5] = 127.0f * 65520.0f;
  EXPECT_TRUE(std::isnan(QuantizeQ8_0(x).d[0]));
  EXPECT_EQ(QuantizeQ8_0(x).q[5], 0);
}

}  // namespace
}  // namespace etalon::reference
