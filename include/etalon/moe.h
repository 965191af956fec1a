// Mixture of experts: which experts a token takes, and their feed-forward.
#ifndef ETALON_MOE_H_
#define ETALON_MOE_H_

#include <span>

#include "etalon/gemm.h"
#include "etalon/tensor.h"
#include "etalon/workspace.h"

namespace etalon {

// p = softmax(logits[t, :]) over all experts; the n_used largest, in
// descending order, ties to the lower index; with `normalize` their weights are
// divided by their sum (added in slot order); then times `scale`.
// Non-finite logits are an error naming the token.
struct MoeRouterArgs {
  Span2D<const float> logits;  // [n_tokens, n_experts]
  bool normalize = true;
  float scale = 1.0f;
  Span2D<int32_t> experts;  // [n_tokens, n_used]
  Span2D<float> weights;    // [n_tokens, n_used]
};

// out[t] = sum_k weights[t, k] * down_e(silu(gate_e x[t]) * up_e x[t]),
// e = experts[t, k]. Strict order: each product as ops::Gemm; the sum over k
// ascending: acc = fma(w, y, acc) from +0. Tokens are batched per expert and
// only the chosen experts are read.
struct MoeFfnArgs {
  Span2D<const float> x;          // [n_tokens, model_dim]
  Span2D<const int32_t> experts;  // [n_tokens, n_used]
  Span2D<const float> weights;    // [n_tokens, n_used]
  ExpertWeights gate;             // [n_experts, ffn_dim, model_dim]
  ExpertWeights up;               // [n_experts, ffn_dim, model_dim]
  ExpertWeights down;             // [n_experts, model_dim, ffn_dim]
  Span2D<float> out;              // [n_tokens, model_dim], not x
  Activations activations = Activations::kAuto;
};

namespace ops {
Status MoeRouter(const MoeRouterArgs& args, ExecContext& ctx);
Status MoeFfn(const MoeFfnArgs& args, ExecContext& ctx);
// Upper bound on the scratch of MoeFfn.
size_t MoeFfnWorkspaceBytes(size_t n_tokens, size_t n_used, size_t model_dim,
                            size_t ffn_dim, size_t n_experts = 256,
                            int n_threads = 8);
}  // namespace ops

}  // namespace etalon

#endif  // ETALON_MOE_H_
