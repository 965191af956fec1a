// SIMD tiers: which kernels run. All tiers give the same bits in profile
// strict; a tier only decides speed.
#ifndef ETALON_SIMD_TIER_H_
#define ETALON_SIMD_TIER_H_

#include <string_view>
#include <vector>

#include "etalon/status.h"

namespace etalon {

enum class SimdTier {
  kScalar = 0,
  kAvx2 = 1,        // AVX2 + FMA + F16C + BMI2
  kAvx512 = 2,      // F, BW, CD, DQ, VL
  kAvx512Vnni = 3,  // + AVX512_VNNI
  kAmx = 4,         // + AMX-TILE, AMX-INT8 (and permission from the kernel)
};
inline constexpr int kNumSimdTiers = 5;

// "scalar", "avx2", "avx512", "avx512-vnni", "amx".
std::string_view SimdTierName(SimdTier tier);
// The same spellings; "auto" is not a tier. Error lists the known names.
Expected<SimdTier> ParseSimdTier(std::string_view name);

// Tiers this machine can run, ascending; always starts with kScalar.
const std::vector<SimdTier>& SupportedSimdTiers();

// The tier kernels dispatch to now. Starts as the best supported one.
SimdTier ActiveSimdTier();
// Error if the machine cannot run `tier`. Process-wide; not while ops run.
Status SetActiveSimdTier(SimdTier tier);

}  // namespace etalon

#endif  // ETALON_SIMD_TIER_H_
