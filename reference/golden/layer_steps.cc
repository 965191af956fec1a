#include "reference/golden/layer_steps.h"

#include <algorithm>
#include <cstring>

namespace etalon::golden {
namespace {

class Steps {
 public:
  Steps(const Case& layer, const RunStep& run, std::string_view bug)
      : layer_(layer), run_(run), bug_(bug) {}

  Expected<Tensor> Block();

 private:
  bool Is(std::string_view id) const { return bug_ == id; }
  const Tensor& In(std::string_view name) const {
    static const Tensor none;
    const Input* i = layer_.FindInput(name);
    return i == nullptr ? none : i->data;
  }
  size_t Extent(std::string_view name, size_t axis) const {
    const Shape& shape = In(name).shape;
    return axis < shape.size() ? shape[axis] : 0;
  }

  Case Step(std::string op) const {
    Case c;
    c.id = layer_.id + "." + op;
    c.op = std::move(op);
    return c;
  }
  static void Add(Case& c, std::string name, Tensor data) {
    Input i;
    i.name = std::move(name);
    i.dtype = data.dtype;
    i.shape = data.shape;
    i.data = std::move(data);
    c.inputs.push_back(std::move(i));
  }
  Expected<Tensor> Run(Case c, Shape shape, std::string bound,
                       std::string name = "out",
                       DType dtype = DType::kF32) const {
    Output o;
    o.name = std::move(name);
    o.dtype = dtype;
    o.shape = std::move(shape);
    o.bound = std::move(bound);
    c.outputs.push_back(std::move(o));
    return run_(c);
  }

  Expected<Tensor> Norm(Tensor x, std::string_view weight) const {
    Case c = Step("rms_norm");
    const Shape shape = x.shape;
    Add(c, "x", std::move(x));
    Add(c, "weight", In(weight));
    c.params["eps_bits"] = layer_.params.at("eps_bits");
    return Run(std::move(c), shape, "rms_norm");
  }
  Expected<Tensor> Multiply(Tensor x, std::string_view weights,
                            std::string_view bias,
                            const std::string& type_param) const {
    Case c = Step("gemm");
    const Shape shape = {x.shape[0], In(weights).shape[0]};
    const auto own = layer_.params.find(type_param);
    const std::string type = std::get<std::string>(
        own == layer_.params.end() ? layer_.params.at("type") : own->second);
    const bool q8 = std::get<std::string>(layer_.params.at("act")) == "q8" &&
                    type[0] == 'Q';
    const std::string act = !q8                    ? "f32"
                            : type.ends_with("_K") ? "q8_k"
                                                   : "q8_0";
    c.params["type"] = type;
    c.params["act"] = act;
    c.SetFloat("scale", 1.0f);
    Add(c, "x", std::move(x));
    Add(c, "w", In(weights));
    if (layer_.FindInput(bias) != nullptr && !Is("layer_bias_missing")) {
      Add(c, "bias", In(bias));
    }
    return Run(std::move(c), shape, q8 ? "gemm_quantized" : "gemm_f32");
  }
  Expected<Tensor> Rotate(Tensor x) const {
    Case c = Step("rope");
    const Shape shape = x.shape;
    Add(c, "x", std::move(x));
    Tensor positions = In("positions");
    if (Is("layer_rope_restarts")) {
      for (int32_t& p : positions.As<int32_t>()) {
        p = static_cast<int32_t>(&p - positions.As<int32_t>().data());
      }
    }
    Add(c, "positions", std::move(positions));
    Add(c, "cos", In("cos"));
    Add(c, "sin", In("sin"));
    c.params["style"] = layer_.params.at("style");
    c.params["first_position"] = int64_t{0};
    return Run(std::move(c), shape, "rope");
  }
  Expected<Tensor> Sum(Tensor a, Tensor b) const {
    Case c = Step("add");
    const Shape shape = a.shape;
    Add(c, "a", std::move(a));
    Add(c, "b", std::move(b));
    return Run(std::move(c), shape, "add");
  }
  // The cache with the rows of x behind its first `pos` positions.
  Expected<Tensor> Write(std::string_view cache, Tensor x) const;
  Expected<Tensor> Attend(Tensor q, Tensor k, Tensor v) const;

