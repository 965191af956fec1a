#include "quant/quantize_row.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "quant/f16.h"
#include "tests/util/random.h"

namespace etalon {
namespace {

using test::Family;
using test::Random;
using test::SeedNote;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

BlockQ8_K Q8K(const std::vector<float>& x) {
  BlockQ8_K block;
  std::memset(&block, 0x5a, sizeof(block));
  QuantizeRowQ8K(x.data(), kQkK, &block);
  return block;
}
BlockQ8_0 Q80(const std::vector<float>& x) {
  BlockQ8_0 block;
  std::memset(&block, 0x5a, sizeof(block));
  QuantizeRowQ80(x.data(), kQk, &block);
  return block;
}
void ExpectCleared(const BlockQ8_K& block) {
  for (const int8_t q : block.qs) EXPECT_EQ(q, 0);
  for (const int16_t s : block.bsums) EXPECT_EQ(s, 0);
}
void ExpectCleared(const BlockQ8_0& block) {
  for (const int8_t q : block.qs) EXPECT_EQ(q, 0);
}

// Round half to even of an exact product, by its definition.
int RoundHalfEven(double x) {
  const double floor = std::floor(x);
  const double fraction = x - floor;
  const int f = static_cast<int>(floor);
  if (fraction != 0.5) return fraction < 0.5 ? f : f + 1;
  return f % 2 == 0 ? f : f + 1;
}

TEST(QuantizeRowQ8K, FollowsItsRuleOnEveryFamily) {
  Random rng(3);
  for (const Family family : test::kFamilies) {
    for (int round = 0; round < 50; ++round) {
      const std::vector<float> x = rng.Vector(family, kQkK);
      float max = 0;
      for (const float v : x) {
        if (std::abs(v) > std::abs(max)) max = v;
      }
      const BlockQ8_K block = Q8K(x);
      if (std::abs(max) < 0x1p-120f) {
        EXPECT_EQ(block.d, 0.0f);
        EXPECT_FALSE(std::signbit(block.d));
        ExpectCleared(block);
        continue;
      }
      const float iscale = -127.0f / max;
      ASSERT_EQ(block.d, 1.0f / iscale);
      for (size_t i = 0; i < kQkK; ++i) {
        ASSERT_EQ(block.qs[i], RoundHalfEven(iscale * x[i]))
            << FamilyName(family) << " " << i << " " << SeedNote();
        ASSERT_GE(block.qs[i], -127);
      }
      for (size_t g = 0; g < 16; ++g) {
        int sum = 0;
        for (size_t i = 0; i < 16; ++i) sum += block.qs[16 * g + i];
        ASSERT_EQ(block.bsums[g], sum);
      }
    }
  }
}

// max = -127 makes iscale 1, so that the inputs are the exact ties.
TEST(QuantizeRowQ8K, HalvesGoToEven) {
  std::vector<float> x(kQkK, 0.0f);
  x[0] = -127.0f;
  const float in[] = {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 126.5f, -126.5f};
  const int want[] = {0, 2, 2, 0, -2, -2, 126, -126};
  for (size_t i = 0; i < 8; ++i) x[i + 1] = in[i];
  const BlockQ8_K block = Q8K(x);
  EXPECT_EQ(block.d, 1.0f);
  EXPECT_EQ(block.qs[0], -127);
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(block.qs[i + 1], want[i]) << in[i];
  EXPECT_EQ(block.bsums[0], -127 + 0 + 2 + 2 - 2 - 2);
}

TEST(QuantizeRowQ8K, TheFirstOfOppositeMaximaDecidesTheSign) {
  for (const float sign : {1.0f, -1.0f}) {
    std::vector<float> x(kQkK, 0.25f);
    x[17] = sign * 3.0f;
    x[90] = -sign * 3.0f;
    x[200] = sign * 3.0f;
    const BlockQ8_K block = Q8K(x);
    EXPECT_EQ(std::signbit(block.d), sign > 0);
    EXPECT_EQ(block.qs[17], -127);
    EXPECT_EQ(block.qs[90], 127);
    EXPECT_EQ(block.qs[200], -127);
  }
}

TEST(QuantizeRowQ8K, ConstantAndSpike) {
  const BlockQ8_K constant = Q8K(std::vector<float>(kQkK, 7.0f));
  for (const int8_t q : constant.qs) EXPECT_EQ(q, -127);
  for (const int16_t s : constant.bsums) EXPECT_EQ(s, -127 * 16);
  std::vector<float> x(kQkK, 0.0f);
  x[255] = 1e30f;
  const BlockQ8_K spike = Q8K(x);
  EXPECT_EQ(spike.qs[255], -127);
  EXPECT_EQ(spike.qs[254], 0);
  EXPECT_EQ(spike.bsums[15], -127);
  x[255] = std::numeric_limits<float>::max();
  EXPECT_EQ(Q8K(x).qs[255], -127);
}

TEST(QuantizeRowQ8K, ZeroBelowTheThresholdAndNotAtIt) {
  const float below = std::nextafter(0x1p-120f, 0.0f);
  for (const float v : {0.0f, -0.0f, 0x1p-149f, 0x1p-126f, below, -below}) {
    const BlockQ8_K block = Q8K(std::vector<float>(kQkK, v));
    EXPECT_EQ(block.d, 0.0f) << v;
    ExpectCleared(block);
  }
  const BlockQ8_K at = Q8K(std::vector<float>(kQkK, 0x1p-120f));
  EXPECT_TRUE(std::isfinite(at.d));
  EXPECT_LT(at.d, 0.0f);
  EXPECT_EQ(at.qs[0], -127);
}

TEST(QuantizeRow, NonFiniteInputGivesNaNAndZeros) {
  for (const float bad : {kNaN, -kNaN, kInf, -kInf}) {
    for (const size_t at : {0u, 13u, 31u, 255u}) {
      std::vector<float> x(kQkK, 1.0f);
      x[at] = bad;
      const BlockQ8_K block = Q8K(x);
      EXPECT_TRUE(std::isnan(block.d));
      ExpectCleared(block);
      if (at >= kQk) continue;
      const BlockQ8_0 small = Q80(x);
      EXPECT_EQ(small.d, kF16NaN);
      ExpectCleared(small);
    }
  }
}

// A bad block does not spoil its neighbours.
TEST(QuantizeRow, BlocksAreIndependent) {
  Random rng(4);
  std::vector<float> x = rng.Vector(Family::kNormal, 3 * kQkK);
  BlockQ8_K clean[3], dirty[3];
  QuantizeRowQ8K(x.data(), x.size(), clean);
  x[kQkK + 5] = kNaN;
  QuantizeRowQ8K(x.data(), x.size(), dirty);
  EXPECT_EQ(std::memcmp(&clean[0], &dirty[0], sizeof(BlockQ8_K)), 0);
  EXPECT_EQ(std::memcmp(&clean[2], &dirty[2], sizeof(BlockQ8_K)), 0);
  EXPECT_TRUE(std::isnan(dirty[1].d));
}

TEST(QuantizeRowQ80, FollowsItsRuleOnEveryFamily) {
  Random rng(5);
  for (const Family family : test::kFamilies) {
    for (int round = 0; round < 200; ++round) {
      const std::vector<float> x = rng.Vector(family, kQk);
      float amax = 0;
      for (const float v : x) amax = std::max(amax, std::abs(v));
      const BlockQ8_0 block = Q80(x);
      if (amax < 0x1p-120f) {
        EXPECT_EQ(block.d, 0);
        ExpectCleared(block);
        continue;
      }
      ASSERT_EQ(block.d, F32ToF16(amax / 127.0f));
      const float id = 127.0f / amax;
      for (size_t i = 0; i < kQk; ++i) {
        ASSERT_EQ(block.qs[i], RoundHalfEven(id * x[i]))
            << FamilyName(family) << " " << i << " " << SeedNote();
        ASSERT_GE(block.qs[i], -127);
      }
    }
  }
}

TEST(QuantizeRowQ80, HalvesGoToEven) {
  std::vector<float> x(kQk, 0.0f);
  x[0] = 127.0f;
  const float in[] = {0.5f, 1.5f, -0.5f, -1.5f, 125.5f, -126.5f};
  const int want[] = {0, 2, 0, -2, 126, -126};
  for (size_t i = 0; i < 6; ++i) x[i + 1] = in[i];
  const BlockQ8_0 block = Q80(x);
  EXPECT_EQ(block.d, 0x3c00);
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(block.qs[i + 1], want[i]) << in[i];
}

TEST(QuantizeRowQ80, AScaleThatOverflowsIsNaN) {
  std::vector<float> x(kQk, 0.0f);
  x[3] = 65519.0f * 127.0f;  // rounds to the largest finite scale
  EXPECT_EQ(Q80(x).d, 0x7bff);
  EXPECT_EQ(Q80(x).qs[3], 127);
  x[3] = 65520.0f * 127.0f;
  EXPECT_EQ(Q80(x).d, kF16NaN);
  ExpectCleared(Q80(x));
}

TEST(QuantizeRowQ80, AScaleThatUnderflowsStandsForZeros) {
  const BlockQ8_0 block = Q80(std::vector<float>(kQk, 1e-7f));
  EXPECT_EQ(block.d, 0);
  EXPECT_EQ(block.qs[0], 127);
}

}  // namespace
}  // namespace etalon
