// What a GGUF file says about its model's shape, read and checked before any
// tensor is looked at: every number has a range, stated where it is refused.
#ifndef ETALON_MODEL_HYPERPARAMETERS_H_
#define ETALON_MODEL_HYPERPARAMETERS_H_

#include <string>
#include <vector>

#include "etalon/rope.h"
#include "io/gguf.h"

namespace etalon::model {

struct Hyperparameters {
  std::string architecture;
  size_t n_vocab = 0;
  size_t n_ctx_train = 0;
  size_t model_dim = 0;
  size_t n_layers = 0;
  std::vector<size_t> n_heads;     // [n_layers]
  std::vector<size_t> n_kv_heads;  // [n_layers], divides n_heads
  std::vector<size_t> ffn_dim;     // [n_layers], of one expert if n_experts > 0
  size_t head_dim = 0;
  float rms_eps = 0.0f;
  RopeParams rope;  // style is set by the architecture
  size_t n_experts = 0;
  size_t n_experts_used = 0;
  // Llama-4 style query temperature (mistral3): queries at position p are
  // multiplied by 1 + attn_temperature * ln(floor(p / n_ctx_orig) + 1).
  float attn_temperature = 0.0f;
};

// Limits of this engine; a file beyond them is refused.
inline constexpr size_t kMaxLayers = 512;
inline constexpr size_t kMaxExperts = 512;
inline constexpr size_t kMaxHeadDim = 576;

Expected<Hyperparameters> ReadHyperparameters(const io::GgufFile& file);

}  // namespace etalon::model

#endif  // ETALON_MODEL_HYPERPARAMETERS_H_
