#include "etalon/layer.h"

#include <array>

namespace etalon::layer {
namespace {

HeadsView<float> Heads(Span2D<float> rows, size_t n_heads, size_t head_dim) {
  return {rows.data, rows.rows, n_heads, head_dim, rows.stride, head_dim};
}

HeadsView<const float> ConstHeads(HeadsView<float> h) {
  return {h.data,     h.n_tokens,     h.n_heads,
          h.head_dim, h.token_stride, h.head_stride};
}

KvView ConstView(const MutableKvView& c) {
  return {c.type,     c.data,        c.n_kv_heads, c.kv_capacity,
          c.head_dim, c.head_stride, c.pos_stride};
}

GemmPart Part(const Linear& linear, Span2D<float> out) {
  return {linear.weights, linear.bias, out, linear.scale};
}

void Tell(const LayerState& state, std::string_view stage,
          Span2D<const float> values) {
  if (state.observer != nullptr) state.observer->OnStage(stage, values);
}

// RMSNorm of every head of every token: rows of head_dim, token by token where
// the tokens' rows are not adjacent.
Status HeadNorm(Span2D<float> rows, size_t n_heads, size_t head_dim,
                const std::vector<float>& weight, float eps,
                const Backend& backend, ExecContext& ctx) {
  const bool dense = rows.stride == n_heads * head_dim;
  const size_t n_calls = dense ? 1 : rows.rows;
  const size_t n_rows = dense ? rows.rows * n_heads : n_heads;
  for (size_t t = 0; t < n_calls; ++t) {
    const Span2D<float> heads(rows.data + t * rows.stride, n_rows, head_dim);
    ETALON_RETURN_IF_ERROR(
        backend.rms_norm({heads, weight, eps, heads, {}}, ctx));
  }
  return {};
}

Status Attend(const LayerConfig& config, const LayerWeights& w,
              const LayerState& state, const LayerBuffers& b,
              const Backend& backend, ExecContext& ctx) {
  Tell(state, "input", b.x);
  ETALON_RETURN_IF_ERROR(
      backend.rms_norm({b.x, w.attn_norm, config.rms_eps, b.h, {}}, ctx));
  Tell(state, "ln1_out", b.h);
  const std::array<GemmPart, 3> qkv = {Part(w.q, b.q), Part(w.k, b.k),
                                       Part(w.v, b.v)};
  ETALON_RETURN_IF_ERROR(backend.gemm({b.h, qkv, state.activations}, ctx));
  Tell(state, "q_proj", b.q);
  Tell(state, "k_proj", b.k);
  Tell(state, "v_proj", b.v);
  if (!w.q_norm.empty()) {
    ETALON_RETURN_IF_ERROR(HeadNorm(b.q, config.n_heads, config.head_dim,
                                    w.q_norm, config.rms_eps, backend, ctx));
  }
  if (!w.k_norm.empty()) {
    ETALON_RETURN_IF_ERROR(HeadNorm(b.k, config.n_kv_heads, config.head_dim,
                                    w.k_norm, config.rms_eps, backend, ctx));
  }
  const auto q = Heads(b.q, config.n_heads, config.head_dim);
  const auto k = Heads(b.k, config.n_kv_heads, config.head_dim);
  const auto v = Heads(b.v, config.n_kv_heads, config.head_dim);
  if (config.use_rope) {
    for (const auto& x : {q, k}) {
      ETALON_RETURN_IF_ERROR(backend.rope({x, state.positions, state.rope_cos,
                                           state.rope_sin, config.rope_style},
                                          ctx));
    }
  }
  if (!state.q_scale.empty()) {
    ETALON_RETURN_IF_ERROR(backend.scale_rows({b.q, state.q_scale, b.q}, ctx));
  }
  Tell(state, "q_rope", b.q);
  Tell(state, "k_rope", b.k);
  ETALON_RETURN_IF_ERROR(
      backend.kv_write({ConstHeads(k), state.pos, state.k_cache}, ctx));
  ETALON_RETURN_IF_ERROR(
      backend.kv_write({ConstHeads(v), state.pos, state.v_cache}, ctx));
  ETALON_RETURN_IF_ERROR(backend.attention(
      {ConstHeads(q), ConstView(state.k_cache), ConstView(state.v_cache),
       state.pos + b.x.rows, state.attention_scale, /*causal=*/true,
       Heads(b.attn, config.n_heads, config.head_dim)},
      ctx));
  Tell(state, "attn_out", b.attn);
  const GemmPart o = Part(w.o, b.h);
  ETALON_RETURN_IF_ERROR(
      backend.gemm({b.attn, {&o, 1}, state.activations}, ctx));
  Tell(state, "attn_proj", b.h);
  ETALON_RETURN_IF_ERROR(backend.add({b.x, b.h, b.x}, ctx));
  Tell(state, "residual1", b.x);
  return {};
}

Status DenseFfn(const LayerWeights& w, const LayerState& state,
                const LayerBuffers& b, const Backend& backend,
                ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(backend.gemm_swiglu(
      {b.h, Part(w.gate, {}), Part(w.up, {}), b.ffn, state.activations}, ctx));
  Tell(state, "swiglu_out", b.ffn);
  const GemmPart down = Part(w.down, b.h);
  return backend.gemm({b.ffn, {&down, 1}, state.activations}, ctx);
}

Status ExpertFfn(const LayerConfig& config, const LayerWeights& w,
                 const LayerState& state, const LayerBuffers& b,
                 const Backend& backend, ExecContext& ctx) {
  const GemmPart router = Part(w.router, b.router_logits);
  ETALON_RETURN_IF_ERROR(
      backend.gemm({b.h, {&router, 1}, state.activations}, ctx));
  Tell(state, "router_logits", b.router_logits);
  ETALON_RETURN_IF_ERROR(backend.moe_router(
      {b.router_logits, config.normalize_expert_weights,
       config.expert_weights_scale, b.experts, b.expert_weights},
      ctx));
  return backend.moe_ffn(
      {b.h, b.experts, b.expert_weights, w.gate_experts, w.up_experts,
       w.down_experts, b.moe_out, state.activations},
      ctx);
}

}  // namespace

Status Forward(const LayerConfig& config, const LayerWeights& weights,
               const LayerState& state, const LayerBuffers& buffers,
               const Backend& backend, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(Attend(config, weights, state, buffers, backend, ctx));
  ETALON_RETURN_IF_ERROR(backend.rms_norm(
      {buffers.x, weights.ffn_norm, config.rms_eps, buffers.h, {}}, ctx));
  Tell(state, "ln2_out", buffers.h);
  const bool dense = config.n_experts == 0;
  ETALON_RETURN_IF_ERROR(
      dense ? DenseFfn(weights, state, buffers, backend, ctx)
            : ExpertFfn(config, weights, state, buffers, backend, ctx));
  const Span2D<float> mlp = dense ? buffers.h : buffers.moe_out;
  Tell(state, "mlp_out", mlp);
  ETALON_RETURN_IF_ERROR(backend.add({buffers.x, mlp, buffers.x}, ctx));
  Tell(state, "output", buffers.x);
  return {};
}

}  // namespace etalon::layer
