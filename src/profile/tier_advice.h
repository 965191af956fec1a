// The tier that `etalon profile --tiers --remember` found fastest on this
// machine, for `--isa auto`. It moves time alone: results are the same bits.
#ifndef ETALON_PROFILE_TIER_ADVICE_H_
#define ETALON_PROFILE_TIER_ADVICE_H_

#include <optional>
#include <string>

#include "etalon/simd_tier.h"
#include "etalon/status.h"
#include "profile/machine.h"

namespace etalon::profile {

// tier.json beside the roofs; empty when there is no home.
std::string TierAdvicePath();
// Nothing where the file is absent, of another machine, not what SaveTierAdvice
// writes, or names a tier that cannot run here.
std::optional<SimdTier> LoadTierAdvice(const std::string& path,
                                       const Machine& machine);
Status SaveTierAdvice(const std::string& path, const Machine& machine,
                      SimdTier tier);

}  // namespace etalon::profile

#endif  // ETALON_PROFILE_TIER_ADVICE_H_
