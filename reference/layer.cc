#include "reference/layer.h"

#include "reference/oracle.h"
#include "reference/stages.h"
#include "reference/store.h"

namespace etalon::reference {
namespace {

KvView ConstView(const MutableKvView& c) {
  return {c.type,     c.data,        c.n_kv_heads, c.kv_capacity,
          c.head_dim, c.head_stride, c.pos_stride};
}

}  // namespace

Expected<Oracle> LayerOracle(const layer::LayerConfig& config,
                             const layer::LayerWeights& weights,
                             const layer::LayerState& state,
                             const Span2D<const float>& x, const Profile* p) {
  const size_t dim = config.model_dim;
  const size_t head_dim = config.head_dim;
  const size_t n_heads = config.n_heads;
  const size_t n_kv_heads = config.n_kv_heads;
  if (config.n_experts != 0 || config.model_pitch() != dim ||
      config.head_pitch() != head_dim || !state.q_scale.empty()) {
    return Fail(ErrorCode::kUnsupported,
                "layer: experts, padding and q_scale have no oracle");
  }
  ETALON_ENSURE(dim > 0 && x.cols == dim && x.rows > 0,
                "layer: x is not [n_tokens, model_dim]");
  ETALON_ENSURE(head_dim > 0 && n_kv_heads > 0 && n_heads % n_kv_heads == 0 &&
                    weights.q.weights.rows == n_heads * head_dim &&
                    weights.k.weights.rows == n_kv_heads * head_dim &&
                    weights.v.weights.rows == n_kv_heads * head_dim,
                "layer: heads do not fit the projections");
  ETALON_ENSURE(weights.o.weights.rows == dim &&
                    weights.o.weights.cols == n_heads * head_dim &&
                    weights.down.weights.rows == dim &&
                    weights.down.weights.cols == weights.gate.weights.rows &&
                    weights.up.weights.rows == weights.gate.weights.rows,
                "layer: widths of the matrices do not fit");
  const auto multiply = [&](const Stage& in, const layer::Linear& linear) {
    return Multiply(in, x.rows, linear.weights,
                    static_cast<double>(linear.scale), state.activations, p,
                    linear.bias);
  };
  const Stage input = Given(x, p);
  ETALON_ASSIGN_OR_RETURN(
      const Stage h,
      Normalize(input, dim, weights.attn_norm, config.rms_eps, p));
  ETALON_ASSIGN_OR_RETURN(Stage q, multiply(h, weights.q));
  ETALON_ASSIGN_OR_RETURN(Stage k, multiply(h, weights.k));
  ETALON_ASSIGN_OR_RETURN(const Stage v, multiply(h, weights.v));
  if (!weights.q_norm.empty()) {
    ETALON_ASSIGN_OR_RETURN(
        q, Normalize(q, head_dim, weights.q_norm, config.rms_eps, p));
  }
  if (!weights.k_norm.empty()) {
    ETALON_ASSIGN_OR_RETURN(
        k, Normalize(k, head_dim, weights.k_norm, config.rms_eps, p));
  }
  if (config.use_rope) {
    const Rotation rotation{state.positions, state.rope_cos, state.rope_sin,
                            config.rope_style};
    ETALON_ASSIGN_OR_RETURN(q, Rotate(q, n_heads, head_dim, rotation, p));
    ETALON_ASSIGN_OR_RETURN(k, Rotate(k, n_kv_heads, head_dim, rotation, p));
  }
  ETALON_ASSIGN_OR_RETURN(
      const Stage attended,
      Attend(q, Append(ConstView(state.k_cache), state.pos, k, p),
             Append(ConstView(state.v_cache), state.pos, v, p), n_heads,
             n_kv_heads, head_dim, state.pos + x.rows, state.attention_scale,
             p));
  ETALON_ASSIGN_OR_RETURN(const Stage projected, multiply(attended, weights.o));
  ETALON_ASSIGN_OR_RETURN(const Stage middle, Sum(input, projected, dim, p));
  ETALON_ASSIGN_OR_RETURN(
      const Stage h2,
      Normalize(middle, dim, weights.ffn_norm, config.rms_eps, p));
  ETALON_ASSIGN_OR_RETURN(const Stage gate, multiply(h2, weights.gate));
  ETALON_ASSIGN_OR_RETURN(const Stage up, multiply(h2, weights.up));
  ETALON_ASSIGN_OR_RETURN(
      const Stage hidden,
      Activate(gate, up, x.rows, weights.gate.weights.rows, p));
  ETALON_ASSIGN_OR_RETURN(const Stage mlp, multiply(hidden, weights.down));
  ETALON_ASSIGN_OR_RETURN(const Stage out, Sum(middle, mlp, dim, p));
  Oracle oracle;
  oracle.value.assign(out.value.begin(), out.value.end());
  if (p != nullptr) oracle.c.push_back(out.error);
  return oracle;
}

Status Layer(const layer::LayerConfig& config,
             const layer::LayerWeights& weights, const layer::LayerState& state,
             const Span2D<float>& x) {
  ETALON_ASSIGN_OR_RETURN(
      const Oracle oracle,
      LayerOracle(config, weights, state, x, /*p=*/nullptr));
  Store(oracle.value, x);
  return {};
}

}  // namespace etalon::reference
