#include "layer/adapter_cke.h"

#include <cmath>
#include <cstring>
#include <numeric>

#include "ops/cke_layout.h"

namespace etalon::adapters::cke {
namespace {

constexpr char kPrefill[] = "layer_forward", kDecode[] = "layer_decode";

std::vector<float> Vector(const float* data, size_t n) {
  return data == nullptr ? std::vector<float>()
                         : std::vector<float>(data, data + n);
}

// `rows` of `row_width` stored lanes from row `first` on, the first `cols` of
// them in use.
layer::Linear LinearOf(const Matrix& m, size_t first, size_t rows,
                       size_t row_width, size_t cols, std::vector<float> bias) {
  const size_t stride = RowBytes(m.type, row_width);
  layer::Linear linear;
  linear.weights = {m.type,
                    static_cast<const std::byte*>(m.data) + first * stride,
                    rows, IsQuantized(m.type) ? row_width : cols, stride};
  linear.bias = std::move(bias);
  return linear;
}

// Copies the stages that the caller wants into buffers of its layouts.
class StageCopier : public layer::LayerObserver {
 public:
  explicit StageCopier(const LayerParams& p) : p_(p) {}

  void OnStage(std::string_view stage, Span2D<const float> values) override {
    const size_t ad = Size(p_.aligned_head_dim), hd = Size(p_.head_dim);
    if (float* to = Rows(stage); to != nullptr) {
      for (size_t t = 0; t < values.rows; ++t) {
        std::copy(values.row(t).begin(), values.row(t).end(),
                  to + t * values.cols);
      }
    } else if (stage == "q_rope" && p_.q != nullptr) {
      UnflattenHeads(values, Size(p_.num_heads), values.rows, hd, ad, p_.q);
    } else if (stage == "attn_out" && p_.attn_out != nullptr) {
      UnflattenHeads(values, Size(p_.num_heads), values.rows, hd, ad,
                     p_.attn_out);
    }
  }

 private:
  float* Rows(std::string_view stage) const {
    if (stage == "ln1_out") return p_.ln1_out;
    if (stage == "attn_proj") return p_.proj_tmp;
    if (stage == "residual1") return p_.residual1;
    if (stage == "ln2_out") return p_.ln2_out;
    if (stage == "swiglu_out") return p_.swiglu_out;
    if (stage == "mlp_out") return p_.mlp_out;
    if (stage == "output") return p_.output;
    return nullptr;
  }
  const LayerParams& p_;
};

struct Slot {
  size_t pos = 0;
  size_t capacity = 0;
};

Status Run(std::string_view op, const LayerParams& p, size_t n, Slot slot,
           bool fused, const Backend& backend, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(
      NeedPointers(op, {{"k", p.k}, {"v", p.v}, {"output", p.output}}));
  ETALON_ENSURE(ctx.workspace != nullptr, fmt::format("{}: no workspace", op));
  ETALON_ENSURE(!fused || p.swiglu_out == nullptr,
                fmt::format("{}: swiglu_out is wanted, which the fused form "
                            "never has",
                            op));
  Workspace& memory = *ctx.workspace;
  const Workspace::Scope scope(memory);
  const layer::LayerConfig config = ConfigOf(p);
  const size_t d = config.model_pitch();
  const size_t q_dim = config.n_heads * config.head_pitch();

  layer::LayerBuffers b;
  b.fused_mlp = fused;
  for (Span2D<float>* rows : {&b.x, &b.h}) {
    ETALON_ASSIGN_OR_RETURN(const std::span<float> data,
                            memory.Allocate<float>(n * d));
    *rows = {data.data(), n, d};
  }
  for (size_t t = 0; t < n; ++t) {
    std::copy(p.input + t * d, p.input + t * d + config.model_dim,
              b.x.row(t).begin());
  }
  if (p.ln1_rstd != nullptr) b.rstd1 = {p.ln1_rstd, n};
  if (p.ln2_rstd != nullptr) b.rstd2 = {p.ln2_rstd, n};
  ETALON_ASSIGN_OR_RETURN(const std::span<int32_t> positions,
                          memory.Allocate<int32_t>(n));
  ETALON_RETURN_IF_ERROR(FillPositions(op, p, positions));
  ETALON_ASSIGN_OR_RETURN(const std::span<float> flat_wo,
                          memory.Allocate<float>(p.wo.type == TensorType::kF32
                                                     ? config.model_dim * q_dim
                                                     : 0));

  layer::LayerState state;
  state.pos = slot.pos;
  state.positions = positions;
  const size_t half = config.head_dim / 2;
  state.rope_cos = {p.rope_cos, Size(p.max_seq), half};
  state.rope_sin = {p.rope_sin, Size(p.max_seq), half};
  state.attention_scale =
      static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.head_dim)));
  state.k_cache = {TensorType::kF32,   reinterpret_cast<std::byte*>(p.k),
                   config.n_kv_heads,  slot.capacity,
                   config.head_dim,    slot.capacity * config.head_pitch(),
                   config.head_pitch()};
  state.v_cache = state.k_cache;
  state.v_cache.data = reinterpret_cast<std::byte*>(p.v);
  StageCopier copier(p);
  state.observer = &copier;
  return layer::Forward(config, WeightsOf(p, flat_wo), state, b, backend, ctx);
}

}  // namespace

