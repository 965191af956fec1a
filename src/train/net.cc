#include "train/net.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "etalon/backward.h"
#include "train/random.h"

namespace etalon::train {
namespace {

// Order of a layer's parameters in the list.
enum : size_t {
  kAttnNorm,
  kQ,
  kK,
  kV,
  kO,
  kFfnNorm,
  kGate,
  kUp,
  kDown,
  kPerLayer
};
constexpr size_t kEmbedding = 0, kOutputNorm = 1, kFirstLayer = 2;

size_t At(size_t layer, size_t what) {
  return kFirstLayer + layer * kPerLayer + what;
}

}  // namespace

Status CheckShape(const NetShape& s) {
  struct Size {
    const char* name;
    size_t value;
    size_t max;
  };
  for (const Size& z :
       {Size{"vocabulary", s.n_vocab, size_t{1} << 20},
        Size{"layers", s.n_layers, 1024}, Size{"width", s.model_dim, 65536},
        Size{"heads", s.n_heads, 1024}, Size{"kv heads", s.n_kv_heads, 1024},
        Size{"head width", s.head_dim, 1024},
        Size{"feed-forward width", s.ffn_dim, 262144},
        Size{"context", s.seq_len, 65536}}) {
    ETALON_ENSURE(
        z.value >= 1 && z.value <= z.max,
        fmt::format("{}: {} is not in 1..{}", z.name, z.value, z.max));
  }
  ETALON_ENSURE(s.n_heads % s.n_kv_heads == 0,
                fmt::format("heads: {} is no multiple of {} kv heads",
                            s.n_heads, s.n_kv_heads));
  ETALON_ENSURE(
      s.head_dim % 2 == 0,
      fmt::format("head width: {} is odd, RoPE needs pairs", s.head_dim));
  return {};
}

std::vector<Parameter> ListParameters(const NetShape& s) {
  std::vector<Parameter> list;
  size_t offset = 0;
  const auto add = [&](std::string name, size_t rows, size_t cols) {
    list.push_back({std::move(name), rows, cols, offset});
    offset += (list.back().size() + 15) / 16 * 16;  // on cache lines
  };
  const size_t d = s.model_dim;
  const size_t q = s.n_heads * s.head_dim, kv = s.n_kv_heads * s.head_dim;
  add("token_embd.weight", s.n_vocab, d);
  add("output_norm.weight", 0, d);
  for (size_t i = 0; i < s.n_layers; ++i) {
    const std::string b = fmt::format("blk.{}.", i);
    add(b + "attn_norm.weight", 0, d);
    add(b + "attn_q.weight", q, d);
    add(b + "attn_k.weight", kv, d);
    add(b + "attn_v.weight", kv, d);
    add(b + "attn_output.weight", d, q);
    add(b + "ffn_norm.weight", 0, d);
    add(b + "ffn_gate.weight", s.ffn_dim, d);
    add(b + "ffn_up.weight", s.ffn_dim, d);
    add(b + "ffn_down.weight", d, s.ffn_dim);
  }
  return list;
}

Net::Net(const NetShape& shape)
    : shape_(shape), parameters_(ListParameters(shape)) {
  const Parameter& last = parameters_.back();
  const size_t n = (last.offset + last.size() + 15) / 16 * 16;
  values_.resize(n);
  gradients_.resize(n);
}

Span2D<float> Net::Matrix(std::vector<float>& of, size_t index) {
  const Parameter& p = parameters_[index];
  return {of.data() + p.offset, p.rows, p.cols};
}
std::span<float> Net::Vector(std::vector<float>& of, size_t index) {
  const Parameter& p = parameters_[index];
  return {of.data() + p.offset, p.cols};
}

Expected<std::unique_ptr<Net>> Net::Create(const NetShape& shape,
                                           size_t n_windows, int n_threads) {
  ETALON_RETURN_IF_ERROR(CheckShape(shape));
  ETALON_ENSURE(n_windows >= 1 && n_windows <= 65536,
                fmt::format("batch: {} is not in 1..65536", n_windows));
  std::unique_ptr<Net> net(new Net(shape));
  ETALON_RETURN_IF_ERROR(net->Prepare(n_windows, n_threads));
  return net;
}

void Net::BindLayers() {
  config_.model_dim = shape_.model_dim;
  config_.n_heads = shape_.n_heads;
  config_.n_kv_heads = shape_.n_kv_heads;
  config_.head_dim = shape_.head_dim;
  config_.ffn_dim = shape_.ffn_dim;
  config_.rms_eps = shape_.rms_eps;
  config_.rope_style = RopeStyle::kInterleaved;  // as GGUF's llama
  layers_.resize(shape_.n_layers);
  layer_gradients_.resize(shape_.n_layers);
  for (size_t i = 0; i < shape_.n_layers; ++i) {
    layer::LayerWeights& w = layers_[i];
    layer::LayerGradients& g = layer_gradients_[i];
    struct Bound {
      size_t what;
      layer::Linear* linear;
      layer::LinearGradient* gradient;
    };
    for (const Bound& b :
         {Bound{kQ, &w.q, &g.q}, Bound{kK, &w.k, &g.k}, Bound{kV, &w.v, &g.v},
          Bound{kO, &w.o, &g.o}, Bound{kGate, &w.gate, &g.gate},
          Bound{kUp, &w.up, &g.up}, Bound{kDown, &w.down, &g.down}}) {
      const Span2D<float> m = Matrix(values_, At(i, b.what));
      b.linear->weights = {TensorType::kF32,
                           reinterpret_cast<const std::byte*>(m.data), m.rows,
                           m.cols, m.cols * sizeof(float)};
      b.gradient->weights = Matrix(gradients_, At(i, b.what));
    }
    g.attn_norm = Vector(gradients_, At(i, kAttnNorm));
    g.ffn_norm = Vector(gradients_, At(i, kFfnNorm));
  }
}

// The layers keep their own copies of the norms' weights.
void Net::CopyNorms() {
  for (size_t i = 0; i < layers_.size(); ++i) {
    const auto attn = Vector(values_, At(i, kAttnNorm));
    const auto ffn = Vector(values_, At(i, kFfnNorm));
    layers_[i].attn_norm.assign(attn.begin(), attn.end());
    layers_[i].ffn_norm.assign(ffn.begin(), ffn.end());
  }
}

Status Net::Prepare(size_t n_windows, int n_threads) {
  BindLayers();
  const size_t n = n_windows * shape_.seq_len;
  RopeParams rope;
  rope.style = config_.rope_style;
  rope.rotary_dim = shape_.head_dim;
  rope.freq_base = shape_.rope_base;
  ETALON_ASSIGN_OR_RETURN(rope_, MakeRopeTable(rope, shape_.seq_len));
  positions_.resize(n);
  for (size_t t = 0; t < n; ++t) {
    positions_[t] = static_cast<int32_t>(t % shape_.seq_len);
  }
  tapes_.resize(shape_.n_layers);
  for (layer::LayerTape& tape : tapes_) {
    ETALON_ASSIGN_OR_RETURN(
        tape, layer::AllocateTape(config_, layers_[0], n, memory_));
  }
  struct Buffer {
    Span2D<float>* rows;
    size_t cols;
  };
  for (const Buffer& b :
       {Buffer{&last_, shape_.model_dim}, Buffer{&normed_, shape_.model_dim},
        Buffer{&logits_, shape_.n_vocab}, Buffer{&d_a_, shape_.model_dim},
        Buffer{&d_b_, shape_.model_dim}}) {
    ETALON_ASSIGN_OR_RETURN(const std::span<float> data,
                            memory_.Allocate<float>(n * b.cols));
    *b.rows = Span2D<float>(data.data(), n, b.cols);
  }
  ETALON_ASSIGN_OR_RETURN(rstd_, memory_.Allocate<float>(n));
  losses_.resize(n);
  ctx_ = {&scratch_, &switches_, n_threads};
  return {};
}

void Net::Initialise(uint64_t seed) {
  const float residual =
      1.0f / std::sqrt(2.0f * static_cast<float>(shape_.n_layers));
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Parameter& p = parameters_[i];
    float* to = values_.data() + p.offset;
    const bool writes_residual = p.name.ends_with("attn_output.weight") ||
                                 p.name.ends_with("ffn_down.weight");
    const float sigma = 0.02f * (writes_residual ? residual : 1.0f);
    for (size_t j = 0; j < p.size(); ++j) {
      to[j] = p.rows == 0 ? 1.0f : sigma * RandomNormal(seed, i, j);
    }
  }
}

