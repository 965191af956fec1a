// A whole block, judged from end to end.
#include <algorithm>
#include <cstring>

#include "reference/golden/ops_tables.h"
#include "reference/layer.h"

namespace etalon::golden::internal {
namespace {

using reference::Oracle;

// The arguments of one block and what they point to.
struct Block {
  layer::LayerConfig config;
  layer::LayerWeights weights;
  layer::LayerState state;
  Span2D<const float> x;
  // Copies of the caches, into which the block writes.
  std::vector<std::byte> k_cache;
  std::vector<std::byte> v_cache;
};

Expected<layer::Linear> LinearOf(Operands& o, const std::string& name,
                                 const std::string& bias,
                                 const std::string& type_param) {
  const bool own = o.golden_case().params.contains(type_param);
  layer::Linear linear;
  ETALON_ASSIGN_OR_RETURN(linear.weights,
                          o.Weights(name, own ? type_param : "type"));
  ETALON_ASSIGN_OR_RETURN(const auto b, o.OptionalVector(bias));
  linear.bias.assign(b.begin(), b.end());
  return linear;
}

Status ReadWeights(Operands& o, layer::LayerWeights& w) {
  struct Row {
    const char* name;
    const char* bias;
    const char* type;
    layer::Linear* to;
  };
  for (const Row& row :
       {Row{"wq", "bq", "type", &w.q}, Row{"wk", "bk", "type", &w.k},
        Row{"wv", "bv", "type_wv", &w.v}, Row{"wo", "bo", "type", &w.o},
        Row{"gate", "", "type", &w.gate}, Row{"up", "", "type", &w.up},
        Row{"down", "", "type_down", &w.down}}) {
    ETALON_ASSIGN_OR_RETURN(*row.to, LinearOf(o, row.name, row.bias, row.type));
  }
  for (const auto& [name, to] :
       {std::pair{"attn_norm", &w.attn_norm}, std::pair{"q_norm", &w.q_norm},
        std::pair{"k_norm", &w.k_norm}, std::pair{"ffn_norm", &w.ffn_norm}}) {
    ETALON_ASSIGN_OR_RETURN(const auto v, o.OptionalVector(name));
    to->assign(v.begin(), v.end());
  }
  return {};
}

Expected<MutableKvView> CacheOf(Operands& o, const std::string& name,
                                std::vector<std::byte>& copy) {
  ETALON_ASSIGN_OR_RETURN(const Input* input, o.golden_case().GetInput(name));
  if (input->shape.size() != 3 || input->layout ||
      (input->dtype != DType::kF32 && input->dtype != DType::kF16)) {
    return BadInput("case " + o.golden_case().id + ": " + name +
                    " is not a dense F32 or F16 cache");
  }
  copy = input->data.bytes;
  const Shape& s = input->shape;
  return MutableKvView{
      input->dtype == DType::kF16 ? TensorType::kF16 : TensorType::kF32,
      copy.data(),
      s[0],
      s[1],
      s[2],
      s[1] * s[2],
      s[2]};
}

Status ReadBlock(Operands& o, Block& b) {
  const Case& c = o.golden_case();
  ETALON_ASSIGN_OR_RETURN(b.x, o.Matrix("x"));
  ETALON_RETURN_IF_ERROR(ReadWeights(o, b.weights));
  ETALON_ASSIGN_OR_RETURN(b.state.k_cache, CacheOf(o, "k_cache", b.k_cache));
  ETALON_ASSIGN_OR_RETURN(b.state.v_cache, CacheOf(o, "v_cache", b.v_cache));
  ETALON_ASSIGN_OR_RETURN(b.state.positions, o.Ints("positions"));
  ETALON_ASSIGN_OR_RETURN(b.state.rope_cos, o.Matrix("cos"));
  ETALON_ASSIGN_OR_RETURN(b.state.rope_sin, o.Matrix("sin"));
  ETALON_ASSIGN_OR_RETURN(b.state.attention_scale, c.Float("scale"));
  ETALON_ASSIGN_OR_RETURN(const int64_t pos, c.Int("pos"));
  ETALON_ASSIGN_OR_RETURN(const std::string act, c.Text("act"));
  ETALON_ASSIGN_OR_RETURN(const std::string style, c.Text("style"));
  const MutableKvView& k = b.state.k_cache;
  const MutableKvView& v = b.state.v_cache;
  if (pos < 0 || k.n_kv_heads == 0 || k.head_dim == 0 ||
      k.n_kv_heads != v.n_kv_heads || k.head_dim != v.head_dim ||
      k.kv_capacity != v.kv_capacity || b.x.rows > k.kv_capacity ||
      static_cast<size_t>(pos) > k.kv_capacity - b.x.rows ||
      b.state.positions.size() != b.x.rows) {
    return BadInput("case " + c.id + ": caches, pos and x do not fit");
  }
  if ((act != "f32" && act != "q8") ||
      (style != "half_split" && style != "interleaved")) {
    return BadInput("case " + c.id + ": unknown act or RoPE style");
  }
  b.state.pos = static_cast<size_t>(pos);
  b.state.activations = act == "q8" ? Activations::kAuto : Activations::kF32;
  b.config.model_dim = b.x.cols;
  b.config.head_dim = k.head_dim;
  b.config.n_kv_heads = k.n_kv_heads;
  b.config.n_heads = b.weights.q.weights.rows / k.head_dim;
  b.config.ffn_dim = b.weights.gate.weights.rows;
  b.config.rope_style =
      style == "half_split" ? RopeStyle::kHalfSplit : RopeStyle::kInterleaved;
  ETALON_ASSIGN_OR_RETURN(b.config.rms_eps, c.Float("eps"));
  return {};
}

Status RunLayer(const Subject& s, Operands& o) {
  if (!s.layer) {
    return Fail(ErrorCode::kUnsupported, s.name + " has no layer");
  }
  Block b;
  ETALON_RETURN_IF_ERROR(ReadBlock(o, b));
  ETALON_ASSIGN_OR_RETURN(const Span2D<float> out, o.OutMatrix(0));
  if (out.rows != b.x.rows || out.cols != b.x.cols) {
    return BadInput("case " + o.golden_case().id + ": out has not x's shape");
  }
  for (size_t t = 0; t < out.rows; ++t) {
    const auto row = b.x.row(t);
    std::copy(row.begin(), row.end(), out.row(t).begin());
  }
  return s.layer(b.config, b.weights, b.state, out, *s.ctx);
}

Status ExpectLayer(Operands& o, TensorFile& expected) {
  Block b;
  ETALON_RETURN_IF_ERROR(ReadBlock(o, b));
  return EmitStoredBounds(
      o.out(0).shape(),
      [&](const reference::Profile& p) {
        return reference::LayerOracle(b.config, b.weights, b.state, b.x, &p);
      },
      [](const Oracle& oracle, const reference::Profile& p) {
        const double one[] = {1.0};
        return Combine(oracle, p, one);
      },
      expected);
}

}  // namespace

std::vector<Op> LayerOps() {
  return {{"layer", RunLayer, ExpectLayer, {"token", "d"}}};
}

}  // namespace etalon::golden::internal
