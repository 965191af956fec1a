// Known-answer tests of the kernels a machine is about to use, run at start-up:
// wrong hardware, a wrong compiler or a wrong kernel must not become a wrong
// token. A tier whose kernels fail is dropped, with one warning, for the next.
//
// To add one: write `bool SelfTestX()` beside the op. It runs the kernel as the
// active tier dispatches it, on a fixed input of a few hundred elements, and
// compares every bit with stored answers (in profile strict they are the same
// on all tiers) or with a plain loop. List it in src/ops/self_tests.cc. All of
// them together take less than 10 ms, on one thread.
#ifndef ETALON_CORE_SELF_TEST_H_
#define ETALON_CORE_SELF_TEST_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "etalon/simd_tier.h"
#include "etalon/status.h"

namespace etalon {

struct SelfTest {
  std::string_view name;
  bool (*passes)();  // under the active tier
};

struct SelfTestReport {
  SimdTier tier = SimdTier::kScalar;  // the one that passed, now active
  std::vector<std::string> warnings;  // one per tier dropped; also logged
  double seconds = 0;
};

// Starts at the active tier and goes down until every test passes. Error
// (kInternal) when even the scalar kernels fail.
Expected<SelfTestReport> RunSelfTests(std::span<const SelfTest> tests);

// Makes the named test fail on `tier`, so that the way down is tested too. An
// empty name takes it back.
void ForceSelfTestFailure(std::string_view name, SimdTier tier);

}  // namespace etalon

#endif  // ETALON_CORE_SELF_TEST_H_
