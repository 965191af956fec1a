#include <cstddef>

#include "quant/block_formats.h"
#include "simd/gemm.h"
#include "simd/target.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/gemm_quantized.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

#undef ETALON_TIER
#define ETALON_TIER HWY_NAMESPACE
#include "simd/gemm_by_type-inl.h"

// Two tiers more of the AVX-512 pass: gemm_tiers-inl.h.
#if HWY_TARGET == HWY_AVX3
#undef ETALON_TIER
#define ETALON_TIER N_AVX3_VNNI
#include "simd/gemm_by_type-inl.h"
#undef ETALON_TIER
#define ETALON_TIER N_AVX3_AMX
#include "simd/gemm_by_type-inl.h"
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
