// Every backend against the reference: one op, one case, all ways of running
// it. A case passes when
//   - every element lies within the bound that the reference emits for it,
//   - the cpu backend gives one bit pattern on every tier this machine has and
//     with 1, 2, 3 and 4 threads.
// Max and mean of err / bound are printed even when all is green: a drift shows
// before it fails.
#ifndef ETALON_TESTS_PARITY_PARITY_H_
#define ETALON_TESTS_PARITY_PARITY_H_

#include <gtest/gtest.h>

#include <cstdio>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "etalon/backend.h"
#include "etalon/config.h"
#include "etalon/simd_tier.h"
#include "reference/oracle.h"
#include "tests/util/random.h"
#include "tests/util/random_weights.h"
#include "tests/util/shapes.h"
#include "tests/util/tolerance.h"

namespace etalon::test {

using reference::CpuStrictProfile;
using reference::Oracle;

// Puts the tier back that was active.
class TierGuard {
 public:
  TierGuard() : tier_(ActiveSimdTier()) {}
  ~TierGuard() { static_cast<void>(SetActiveSimdTier(tier_)); }
  TierGuard(const TierGuard&) = delete;
  TierGuard& operator=(const TierGuard&) = delete;

 private:
  SimdTier tier_;
};

// Runs the op of a backend on fresh copies of what it writes and returns its
// output, dense; empty after an error (which the runner reports itself).
using OpRunner =
    std::function<std::vector<float>(const Backend&, ExecContext&)>;

class Parity : public ::testing::Test {
 protected:
  void TearDown() override {
    for (const auto& [op, stats] : stats_) {
      std::printf("  %-24s %9zu elements  err/bound max %.3f mean %.4f\n",
                  op.c_str(), stats.n, stats.max, stats.mean());
    }
    std::printf("  %s\n", SeedNote().c_str());
  }

  void Check(const CaseLabel& label, const Oracle& oracle,
             const std::vector<double>& bound, const OpRunner& run) {
    const TierGuard guard;
    const std::vector<SimdTier>& tiers = SupportedSimdTiers();
    const std::vector<float> judged = Run(ReferenceBackend(), 1, run);
    EXPECT_TRUE(WithinBound(judged, oracle.value, bound, label)) << "reference";
    std::vector<float> first;
    for (const SimdTier tier : tiers) {
      ASSERT_TRUE(SetActiveSimdTier(tier));
      const std::vector<float> got = Run(CpuBackend(), 1, run);
      if (first.empty()) {
        first = got;
        ASSERT_TRUE(
            WithinBound(got, oracle.value, bound, label, &stats_[label.op]));
      } else {
        ASSERT_TRUE(SameBits(got, first, label)) << "1 thread";
      }
    }
    for (const int n_threads : {2, 3, 4}) {
      ASSERT_TRUE(SameBits(Run(CpuBackend(), n_threads, run), first, label))
          << n_threads << " threads";
    }
  }

  const RatioStats& stats(const std::string& op) { return stats_[op]; }

 private:
  std::vector<float> Run(const Backend& backend, int n_threads,
                         const OpRunner& run) {
    ExecContext ctx{&workspace_, &config_, n_threads};
    return run(backend, ctx);
  }

  Workspace workspace_;
  Config config_;
  std::map<std::string, RatioStats> stats_;
};

// Reports the error of a status and says whether there was none.
inline bool Succeeded(const Status& status) {
  EXPECT_TRUE(status) << status.error().message;
  return status.has_value();
}

// The output of an op that writes a matrix; its padding must survive.
template <class Call>
std::vector<float> RunInto(size_t rows, size_t cols, const Call& call) {
  PaddedMatrix out(rows, cols, 5, 3);
  if (!Succeeded(call(out.view()))) return {};
  EXPECT_TRUE(out.PaddingIntact()) << "wrote into the padding";
  return out.Dense();
}

}  // namespace etalon::test

#endif  // ETALON_TESTS_PARITY_PARITY_H_
