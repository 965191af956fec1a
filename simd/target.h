// Dispatch: which target's code a kernel runs. See etalon/simd_tier.h for the
// tiers; Highway compiles scalar, AVX2 and AVX-512 (its AVX3), the VNNI and AMX
// tiers are our own blocks inside the AVX3 pass (docs/adding-an-op.md).
#ifndef ETALON_SIMD_TARGET_H_
#define ETALON_SIMD_TARGET_H_

#include "etalon/simd_tier.h"

namespace etalon::simd {

struct CpuFeatures {
  bool avx2 = false;  // with FMA, F16C, BMI1, BMI2
  bool avx512 = false;
  bool avx512_vnni = false;
  bool avx512_bf16 = false;
  bool amx_int8 = false;
  bool amx_bf16 = false;
  bool amx_emulated = false;  // the two above, by word of the environment
  // Zen 4: a line asked for into L1 comes no sooner than one not asked for.
  bool l1_prefetch_is_late = false;
};
// cpuid, xgetbv and, for AMX, permission asked from the kernel once.
// ETALON_EMULATED_AMX=1 says that tile instructions are executed for the
// processor, by tests/amx or another emulator that cpuid does not tell of: a
// processor with AVX-512 VNNI and without AMX then has the AMX tier too, for
// tests and not for speed. Without an emulator the tier's first instruction
// ends the program (SIGILL).
const CpuFeatures& GetCpuFeatures();

// Marks a tier unusable (a kernel failed its self-test): it disappears from
// SupportedSimdTiers() and the active tier moves down if needed.
void DropSimdTier(SimdTier tier);

}  // namespace etalon::simd

#endif  // ETALON_SIMD_TARGET_H_
