// Shared by the tests of row-wise ops: a context per thread count, and every
// combination of tier and thread count.
#ifndef ETALON_TESTS_OPS_ROW_OPS_FIXTURE_H_
#define ETALON_TESTS_OPS_ROW_OPS_FIXTURE_H_

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "etalon/simd_tier.h"
#include "etalon/workspace.h"
#include "tests/simd/tier_scope.h"
#include "tests/util/random.h"
#include "tests/util/shapes.h"
#include "tests/util/tolerance.h"
#include "tests/util/ulp.h"

namespace etalon::test {

struct TestContext {
  Workspace workspace;
  ExecContext ctx;

  explicit TestContext(int n_threads = 1) {
    ctx.workspace = &workspace;
    ctx.n_threads = n_threads;
  }
};

inline void ExpectError(const Status& status, std::string_view part) {
  ASSERT_FALSE(status.has_value()) << "accepted; wanted: " << part;
  EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(status.error().message.find(part), std::string::npos)
      << "\"" << status.error().message << "\" does not say " << part;
}

// fn(n_threads) for every tier and 1 to 4 threads.
template <class Fn>
void OnEveryTierAndThreadCount(const Fn& fn) {
  for (const SimdTier tier : SupportedSimdTiers()) {
    TierScope scope(tier);
    for (const int n_threads : {1, 2, 3, 4}) {
      SCOPED_TRACE(std::string(SimdTierName(tier)) + ", " +
                   std::to_string(n_threads) + " threads");
      fn(n_threads);
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
}

}  // namespace etalon::test

#endif  // ETALON_TESTS_OPS_ROW_OPS_FIXTURE_H_