Status Net::Backward(std::span<const int32_t> tokens, Span2D<float> d_logits) {
  const Span2D<float> table = Matrix(values_, kEmbedding);
  const Span2D<float> d_table = Matrix(gradients_, kEmbedding);
  const GemmBackwardPart head = {
      {TensorType::kF32, reinterpret_cast<const std::byte*>(table.data),
       table.rows, table.cols, table.cols * sizeof(float)},
      d_logits,
      d_table,
      {}};
  ETALON_RETURN_IF_ERROR(ops::GemmBackward({normed_, {&head, 1}, d_a_}, ctx_));
  ETALON_RETURN_IF_ERROR(
      ops::RmsNormBackward({last_, Vector(values_, kOutputNorm), rstd_, d_a_,
                            d_a_, Vector(gradients_, kOutputNorm)},
                           ctx_));
  const layer::BatchState state = {
      shape_.seq_len, positions_, rope_.CosView(), rope_.SinView(),
      1.0f / std::sqrt(static_cast<float>(shape_.head_dim))};
  Span2D<float> d_out = d_a_, d_in = d_b_;
  for (size_t i = shape_.n_layers; i-- > 0; std::swap(d_out, d_in)) {
    ETALON_RETURN_IF_ERROR(layer::Backward(config_, layers_[i], state,
                                           tapes_[i], d_out, d_in,
                                           layer_gradients_[i], ctx_));
  }
  return ops::EmbeddingBackward({tokens, d_out, d_table}, ctx_);
}

