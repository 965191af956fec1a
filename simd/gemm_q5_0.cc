#include <algorithm>
#include <cstddef>
#include <cstring>
#include <optional>
#include <utility>

#include "hwy/cache_control.h"
#include "quant/block_formats.h"
#include "simd/gemm.h"
#include "simd/gemm_panel.h"
#include "simd/read_ahead.h"

#define ETALON_GEMM_BLOCK BlockQ5_0
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/gemm_q5_0.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h
#include "simd/gemm_tiers-inl.h"
