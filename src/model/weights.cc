#include "model/weights.h"

#include <fmt/format.h>

#include <cmath>
#include <span>
#include <unordered_set>

#include "io/stored_type.h"
#include "quant/dequantize.h"

namespace etalon::model {
namespace {

class TensorFinder {
 public:
  explicit TensorFinder(const io::GgufFile& file) : file_(file) {}

  bool Has(const std::string& name) const {
    return file_.FindTensor(name) != nullptr;
  }

  // [rows, cols] in a weight type this engine multiplies with.
  Expected<WeightMatrix> Matrix(const std::string& name, size_t rows,
                                size_t cols) {
    ETALON_ASSIGN_OR_RETURN(const io::GgufTensor* t, Find(name));
    ETALON_RETURN_IF_ERROR(CheckShape(*t, name, {cols, rows}));
    ETALON_RETURN_IF_ERROR(CheckType(*t, name));
    return WeightMatrix{t->type(), t->data, rows, cols,
                        RowBytes(t->type(), cols)};
  }

  Expected<ExpertWeights> Experts(const std::string& name, size_t n_experts,
                                  size_t rows, size_t cols) {
    ETALON_ASSIGN_OR_RETURN(const io::GgufTensor* t, Find(name));
    ETALON_RETURN_IF_ERROR(CheckShape(*t, name, {cols, rows, n_experts}));
    ETALON_RETURN_IF_ERROR(CheckType(*t, name));
    const size_t row_bytes = RowBytes(t->type(), cols);
    return ExpertWeights{{t->type(), t->data, rows, cols, row_bytes},
                         n_experts,
                         rows * row_bytes,
                         {}};
  }

  // n floats. One-dimensional weights are unquantised in every file.
  Expected<std::vector<float>> Vector(const std::string& name, size_t n) {
    ETALON_ASSIGN_OR_RETURN(const io::GgufTensor* t, Find(name));
    ETALON_RETURN_IF_ERROR(CheckShape(*t, name, {n}));
    if (FindTypeTraits(t->type()) == nullptr || IsQuantized(t->type())) {
      return BadInput(fmt::format("{}: type {}, need F32, F16 or BF16", name,
                                  io::StoredTypeName(t->type_id)));
    }
    std::vector<float> out(n);
    DequantizeRow(t->type(), t->data, n, out.data());
    for (size_t i = 0; i < n; ++i) {
      if (!std::isfinite(out[i])) {
        return BadInput(
            fmt::format("{}[{}]: {} is not finite", name, i, out[i]));
      }
    }
    return out;
  }

  Expected<std::vector<float>> OptionalVector(const std::string& name,
                                              size_t n) {
    if (!Has(name)) return std::vector<float>();
    return Vector(name, n);
  }

  // The one factor of a whole matrix, 1 if there is none.
  Expected<float> Scale(const std::string& name) {
    if (!Has(name)) return 1.0f;
    ETALON_ASSIGN_OR_RETURN(const std::vector<float> v, Vector(name, 1));
    return v[0];
  }

  std::vector<std::string> Unused() const {
    std::vector<std::string> out;
    for (const io::GgufTensor& t : file_.tensors()) {
      if (!used_.contains(t.name)) out.emplace_back(t.name);
    }
    return out;
  }

 private:
  Expected<const io::GgufTensor*> Find(const std::string& name) {
    const io::GgufTensor* t = file_.FindTensor(name);
    if (t == nullptr) return BadInput(name + ": missing");
    used_.insert(t->name);
    return t;
  }

  static Status CheckShape(const io::GgufTensor& t, const std::string& name,
                           const std::vector<uint64_t>& want) {
    const std::vector<uint64_t> got(t.ne.begin(), t.ne.begin() + t.n_dims);
    // Writers may leave out or add trailing dimensions of 1.
    for (size_t i = 0; i < 4; ++i) {
      if ((i < want.size() ? want[i] : 1) != t.ne[i]) {
        return BadInput(fmt::format("{}: shape [{}], need [{}]", name,
                                    fmt::join(got, ","), fmt::join(want, ",")));
      }
    }
    return {};
  }

