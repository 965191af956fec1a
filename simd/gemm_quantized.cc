#include <algorithm>
#include <cstddef>
#include <cstring>
#include <optional>
#include <utility>

#include "hwy/cache_control.h"
#include "quant/block_formats.h"
#include "simd/gemm.h"
#include "simd/gemm_panel.h"
#include "simd/target.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/gemm_quantized.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h
#include "simd/lanes-inl.h"

#undef ETALON_TIER
#undef ETALON_TIER_VNNI
#undef ETALON_TIER_AMX
#define ETALON_TIER HWY_NAMESPACE
#define ETALON_TIER_VNNI 0
#define ETALON_TIER_AMX 0
// In this order: each builds on the one before.
#include "simd/gemm_unpack-inl.h"
// Then
#include "simd/gemm_tile-inl.h"
// Then
#include "simd/gemv-inl.h"
// Then
#include "simd/gemm_driver-inl.h"

// The VNNI tier: once more in the AVX-512 pass, with a wider target string.
#if HWY_TARGET == HWY_AVX3
#undef HWY_TARGET_STR
#define HWY_TARGET_STR HWY_TARGET_STR_AVX3 ",avx512vnni"
#undef ETALON_TIER
#undef ETALON_TIER_VNNI
#undef ETALON_TIER_AMX
#define ETALON_TIER N_AVX3_VNNI
#define ETALON_TIER_VNNI 1
#define ETALON_TIER_AMX 0
// In this order: each builds on the one before.
#include "simd/gemm_unpack-inl.h"
// Then
#include "simd/gemm_tile-inl.h"
// Then
#include "simd/gemv-inl.h"
// Then
#include "simd/gemm_driver-inl.h"

// The AMX tier: its tile instructions are asm, so VNNI's string suffices.
#undef ETALON_TIER
#undef ETALON_TIER_AMX
#define ETALON_TIER N_AVX3_AMX
#define ETALON_TIER_AMX 1
#include "simd/gemm_unpack-inl.h"
// Then
#include "simd/gemm_tile-inl.h"
// Then
#include "simd/gemm_amx-inl.h"
// Then
#include "simd/gemv-inl.h"
// Then
#include "simd/gemm_driver-inl.h"
#endif

#if HWY_ONCE
namespace etalon::simd {

HWY_EXPORT(GemmQuantizedTier);

#if HWY_ARCH_X86
namespace N_AVX3_VNNI {
void GemmQuantizedTier(const GemmRows& g, const GemmActivations& x,
                       std::byte* scratch);
}
namespace N_AVX3_AMX {
void GemmQuantizedTier(const GemmRows& g, const GemmActivations& x,
                       std::byte* scratch);
}
#endif

TensorType ActivationTypeFor(TensorType weights) {
  ETALON_DCHECK(IsQuantized(weights));
  switch (weights) {
    case TensorType::kQ4_K:
    case TensorType::kQ5_K:
    case TensorType::kQ6_K:
      return TensorType::kQ8_K;
    default:
      return TensorType::kQ8_0;
  }
}

void GemmQuantized(const GemmRows& rows, const GemmActivations& x,
                   std::byte* scratch) {
#if HWY_ARCH_X86
  if (ActiveSimdTier() >= SimdTier::kAmx) {
    return N_AVX3_AMX::GemmQuantizedTier(rows, x, scratch);
  }
  if (ActiveSimdTier() == SimdTier::kAvx512Vnni) {
    return N_AVX3_VNNI::GemmQuantizedTier(rows, x, scratch);
  }
#endif
  HWY_DYNAMIC_DISPATCH(GemmQuantizedTier)(rows, x, scratch);
}

}  // namespace etalon::simd
#endif  // HWY_ONCE
