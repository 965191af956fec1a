// Matrix products with stored weights: out[m, n] = sum_k x[m, k] * W[n, k]
// (+ bias[n]), several W at once over the same x, so that x is quantised once.
//   x [M, K] f32, row stride free; W [N, K] any weight type, K a multiple of
//   its block; out [M, N] f32, row stride free, must not overlap x.
// Activations (profile strict):
//   Q4_K, Q5_K, Q6_K: x is quantised per row to Q8_K (256-blocks);
//   Q4_0, Q5_0, Q8_0, Q4_1, Q5_1: to Q8_0 (32-blocks; Q4_1 and Q5_1 also use
//   the exact integer sum of the block);
//   F32, F16, BF16: f32. kF32 forces f32 activations with dequantised weights.
// Strict order, per output element:
//   quantised: S and T are the exact integers of the whole block,
//     acc = fma(fl(d_w * d_x), float(S), acc), and for Q4_K, Q5_K then
//     acc = fma(-fl(dmin_w * d_x), float(T), acc); Q4_1, Q5_1:
//     acc = fma(fl(m_w * d_x), float(T), acc); blocks ascending from acc = +0;
//   f32 activations: 16 virtual lanes, lane j takes k = j mod 16 ascending with
//     fma from +0, a tail padded with +0; fold 8, 4, 2, 1;
//   then out = fl(fl(acc * scale) + bias), in f32 (scale 1 changes nothing).
// The order is the same for one row and for many, so batch size cannot show.
// Error: gamma_{2nb+2} * A_sb (quantised, against exact block integers),
// gamma_{K/16+5} * sum|x w| (f32).
#ifndef ETALON_GEMM_H_
#define ETALON_GEMM_H_

#include <span>

#include "etalon/tensor.h"
#include "etalon/workspace.h"

namespace etalon {

enum class Activations {
  kAuto,  // what the weight type calls for
  kF32,   // f32 activations, weights dequantised exactly (requirement B-81)
};

struct GemmPart {
  WeightMatrix weights;
  std::span<const float> bias;  // [N] or empty
  Span2D<float> out;            // [M, N]
  float scale = 1.0f;           // of the whole matrix (GGUF `NAME.scale`)
};

struct GemmArgs {
  Span2D<const float> x;
  std::span<const GemmPart> parts;
  Activations activations = Activations::kAuto;
};

// The first half of a gated feed-forward in one pass:
//   out = silu(x Wgate^T) * (x Wup^T)
// with the bits of Gemm, Gemm and SwiGlu (elementwise.h): rows of both matrices
// are multiplied tile by tile and combined while they are in cache, so that
// neither product goes to memory whole. `out` of the parts is not used.
struct GemmSwiGluArgs {
  Span2D<const float> x;  // [M, K]
  GemmPart gate;          // [N, K]
  GemmPart up;            // [N, K]
  Span2D<float> out;      // [M, N], must not overlap x
  Activations activations = Activations::kAuto;
};

namespace ops {
Status Gemm(const GemmArgs& args, ExecContext& ctx);
Status GemmSwiGlu(const GemmSwiGluArgs& args, ExecContext& ctx);
// Upper bound on the scratch that Gemm takes for M rows of K activations and up
// to 64 parts on n_threads threads. n_forms: 1 when all weights are K-quants,
// or none is, so that activations are quantised in one way at most.
size_t GemmWorkspaceBytes(size_t m, size_t k, int n_threads = 8,
                          size_t n_forms = 2);
size_t GemmSwiGluWorkspaceBytes(size_t m, size_t k, int n_threads,
                                size_t n_forms = 2);
}  // namespace ops

}  // namespace etalon

#endif  // ETALON_GEMM_H_
