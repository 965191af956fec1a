#include "etalon/layer.h"

#include <fmt/format.h>

#include <array>

#include "etalon/config.h"
#include "layer/views.h"
#include "quant/quantize_row.h"

namespace etalon::layer {
namespace {

KvView ConstView(const MutableKvView& c) {
  return {c.type,     c.data,        c.n_kv_heads, c.kv_capacity,
          c.head_dim, c.head_stride, c.pos_stride};
}

void Tell(const LayerState& state, std::string_view stage,
          Span2D<const float> values) {
  if (state.observer != nullptr) state.observer->OnStage(stage, values);
}

void TellWeights(const LayerState& state, std::string_view stage,
                 const Linear& linear) {
  if (state.observer != nullptr)
    state.observer->OnBlocks(stage, linear.weights);
}

// The rows that a product with 256-blocks quantises, made once more to be seen.
Status TellQuantisedRows(const LayerState& state, std::string_view stage,
                         const Linear& linear, Span2D<const float> x,
                         ExecContext& ctx) {
  const TensorType type = linear.weights.type;
  const bool k_blocks = type == TensorType::kQ4_K ||
                        type == TensorType::kQ5_K || type == TensorType::kQ6_K;
  const bool q8 = state.activations == Activations::kAuto &&
                  (ctx.config == nullptr || ctx.config->UseQ8Activations());
  if (state.observer == nullptr || !k_blocks || !q8 || x.cols % kQkK != 0) {
    return {};
  }
  const Workspace::Scope scope(*ctx.workspace);
  const size_t row_blocks = x.cols / kQkK;
  ETALON_ASSIGN_OR_RETURN(
      const std::span<BlockQ8_K> blocks,
      ctx.workspace->Allocate<BlockQ8_K>(x.rows * row_blocks));
  for (size_t t = 0; t < x.rows; ++t) {
    QuantizeRowQ8K(x.row(t).data(), x.cols, blocks.data() + t * row_blocks);
  }
  state.observer->OnBlocks(
      stage,
      {TensorType::kQ8_K, reinterpret_cast<const std::byte*>(blocks.data()),
       x.rows, x.cols, row_blocks * sizeof(BlockQ8_K)});
  return {};
}

Status CheckBuffer(std::string_view name, Span2D<const float> s, size_t rows,
                   size_t cols) {
  if (s.rows == rows && s.cols == cols && (s.data != nullptr || rows == 0)) {
    return {};
  }
  return InvalidArgument(
      fmt::format("layer: {} is [{}, {}]{}, must be [{}, {}]", name, s.rows,
                  s.cols, s.data == nullptr ? " and null" : "", rows, cols));
}

bool WithoutAttentionRows(const LayerBuffers& b) {
  return b.q.empty() && b.k.empty() && b.v.empty() && b.attn.empty();
}

Status Check(const LayerConfig& c, const LayerBuffers& b,
             const ExecContext& ctx) {
  ETALON_ENSURE(ctx.workspace != nullptr, "layer: no workspace");
  ETALON_ENSURE(c.head_pitch() >= c.head_dim,
                fmt::format("layer: aligned_head_dim {} is less than head_dim "
                            "{}",
                            c.aligned_head_dim, c.head_dim));
  ETALON_ENSURE(c.model_pitch() >= c.model_dim,
                fmt::format("layer: aligned_model_dim {} is less than "
                            "model_dim {}",
                            c.aligned_model_dim, c.model_dim));
  const bool padded =
      c.head_pitch() > c.head_dim || c.model_pitch() > c.model_dim;
  ETALON_ENSURE(!padded || c.n_experts == 0,
                fmt::format("layer: padding with {} experts, dense blocks only",
                            c.n_experts));
  const size_t n = b.x.rows;
  ETALON_RETURN_IF_ERROR(CheckBuffer("x", b.x, n, c.model_pitch()));
  ETALON_RETURN_IF_ERROR(CheckBuffer("h", b.h, n, c.model_pitch()));
  if (WithoutAttentionRows(b)) return {};
  const size_t q_dim = c.n_heads * c.head_pitch();
  const size_t kv_dim = c.n_kv_heads * c.head_pitch();
  ETALON_RETURN_IF_ERROR(CheckBuffer("q", b.q, n, q_dim));
  ETALON_RETURN_IF_ERROR(CheckBuffer("k", b.k, n, kv_dim));
  ETALON_RETURN_IF_ERROR(CheckBuffer("v", b.v, n, kv_dim));
  ETALON_RETURN_IF_ERROR(CheckBuffer("attn", b.attn, n, q_dim));
  return {};
}

// RMSNorm of every head of every token: rows of head_dim, token by token where
// the tokens' rows are not adjacent.
Status HeadNorm(const LayerConfig& c, Span2D<float> rows, size_t n_heads,
                const std::vector<float>& weight, const Backend& backend,
                ExecContext& ctx) {
  if (weight.empty()) return {};
  const bool dense = rows.stride == n_heads * c.head_pitch();
  const size_t n_calls = dense ? 1 : rows.rows;
  const size_t n_rows = dense ? rows.rows * n_heads : n_heads;
  for (size_t t = 0; t < n_calls; ++t) {
    const Span2D<float> heads(rows.data + t * rows.stride, n_rows, c.head_dim,
                              c.head_pitch());
    ETALON_RETURN_IF_ERROR(
        backend.rms_norm({heads, weight, c.rms_eps, heads, {}}, ctx));
  }
  return {};
}

// h = RmsNorm(x), padding cleared.
Status Norm(const LayerConfig& c, const LayerBuffers& b,
            const std::vector<float>& weight, std::span<float> rstd,
            const Backend& backend, ExecContext& ctx) {
  const Span2D<float> x = Columns(b.x, c.model_dim);
  const Span2D<float> h = Columns(b.h, c.model_dim);
  ETALON_RETURN_IF_ERROR(
      backend.rms_norm({x, weight, c.rms_eps, h, rstd}, ctx));
  ClearColumns(b.h, c.model_dim);
  return {};
}

// x += y, the padding of both cleared.
Status AddTo(const LayerConfig& c, Span2D<float> x, Span2D<float> y,
             const Backend& backend, ExecContext& ctx) {
  const Span2D<float> sum = Columns(x, c.model_dim);
  ETALON_RETURN_IF_ERROR(backend.add({sum, Columns(y, c.model_dim), sum}, ctx));
  ClearColumns(x, c.model_dim);
  return {};
}

Status QkvProjection(const LayerConfig& c, const LayerWeights& w,
                     const LayerState& state, const LayerBuffers& b,
                     const Backend& backend, ExecContext& ctx) {
  TellWeights(state, "wq", w.q);
  TellWeights(state, "wk", w.k);
  TellWeights(state, "wv", w.v);
  const Span2D<const float> h = Columns(b.h, w.q.weights.cols);
  ETALON_RETURN_IF_ERROR(TellQuantisedRows(state, "q8_buf", w.q, h, ctx));
  const std::array<GemmPart, 3> qkv = {Part(w.q, b.q), Part(w.k, b.k),
                                       Part(w.v, b.v)};
  ETALON_RETURN_IF_ERROR(backend.gemm({h, qkv, state.activations}, ctx));
  for (const auto& rows : {b.q, b.k, b.v}) {
    ClearHeads(rows, c.head_dim, c.head_pitch());
  }
  Tell(state, "q_proj", b.q);
  Tell(state, "k_proj", b.k);
  Tell(state, "v_proj", b.v);
  return {};
}

Status Attend(const LayerConfig& c, const LayerWeights& w,
              const LayerState& state, LayerBuffers b, const Backend& backend,
              ExecContext& ctx) {
  const Workspace::Scope scope(*ctx.workspace);
  if (WithoutAttentionRows(b)) {
    const size_t q_dim = c.n_heads * c.head_pitch();
    const size_t kv_dim = c.n_kv_heads * c.head_pitch();
    for (const auto& [rows, cols] :
         {std::pair{&b.q, q_dim}, std::pair{&b.attn, q_dim},
          std::pair{&b.k, kv_dim}, std::pair{&b.v, kv_dim}}) {
      ETALON_ASSIGN_OR_RETURN(*rows,
                              AllocateRows(*ctx.workspace, b.x.rows, cols));
    }
  }
  Tell(state, "input", Columns(b.x, c.model_dim));
  ETALON_RETURN_IF_ERROR(Norm(c, b, w.attn_norm, b.rstd1, backend, ctx));
  Tell(state, "ln1_out", b.h);
  ETALON_RETURN_IF_ERROR(QkvProjection(c, w, state, b, backend, ctx));
  ETALON_RETURN_IF_ERROR(HeadNorm(c, b.q, c.n_heads, w.q_norm, backend, ctx));
  ETALON_RETURN_IF_ERROR(
      HeadNorm(c, b.k, c.n_kv_heads, w.k_norm, backend, ctx));
  const size_t pitch = c.head_pitch();
  if (c.use_rope) {
    for (const auto& x : {Heads(b.q, c.n_heads, c.head_dim, pitch),
                          Heads(b.k, c.n_kv_heads, c.head_dim, pitch)}) {
      ETALON_RETURN_IF_ERROR(backend.rope(
          {x, state.positions, state.rope_cos, state.rope_sin, c.rope_style},
          ctx));
    }
  }
  if (!state.q_scale.empty()) {
    ETALON_RETURN_IF_ERROR(backend.scale_rows({b.q, state.q_scale, b.q}, ctx));
  }
  Tell(state, "q_rope", b.q);
  Tell(state, "k_rope", b.k);
  for (const auto& [rows, cache] :
       {std::pair{b.k, &state.k_cache}, std::pair{b.v, &state.v_cache}}) {
    ETALON_RETURN_IF_ERROR(backend.kv_write(
        {.x = ConstHeads(rows, c.n_kv_heads, c.head_dim, pitch),
         .pos = state.pos,
         .cache = *cache,
         .padded_head_dim = pitch > c.head_dim ? pitch : 0},
        ctx));
  }
  ETALON_RETURN_IF_ERROR(
      backend.attention({.q = ConstHeads(b.q, c.n_heads, c.head_dim, pitch),
                         .k = ConstView(state.k_cache),
                         .v = ConstView(state.v_cache),
                         .kv_len = state.pos + b.x.rows,
                         .scale = state.attention_scale,
                         .causal = true,
                         .out = Heads(b.attn, c.n_heads, c.head_dim, pitch)},
                        ctx));
  ClearHeads(b.attn, c.head_dim, pitch);
  Tell(state, "attn_out", b.attn);
  TellWeights(state, "wo", w.o);
  const GemmPart o = Part(w.o, Columns(b.h, w.o.weights.rows));
  ETALON_RETURN_IF_ERROR(
      backend.gemm({b.attn, {&o, 1}, state.activations}, ctx));
  ClearColumns(b.h, c.model_dim);
  Tell(state, "attn_proj", b.h);
  ETALON_RETURN_IF_ERROR(AddTo(c, b.x, b.h, backend, ctx));
  Tell(state, "residual1", b.x);
  return {};
}

Status DenseFfn(const LayerWeights& w, const LayerState& state, LayerBuffers b,
                const Backend& backend, ExecContext& ctx) {
  TellWeights(state, "w_gate", w.gate);
  TellWeights(state, "w_up", w.up);
  TellWeights(state, "w_down", w.down);
  const Span2D<float> h = Columns(b.h, w.gate.weights.cols);
  const Span2D<float> out = Columns(b.h, w.down.weights.rows);
  const Workspace::Scope scope(*ctx.workspace);
  if (b.fused_mlp) {
    // h is both ends: the result goes beside it first.
    ETALON_ASSIGN_OR_RETURN(
        const std::span<float> memory,
        ctx.workspace->Allocate<float>(out.rows * out.cols));
    const Span2D<float> apart(memory.data(), out.rows, out.cols);
    ETALON_RETURN_IF_ERROR(FusedMlp(
        {h, w.gate, w.up, w.down, apart, state.activations}, backend, ctx));
    for (size_t t = 0; t < out.rows; ++t) {
      const std::span<const float> row = apart.row(t);
      std::copy(row.begin(), row.end(), out.row(t).begin());
    }
    return {};
  }
  if (b.ffn.empty()) {
    ETALON_ASSIGN_OR_RETURN(
        b.ffn, AllocateRows(*ctx.workspace, h.rows, w.gate.weights.rows));
  }
  ETALON_RETURN_IF_ERROR(backend.gemm_swiglu(
      {h, Part(w.gate, {}), Part(w.up, {}), b.ffn, state.activations}, ctx));
  Tell(state, "swiglu_out", b.ffn);
  const GemmPart down = Part(w.down, out);
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

LayerRowBytes RowBytesOf(const LayerConfig& c, size_t n_tokens) {
  const size_t pitch = c.head_pitch();
  return {2 * RowsBytes(n_tokens, c.n_heads * pitch) +
              2 * RowsBytes(n_tokens, c.n_kv_heads * pitch),
          c.n_experts > 0 ? 0 : RowsBytes(n_tokens, c.ffn_dim)};
}

Status FusedMlp(const MlpArgs& a, const Backend& backend, ExecContext& ctx) {
  ETALON_ENSURE(ctx.workspace != nullptr, "mlp: no workspace");
  const size_t ffn_dim = a.gate.weights.rows;
  if (a.out.rows != a.x.rows || a.out.cols != a.down.weights.rows) {
    return InvalidArgument(fmt::format("mlp: out is [{}, {}], must be [{}, {}]",
                                       a.out.rows, a.out.cols, a.x.rows,
                                       a.down.weights.rows));
  }
  // Half of a second-level cache of 512 KiB, the other half for weights.
  constexpr size_t kTileBytes = size_t{256} << 10;
  const size_t tile =
      std::clamp(kTileBytes / (std::max<size_t>(ffn_dim, 1) * sizeof(float)),
                 size_t{1}, std::max<size_t>(a.x.rows, 1));
  const Workspace::Scope scope(*ctx.workspace);
  ETALON_ASSIGN_OR_RETURN(const std::span<float> memory,
                          ctx.workspace->Allocate<float>(tile * ffn_dim));
  for (size_t begin = 0; begin < a.x.rows; begin += tile) {
    const size_t end = std::min(begin + tile, a.x.rows);
    const Span2D<float> rows(memory.data(), end - begin, ffn_dim);
    ETALON_RETURN_IF_ERROR(
        backend.gemm_swiglu({a.x.Rows(begin, end), Part(a.gate, {}),
                             Part(a.up, {}), rows, a.activations},
                            ctx));
    const GemmPart down = Part(a.down, a.out.Rows(begin, end));
    ETALON_RETURN_IF_ERROR(
        backend.gemm({rows, {&down, 1}, a.activations}, ctx));
  }
  return {};
}

Status Forward(const LayerConfig& config, const LayerWeights& weights,
               const LayerState& state, const LayerBuffers& buffers,
               const Backend& backend, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(Check(config, buffers, ctx));
  ETALON_RETURN_IF_ERROR(Attend(config, weights, state, buffers, backend, ctx));
  ETALON_RETURN_IF_ERROR(
      Norm(config, buffers, weights.ffn_norm, buffers.rstd2, backend, ctx));
  Tell(state, "ln2_out", buffers.h);
  const bool dense = config.n_experts == 0;
  ETALON_RETURN_IF_ERROR(
      dense ? DenseFfn(weights, state, buffers, backend, ctx)
            : ExpertFfn(config, weights, state, buffers, backend, ctx));
  const Span2D<float> mlp = dense ? buffers.h : buffers.moe_out;
  ClearColumns(mlp, config.model_dim);
  Tell(state, "mlp_out", mlp);
  ETALON_RETURN_IF_ERROR(AddTo(config, buffers.x, mlp, backend, ctx));
  Tell(state, "output", buffers.x);
  return {};
}

}  // namespace etalon::layer