  static Status CheckType(const io::GgufTensor& t, const std::string& name) {
    const TypeTraits* traits = FindTypeTraits(t.type());
    if (traits == nullptr || t.type() == TensorType::kQ8_K) {
      return BadInput(fmt::format(
          "{}: type {} is not supported, need F32, F16, BF16, Q4_0, Q4_1, "
          "Q5_0, Q5_1, Q8_0, Q4_K, Q5_K or Q6_K",
          name, io::StoredTypeName(t.type_id)));
    }
    return {};
  }

  const io::GgufFile& file_;
  std::unordered_set<std::string_view> used_;
};

// NAME.weight [n_out, n_in], NAME.bias and NAME.scale where present.
Expected<layer::Linear> LoadLinear(TensorFinder& finder, std::string_view name,
                                   size_t n_out, size_t n_in, bool bias) {
  layer::Linear linear;
  ETALON_ASSIGN_OR_RETURN(
      linear.weights,
      finder.Matrix(fmt::format("{}.weight", name), n_out, n_in));
  if (bias) {
    ETALON_ASSIGN_OR_RETURN(
        linear.bias,
        finder.OptionalVector(fmt::format("{}.bias", name), n_out));
  }
  ETALON_ASSIGN_OR_RETURN(linear.scale,
                          finder.Scale(fmt::format("{}.scale", name)));
  return linear;
}

// Q, K and V: three tensors, or one with their rows one below the other.
Status LoadQkv(TensorFinder& finder, const std::string& block, size_t n_q,
               size_t n_kv, size_t model_dim, layer::LayerWeights& out) {
  if (!finder.Has(block + "attn_qkv.weight")) {
    ETALON_ASSIGN_OR_RETURN(
        out.q, LoadLinear(finder, block + "attn_q", n_q, model_dim, true));
    ETALON_ASSIGN_OR_RETURN(
        out.k, LoadLinear(finder, block + "attn_k", n_kv, model_dim, true));
    ETALON_ASSIGN_OR_RETURN(
        out.v, LoadLinear(finder, block + "attn_v", n_kv, model_dim, true));
    return {};
  }
  ETALON_ASSIGN_OR_RETURN(
      const layer::Linear qkv,
      LoadLinear(finder, block + "attn_qkv", n_q + 2 * n_kv, model_dim, true));
  size_t begin = 0;
  for (auto [part, n] : {std::pair{&out.q, n_q}, std::pair{&out.k, n_kv},
                         std::pair{&out.v, n_kv}}) {
    *part = qkv;
    part->weights.rows = n;
    part->weights.data += begin * qkv.weights.stride_bytes;
    if (!qkv.bias.empty()) {
      const auto first = qkv.bias.begin() + static_cast<ptrdiff_t>(begin);
      part->bias.assign(first, first + static_cast<ptrdiff_t>(n));
    }
    begin += n;
  }
  return {};
}

// Feed-forward matrices carry their scale after the bias: s (W x + b). Folding
// s into the bias makes them the usual s W x + b'.
Expected<layer::Linear> LoadFfnLinear(TensorFinder& finder,
                                      const Architecture& arch,
                                      const std::string& name, size_t n_out,
                                      size_t n_in) {
  ETALON_ASSIGN_OR_RETURN(layer::Linear linear,
                          LoadLinear(finder, name, n_out, n_in,
                                     arch.projection_bias != Presence::kNever));
  if (!arch.ffn_scales) linear.scale = 1.0f;
  for (float& b : linear.bias) b *= linear.scale;
  return linear;
}

Status LoadExperts(TensorFinder& finder, const std::string& block,
                   const Hyperparameters& hp, size_t ffn_dim,
                   layer::LayerWeights& out) {
  ETALON_ASSIGN_OR_RETURN(
      out.router, LoadLinear(finder, block + "ffn_gate_inp", hp.n_experts,
                             hp.model_dim, false));
  struct Stack {
    const char* name;
    size_t rows, cols;
    ExpertWeights* weights;
    std::vector<float>* scales;
  };
  for (const Stack& s : {Stack{"ffn_gate_exps", ffn_dim, hp.model_dim,
                               &out.gate_experts, &out.gate_scales},
                         Stack{"ffn_up_exps", ffn_dim, hp.model_dim,
                               &out.up_experts, &out.up_scales},
                         Stack{"ffn_down_exps", hp.model_dim, ffn_dim,
                               &out.down_experts, &out.down_scales}}) {
    const std::string name = block + s.name;
    ETALON_ASSIGN_OR_RETURN(
        *s.weights,
        finder.Experts(name + ".weight", hp.n_experts, s.rows, s.cols));
    ETALON_ASSIGN_OR_RETURN(
        *s.scales, finder.OptionalVector(name + ".scale", hp.n_experts));
    s.weights->scales = *s.scales;  // the vector's buffer moves with the layer
  }
  return {};
}

Expected<layer::LayerWeights> LoadLayer(TensorFinder& finder,
                                        const Architecture& arch,
                                        const Hyperparameters& hp, size_t i) {
  layer::LayerWeights w;
  const std::string block = fmt::format("blk.{}.", i);
  const size_t n_q = hp.n_heads[i] * hp.head_dim;
  const size_t n_kv = hp.n_kv_heads[i] * hp.head_dim;
  const bool bias = arch.projection_bias != Presence::kNever;
  ETALON_ASSIGN_OR_RETURN(
      w.attn_norm, finder.Vector(block + "attn_norm.weight", hp.model_dim));
  ETALON_RETURN_IF_ERROR(LoadQkv(finder, block, n_q, n_kv, hp.model_dim, w));
  if (arch.qk_norm == Presence::kRequired) {
    ETALON_ASSIGN_OR_RETURN(
        w.q_norm, finder.Vector(block + "attn_q_norm.weight", hp.head_dim));
    ETALON_ASSIGN_OR_RETURN(
        w.k_norm, finder.Vector(block + "attn_k_norm.weight", hp.head_dim));
  }
  ETALON_ASSIGN_OR_RETURN(
      w.o, LoadLinear(finder, block + "attn_output", hp.model_dim, n_q, bias));
  ETALON_ASSIGN_OR_RETURN(
      w.ffn_norm, finder.Vector(block + "ffn_norm.weight", hp.model_dim));
  if (hp.n_experts > 0) {
    ETALON_RETURN_IF_ERROR(LoadExperts(finder, block, hp, hp.ffn_dim[i], w));
    return w;
  }
  const size_t ffn_dim = hp.ffn_dim[i];
  ETALON_ASSIGN_OR_RETURN(
      w.gate,
      LoadFfnLinear(finder, arch, block + "ffn_gate", ffn_dim, hp.model_dim));
  ETALON_ASSIGN_OR_RETURN(w.up, LoadFfnLinear(finder, arch, block + "ffn_up",
                                              ffn_dim, hp.model_dim));
  ETALON_ASSIGN_OR_RETURN(
      w.down,
      LoadFfnLinear(finder, arch, block + "ffn_down", hp.model_dim, ffn_dim));
  return w;
}

}  // namespace

Expected<Weights> LoadWeights(const io::GgufFile& file,
                              const Architecture& arch,
                              const Hyperparameters& hp) {
  TensorFinder finder(file);
  Weights w;
  ETALON_ASSIGN_OR_RETURN(
      w.token_embd,
      finder.Matrix("token_embd.weight", hp.n_vocab, hp.model_dim));
  ETALON_ASSIGN_OR_RETURN(w.output_norm,
                          finder.Vector("output_norm.weight", hp.model_dim));
  if (finder.Has("output.weight")) {
    ETALON_ASSIGN_OR_RETURN(
        w.output, LoadLinear(finder, "output", hp.n_vocab, hp.model_dim,
                             arch.output_bias != Presence::kNever));
  } else {
    w.output.weights = w.token_embd;  // tied embeddings
  }
  if (arch.rope_factors) {
    ETALON_ASSIGN_OR_RETURN(
        w.rope_factors,
        finder.OptionalVector("rope_freqs.weight", hp.rope.rotary_dim / 2));
    for (size_t i = 0; i < w.rope_factors.size(); ++i) {
      if (w.rope_factors[i] == 0.0f) {
        return BadInput(fmt::format("rope_freqs.weight[{}]: 0", i));
      }
    }
  }
  w.layers.reserve(hp.n_layers);
  for (size_t i = 0; i < hp.n_layers; ++i) {
    ETALON_ASSIGN_OR_RETURN(layer::LayerWeights layer,
                            LoadLayer(finder, arch, hp, i));
    w.layers.push_back(std::move(layer));
  }
  w.unused = finder.Unused();
  return w;
}

}  // namespace etalon::model
