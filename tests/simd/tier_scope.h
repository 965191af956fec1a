// Runs a block on one SIMD tier.
#ifndef ETALON_TESTS_SIMD_TIER_SCOPE_H_
#define ETALON_TESTS_SIMD_TIER_SCOPE_H_

#include <gtest/gtest.h>

#include "etalon/simd_tier.h"

namespace etalon::test {

class TierScope {
 public:
  explicit TierScope(SimdTier tier) : saved_(ActiveSimdTier()) {
    EXPECT_TRUE(SetActiveSimdTier(tier));
  }
  ~TierScope() { EXPECT_TRUE(SetActiveSimdTier(saved_)); }
  TierScope(const TierScope&) = delete;
  TierScope& operator=(const TierScope&) = delete;

 private:
  SimdTier saved_;
};

}  // namespace etalon::test

#endif  // ETALON_TESTS_SIMD_TIER_SCOPE_H_
