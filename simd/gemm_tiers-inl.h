// The products of one weight type, ETALON_GEMM_BLOCK, on every tier. Included
// without a guard by one small file per type, gemm_TYPE.cc, once per target:
// all types together would take a compiler minutes, and instrumented by a
// sanitizer many more.
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
