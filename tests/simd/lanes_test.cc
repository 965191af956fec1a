// The 16 virtual lanes against plain loops, on every target.
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "tests/simd/tier_scope.h"
#include "tests/util/random.h"
#include "tests/util/ulp.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/simd/lanes_test.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h
#include "simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {

float DotInLanes(const float* a, const float* b, size_t n) {
  F32x16 acc = Zero16();
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    acc = Fma16(Load16(a + i), Load16(b + i), acc);
  }
  if (i < n) {
    acc = Fma16(LoadTail16(a + i, n - i), LoadTail16(b + i, n - i), acc);
  }
  return Fold16(acc);
}
float FoldOf(const float* x) { return Fold16(Load16(x)); }
void CopyTail(const float* x, float* y, size_t n) {
  StoreTail16(LoadTail16(x, n), y, n);
}
void MulAdd(const float* a, const float* b, const float* c, float* separate,
            float* fused) {
  Store16(Add16(Mul16(Load16(a), Load16(b)), Load16(c)), separate);
  Store16(Fma16(Load16(a), Load16(b), Load16(c)), fused);
}

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace etalon::simd {
namespace {

HWY_EXPORT(DotInLanes);
HWY_EXPORT(FoldOf);
HWY_EXPORT(CopyTail);
HWY_EXPORT(MulAdd);

using test::TierScope;

constexpr size_t kLanes = 16;

float PlainFold(std::vector<float> l) {
  for (size_t h = 8; h >= 1; h /= 2) {
    for (size_t j = 0; j < h; ++j) l[j] += l[j + h];
  }
  return l[0];
}
// Numerics section 0 item 3: the tail is one full step padded with +0.
float PlainDot(const std::vector<float>& a, const std::vector<float>& b) {
  std::vector<float> l(kLanes, 0.0f);
  const size_t padded = (a.size() + kLanes - 1) / kLanes * kLanes;
  for (size_t i = 0; i < padded; ++i) {
    const float x = i < a.size() ? a[i] : 0.0f;
    const float y = i < a.size() ? b[i] : 0.0f;
    l[i % kLanes] = std::fma(x, y, l[i % kLanes]);
  }
  return PlainFold(l);
}

class Lanes : public ::testing::TestWithParam<SimdTier> {
 protected:
  TierScope scope_{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Tiers, Lanes,
                         ::testing::ValuesIn(SupportedSimdTiers()),
                         [](const auto& param_info) {
                           std::string name(SimdTierName(param_info.param));
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST_P(Lanes, DotFollowsTheFixedOrder) {
  test::Random rng(311);
  for (const test::Family family : test::kFamilies) {
    for (size_t n = 0; n <= 67; ++n) {
      std::vector<float> a(n), b(n);
      rng.Fill(family, a);
      rng.Fill(family, b);
      const float actual =
          HWY_DYNAMIC_DISPATCH(DotInLanes)(a.data(), b.data(), n);
      ASSERT_TRUE(test::SameBits(actual, PlainDot(a, b)))
          << test::FamilyName(family) << " n = " << n << ": " << actual << ", "
          << test::SeedNote();
    }
  }
}

TEST_P(Lanes, FoldAddsHalvesNotNeighbours) {
  // 2^24 absorbs a 1 that is added to it alone: the order shows.
  std::vector<float> x(kLanes, 1.0f);
  x[3] = 0x1p24f;
  EXPECT_EQ(HWY_DYNAMIC_DISPATCH(FoldOf)(x.data()), PlainFold(x));
  test::Random rng(312);
  for (int repeat = 0; repeat < 1000; ++repeat) {
    rng.Fill(test::Family::kWide, x);
    ASSERT_TRUE(
        test::SameBits(HWY_DYNAMIC_DISPATCH(FoldOf)(x.data()), PlainFold(x)))
        << test::SeedNote();
  }
}

TEST_P(Lanes, FmaRoundsOnceAndMulAddTwice) {
  test::Random rng(313);
  std::vector<float> a(kLanes), b(kLanes), c(kLanes), two(kLanes), one(kLanes);
  size_t differ = 0;
  for (int repeat = 0; repeat < 1000; ++repeat) {
    rng.Fill(test::Family::kNormal, a);
    rng.Fill(test::Family::kNormal, b);
    rng.Fill(test::Family::kNormal, c);
    HWY_DYNAMIC_DISPATCH(MulAdd)
    (a.data(), b.data(), c.data(), two.data(), one.data());
    for (size_t i = 0; i < kLanes; ++i) {
      volatile float product = a[i] * b[i];
      ASSERT_EQ(two[i], product + c[i]);
      ASSERT_EQ(one[i], std::fma(a[i], b[i], c[i]));
      differ += one[i] != two[i];
    }
  }
  EXPECT_GT(differ, 100u) << "the inputs cannot tell the two apart";
}

TEST_P(Lanes, TailTouchesNothingBeyondIt) {
  for (size_t n = 0; n < kLanes; ++n) {
    std::vector<float> x(n, 2.0f);
    x.shrink_to_fit();  // a sanitizer sees a read past the end
    std::vector<float> y(n + 1, -3.0f);
    HWY_DYNAMIC_DISPATCH(CopyTail)(x.data(), y.data(), n);
    for (size_t i = 0; i < n; ++i) EXPECT_EQ(y[i], 2.0f);
    EXPECT_EQ(y[n], -3.0f);
  }
}

}  // namespace
}  // namespace etalon::simd
#endif  // HWY_ONCE
