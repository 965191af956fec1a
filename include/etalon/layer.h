// One transformer block (pre-norm, RMSNorm, SwiGLU), over a Backend's ops:
//   h  = RmsNorm(x);            q, k, v = h Wq, h Wk, h Wv (+ bias)
//   q, k = QK-norm per head, RoPE;       cache[pos ...] = k, v
//   x += Attention(q, cache) Wo (+ bias)
//   h  = RmsNorm(x);            x += (silu(h Wgate) * (h Wup)) Wdown
// or, with experts, x += MoeFfn(h, router(h Wrouter)).
// Prefill, decode, every mix of weight types and both kinds of activations are
// the one function Forward. Dense f32 blocks also have a backward pass
// (requirements B-70..B-74): ForwardOnTape keeps what Backward reads.
// Gradients follow the one rule of etalon/backward.h: those of parameters are
// added to, those of activations overwritten, the caller's d_output only read.
// Padding (requirement B-64): a width may be stored wider than it is, see
// LayerConfig. Lanes of padding are never read from activations or caches,
// whatever they hold, and are 0 in every buffer and cache row written. Those
// of weights meet zeros only, so any finite numbers may lie there.
// Buffers of wrong shape are typed errors and nothing is written; what else is
// wrong, the op that meets it first reports.
#ifndef ETALON_LAYER_H_
#define ETALON_LAYER_H_

#include <span>
#include <string_view>
#include <vector>

#include "etalon/backend.h"

namespace etalon::layer {

// A linear map as stored: y = scale * (W x) + bias.
struct Linear {
  WeightMatrix weights;     // [n_out, n_in]
  std::vector<float> bias;  // [n_out] or empty
  float scale = 1.0f;
};

struct LayerConfig {
  size_t model_dim = 0;
  size_t n_heads = 0;
  size_t n_kv_heads = 0;
  size_t head_dim = 0;
  size_t ffn_dim = 0;  // of one expert in a mixture of experts
  // Padded widths as stored, 0: no padding. Dense blocks only.
  //   x, h [n_tokens, aligned_model_dim]; q, k, v, attn [n_tokens, heads *
  //   aligned_head_dim], lanes [0, head_dim) of each head in use; weights and
  //   biases accordingly. Matrices over the model width may also be views of
  //   the first model_dim rows or columns, which leaves their padding unread.
  size_t aligned_model_dim = 0;
  size_t aligned_head_dim = 0;
  float rms_eps = 0.0f;
  bool use_rope = true;
  RopeStyle rope_style = RopeStyle::kHalfSplit;
  size_t n_experts = 0;  // 0: dense
  size_t n_experts_used = 0;
  bool normalize_expert_weights = true;
  float expert_weights_scale = 1.0f;

