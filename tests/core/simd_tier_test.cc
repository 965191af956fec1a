// Per-target file: the probe says which target Highway's table leads to.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/core/simd_tier_test.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd_tier_test {
namespace HWY_NAMESPACE {
int64_t Target() { return HWY_TARGET; }
}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd_tier_test
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "simd/target.h"

namespace etalon {
namespace simd_tier_test {
HWY_EXPORT(Target);
int64_t Dispatched() { return HWY_DYNAMIC_DISPATCH(Target)(); }
}  // namespace simd_tier_test
namespace {

using simd_tier_test::Dispatched;

#if HWY_ARCH_X86
int64_t WantedTarget(SimdTier tier) {
  if (tier == SimdTier::kScalar) return HWY_SCALAR;
  return tier == SimdTier::kAvx2 ? HWY_AVX2 : HWY_AVX3;
}

TEST(SimdTier, HighwayDispatchFollowsTheTier) {
  for (SimdTier tier : SupportedSimdTiers()) {
    ASSERT_TRUE(SetActiveSimdTier(tier));
    EXPECT_EQ(ActiveSimdTier(), tier);
    EXPECT_EQ(Dispatched(), WantedTarget(tier)) << SimdTierName(tier);
  }
}

TEST(SimdTierDeathTest, BestTierIsActiveAtStart) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        const SimdTier best = SupportedSimdTiers().back();
        const bool ok =
            ActiveSimdTier() == best && Dispatched() == WantedTarget(best);
        std::exit(ok ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
}

TEST(SimdTierDeathTest, DroppingTheActiveTierMovesDispatchDown) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        bool ok = true;
        for (auto tiers = SupportedSimdTiers(); tiers.size() > 1;
             tiers = SupportedSimdTiers()) {
          simd::DropSimdTier(tiers.back());
          ok = ok && SupportedSimdTiers().size() + 1 == tiers.size();
          ok = ok && ActiveSimdTier() == tiers[tiers.size() - 2];
          ok = ok && Dispatched() == WantedTarget(ActiveSimdTier());
        }
        simd::DropSimdTier(SimdTier::kScalar);  // the floor stays
        ok = ok && SupportedSimdTiers().size() == 1;
        std::exit(ok ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
}
#endif

TEST(SimdTier, SupportedTiersAscendFromScalar) {
  const auto& tiers = SupportedSimdTiers();
  ASSERT_FALSE(tiers.empty());
  EXPECT_EQ(tiers.front(), SimdTier::kScalar);
  EXPECT_TRUE(std::is_sorted(tiers.begin(), tiers.end()));
}

TEST(SimdTier, NamesAreReadBack) {
  for (int i = 0; i < kNumSimdTiers; ++i) {
    const auto tier = static_cast<SimdTier>(i);
    EXPECT_EQ(*ParseSimdTier(SimdTierName(tier)), tier);
  }
  for (const char* bad : {"", "AVX2", "auto", "avx512 ", "sse2"}) {
    const auto tier = ParseSimdTier(bad);
    ASSERT_FALSE(tier) << bad;
    EXPECT_THAT(tier.error().message,
                ::testing::HasSubstr("scalar, avx2, avx512, avx512-vnni, amx"));
  }
}

TEST(SimdTier, TierTheMachineLacksIsAnErrorAndChangesNothing) {
  const SimdTier before = ActiveSimdTier();
  for (int i = 0; i < kNumSimdTiers; ++i) {
    const auto tier = static_cast<SimdTier>(i);
    const auto& have = SupportedSimdTiers();
    if (std::find(have.begin(), have.end(), tier) != have.end()) continue;
    const Status s = SetActiveSimdTier(tier);
    ASSERT_FALSE(s);
    EXPECT_THAT(s.error().message,
                ::testing::HasSubstr(std::string(SimdTierName(tier))));
    EXPECT_EQ(ActiveSimdTier(), before);
  }
}

}  // namespace
}  // namespace etalon
#endif  // HWY_ONCE
