// The shapes that benchmarks run, with the models they come from, so that a
// figure can be compared with what others publish for the same model.
#ifndef ETALON_BENCH_MODEL_SHAPES_H_
#define ETALON_BENCH_MODEL_SHAPES_H_

#include <cstddef>
#include <string_view>

namespace etalon::bench {

struct ModelShape {
  std::string_view name;
  std::string_view architecture;  // general.architecture
  std::string_view comes_from;
  size_t n_layers;
  size_t model_dim;
  size_t n_heads;
  size_t n_kv_heads;
  size_t head_dim;
  size_t ffn_dim;    // of one expert in a mixture
  size_t n_experts;  // 0: dense
  size_t n_experts_used;
  size_t n_vocab;
  float rope_freq_base;
  bool tied_embeddings;  // no output matrix of its own
  bool qk_norm;
};

inline constexpr ModelShape kModelShapes[] = {
    {"llama-1.2b", "llama", "Llama 3.2 1B", 16, 2048, 32, 8, 64, 8192, 0, 0,
     128256, 500000.0f, true, false},
    {"qwen3-0.6b", "qwen3", "Qwen3 0.6B", 28, 1024, 16, 8, 128, 3072, 0, 0,
     151936, 1000000.0f, true, true},
    // Four of 32 layers: the per-layer shapes of an 8B model in a file that
    // fits small machines.
    {"llama-8b-4l", "llama", "Llama 3 8B, 4 of 32 layers, small vocabulary", 4,
     4096, 32, 8, 128, 14336, 0, 0, 32768, 500000.0f, false, false},
    {"qwen3-moe-4l", "qwen3moe",
     "Qwen3 30B-A3B, 4 of 48 layers, small vocabulary", 4, 2048, 32, 4, 128,
     768, 128, 8, 32768, 1000000.0f, false, true},
};

// A weight matrix W [n, k] of one of them: out = x W^T.
struct MatrixShape {
  std::string_view name;
  size_t n;
  size_t k;
};

inline constexpr MatrixShape kMatrixShapes[] = {
    {"llama-8b/attn_q", 4096, 4096},      {"llama-8b/attn_kv", 1024, 4096},
    {"llama-8b/ffn_up", 14336, 4096},     {"llama-8b/ffn_down", 4096, 14336},
    {"llama-1.2b/attn_q", 2048, 2048},    {"llama-1.2b/ffn_up", 8192, 2048},
    {"llama-1.2b/ffn_down", 2048, 8192},  {"llama-1.2b/output", 128256, 2048},
    {"qwen3-0.6b/attn_q", 2048, 1024},    {"qwen3-0.6b/ffn_up", 3072, 1024},
    {"qwen3-0.6b/ffn_down", 1024, 3072},  {"qwen3-moe/expert_up", 768, 2048},
    {"qwen3-moe/expert_down", 2048, 768},
};

// Rows of activations: decode, small batches, prefill.
inline constexpr size_t kBatchSizes[] = {1, 4, 32, 128, 512};

// A KV cache being read by one token, or by the last of a prompt.
struct AttentionShape {
  std::string_view name;
  size_t n_heads;
  size_t n_kv_heads;
  size_t head_dim;
};
inline constexpr AttentionShape kAttentionShapes[] = {
    {"llama-8b", 32, 8, 128},
    {"llama-1.2b", 32, 8, 64},
    {"qwen3-0.6b", 16, 8, 128},
    {"qwen3-moe", 32, 4, 128},
};
inline constexpr size_t kKvLengths[] = {512, 2048, 8192};

}  // namespace etalon::bench

#endif  // ETALON_BENCH_MODEL_SHAPES_H_