  size_t head_pitch() const {
    return aligned_head_dim == 0 ? head_dim : aligned_head_dim;
  }
  size_t model_pitch() const {
    return aligned_model_dim == 0 ? model_dim : aligned_model_dim;
  }
};

struct LayerWeights {
  std::vector<float> attn_norm;  // [model_dim]
  Linear q, k, v, o;
  std::vector<float> q_norm, k_norm;  // [head_dim] or empty
  std::vector<float> ffn_norm;        // [model_dim]
  Linear gate, up, down;              // dense
  Linear router;                      // [n_experts, model_dim]
  ExpertWeights gate_experts, up_experts, down_experts;
  std::vector<float> gate_scales, up_scales, down_scales;  // [n_experts] or {}
};

// Activations of one chunk of tokens, reused by every layer. Those of attention
// (q, k, v, attn: all or none) and of the feed-forward (ffn) may be left empty:
// then they take the workspace's memory for as long as they are needed, the
// feed-forward that of attention (RowBytesOf).
struct LayerBuffers {
  Span2D<float> x;  // [n_tokens, model_dim] residual stream, updated in place
  Span2D<float> h;  // [n_tokens, model_dim]
  Span2D<float> q;  // [n_tokens, n_heads * head_dim]
  Span2D<float> k;  // [n_tokens, n_kv_heads * head_dim]
  Span2D<float> v;
  Span2D<float> attn;             // [n_tokens, n_heads * head_dim]
  Span2D<float> ffn;              // [n_tokens, ffn_dim], dense only
  bool fused_mlp = false;         // dense: by FusedMlp, which needs no ffn
  std::span<float> rstd1, rstd2;  // [n_tokens] of the two norms, or empty
  Span2D<float> router_logits;    // [n_tokens, n_experts]
  Span2D<int32_t> experts;        // [n_tokens, n_experts_used]
  Span2D<float> expert_weights;   // [n_tokens, n_experts_used]
  Span2D<float> moe_out;          // [n_tokens, model_dim]
};

// Sees what each stage of a block made, in order, on the calling thread: for
// dumps and for finding the stage where numbers go bad (requirement B-82).
// Stages: input, ln1_out, q_proj, k_proj, v_proj, q_rope, k_rope, attn_out,
// attn_proj, residual1, ln2_out, swiglu_out (unless fused_mlp) or
// router_logits, mlp_out, output.
class LayerObserver {
 public:
  virtual ~LayerObserver() = default;
  // The stages that follow are those of this layer of a model.
  virtual void OnLayer(size_t /*layer*/) {}
  virtual void OnStage(std::string_view stage, Span2D<const float> values) = 0;
  // What goes into a product: the weights (wq, wk, wv, wo, w_gate, w_up,
  // w_down), and as q8_buf the Q8_K rows that h is turned into for Q, K and V.
  virtual void OnBlocks(std::string_view /*stage*/,
                        const WeightMatrix& /*blocks*/) {}
};

// Where the tokens stand.
struct LayerState {
  size_t pos = 0;                      // position of the first token
  std::span<const int32_t> positions;  // [n_tokens] = pos, pos + 1, ...
  Span2D<const float> rope_cos;        // [n_positions, rotary_dim / 2]
  Span2D<const float> rope_sin;
  std::span<const float> q_scale;  // [n_tokens] or empty: factor on q
  float attention_scale = 0.0f;
  Activations activations = Activations::kAuto;
  MutableKvView k_cache;  // positions [0, pos) filled
  MutableKvView v_cache;
  LayerObserver* observer = nullptr;
};

// Workspace that the rows left empty in LayerBuffers take, beside the scratch
// of the ops: of attention and of the feed-forward, one after the other.
struct LayerRowBytes {
  size_t attention = 0;
  size_t feed_forward = 0;
};
LayerRowBytes RowBytesOf(const LayerConfig& config, size_t n_tokens);

// Runs the block over n_tokens = buffers.x.rows tokens. The same bits for one
// call over T tokens and for T calls over one (profile strict).
Status Forward(const LayerConfig& config, const LayerWeights& weights,
               const LayerState& state, const LayerBuffers& buffers,
               const Backend& backend, ExecContext& ctx);

// out = (silu(x Wgate^T) * (x Wup^T)) Wdown^T in one call: tokens go in tiles
// whose intermediate rows stay in the second-level cache, in the workspace
// (requirements B-51, B-52). The bits of gemm_swiglu and gemm.
struct MlpArgs {
  Span2D<const float> x;  // [n_tokens, model_dim]
  const Linear& gate;     // [ffn_dim, model_dim]
  const Linear& up;
  const Linear& down;  // [model_dim, ffn_dim]
  Span2D<float> out;   // [n_tokens, model_dim], must not overlap x
  Activations activations = Activations::kAuto;
};
Status FusedMlp(const MlpArgs& args, const Backend& backend, ExecContext& ctx);

// Tokens of several sequences of seq_len, one after the other; positions and
// RoPE tables as in LayerState (positions start anew in every sequence).
struct BatchState {
  size_t seq_len = 0;
  std::span<const int32_t> positions;  // [n_tokens], rows of the tables
  Span2D<const float> rope_cos;
  Span2D<const float> rope_sin;
  float attention_scale = 0.0f;
};

// What one layer's backward pass reads. [n_tokens, ...], all of them; heads may
// be padded (aligned_head_dim), the model width not.
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

#endif  // ETALON_LAYER_H_
