// Matrix product kernels: out[m, n] for all rows m of x and weight rows n in
// [row_begin, row_end). Single-threaded; out rows outside the range are not
// touched. Order of evaluation: include/etalon/gemm.h.
#ifndef ETALON_SIMD_GEMM_H_
#define ETALON_SIMD_GEMM_H_

#include <cstddef>

#include "etalon/tensor.h"
#include "simd/gemm_activations.h"

namespace etalon::simd {

struct GemmRows {
  WeightMatrix weights;         // [N, K]
  const float* bias = nullptr;  // [N] or null
  float scale = 1.0f;           // out = fl(acc * scale) + bias
  Span2D<float> out;            // [M, N]
  size_t row_begin = 0;
  size_t row_end = 0;
};

// Q8_K for 256-blocks, Q8_0 for 32-blocks. Precondition: IsQuantized(weights).
TensorType ActivationTypeFor(TensorType weights);

// Bytes of scratch, 64-byte aligned, that one call of either kernel takes.
size_t GemmScratchBytes(size_t m, size_t k);

// Quantised weights; x of type ActivationTypeFor(weights.type).
void GemmQuantized(const GemmRows& rows, const GemmActivations& x,
                   std::byte* scratch);

// f32 activations with weights of any type; quantised ones are dequantised.
void GemmF32(const GemmRows& rows, Span2D<const float> x, std::byte* scratch);

}  // namespace etalon::simd

#endif  // ETALON_SIMD_GEMM_H_
