#include "profile/op_cost.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace etalon::profile {
namespace {

template <class... T>
double Product(T... n) {
  return (static_cast<double>(n) * ...);
}

constexpr double kF32 = 4;

double StoredBytes(const WeightMatrix& w) {
  return Product(w.rows, RowBytes(w.type, w.cols));
}

void AddType(OpKey* key, TensorType type) {
  const auto end = key->types.begin() + key->n_types;
  if (std::find(key->types.begin(), end, type) != end ||
      key->n_types == OpKey::kMaxTypes) {
    return;
  }
  key->types[key->n_types++] = type;
}

// An op over rows of f32: `passes` reads and writes, `operations` an element.
OpCall RowOp(Op op, size_t rows, size_t n, double passes, double operations) {
  OpCall c;
  c.key.op = op;
  c.key.many_rows = rows > 1;
  AddType(&c.key, TensorType::kF32);
  c.key.n = n;
  c.cost.activations = passes * kF32 * Product(rows, n);
  c.cost.operations = operations * Product(rows, n);
  return c;
}

// One row of a cache; its last block is padded.
double CacheRow(TensorType type, size_t head_dim) {
  const size_t block = GetTypeTraits(type).block_size;
  return Product(RowBytes(type, (head_dim + block - 1) / block * block));
}

bool Integer(TensorType type, Activations activations) {
  return IsQuantized(type) && activations == Activations::kAuto;
}

}  // namespace

const char* OpName(Op op) {
  constexpr const char* kNames[kNumOps] = {
      "embedding", "rms_norm",   "rope",    "gemm", "gemm_swiglu",
      "kv_write",  "attention",  "swiglu",  "add",  "scale_rows",
      "softmax",   "moe_router", "moe_ffn",
  };
  return kNames[static_cast<size_t>(op)];
}

std::string OpKey::TypeText() const {
  std::string text;
  for (size_t i = 0; i < n_types; ++i) {
    text += fmt::format("{}{}", i == 0 ? "" : "+", TypeName(types[i]));
  }
  return text;
}

std::string OpKey::ShapeText() const {
  return k == 0 ? fmt::format("{}", n) : fmt::format("{}x{}", n, k);
}

OpCall Describe(const EmbeddingArgs& a) {
  OpCall c;
  c.key.op = Op::kEmbedding;
  c.key.many_rows = a.tokens.size() > 1;
  AddType(&c.key, a.table.type);
  c.key.n = a.table.cols;
  c.cost.streamed =
      Product(a.tokens.size(), RowBytes(a.table.type, a.table.cols));
  c.cost.activations = kF32 * Product(a.tokens.size(), a.table.cols);
  return c;
}

OpCall Describe(const RmsNormArgs& a) {
  OpCall c = RowOp(Op::kRmsNorm, a.x.rows, a.x.cols, 2, 4);
  c.cost.streamed = kF32 * Product(a.weight.size());
  return c;
}

OpCall Describe(const RopeArgs& a) {
  const size_t rotated = 2 * a.cos.cols;
  OpCall c = RowOp(Op::kRope, a.x.n_tokens, a.x.n_heads * rotated, 2, 3);
  c.cost.activations += kF32 * Product(a.x.n_tokens, rotated);
  return c;
}

OpCall Describe(const GemmArgs& a) {
  OpCall c;
  c.key.op = Op::kGemm;
  c.key.many_rows = a.x.rows > 1;
  c.key.k = a.x.cols;
  c.cost.activations = kF32 * Product(a.x.rows, a.x.cols);
  for (const GemmPart& p : a.parts) {
    const size_t n = p.weights.rows;
    AddType(&c.key, p.weights.type);
    c.key.integer |= Integer(p.weights.type, a.activations);
    c.key.n += n;
    c.cost.streamed += StoredBytes(p.weights) + kF32 * Product(p.bias.size());
    c.cost.activations += kF32 * Product(a.x.rows, n);
    c.cost.operations += 2 * Product(a.x.rows, n, a.x.cols);
    if (!p.bias.empty()) c.cost.operations += Product(a.x.rows, n);
    if (p.scale != 1.0f) c.cost.operations += Product(a.x.rows, n);
  }
  return c;
}

OpCall Describe(const GemmSwiGluArgs& a) {
  OpCall c;
  c.key.op = Op::kGemmSwiGlu;
  c.key.many_rows = a.x.rows > 1;
  c.key.integer = Integer(a.gate.weights.type, a.activations) ||
                  Integer(a.up.weights.type, a.activations);
  AddType(&c.key, a.gate.weights.type);
  AddType(&c.key, a.up.weights.type);
  c.key.n = a.gate.weights.rows + a.up.weights.rows;
  c.key.k = a.x.cols;
  c.cost.streamed = StoredBytes(a.gate.weights) + StoredBytes(a.up.weights) +
                    kF32 * Product(a.gate.bias.size() + a.up.bias.size());
  c.cost.activations = kF32 * Product(a.x.rows, a.x.cols + a.out.cols);
  c.cost.operations = 4 * Product(a.x.rows, a.out.cols, a.x.cols) +
                      4 * Product(a.x.rows, a.out.cols);
  return c;
}

