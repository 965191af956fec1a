#include "core/self_test.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/log.h"
#include "ops/self_tests.h"
#include "simd/target.h"

namespace etalon {
namespace {

using ::testing::HasSubstr;

bool Good() { return true; }
bool Bad() { return false; }

// A dropped tier stays dropped for the process, so tests that drop one run in
// a process of their own.
class SelfTestInChild : public ::testing::Test {
 protected:
  void SetUp() override {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    if (SupportedSimdTiers().size() < 2) {
      GTEST_SKIP() << "this machine has the scalar tier only";
    }
  }
};
using SelfTestInChildDeathTest = SelfTestInChild;

TEST(SelfTest, PassingKernelsKeepTheTier) {
  const SelfTest tests[] = {{"good", Good}, {"good too", Good}};
  for (SimdTier tier : SupportedSimdTiers()) {
    ASSERT_TRUE(SetActiveSimdTier(tier));
    const auto report = RunSelfTests(tests);
    ASSERT_TRUE(report);
    EXPECT_EQ(report->tier, tier);
    EXPECT_EQ(ActiveSimdTier(), tier);
    EXPECT_TRUE(report->warnings.empty());
  }
}

TEST(SelfTest, ScalarFailureIsAnError) {
  const SimdTier before = ActiveSimdTier();
  ASSERT_TRUE(SetActiveSimdTier(SimdTier::kScalar));
  const SelfTest tests[] = {{"good", Good}, {"bad", Bad}};
  const auto report = RunSelfTests(tests);
  ASSERT_TRUE(SetActiveSimdTier(before));
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::kInternal);
  EXPECT_THAT(report.error().message, HasSubstr("'bad'"));
}

TEST_F(SelfTestInChildDeathTest, FailingTierIsDroppedWithOneWarning) {
  const auto child = [] {
    SetLogSink(StderrSink);
    const SelfTest tests[] = {{"alpha", Good}, {"beta", Good}};
    const auto tiers = SupportedSimdTiers();
    const SimdTier best = tiers.back(), next = tiers[tiers.size() - 2];
    ForceSelfTestFailure("beta", best);
    const auto report = RunSelfTests(tests);
    const bool ok = report && report->tier == next &&
                    report->warnings.size() == 1 && ActiveSimdTier() == next &&
                    SupportedSimdTiers().size() + 1 == tiers.size() &&
                    !SetActiveSimdTier(best);
    std::exit(ok ? 0 : 1);
  };
  EXPECT_EXIT(child(), ::testing::ExitedWithCode(0),
              "warning: self-test 'beta' fails on .*: using .* instead");
}

TEST_F(SelfTestInChildDeathTest, AllTiersButScalarMayFail) {
  const auto child = [] {
    const SelfTest tests[] = {
        {"vector", [] { return ActiveSimdTier() == SimdTier::kScalar; }}};
    const size_t n = SupportedSimdTiers().size();
    const auto report = RunSelfTests(tests);
    const bool ok = report && report->tier == SimdTier::kScalar &&
                    report->warnings.size() == n - 1 &&
                    SupportedSimdTiers().size() == 1;
    std::exit(ok ? 0 : 1);
  };
  EXPECT_EXIT(child(), ::testing::ExitedWithCode(0), "");
}

TEST(SelfTest, KernelsPassOnEveryTierInTenMilliseconds) {
  for (SimdTier tier : SupportedSimdTiers()) {
    SCOPED_TRACE(SimdTierName(tier));
    ASSERT_TRUE(SetActiveSimdTier(tier));
    double best = 1e9;
    // The fastest of three: other programs share the machine.
    for (int i = 0; i < 3; ++i) {
      const auto report = RunSelfTests(ops::KernelSelfTests());
      ASSERT_TRUE(report) << report.error().message;
      EXPECT_EQ(report->tier, tier);
      best = std::min(best, report->seconds);
    }
#if defined(NDEBUG) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
    // A trap takes longer than what it stands for: times are the processor's.
    if (tier == SimdTier::kAmx && simd::GetCpuFeatures().amx_emulated) continue;
    EXPECT_LT(best, 10e-3);
#endif
  }
}

}  // namespace
}  // namespace etalon
