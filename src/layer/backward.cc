#include "etalon/backward.h"

#include <fmt/format.h>

#include <array>

#include "etalon/layer.h"
#include "layer/views.h"

namespace etalon::layer {
namespace {

// Rows [begin, begin + n) of a token-major buffer as keys or values.
KvView TokensAsCache(Span2D<float> rows, size_t begin, size_t n, size_t n_heads,
                     size_t head_dim, size_t pitch) {
  const float* data = rows.data + begin * rows.stride;
  return {TensorType::kF32, reinterpret_cast<const std::byte*>(data),
          n_heads,          n,
          head_dim,         pitch,
          rows.stride};
}

GemmBackwardPart BackwardPart(const Linear& linear, Span2D<const float> d_out,
                              const LinearGradient& gradient) {
  return {linear.weights, d_out, gradient.weights, gradient.bias, linear.scale};
}

// Dense rows of heads: one row of head_dim per head and token.
Span2D<float> HeadRows(Span2D<float> rows, const LayerConfig& c) {
  return {rows.data, rows.rows * rows.cols / c.head_pitch(), c.head_dim,
          c.head_pitch()};
}

Expected<Span2D<float>> Allocate(Workspace& w, size_t rows, size_t cols) {
  ETALON_ASSIGN_OR_RETURN(const std::span<float> data,
                          w.Allocate<float>(rows * cols));
  return Span2D<float>(data.data(), rows, cols);
}

Status CheckDense(const LayerConfig& c, const BatchState& s, size_t n_tokens) {
  ETALON_ENSURE(c.n_experts == 0,
                fmt::format("layer backward: {} experts, only dense layers "
                            "have a backward pass",
                            c.n_experts));
  ETALON_ENSURE(
      c.model_pitch() == c.model_dim && c.head_pitch() >= c.head_dim,
      fmt::format("layer backward: aligned widths {} and {}, may pad "
                  "heads ({}) only",
                  c.aligned_model_dim, c.aligned_head_dim, c.head_dim));
  ETALON_ENSURE(s.seq_len > 0 && n_tokens % s.seq_len == 0,
                fmt::format("layer backward: {} tokens are no multiple of "
                            "seq_len {}",
                            n_tokens, s.seq_len));
  return {};
}

}  // namespace

Expected<LayerTape> AllocateTape(const LayerConfig& c, const LayerWeights& w,
                                 size_t n, Workspace& workspace) {
  const size_t q_dim = c.n_heads * c.head_pitch();
  const size_t kv_dim = c.n_kv_heads * c.head_pitch();
  LayerTape t;
  struct Row {
    Span2D<float>* rows;
    size_t cols;
  };
  const std::array<Row, 13> rows = {{{&t.x, c.model_dim},
                                     {&t.h1, c.model_dim},
                                     {&t.q, q_dim},
                                     {&t.k, kv_dim},
                                     {&t.v, kv_dim},
                                     {&t.q_raw, w.q_norm.empty() ? 0 : q_dim},
                                     {&t.k_raw, w.k_norm.empty() ? 0 : kv_dim},
                                     {&t.attn, q_dim},
                                     {&t.x_mid, c.model_dim},
                                     {&t.h2, c.model_dim},
                                     {&t.gate, c.ffn_dim},
                                     {&t.up, c.ffn_dim},
                                     {&t.ffn, c.ffn_dim}}};
  for (const Row& r : rows) {
    if (r.cols == 0) continue;
    ETALON_ASSIGN_OR_RETURN(*r.rows, Allocate(workspace, n, r.cols));
  }
  ETALON_ASSIGN_OR_RETURN(t.rstd1, workspace.Allocate<float>(n));
  ETALON_ASSIGN_OR_RETURN(t.rstd2, workspace.Allocate<float>(n));
  if (!w.q_norm.empty()) {
    ETALON_ASSIGN_OR_RETURN(t.rstd_q, workspace.Allocate<float>(n * c.n_heads));
  }
  if (!w.k_norm.empty()) {
    ETALON_ASSIGN_OR_RETURN(t.rstd_k,
                            workspace.Allocate<float>(n * c.n_kv_heads));
  }
  return t;
}

Status ForwardOnTape(const LayerConfig& c, const LayerWeights& w,
                     const BatchState& s, const LayerTape& t, Span2D<float> out,
                     const Backend& backend, ExecContext& ctx) {
  const size_t n = t.x.rows;
  ETALON_RETURN_IF_ERROR(CheckDense(c, s, n));
  constexpr Activations kF32 = Activations::kF32;
  ETALON_RETURN_IF_ERROR(
      backend.rms_norm({t.x, w.attn_norm, c.rms_eps, t.h1, t.rstd1}, ctx));
  const bool norm_q = !w.q_norm.empty(), norm_k = !w.k_norm.empty();
  const std::array<GemmPart, 3> qkv = {Part(w.q, norm_q ? t.q_raw : t.q),
                                       Part(w.k, norm_k ? t.k_raw : t.k),
                                       Part(w.v, t.v)};
  ETALON_RETURN_IF_ERROR(backend.gemm({t.h1, qkv, kF32}, ctx));
  for (const GemmPart& part : qkv) {
    ClearHeads(part.out, c.head_dim, c.head_pitch());
  }
  if (norm_q) ClearHeads(t.q, c.head_dim, c.head_pitch());
  if (norm_k) ClearHeads(t.k, c.head_dim, c.head_pitch());
  if (norm_q) {
    ETALON_RETURN_IF_ERROR(backend.rms_norm(
        {HeadRows(t.q_raw, c), w.q_norm, c.rms_eps, HeadRows(t.q, c), t.rstd_q},
        ctx));
  }
  if (norm_k) {
    ETALON_RETURN_IF_ERROR(backend.rms_norm(
        {HeadRows(t.k_raw, c), w.k_norm, c.rms_eps, HeadRows(t.k, c), t.rstd_k},
        ctx));
  }
  if (c.use_rope) {
    for (const auto& x :
         {Heads(t.q, c.n_heads, c.head_dim, c.head_pitch()),
          Heads(t.k, c.n_kv_heads, c.head_dim, c.head_pitch())}) {
      ETALON_RETURN_IF_ERROR(backend.rope(
          {x, s.positions, s.rope_cos, s.rope_sin, c.rope_style}, ctx));
    }
  }
  for (size_t begin = 0; begin < n; begin += s.seq_len) {
    const size_t end = begin + s.seq_len;
    ETALON_RETURN_IF_ERROR(backend.attention(
        {.q = ConstHeads(t.q.Rows(begin, end), c.n_heads, c.head_dim,
                         c.head_pitch()),
         .k = TokensAsCache(t.k, begin, s.seq_len, c.n_kv_heads, c.head_dim,
                            c.head_pitch()),
         .v = TokensAsCache(t.v, begin, s.seq_len, c.n_kv_heads, c.head_dim,
                            c.head_pitch()),
         .kv_len = s.seq_len,
         .scale = s.attention_scale,
         .causal = true,
         .out = Heads(t.attn.Rows(begin, end), c.n_heads, c.head_dim,
                      c.head_pitch())},
        ctx));
  }
  ClearHeads(t.attn, c.head_dim, c.head_pitch());
  const GemmPart o = Part(w.o, t.x_mid);
  ETALON_RETURN_IF_ERROR(backend.gemm({t.attn, {&o, 1}, kF32}, ctx));
  ETALON_RETURN_IF_ERROR(backend.add({t.x, t.x_mid, t.x_mid}, ctx));
  ETALON_RETURN_IF_ERROR(
      backend.rms_norm({t.x_mid, w.ffn_norm, c.rms_eps, t.h2, t.rstd2}, ctx));
  const std::array<GemmPart, 2> fc1 = {Part(w.gate, t.gate), Part(w.up, t.up)};
  ETALON_RETURN_IF_ERROR(backend.gemm({t.h2, fc1, kF32}, ctx));
  ETALON_RETURN_IF_ERROR(backend.swiglu({t.gate, t.up, t.ffn}, ctx));
  const GemmPart down = Part(w.down, out);
  ETALON_RETURN_IF_ERROR(backend.gemm({t.ffn, {&down, 1}, kF32}, ctx));
  return backend.add({t.x_mid, out, out}, ctx);
}

Status Backward(const LayerConfig& c, const LayerWeights& w,
                const BatchState& s, const LayerTape& t,
                Span2D<const float> d_output, Span2D<float> d_input,
                const LayerGradients& g, ExecContext& ctx) {
  const size_t n = t.x.rows;
  ETALON_RETURN_IF_ERROR(CheckDense(c, s, n));
  ETALON_ENSURE(ctx.workspace != nullptr, "layer backward: no workspace");
  const Workspace::Scope scope(*ctx.workspace);
  Workspace& memory = *ctx.workspace;
  ETALON_ASSIGN_OR_RETURN(auto d_mid, Allocate(memory, n, c.model_dim));
  ETALON_ASSIGN_OR_RETURN(auto d_h, Allocate(memory, n, c.model_dim));
  {
    // MLP: down, SwiGLU, gate and up, norm; d_mid = d_output + norm's gradient.
    const Workspace::Scope mlp(memory);
    ETALON_ASSIGN_OR_RETURN(auto d_ffn, Allocate(memory, n, c.ffn_dim));
    ETALON_ASSIGN_OR_RETURN(auto d_gate, Allocate(memory, n, c.ffn_dim));
    ETALON_ASSIGN_OR_RETURN(auto d_up, Allocate(memory, n, c.ffn_dim));
    const GemmBackwardPart down = BackwardPart(w.down, d_output, g.down);
    ETALON_RETURN_IF_ERROR(ops::GemmBackward({t.ffn, {&down, 1}, d_ffn}, ctx));
    ETALON_RETURN_IF_ERROR(
        ops::SwiGluBackward({t.gate, t.up, d_ffn, d_gate, d_up}, ctx));
    const std::array<GemmBackwardPart, 2> fc1 = {
        BackwardPart(w.gate, d_gate, g.gate), BackwardPart(w.up, d_up, g.up)};
    ETALON_RETURN_IF_ERROR(ops::GemmBackward({t.h2, fc1, d_h}, ctx));
    ETALON_RETURN_IF_ERROR(ops::RmsNormBackward(
        {t.x_mid, w.ffn_norm, t.rstd2, d_h, d_mid, g.ffn_norm}, ctx));
    ETALON_RETURN_IF_ERROR(ops::Add({d_output, d_mid, d_mid}, ctx));
  }
  // Attention: Wo, attention, RoPE, QK-norm, QKV, norm.
  const size_t q_dim = c.n_heads * c.head_pitch();
  const size_t kv_dim = c.n_kv_heads * c.head_pitch();
  ETALON_ASSIGN_OR_RETURN(auto d_attn, Allocate(memory, n, q_dim));
  ETALON_ASSIGN_OR_RETURN(auto d_q, Allocate(memory, n, q_dim));
  ETALON_ASSIGN_OR_RETURN(auto d_k, Allocate(memory, n, kv_dim));
  ETALON_ASSIGN_OR_RETURN(auto d_v, Allocate(memory, n, kv_dim));
  const GemmBackwardPart o = BackwardPart(w.o, d_mid, g.o);
  ETALON_RETURN_IF_ERROR(ops::GemmBackward({t.attn, {&o, 1}, d_attn}, ctx));
  const auto q_heads = Heads(d_q, c.n_heads, c.head_dim, c.head_pitch());
  const auto k_heads = Heads(d_k, c.n_kv_heads, c.head_dim, c.head_pitch());
  ETALON_RETURN_IF_ERROR(ops::AttentionBackward(
      {ConstHeads(t.q, c.n_heads, c.head_dim, c.head_pitch()),
       ConstHeads(t.k, c.n_kv_heads, c.head_dim, c.head_pitch()),
       ConstHeads(t.v, c.n_kv_heads, c.head_dim, c.head_pitch()), s.seq_len,
       s.attention_scale,
       ConstHeads(d_attn, c.n_heads, c.head_dim, c.head_pitch()), q_heads,
       k_heads, Heads(d_v, c.n_kv_heads, c.head_dim, c.head_pitch())},
      ctx));
  for (const auto& d : {d_q, d_k, d_v}) {
    ClearHeads(d, c.head_dim, c.head_pitch());
  }
  if (c.use_rope) {
    for (const auto& d : {q_heads, k_heads}) {
      ETALON_RETURN_IF_ERROR(ops::RopeBackward(
          {d, s.positions, s.rope_cos, s.rope_sin, c.rope_style}, ctx));
    }
  }
  if (!w.q_norm.empty()) {
    const Span2D<float> d = HeadRows(d_q, c);
    ETALON_RETURN_IF_ERROR(ops::RmsNormBackward(
        {HeadRows(t.q_raw, c), w.q_norm, t.rstd_q, d, d, g.q_norm}, ctx));
  }
  if (!w.k_norm.empty()) {
    const Span2D<float> d = HeadRows(d_k, c);
    ETALON_RETURN_IF_ERROR(ops::RmsNormBackward(
        {HeadRows(t.k_raw, c), w.k_norm, t.rstd_k, d, d, g.k_norm}, ctx));
  }
  const std::array<GemmBackwardPart, 3> qkv = {BackwardPart(w.q, d_q, g.q),
                                               BackwardPart(w.k, d_k, g.k),
                                               BackwardPart(w.v, d_v, g.v)};
  ETALON_RETURN_IF_ERROR(ops::GemmBackward({t.h1, qkv, d_h}, ctx));
  const Span2D<float> d_norm = d_input.empty() ? d_h : d_input;
  ETALON_RETURN_IF_ERROR(ops::RmsNormBackward(
      {t.x, w.attn_norm, t.rstd1, d_h, d_norm, g.attn_norm}, ctx));
  if (d_input.empty()) return {};
  return ops::Add({d_mid, d_input, d_input}, ctx);
}

}  // namespace etalon::layer
