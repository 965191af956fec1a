// Uses installed headers and libetalon.so only: the SIMD tiers, the arena, the
// switches.
#include <cstdio>

#include "etalon/backend.h"
#include "etalon/config.h"
#include "etalon/simd_tier.h"
#include "etalon/version.h"
#include "etalon/workspace.h"

int main() {
  etalon::Workspace workspace;
  if (!workspace.Reserve(1 << 20)) return 1;
  const auto scratch = workspace.Allocate<float>(1000);
  if (!scratch || scratch->size() != 1000) return 2;
  const auto config = etalon::ConfigFromEnvironment();
  if (!config) return 3;
  if (!etalon::SetActiveSimdTier(etalon::SimdTier::kScalar)) return 4;
  std::printf("etalon %s: %zu tiers\n", etalon::kVersion,
              etalon::SupportedSimdTiers().size());
  return 0;
}