Status CheckLayer(std::string_view op, const LayerParams& p, bool one_token) {
  ETALON_RETURN_IF_ERROR(NeedPointers(op, {{"input", p.input},
                                           {"ln1_gamma", p.ln1_gamma},
                                           {"ln2_gamma", p.ln2_gamma},
                                           {"wq", p.wq.data},
                                           {"wk", p.wk.data},
                                           {"wv", p.wv.data},
                                           {"wo", p.wo.data},
                                           {"w1", p.w1.data},
                                           {"w2", p.w2.data}}));
  ETALON_RETURN_IF_ERROR(NeedExtents(op, {{"tokens", one_token ? 1 : p.tokens},
                                          {"num_heads", p.num_heads},
                                          {"num_kv_heads", p.num_kv_heads}}));
  ETALON_RETURN_IF_ERROR(
      NeedAligned(op, {"embed_dim", p.embed_dim},
                  {"aligned_embed_dim", p.aligned_embed_dim}));
  ETALON_RETURN_IF_ERROR(NeedAligned(op, {"head_dim", p.head_dim},
                                     {"aligned_head_dim", p.aligned_head_dim}));
  ETALON_RETURN_IF_ERROR(
      NeedAligned(op, {"intermediate_dim", p.intermediate_dim},
                  {"aligned_intermediate_dim", p.aligned_intermediate_dim}));
  ETALON_ENSURE(p.num_heads % p.num_kv_heads == 0,
                fmt::format("{}: {} heads are no multiple of {} key heads", op,
                            p.num_heads, p.num_kv_heads));
  ETALON_ENSURE((p.rope_cos == nullptr) == (p.rope_sin == nullptr),
                fmt::format("{}: rope_cos and rope_sin: one is null, need both "
                            "or neither",
                            op));
  const int d = p.aligned_embed_dim;
  ETALON_RETURN_IF_ERROR(NeedBlocks(op, "wq", p.wq.type, d));
  ETALON_RETURN_IF_ERROR(NeedBlocks(op, "wk", p.wk.type, d));
  ETALON_RETURN_IF_ERROR(NeedBlocks(op, "wv", p.wv.type, d));
  ETALON_RETURN_IF_ERROR(NeedBlocks(op, "w1", p.w1.type, d));
  ETALON_RETURN_IF_ERROR(
      NeedBlocks(op, "wo", p.wo.type, p.num_heads * p.aligned_head_dim));
  return NeedBlocks(op, "w2", p.w2.type, p.aligned_intermediate_dim);
}

