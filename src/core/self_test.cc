#include "core/self_test.h"

#include <fmt/format.h>

#include <chrono>

#include "core/fp_environment.h"
#include "core/log.h"
#include "simd/target.h"

namespace etalon {
namespace {

struct Forced {
  std::string name;
  SimdTier tier = SimdTier::kScalar;
};
Forced& TheForced() {
  static Forced forced;
  return forced;
}

// The first test that fails under the active tier, or null.
const SelfTest* FirstFailure(std::span<const SelfTest> tests) {
  const Forced& forced = TheForced();
  for (const SelfTest& test : tests) {
    const bool forced_here =
        forced.name == test.name && forced.tier == ActiveSimdTier();
    if (forced_here || !test.passes()) return &test;
  }
  return nullptr;
}

}  // namespace

Expected<SelfTestReport> RunSelfTests(std::span<const SelfTest> tests) {
  const auto start = std::chrono::steady_clock::now();
  const ScopedFpEnvironment fp;
  SelfTestReport report;
  while (const SelfTest* failed = FirstFailure(tests)) {
    const SimdTier tier = ActiveSimdTier();
    if (tier == SimdTier::kScalar) {
      return Fail(ErrorCode::kInternal,
                  fmt::format("self-test '{}' fails on the scalar kernels: "
                              "this build or this machine computes wrongly",
                              failed->name));
    }
    simd::DropSimdTier(tier);
    report.warnings.push_back(fmt::format(
        "self-test '{}' fails on {}: using {} instead", failed->name,
        SimdTierName(tier), SimdTierName(ActiveSimdTier())));
    Log(LogLevel::kWarning, "{}", report.warnings.back());
  }
  report.tier = ActiveSimdTier();
  report.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
          .count();
  return report;
}

void ForceSelfTestFailure(std::string_view name, SimdTier tier) {
  TheForced() = {std::string(name), tier};
}

}  // namespace etalon
