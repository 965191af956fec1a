// One sequence on one model: KV cache, position, activations. Prefill runs in
// chunks; a chunk's size never shows in the bits of the result (profile
// strict), nor do threads, tier or the cache's capacity.
#ifndef ETALON_MODEL_SESSION_H_
#define ETALON_MODEL_SESSION_H_

#include <algorithm>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "etalon/backend.h"
#include "etalon/config.h"
#include "etalon/workspace.h"
#include "model/kv_cache.h"
#include "model/model.h"

namespace etalon::model {

struct SessionOptions {
  size_t n_ctx = 512;  // KV capacity in positions
  size_t n_batch = 0;  // tokens per prefill chunk; 0: the engine's choice
  TensorType k_type = TensorType::kF32;
  TensorType v_type = TensorType::kF32;
  int n_threads = 1;
  const Backend* backend = &CpuBackend();
  Config config;
  // Shown every stage of every layer, for dumps; must outlive the session.
  layer::LayerObserver* observer = nullptr;
};

class Session {
 public:
  // All memory is reserved here; nothing grows while generating.
  static Expected<std::unique_ptr<Session>> Create(
      const Model& model, const SessionOptions& options);

  // Appends tokens. `logits` is [0, 1 or tokens.size()] rows of [n_vocab]:
  // none, those of the last token, or all. Errors (nothing is appended): a
  // token id outside the vocabulary, no room left in the cache, non-finite
  // activations (naming the first bad layer) or logits.
  Status Append(std::span<const int32_t> tokens, Span2D<float> logits);

  size_t n_past() const { return n_past_; }
  size_t n_ctx() const { return cache_.capacity(); }
  // Forgets the positions >= n.
  void Truncate(size_t n) { n_past_ = std::min(n_past_, n); }

  const Model& model() const { return model_; }
  // Switches may change at any time: the next Append looks at them (B-84).
  Config& config() { return options_.config; }
  uint64_t kv_bytes() const { return cache_.bytes(); }
  const Workspace& workspace() const { return workspace_; }
  // Called after each chunk of a prefill with the tokens done of this Append.
  // Returning false stops there: the tokens done stay appended.
  std::function<bool(size_t)> on_chunk;

 private:
  Session(const Model& model, const SessionOptions& options, KvCache cache)
      : model_(model), options_(options), cache_(std::move(cache)) {}

  Status Prepare();
  Status Chunk(std::span<const int32_t> tokens, Span2D<float> logits);
  void FillPositions(size_t n_tokens);
  layer::LayerBuffers Buffers(size_t layer, size_t n_tokens) const;
  Status CheckFinite(const std::string& what, size_t first_position,
                     Span2D<const float> x) const;

  const Model& model_;
  SessionOptions options_;
  KvCache cache_;
  size_t n_past_ = 0;
  RopeFrequencies rope_;
  Workspace workspace_;  // persistent activations below, op scratch above
  layer::LayerBuffers buffers_;        // of the widest layer, n_batch rows
  Span2D<float> rope_cos_, rope_sin_;  // [n_batch, rotary_dim / 2]
  std::span<int32_t> rope_rows_;       // 0, 1, ..., n_batch - 1
  std::span<float> q_scale_;           // [n_batch] or empty
};

}  // namespace etalon::model

#endif  // ETALON_MODEL_SESSION_H_
