// When the f32 product of many tokens packs its weights, and the scratch that
// it takes (gemm_f32_many-inl.h).
#ifndef ETALON_SIMD_GEMM_F32_MANY_H_
#define ETALON_SIMD_GEMM_F32_MANY_H_

#include <cstddef>

namespace etalon::simd {

// Weight rows packed at a time, at most; tokens of a tile, at most.
inline constexpr size_t kManyRowsMax = 32;
inline constexpr size_t kManyTokensMax = 12;
// Packing costs as much as the products of some 30 tokens. Wider rows would
// leave the second-level cache.
inline constexpr size_t kManyFrom = 48;
inline constexpr size_t kManyMaxCols = 4096;

constexpr bool UsesGemmF32Many(size_t m, size_t k) {
  return m >= kManyFrom && k <= kManyMaxCols && k % 16 == 0;
}
// The packed rows and five tiles of sums.
constexpr size_t GemmF32ManyFloats(size_t k) {
  return kManyRowsMax * k + 5 * kManyTokensMax * kManyRowsMax;
}

}  // namespace etalon::simd

#endif  // ETALON_SIMD_GEMM_F32_MANY_H_
