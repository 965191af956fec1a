#include "tests/util/random.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace etalon::test {
namespace {

using ::testing::ElementsAre;

// The three vectors published with Random123 (kat_vectors, philox4x32 10).
TEST(Philox, MatchesThePublishedKnownAnswers) {
  EXPECT_THAT(Philox4x32_10({0, 0, 0, 0}, {0, 0}),
              ElementsAre(0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u));
  constexpr uint32_t kOnes = 0xffffffffu;
  EXPECT_THAT(Philox4x32_10({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
              ElementsAre(0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu));
  EXPECT_THAT(
      Philox4x32_10({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u},
                    {0xa4093822u, 0x299f31d0u}),
      ElementsAre(0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u));
}

TEST(Random, SameSeedAndStreamGiveTheSameData) {
  EXPECT_EQ(Random(7, 1).Vector(Family::kNormal, 100),
            Random(7, 1).Vector(Family::kNormal, 100));
  EXPECT_NE(Random(7, 1).Vector(Family::kNormal, 100),
            Random(7, 2).Vector(Family::kNormal, 100));
  EXPECT_NE(Random(7, 1).Vector(Family::kNormal, 100),
            Random(8, 1).Vector(Family::kNormal, 100));
}

// A generator that yields one value 4096 times makes every test vacuous.
TEST(Random, FamiliesAreNotDegenerate) {
  for (const Family f : kFamilies) {
    const std::vector<float> v = Random(5, 3).Vector(f, 4096);
    const std::set<float> distinct(v.begin(), v.end());
    for (const float x : v) EXPECT_TRUE(std::isfinite(x)) << FamilyName(f);
    const size_t wanted = f == Family::kConstant || f == Family::kZero ? 1
                          : f == Family::kExactInt                     ? 17
                                                                       : 1000;
    EXPECT_GE(distinct.size(), wanted) << FamilyName(f);
  }
}

TEST(Random, NormalHasTheDocumentedMoments) {
  double sum = 0;
  double squares = 0;
  constexpr int kN = 100000;
  Random rng(1, 9);
  for (int i = 0; i < kN; ++i) {
    const double x = rng.Normal();
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kN, 0.0, 0.01);
  EXPECT_NEAR(std::sqrt(squares / kN), 0.8165, 0.01);
}

TEST(Random, BelowReachesEveryValue) {
  Random rng(3, 0);
  std::set<size_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(rng.Below(7));
  EXPECT_THAT(seen, ElementsAre(0, 1, 2, 3, 4, 5, 6));
}

}  // namespace
}  // namespace etalon::test
