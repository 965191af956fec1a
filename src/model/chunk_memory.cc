#include "model/chunk_memory.h"

#include <algorithm>

namespace etalon::model {
namespace {

size_t Max(const std::vector<size_t>& v) {
  return *std::max_element(v.begin(), v.end());
}

// 2 when some layer's weights read Q8_K rows and others Q8_0 rows.
size_t ActivationForms(const Weights& weights) {
  bool k_quants = false, others = false;
  for (const layer::LayerWeights& w : weights.layers) {
    for (const layer::Linear* l : {&w.q, &w.k, &w.v, &w.o, &w.gate, &w.up}) {
      const TypeTraits* traits = FindTypeTraits(l->weights.type);
      if (traits == nullptr || !IsQuantized(l->weights.type)) continue;
      (traits->block_size == 256 ? k_quants : others) = true;
    }
  }
  return k_quants && others ? 2 : 1;
}

}  // namespace

size_t ScratchBytes(const Model& model, size_t n, const SessionOptions& o) {
  const Hyperparameters& hp = model.hyperparameters();
  layer::LayerConfig widest;
  widest.n_heads = Max(hp.n_heads);
  widest.n_kv_heads = Max(hp.n_kv_heads);
  widest.head_dim = hp.head_dim;
  widest.ffn_dim = Max(hp.ffn_dim);
  widest.n_experts = hp.n_experts;
  const layer::LayerRowBytes rows = layer::RowBytesOf(widest, n);
  const size_t n_forms = ActivationForms(model.weights());
  const auto product = [&](size_t k, size_t forms) {
    return ops::GemmWorkspaceBytes(n, k, o.n_threads, forms);
  };
  const auto attention = [&](size_t n_tokens) {
    return ops::AttentionWorkspaceBytes(n_tokens, widest.n_heads, hp.head_dim,
                                        o.n_ctx, o.n_threads);
  };
  const size_t attend =
      rows.attention + std::max({product(hp.model_dim, n_forms),
                                 product(widest.n_heads * hp.head_dim, 1),
                                 attention(n), attention(1)});
  const size_t dense = std::max(
      ops::GemmSwiGluWorkspaceBytes(n, hp.model_dim, o.n_threads, n_forms),
      product(widest.ffn_dim, 1));
  const size_t experts = hp.n_experts == 0
                             ? 0
                             : ops::MoeFfnWorkspaceBytes(
                                   n, hp.n_experts_used, hp.model_dim,
                                   widest.ffn_dim, hp.n_experts, o.n_threads);
  return std::max(
      attend,
      rows.feed_forward + (hp.n_experts == 0
                               ? dense
                               : std::max(product(hp.model_dim, 1), experts)));
}

size_t ChooseBatch(const Model& model, const SessionOptions& o) {
  const Hyperparameters& hp = model.hyperparameters();
  // The program, its libraries and its stacks take 10 MiB, a vocabulary up to
  // 40 bytes for each token with its merge.
  constexpr size_t kPromise = size_t{54} << 20;
  const size_t budget = kPromise - std::min(kPromise, 40 * hp.n_vocab);
  const size_t moe = hp.n_experts > 0 ? 1 : 0;
  const size_t floats =
      (2 + moe) * hp.model_dim + hp.rope.rotary_dim + hp.n_experts;
  size_t n = 512;
  while (n > 32 &&
         n * floats * sizeof(float) + ScratchBytes(model, n, o) > budget) {
    n /= 2;
  }
  return n;
}

}  // namespace etalon::model