  const Case& layer_;
  const RunStep& run_;
  std::string_view bug_;
};

Tensor Reshaped(Tensor t, Shape shape) {
  t.shape = std::move(shape);
  return t;
}

Expected<Tensor> Steps::Write(std::string_view cache, Tensor x) const {
  Tensor all = In(cache);
  const size_t heads = all.shape[0];
  const size_t capacity = all.shape[1];
  const size_t dim = all.shape[2];
  const size_t n_tokens = x.shape[0];
  const auto pos = static_cast<size_t>(layer_.Int("pos").value_or(0));
  Case c = Step("kv_write");
  c.params["pos"] = static_cast<int64_t>(pos);
  c.params["kv_capacity"] = static_cast<int64_t>(capacity);
  c.params["type"] = std::string(DTypeName(all.dtype));
  Add(c, "x", std::move(x));
  ETALON_ASSIGN_OR_RETURN(
      const Tensor rows,
      Run(std::move(c), {heads, n_tokens, dim}, "", "cache", all.dtype));
  const size_t bytes = n_tokens * dim * DTypeSize(all.dtype);
  for (size_t h = 0; h < heads; ++h) {
    std::byte* to =
        all.bytes.data() + (h * capacity + pos) * dim * DTypeSize(all.dtype);
    if (Is("layer_attends_before_write")) {
      std::memset(to, 0, bytes);
    } else {
      std::memcpy(to, rows.bytes.data() + h * bytes, bytes);
    }
  }
  return all;
}

Expected<Tensor> Steps::Attend(Tensor q, Tensor k, Tensor v) const {
  Case c = Step("attention");
  const Shape shape = q.shape;
  ETALON_ASSIGN_OR_RETURN(const int64_t pos, layer_.Int("pos"));
  ETALON_ASSIGN_OR_RETURN(const float scale, layer_.Float("scale"));
  c.params["kv_len"] = pos + static_cast<int64_t>(shape[0]);
  c.params["causal"] = int64_t{1};
  c.SetFloat("scale", Is("layer_scale_twice") ? scale * scale : scale);
  Add(c, "q", std::move(q));
  Add(c, "k", std::move(k));
  Add(c, "v", std::move(v));
  return Run(std::move(c), shape, "attention");
}

Expected<Tensor> Steps::Block() {
  const size_t n_tokens = Extent("x", 0);
  const size_t n_kv_heads = Extent("k_cache", 0);
  const size_t head_dim = Extent("k_cache", 2);
  const size_t n_heads = head_dim == 0 ? 0 : Extent("wq", 0) / head_dim;
  if (n_heads == 0 || n_kv_heads == 0 || n_tokens == 0) {
    return BadInput("case " + layer_.id + ": no heads or tokens");
  }
  const bool swapped = Is("layer_norms_swapped");
  const Tensor& input = In("x");
  ETALON_ASSIGN_OR_RETURN(const Tensor h,
                          Norm(input, swapped ? "ffn_norm" : "attn_norm"));
  ETALON_ASSIGN_OR_RETURN(Tensor q, Multiply(h, "wq", "bq", "type"));
  ETALON_ASSIGN_OR_RETURN(Tensor k, Multiply(h, "wk", "bk", "type"));
  ETALON_ASSIGN_OR_RETURN(Tensor v, Multiply(h, "wv", "bv", "type_wv"));
  const auto head_norm = [&](Tensor& x, std::string_view weight) -> Status {
    if (layer_.FindInput(weight) == nullptr || Is("layer_qk_norm_missing")) {
      return {};
    }
    const Shape shape = x.shape;
    const size_t rows = x.n() / head_dim;
    ETALON_ASSIGN_OR_RETURN(
        x, Norm(Reshaped(std::move(x), {rows, head_dim}), weight));
    x.shape = shape;
    return {};
  };
  const bool late = Is("layer_qk_norm_after_rope");
  if (!late) {
    ETALON_RETURN_IF_ERROR(head_norm(q, "q_norm"));
    ETALON_RETURN_IF_ERROR(head_norm(k, "k_norm"));
  }
  q.shape = {n_tokens, n_heads, head_dim};
  k.shape = v.shape = {n_tokens, n_kv_heads, head_dim};
  ETALON_ASSIGN_OR_RETURN(q, Rotate(std::move(q)));
  if (!Is("layer_k_not_rotated")) {
    ETALON_ASSIGN_OR_RETURN(k, Rotate(std::move(k)));
  }
  if (Is("layer_v_rotated")) {
    ETALON_ASSIGN_OR_RETURN(v, Rotate(std::move(v)));
  }
  if (late) {
    ETALON_RETURN_IF_ERROR(head_norm(q, "q_norm"));
    ETALON_RETURN_IF_ERROR(head_norm(k, "k_norm"));
  }
  ETALON_ASSIGN_OR_RETURN(Tensor keys, Write("k_cache", std::move(k)));
  ETALON_ASSIGN_OR_RETURN(Tensor values, Write("v_cache", std::move(v)));
  ETALON_ASSIGN_OR_RETURN(Tensor attended, Attend(std::move(q), std::move(keys),
                                                  std::move(values)));
  attended.shape = {n_tokens, n_heads * head_dim};
  ETALON_ASSIGN_OR_RETURN(Tensor middle,
                          Multiply(std::move(attended), "wo", "bo", "type"));
  if (!Is("layer_residual1_lost")) {
    ETALON_ASSIGN_OR_RETURN(
        middle,
        Sum(Is("layer_residual1_normed") ? h : input, std::move(middle)));
  }
  Tensor h2 = middle;
  if (!Is("layer_ffn_norm_missing")) {
    ETALON_ASSIGN_OR_RETURN(
        h2, Norm(std::move(h2), swapped ? "attn_norm" : "ffn_norm"));
  }
  const bool exchanged = Is("layer_gate_up_exchanged");
  Case c = Step("swiglu");
  const Shape hidden = {n_tokens, Extent("gate", 0)};
  ETALON_ASSIGN_OR_RETURN(Tensor gate,
                          Multiply(h2, exchanged ? "up" : "gate", "", "type"));
  ETALON_ASSIGN_OR_RETURN(
      Tensor up,
      Multiply(std::move(h2), exchanged ? "gate" : "up", "", "type"));
  Add(c, "gate", std::move(gate));
  Add(c, "up", std::move(up));
  ETALON_ASSIGN_OR_RETURN(Tensor activated,
                          Run(std::move(c), hidden, "swiglu"));
  ETALON_ASSIGN_OR_RETURN(
      Tensor out, Multiply(std::move(activated), "down", "", "type_down"));
  if (Is("layer_residual2_lost")) return out;
  return Sum(Is("layer_residual2_input") ? input : std::move(middle),
             std::move(out));
}

}  // namespace

Expected<Tensor> RunLayerSteps(const Case& layer, const RunStep& run,
                               std::string_view bug) {
  for (const char* name :
       {"x", "attn_norm", "wq", "wk", "wv", "wo", "ffn_norm", "gate", "up",
        "down", "positions", "cos", "sin", "k_cache", "v_cache"}) {
    ETALON_ASSIGN_OR_RETURN(const Input* input, layer.GetInput(name));
    if (input->data.shape.empty()) {
      return BadInput("case " + layer.id + ": " + name + " is a scalar");
    }
  }
  for (const char* name : {"eps_bits", "style", "act", "type"}) {
    if (!layer.params.contains(name)) {
      return BadInput("case " + layer.id + ": no " + name);
    }
  }
  return Steps(layer, run, bug).Block();
}

}  // namespace etalon::golden
