// The comparisons that every other test relies on.
#include <gtest/gtest.h>

#include <cfloat>
#include <limits>
#include <vector>

#include "tests/util/shapes.h"
#include "tests/util/tolerance.h"
#include "tests/util/ulp.h"

namespace etalon::test {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();
const CaseLabel kLabel{"op", "shape", "where"};

bool Passes(float actual, double expected, double bound) {
  const std::vector<float> a = {actual};
  const std::vector<double> e = {expected};
  const std::vector<double> b = {bound};
  return static_cast<bool>(WithinBound(a, e, b, kLabel));
}

TEST(Ulp, OrdIsMonotoneAndJoinsTheZeros) {
  EXPECT_EQ(Ord(0.0f), Ord(-0.0f));
  const float ascending[] = {-kInf,         -FLT_MAX, -1.0f,        -FLT_MIN,
                             -FLT_TRUE_MIN, 0.0f,     FLT_TRUE_MIN, FLT_MIN,
                             1.0f,          FLT_MAX,  kInf};
  for (size_t i = 1; i < std::size(ascending); ++i) {
    EXPECT_LT(Ord(ascending[i - 1]), Ord(ascending[i]));
  }
  EXPECT_LT(Ord16(0x8001), Ord16(0x8000));
  EXPECT_EQ(Ord16(0x8000), Ord16(0x0000));
}

TEST(Ulp, DistanceOfSpecialValues) {
  EXPECT_EQ(UlpDistance(1.0f, std::nextafter(1.0f, 2.0f)), 1u);
  EXPECT_EQ(UlpDistance(-FLT_TRUE_MIN, FLT_TRUE_MIN), 2u);
  EXPECT_EQ(UlpDistance(kNan, -kNan), 0u);
  EXPECT_EQ(UlpDistance(kNan, 1.0f), kInfiniteUlp);
  EXPECT_EQ(UlpDistance(kInf, kInf), 0u);
  EXPECT_EQ(UlpDistance(kInf, -kInf), kInfiniteUlp);
  EXPECT_EQ(UlpDistance(kInf, FLT_MAX), kInfiniteUlp);
}

TEST(Ulp, ErrorIsMeasuredAgainstTheRealNumber) {
  EXPECT_EQ(UlpError(1.0f, 1.0), 0.0);
  EXPECT_EQ(UlpError(1.0f, 1.0 + 0x1p-24), 0.5);
  EXPECT_EQ(UlpError(0.0f, 0x1p-150), 0.5);
  EXPECT_EQ(UlpOf(1.5), 0x1p-23);
  EXPECT_EQ(UlpOf(0x1p-130), 0x1p-149);
  EXPECT_FALSE(UlpError(kNan, 1.0) <= 1e30);
  EXPECT_FALSE(UlpError(1.0f, kNan) <= 1e30);
}

TEST(Ulp, StrictEqualitySeesTheSignOfZeroAndNotThePayload) {
  EXPECT_FALSE(SameBits(0.0f, -0.0f));
  EXPECT_TRUE(SameBits(kNan, PaddedMatrix::Poison()));
  EXPECT_EQ(BitDiff(std::vector<float>{1, 2}, std::vector<float>{1}), 2u);
}

TEST(WithinBound, NanNeverPassesForANumber) {
  EXPECT_FALSE(Passes(kNan, 1.0, 1e30));
  EXPECT_FALSE(Passes(kNan, 1.0, std::numeric_limits<double>::infinity()));
  EXPECT_FALSE(Passes(1.0f, kNan, 1e30));
  EXPECT_FALSE(Passes(1.0f, 1.0, kNan));
  EXPECT_TRUE(Passes(kNan, kNan, 0.0));
}

TEST(WithinBound, InfinitiesMustAgree) {
  EXPECT_TRUE(Passes(kInf, kInf, 0.0));
  EXPECT_FALSE(Passes(-kInf, kInf, 1e300));
  EXPECT_FALSE(Passes(FLT_MAX, kInf, 1e300));
  EXPECT_FALSE(Passes(kInf, 1.0, 1e30));
  EXPECT_TRUE(Passes(kInf, double{FLT_MAX}, 0x1p110));
  EXPECT_TRUE(Passes(kInf, 1e39, 0.0));
}

TEST(WithinBound, TheBoundItselfPassesAndOneStepMoreFails) {
  EXPECT_TRUE(Passes(1.5f, 1.0, 0.5));
  EXPECT_FALSE(Passes(std::nextafter(1.5f, 2.0f), 1.0, 0.5));
  EXPECT_TRUE(Passes(1.0f, 1.0, 0.0));
  EXPECT_TRUE(Passes(-0.0f, 0.0, 0.0));
}

TEST(WithinBound, MissingElementsFail) {
  const std::vector<float> a = {1.0f};
  const std::vector<double> two = {1.0, 1.0};
  const std::vector<double> one = {1.0};
  EXPECT_FALSE(WithinBound(a, two, two, kLabel));
  EXPECT_FALSE(WithinBound(a, one, two, kLabel));
}

TEST(WithinBound, MessageNamesTheWorstElement) {
  const std::vector<float> a = {1.0f, 2.5f, 3.25f};
  const std::vector<double> e = {1.0, 2.0, 3.0};
  const std::vector<double> b = {0.125, 0.125, 0.125};
  const auto result = WithinBound(a, e, b, kLabel);
  const std::string text = result.message();
  EXPECT_NE(text.find("2 of 3"), std::string::npos) << text;
  EXPECT_NE(text.find("worst at 1"), std::string::npos) << text;
  EXPECT_NE(text.find("err/bound 4"), std::string::npos) << text;
}

TEST(PaddedMatrix, TellsAWriteIntoThePadding) {
  PaddedMatrix m(2, 3);
  m.at(1, 2) = 5.0f;
  EXPECT_TRUE(m.PaddingIntact());
  m.view().data[3] = 0.0f;  // the first padding element of row 0
  EXPECT_FALSE(m.PaddingIntact());
}

}  // namespace
}  // namespace etalon::test
