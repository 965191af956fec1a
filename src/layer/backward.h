// A dense block for training: the forward pass that keeps what the backward
// pass needs, and the backward pass (requirements B-70..B-74). Gradients follow
// the one rule of etalon/backward.h: those of parameters are added to, those of
// activations are overwritten, the caller's d_output is only read.
#ifndef ETALON_LAYER_BACKWARD_H_
#define ETALON_LAYER_BACKWARD_H_

#include <span>

#include "layer/layer.h"

namespace etalon::layer {

// Tokens of several sequences of seq_len, one after the other; positions and
// RoPE tables as in LayerState (positions start anew in every sequence).
struct BatchState {
  size_t seq_len = 0;
  std::span<const int32_t> positions;  // [n_tokens], rows of the tables
  Span2D<const float> rope_cos;
  Span2D<const float> rope_sin;
  float attention_scale = 0.0f;
};

// What one layer's backward pass reads. [n_tokens, ...], all of them.
struct LayerTape {
  Span2D<float> x;   // input
  Span2D<float> h1;  // after the first norm
  Span2D<float> q;   // [n_heads * head_dim], after QK-norm and RoPE
  Span2D<float> k;   // [n_kv_heads * head_dim]
  Span2D<float> v;
  Span2D<float> q_raw;  // before QK-norm, only with it
  Span2D<float> k_raw;
  Span2D<float> attn;
  Span2D<float> x_mid;  // after the attention's residual
  Span2D<float> h2;
  Span2D<float> gate;  // [ffn_dim]
  Span2D<float> up;
  Span2D<float> ffn;
  std::span<float> rstd1, rstd2;    // [n_tokens]
  std::span<float> rstd_q, rstd_k;  // [n_tokens * heads], only with QK-norm
};

// Takes the tape's memory from a workspace; valid as long as its scope.
Expected<LayerTape> AllocateTape(const LayerConfig& config,
                                 const LayerWeights& weights, size_t n_tokens,
                                 Workspace& workspace);

// out = block(tape.x), with the bits of Forward on each sequence. `out` must
// not overlap the tape.
Status ForwardOnTape(const LayerConfig& config, const LayerWeights& weights,
                     const BatchState& state, const LayerTape& tape,
                     Span2D<float> out, const Backend& backend,
                     ExecContext& ctx);

struct LinearGradient {
  Span2D<float> weights;  // [n_out, n_in] or empty
  std::span<float> bias;  // [n_out] or empty
};
struct LayerGradients {
  std::span<float> attn_norm, ffn_norm;  // [model_dim]
  std::span<float> q_norm, k_norm;       // [head_dim]
  LinearGradient q, k, v, o, gate, up, down;
};

// d_input may be empty (not wanted past the first layer) or any view that does
// not overlap the others.
Status Backward(const LayerConfig& config, const LayerWeights& weights,
                const BatchState& state, const LayerTape& tape,
                Span2D<const float> d_output, Span2D<float> d_input,
                const LayerGradients& gradients, ExecContext& ctx);

}  // namespace etalon::layer

#endif  // ETALON_LAYER_BACKWARD_H_
