// Weighted sum of rows: out[i] = sum_j weights[j] * y[rows[j] * stride + i],
// j ascending, acc = fma(weights[j], y, acc) from +0. Combines the outputs of a
// token's experts.
#ifndef ETALON_SIMD_GEMM_COMBINE_H_
#define ETALON_SIMD_GEMM_COMBINE_H_

#include <cstddef>
#include <span>

namespace etalon::simd {

void WeightedRowSum(const float* y, size_t stride, std::span<const size_t> rows,
                    std::span<const float> weights, std::span<float> out);

}  // namespace etalon::simd

#endif  // ETALON_SIMD_GEMM_COMBINE_H_