layer::LayerConfig ConfigOf(const LayerParams& p) {
  layer::LayerConfig c;
  c.model_dim = Size(p.embed_dim);
  c.aligned_model_dim = Size(p.aligned_embed_dim);
  c.n_heads = Size(p.num_heads);
  c.n_kv_heads = Size(p.num_kv_heads);
  c.head_dim = Size(p.head_dim);
  c.aligned_head_dim = Size(p.aligned_head_dim);
  c.ffn_dim = Size(p.aligned_intermediate_dim);
  c.rms_eps = p.eps;
  c.use_rope = p.rope_cos != nullptr;
  return c;
}

layer::LayerWeights WeightsOf(const LayerParams& p, std::span<float> flat_wo) {
  const layer::LayerConfig c = ConfigOf(p);
  const size_t d = c.model_dim, a = c.model_pitch(), i = c.ffn_dim;
  const size_t q = c.n_heads * c.head_pitch();
  const size_t kv = c.n_kv_heads * c.head_pitch();
  layer::LayerWeights w;
  w.attn_norm = Vector(p.ln1_gamma, d);
  w.ffn_norm = Vector(p.ln2_gamma, d);
  w.q_norm = Vector(p.q_gamma, c.head_dim);
  w.k_norm = Vector(p.k_gamma, c.head_dim);
  w.q = LinearOf(p.wq, 0, q, a, d, Vector(p.bq, q));
  w.k = LinearOf(p.wk, 0, kv, a, d, Vector(p.bk, kv));
  w.v = LinearOf(p.wv, 0, kv, a, d, Vector(p.bv, kv));
  Matrix wo = p.wo;
  if (wo.type == TensorType::kF32) {
    FlattenHeads(static_cast<const float*>(wo.data), c.n_heads, d, a,
                 c.head_dim, c.head_pitch(), flat_wo.data());
    wo.data = flat_wo.data();
  }
  w.o = LinearOf(wo, 0, d, q, q, Vector(p.bo, d));
  w.gate = LinearOf(p.w1, 0, i, a, d, Vector(p.b1, i));
  w.up = LinearOf(p.w1, i, i, a, d,
                  Vector(p.b1 == nullptr ? nullptr : p.b1 + i, i));
  w.down = LinearOf(p.w2, 0, d, i, i, Vector(p.b2, d));
  return w;
}

Status FillPositions(std::string_view op, const LayerParams& p,
                     std::span<int32_t> positions) {
  ETALON_ENSURE(
      p.rope_pos_offset >= 0 && (p.rope_cos == nullptr ||
                                 positions.size() + Size(p.rope_pos_offset) <=
                                     Size(std::max(p.max_seq, 0))),
      fmt::format("{}: rope_pos_offset {} with {} tokens is outside "
                  "the {} rows of the tables",
                  op, p.rope_pos_offset, positions.size(), p.max_seq));
  std::iota(positions.begin(), positions.end(), p.rope_pos_offset);
  return {};
}

Status LayerForward(const LayerParams& p, const Backend& backend,
                    ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(CheckLayer(kPrefill, p, /*one_token=*/false));
  const size_t n = Size(p.tokens);
  return Run(kPrefill, p, n, {0, n}, /*fused=*/false, backend, ctx);
}

Status LayerDecode(const LayerParams& p, int token_index, int cache_capacity,
                   bool fused, const Backend& backend, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(CheckLayer(kDecode, p, /*one_token=*/true));
  ETALON_ENSURE(token_index >= 0 && token_index < cache_capacity,
                fmt::format("{}: token_index {} is outside 0..{}", kDecode,
                            token_index, cache_capacity - 1));
  return Run(kDecode, p, 1, {Size(token_index), Size(cache_capacity)}, fused,
             backend, ctx);
}

}  // namespace etalon::adapters::cke
