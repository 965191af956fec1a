#include <cmath>

#include "layer/adapter_cke.h"
#include "ops/cke_layout.h"

namespace etalon::adapters::cke {
namespace {

constexpr char kOp[] = "layer_backward";

std::span<float> Wanted(float* d, size_t n) {
  return d == nullptr ? std::span<float>() : std::span<float>(d, n);
}
// `rows` from row `first` on of `width` lanes, `cols` of them in use.
Span2D<float> Wanted(float* d, size_t first, size_t rows, size_t width,
                     size_t cols) {
  if (d == nullptr) return {};
  return {d + first * width, rows, cols, width};
}

layer::LayerGradients GradientsOf(const LayerGradientPointers& g,
                                  const layer::LayerConfig& c,
                                  Span2D<float> flat_wo) {
  const size_t d = c.model_dim, a = c.model_pitch(), i = c.ffn_dim;
  const size_t q = c.n_heads * c.head_pitch();
  const size_t kv = c.n_kv_heads * c.head_pitch();
  layer::LayerGradients out;
  out.attn_norm = Wanted(g.d_ln1_gamma, d);
  out.ffn_norm = Wanted(g.d_ln2_gamma, d);
  out.q_norm = Wanted(g.d_q_gamma, c.head_dim);
  out.k_norm = Wanted(g.d_k_gamma, c.head_dim);
  out.q = {Wanted(g.d_wq, 0, q, a, d), Wanted(g.d_bq, q)};
  out.k = {Wanted(g.d_wk, 0, kv, a, d), Wanted(g.d_bk, kv)};
  out.v = {Wanted(g.d_wv, 0, kv, a, d), Wanted(g.d_bv, kv)};
  out.o = {flat_wo, Wanted(g.d_bo, d)};
  out.gate = {Wanted(g.d_w1, 0, i, a, d), Wanted(g.d_b1, i)};
  out.up = {Wanted(g.d_w1, i, i, a, d),
            Wanted(g.d_b1 == nullptr ? nullptr : g.d_b1 + i, i)};
  out.down = {Wanted(g.d_w2, 0, d, i, i), Wanted(g.d_b2, d)};
  return out;
}

}  // namespace

Status LayerBackward(const LayerParams& p, const float* d_output,
                     float* d_input, const LayerGradientPointers& g,
                     ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(CheckLayer(kOp, p, /*one_token=*/false));
  ETALON_RETURN_IF_ERROR(
      NeedPointers(kOp, {{"d_output", d_output}, {"d_input", d_input}}));
  for (const Matrix* m : {&p.wq, &p.wk, &p.wv, &p.wo, &p.w1, &p.w2}) {
    ETALON_ENSURE(m->type == TensorType::kF32,
                  fmt::format("{}: weights of type {}, need F32", kOp,
                              TypeName(m->type)));
  }
  ETALON_ENSURE(ctx.workspace != nullptr, "layer_backward: no workspace");
  Workspace& memory = *ctx.workspace;
  const Workspace::Scope scope(memory);
  layer::LayerConfig config = ConfigOf(p);
  const size_t n = Size(p.tokens), d = config.model_dim;
  const size_t a = config.model_pitch(), heads = config.n_heads;
  const size_t hd = config.head_dim, ad = config.head_pitch();
  const size_t q_dim = heads * ad;
  ETALON_ASSIGN_OR_RETURN(const std::span<float> flat_wo,
                          memory.Allocate<float>(d * q_dim));
  ETALON_ASSIGN_OR_RETURN(
      const std::span<float> flat_d_wo,
      memory.Allocate<float>(g.d_wo == nullptr ? 0 : d * q_dim));
  ETALON_ASSIGN_OR_RETURN(const std::span<float> out,
                          memory.Allocate<float>(n * d));
  ETALON_ASSIGN_OR_RETURN(const std::span<int32_t> positions,
                          memory.Allocate<int32_t>(n));
  ETALON_RETURN_IF_ERROR(FillPositions(kOp, p, positions));
  const layer::LayerWeights weights = WeightsOf(p, flat_wo);
  // The weights are views of D columns, so nothing here is padded but heads.
  const layer::LayerConfig views = config;
  config.aligned_model_dim = 0;
  ETALON_ASSIGN_OR_RETURN(const layer::LayerTape tape,
                          layer::AllocateTape(config, weights, n, memory));
  for (size_t t = 0; t < n; ++t) {
    std::copy(p.input + t * a, p.input + t * a + d, tape.x.row(t).begin());
  }
  layer::BatchState state;
  state.seq_len = n;
  state.positions = positions;
  state.rope_cos = {p.rope_cos, Size(std::max(p.max_seq, 0)), hd / 2};
  state.rope_sin = {p.rope_sin, Size(std::max(p.max_seq, 0)), hd / 2};
  state.attention_scale =
      static_cast<float>(1.0 / std::sqrt(static_cast<double>(hd)));
  ETALON_RETURN_IF_ERROR(layer::ForwardOnTape(
      config, weights, state, tape, {out.data(), n, d}, CpuBackend(), ctx));
  Span2D<float> d_wo;
  if (g.d_wo != nullptr) {
    // Slabs in, gradients added, slabs out.
    FlattenHeads(g.d_wo, heads, d, a, hd, ad, flat_d_wo.data());
    d_wo = {flat_d_wo.data(), d, q_dim};
  }
  ETALON_RETURN_IF_ERROR(
      layer::Backward(config, weights, state, tape, {d_output, n, d, a},
                      {d_input, n, d, a}, GradientsOf(g, views, d_wo), ctx));
  if (g.d_wo != nullptr) UnflattenHeads(d_wo, heads, a, hd, ad, g.d_wo);
  ClearHeadMajor(d_input, 1, n, d, a);
  return {};
}

}  // namespace etalon::adapters::cke