OpCall Describe(const KvWriteArgs& a) {
  OpCall c;
  c.key.op = Op::kKvWrite;
  c.key.many_rows = a.x.n_tokens > 1;
  AddType(&c.key, a.cache.type);
  c.key.n = a.x.n_heads * a.x.head_dim;
  c.cost.activations = kF32 * Product(a.x.n_tokens, c.key.n);
  c.cost.streamed =
      CacheRow(a.cache.type, a.x.head_dim) * Product(a.x.n_tokens, a.x.n_heads);
  return c;
}

OpCall Describe(const AttentionArgs& a) {
  OpCall c;
  c.key.op = Op::kAttention;
  c.key.many_rows = a.q.n_tokens > 1;
  AddType(&c.key, a.k.type);
  AddType(&c.key, a.v.type);
  c.key.n = a.q.n_heads;
  c.key.k = a.q.head_dim;
  // Keys seen by all tokens together, and the first that any sees.
  double seen = 0;
  size_t first = a.kv_len;
  for (size_t t = 0; t < a.q.n_tokens; ++t) {
    const size_t later = std::min(a.q.n_tokens - 1 - t, a.kv_len);
    const size_t past = a.kv_len - later;  // up to its own position
    const size_t window = a.variant.window > 0 ? a.variant.window : past;
    const size_t hidden = past - std::min(past, window);
    seen += static_cast<double>((a.causal ? past : a.kv_len) - hidden);
    first = std::min(first, hidden);
  }
  const size_t v_dim = a.v.head_dim > 0 ? a.v.head_dim : a.q.head_dim;
  const double row =
      CacheRow(a.k.type, a.q.head_dim) + CacheRow(a.v.type, v_dim);
  c.cost.streamed = row * Product(a.k.n_kv_heads, a.kv_len - first);
  const double outputs = Product(a.q.n_tokens, a.q.n_heads, v_dim);
  c.cost.activations =
      kF32 * (Product(a.q.n_tokens, a.q.n_heads, a.q.head_dim) + outputs);
  c.cost.operations = 2 * seen * Product(a.q.n_heads, a.q.head_dim + v_dim);
  if (a.gate.data != nullptr) c.cost.activations += kF32 * outputs;
  return c;
}

OpCall Describe(const SwiGluArgs& a) {
  return RowOp(Op::kSwiGlu, a.gate.rows, a.gate.cols, 3, 4);
}
OpCall Describe(const AddArgs& a) {
  return RowOp(Op::kAdd, a.a.rows, a.a.cols, 3, 1);
}
OpCall Describe(const ScaleRowsArgs& a) {
  return RowOp(Op::kScaleRows, a.x.rows, a.x.cols, 2, 1);
}
OpCall Describe(const SoftmaxArgs& a) {
  return RowOp(Op::kSoftmax, a.x.rows, a.x.cols, 2, 4);
}

OpCall Describe(const MoeRouterArgs& a) {
  OpCall c = RowOp(Op::kMoeRouter, a.logits.rows, a.logits.cols, 1, 4);
  // Indices and weights of the experts taken.
  c.cost.activations += 8 * Product(a.experts.rows, a.experts.cols);
  return c;
}

OpCall Describe(const MoeFfnArgs& a) {
  OpCall c;
  c.key.op = Op::kMoeFfn;
  c.key.many_rows = a.x.rows > 1;
  c.key.integer = Integer(a.gate.first.type, a.activations) ||
                  Integer(a.down.first.type, a.activations);
  for (const ExpertWeights* w : {&a.gate, &a.up, &a.down}) {
    AddType(&c.key, w->first.type);
  }
  const size_t model_dim = a.x.cols, ffn_dim = a.gate.first.rows;
  c.key.n = ffn_dim;
  c.key.k = model_dim;
  std::vector<bool> used(a.gate.n_experts);
  for (size_t t = 0; t < a.experts.rows; ++t) {
    for (const int32_t e : a.experts.row(t)) {
      if (e >= 0 && static_cast<size_t>(e) < used.size()) {
        used[static_cast<size_t>(e)] = true;
      }
    }
  }
  const double n_used = Product(std::count(used.begin(), used.end(), true));
  c.cost.streamed =
      n_used * (StoredBytes(a.gate.first) + StoredBytes(a.up.first) +
                StoredBytes(a.down.first));
  const double pairs = Product(a.experts.rows, a.experts.cols);
  c.cost.activations = 2 * kF32 * Product(a.x.rows, model_dim) + 8 * pairs;
  c.cost.operations = pairs * (6 * Product(ffn_dim, model_dim) +
                               4 * Product(ffn_dim) + 2 * Product(model_dim));
  return c;
}

}  // namespace etalon::profile