Expected<double> Net::Loss(std::span<const int32_t> tokens,
                           std::span<const int32_t> targets, bool gradients,
                           float scale) {
  ETALON_ENSURE(tokens.size() == positions_.size(),
                fmt::format("batch of {} tokens, need {}", tokens.size(),
                            positions_.size()));
  CopyNorms();
  const Backend& cpu = CpuBackend();
  const Span2D<float> table = Matrix(values_, kEmbedding);
  const WeightMatrix matrix = {
      TensorType::kF32, reinterpret_cast<const std::byte*>(table.data),
      table.rows, table.cols, table.cols * sizeof(float)};
  const layer::BatchState state = {
      shape_.seq_len, positions_, rope_.CosView(), rope_.SinView(),
      1.0f / std::sqrt(static_cast<float>(shape_.head_dim))};
  ETALON_RETURN_IF_ERROR(cpu.embedding({matrix, tokens, tapes_[0].x}, ctx_));
  for (size_t i = 0; i < shape_.n_layers; ++i) {
    const Span2D<float> out = i + 1 < shape_.n_layers ? tapes_[i + 1].x : last_;
    ETALON_RETURN_IF_ERROR(layer::ForwardOnTape(config_, layers_[i], state,
                                                tapes_[i], out, cpu, ctx_));
  }
  ETALON_RETURN_IF_ERROR(cpu.rms_norm(
      {last_, Vector(values_, kOutputNorm), shape_.rms_eps, normed_, rstd_},
      ctx_));
  const GemmPart head{matrix, {}, logits_, 1.0f};
  ETALON_RETURN_IF_ERROR(
      cpu.gemm({normed_, {&head, 1}, Activations::kF32}, ctx_));
  ETALON_RETURN_IF_ERROR(ops::CrossEntropy(
      {logits_, targets, scale, losses_, gradients ? logits_ : Span2D<float>()},
      ctx_));
  if (gradients) ETALON_RETURN_IF_ERROR(Backward(tokens, logits_));
  double sum = 0.0;
  for (const double loss : losses_) sum += loss;
  return sum;
}

double Net::FmaPerToken() const {
  double matrices = 0.0;
  for (const Parameter& p : parameters_) {
    if (p.rows > 0) matrices += static_cast<double>(p.size());
  }
  // Scores and values of half the window on average; backward computes them
  // again and takes four more products of that size.
  const double attention = static_cast<double>(
      shape_.n_layers * shape_.n_heads * shape_.head_dim * shape_.seq_len / 2);
  return 3.0 * matrices + (2.0 + 5.0) * attention;
}

}  // namespace etalon::train
