// One transformer block (pre-norm, RMSNorm, SwiGLU), over a Backend's ops:
//   h  = RmsNorm(x);            q, k, v = h Wq, h Wk, h Wv (+ bias)
//   q, k = QK-norm per head, RoPE;       cache[pos ...] = k, v
//   x += Attention(q, cache) Wo (+ bias)
//   h  = RmsNorm(x);            x += (silu(h Wgate) * (h Wup)) Wdown
// or, with experts, x += MoeFfn(h, router(h Wrouter)).
#ifndef ETALON_LAYER_LAYER_H_
#define ETALON_LAYER_LAYER_H_

#include <span>
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
  float rms_eps = 0.0f;
  bool use_rope = true;
  RopeStyle rope_style = RopeStyle::kHalfSplit;
  size_t n_experts = 0;  // 0: dense
  size_t n_experts_used = 0;
  bool normalize_expert_weights = true;
  float expert_weights_scale = 1.0f;
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

// Activations of one chunk of tokens, reused by every layer.
struct LayerBuffers {
  Span2D<float> x;  // [n_tokens, model_dim] residual stream, updated in place
  Span2D<float> h;  // [n_tokens, model_dim]
  Span2D<float> q;  // [n_tokens, n_heads * head_dim]
  Span2D<float> k;  // [n_tokens, n_kv_heads * head_dim]
  Span2D<float> v;
  Span2D<float> attn;  // [n_tokens, n_heads * head_dim]
  // [n_tokens, ffn_dim], dense only; may share memory with q, k, v and attn,
  // which are done with when the feed-forward starts.
  Span2D<float> ffn;
  Span2D<float> router_logits;   // [n_tokens, n_experts]
  Span2D<int32_t> experts;       // [n_tokens, n_experts_used]
  Span2D<float> expert_weights;  // [n_tokens, n_experts_used]
  Span2D<float> moe_out;         // [n_tokens, model_dim]
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
};

// Runs the block over n_tokens = buffers.x.rows tokens. The same bits for one
// call over T tokens and for T calls over one (profile strict).
Status Forward(const LayerConfig& config, const LayerWeights& weights,
               const LayerState& state, const LayerBuffers& buffers,
               const Backend& backend, ExecContext& ctx);

}  // namespace etalon::layer

#endif  // ETALON_LAYER_LAYER_H_
