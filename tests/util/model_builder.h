// Small random models of every architecture, as GGUF files that a test may
// still bend: keys and tensors are plain lists until the file is written.
#ifndef ETALON_TESTS_UTIL_MODEL_BUILDER_H_
#define ETALON_TESTS_UTIL_MODEL_BUILDER_H_

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "io/gguf_writer.h"
#include "tests/util/random.h"
#include "tests/util/random_blocks.h"

namespace etalon::test {

using KvValue =
    std::variant<uint32_t, int32_t, uint64_t, float, bool, std::string,
                 std::vector<uint32_t>, std::vector<int32_t>,
                 std::vector<float>, std::vector<std::string>>;

struct TestTensor {
  std::string name;
  TensorType type;
  std::vector<uint64_t> ne;  // the contiguous dimension first
  std::vector<std::byte> bytes;
};

// What will be in the file.
struct TestModel {
  std::vector<std::pair<std::string, KvValue>> kvs;
  std::vector<TestTensor> tensors;

  // "NAME" or, with a leading dot, a key of the architecture.
  std::string Key(const std::string& key) const {
    return key.starts_with('.') ? std::get<std::string>(kvs[0].second) + key
                                : key;
  }
  void Set(const std::string& key, KvValue value) {
    for (auto& [k, v] : kvs) {
      if (k != Key(key)) continue;
      v = std::move(value);
      return;
    }
    kvs.emplace_back(Key(key), std::move(value));
  }
  void Remove(const std::string& key) {
    std::erase_if(kvs, [&](const auto& kv) { return kv.first == Key(key); });
  }
  TestTensor& Tensor(const std::string& name) {
    const auto it = std::find_if(tensors.begin(), tensors.end(),
                                 [&](const auto& t) { return t.name == name; });
    EXPECT_NE(it, tensors.end()) << name;
    return *it;
  }
  void RemoveTensor(const std::string& name) {
    std::erase_if(tensors, [&](const auto& t) { return t.name == name; });
  }

  void Write(const std::string& path) const {
    io::GgufWriter writer;
    for (const auto& [key, value] : kvs) {
      const Status status = std::visit(
          [&, &k = key](const auto& v) { return Add(writer, k, v); }, value);
      ASSERT_TRUE(status) << status.error().message;
    }
    for (const TestTensor& t : tensors) {
      const Status status = writer.AddTensor(
          t.name, static_cast<uint32_t>(t.type), t.ne, t.bytes);
      ASSERT_TRUE(status) << status.error().message;
    }
    // Not WriteFile: waiting for the disk is no part of these tests.
    const auto bytes = writer.ToBytes();
    ASSERT_TRUE(bytes) << bytes.error().message;
    std::ofstream out(path, std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes->data()),
              static_cast<std::streamsize>(bytes->size()));
    ASSERT_TRUE(out.flush()) << path;
  }

 private:
  static Status Add(io::GgufWriter& w, const std::string& key, bool v) {
    return w.AddBool(key, v);
  }
  static Status Add(io::GgufWriter& w, const std::string& key,
                    const std::string& v) {
    return w.AddString(key, v);
  }
  static Status Add(io::GgufWriter& w, const std::string& key,
                    const std::vector<std::string>& v) {
    return w.AddStrings(key, v);
  }
  template <class T>
  static Status Add(io::GgufWriter& w, const std::string& key,
                    const std::vector<T>& v) {
    return w.AddNumbers<T>(key, v);
  }
  template <class T>
  requires std::is_arithmetic_v<T>
  static Status Add(io::GgufWriter& w, const std::string& key, T v) {
    return w.AddNumber(key, v);
  }
};

struct ModelSpec {
  std::string arch = "llama";
  uint64_t seed = 1;
  size_t n_layers = 2;
  size_t model_dim = 64;
  size_t n_heads = 4;
  size_t n_kv_heads = 2;
  size_t head_dim = 16;
  size_t ffn_dim = 96;
  size_t n_experts = 0;
  size_t n_experts_used = 0;
  size_t n_ctx = 512;
  size_t n_vocab = 0;  // 0: a small SentencePiece vocabulary; else none
  // Cycled over a layer's matrices.
  std::vector<TensorType> types = {TensorType::kF32};
  bool tied_output = false;
  bool fused_qkv = false;
  bool qkv_bias = false;
  bool projection_bias = false;  // attn_output, ffn_*
  bool output_bias = false;
  bool scales = false;       // NAME.scale of every matrix
  bool rope_freqs = false;   // rope_freqs.weight
  bool vary_layers = false;  // layers differ in heads and ffn width
  std::string rope_scaling;  // "", "linear" or "yarn"
  float attn_temperature = 0;
};

// The vocabulary of n_vocab == 0: <unk> <s> </s>, 256 bytes, some pieces.
inline constexpr size_t kTinyVocab = 3 + 256 + 29;

namespace internal {

class ModelMaker {
 public:
  explicit ModelMaker(const ModelSpec& spec)
      : s_(spec), rng_(spec.seed, /*stream=*/77) {}

  TestModel Make() {
    Keys();
    const size_t d = s_.model_dim;
    const size_t n_vocab = s_.n_vocab > 0 ? s_.n_vocab : kTinyVocab;
    Matrix("token_embd", n_vocab, d, 1.0f, {});
    Vector("output_norm.weight", d, 1.0f, 0.3f);
    if (!s_.tied_output) {
      Matrix("output", n_vocab, d, 0, {.bias = s_.output_bias, .scale = true});
    }
    if (s_.rope_freqs) {
      Vector("rope_freqs.weight", s_.head_dim / 2, 3.0f, 2.0f);
    }
    for (size_t i = 0; i < s_.n_layers; ++i) Layer(i);
    return std::move(m_);
  }

 private:
  struct Extras {
    bool bias = false;
    bool scale = false;
  };

  uint32_t U(size_t x) { return static_cast<uint32_t>(x); }
  size_t Heads(size_t i) const {
    return s_.vary_layers && i % 2 == 1 ? s_.n_heads / 2 : s_.n_heads;
  }
  size_t KvHeads(size_t i) const {
    return s_.vary_layers && i % 2 == 1 ? 1 : s_.n_kv_heads;
  }
  size_t Ffn(size_t i) const {
    return s_.vary_layers && i % 2 == 1 ? s_.ffn_dim / 2 : s_.ffn_dim;
  }
  // One number, or one for each layer.
  void SetPerLayer(const std::string& key,
                   size_t (ModelMaker::*value)(size_t) const) {
    if (!s_.vary_layers) {
      m_.Set(key, U((this->*value)(0)));
      return;
    }
    std::vector<uint32_t> v;
    for (size_t i = 0; i < s_.n_layers; ++i) v.push_back(U((this->*value)(i)));
    m_.Set(key, v);
  }

  void Keys() {
    m_.Set("general.architecture", s_.arch);
    m_.Set(".block_count", U(s_.n_layers));
    m_.Set(".context_length", U(s_.n_ctx));
    m_.Set(".embedding_length", U(s_.model_dim));
    SetPerLayer(".feed_forward_length", &ModelMaker::Ffn);
    SetPerLayer(".attention.head_count", &ModelMaker::Heads);
    SetPerLayer(".attention.head_count_kv", &ModelMaker::KvHeads);
    m_.Set(".attention.key_length", U(s_.head_dim));
    m_.Set(".attention.value_length", U(s_.head_dim));
    m_.Set(".attention.layer_norm_rms_epsilon", 1e-5f);
    m_.Set(".rope.dimension_count", U(s_.head_dim));
    m_.Set(".rope.freq_base", 10000.0f);
    if (!s_.rope_scaling.empty()) {
      m_.Set(".rope.scaling.type", s_.rope_scaling);
      m_.Set(".rope.scaling.factor", 4.0f);
      m_.Set(".rope.scaling.original_context_length", U(16));
    }
    if (s_.attn_temperature != 0) {
      m_.Set(".attention.temperature_scale", s_.attn_temperature);
    }
    if (s_.n_experts > 0) {
      m_.Set(".expert_count", U(s_.n_experts));
      m_.Set(".expert_used_count", U(s_.n_experts_used));
      m_.Set(".expert_feed_forward_length", U(s_.ffn_dim));
    }
    if (s_.n_vocab > 0) {
      m_.Set("tokenizer.ggml.model", std::string("no_vocab"));
      m_.Set(".vocab_size", U(s_.n_vocab));
    } else {
      Vocabulary();
    }
  }

  // Bytes, and letters of their own, so that any text is read and written.
  void Vocabulary() {
    std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
    std::vector<int32_t> types = {2, 3, 3};
    for (int byte = 0; byte < 256; ++byte) {
      tokens.push_back(fmt::format("<0x{:02X}>", byte));
      types.push_back(6);
    }
    for (char c = 'a'; c <= 'z'; ++c) tokens.emplace_back(1, c);
    for (const char* piece : {"\xE2\x96\x81",
                              "\xE2\x96\x81"
                              "a",
                              "an"}) {
      tokens.emplace_back(piece);
    }
    types.resize(tokens.size(), 1);
    std::vector<float> scores(tokens.size(), -1.0f);
    EXPECT_EQ(tokens.size(), kTinyVocab);
    m_.Set("tokenizer.ggml.model", std::string("llama"));
    m_.Set("tokenizer.ggml.tokens", tokens);
    m_.Set("tokenizer.ggml.scores", scores);
    m_.Set("tokenizer.ggml.token_type", types);
    m_.Set("tokenizer.ggml.bos_token_id", uint32_t{1});
    m_.Set("tokenizer.ggml.eos_token_id", uint32_t{2});
    m_.Set("tokenizer.ggml.unknown_token_id", uint32_t{0});
    m_.Set("tokenizer.ggml.add_bos_token", true);
  }

  // NAME.weight [n_out, n_in]; sigma 0: 1 / sqrt(n_in), which keeps variance.
  void Matrix(const std::string& name, size_t n_out, size_t n_in, float sigma,
              Extras extras, size_t n_experts = 0) {
    const TensorType type = name.ends_with("gate_inp")
                                ? TensorType::kF32
                                : s_.types[next_type_++ % s_.types.size()];
    if (sigma == 0) sigma = 1.0f / std::sqrt(static_cast<float>(n_in));
    std::vector<uint64_t> ne = {n_in, n_out};
    if (n_experts > 0) ne.push_back(n_experts);
    const size_t n = n_in * n_out * std::max<size_t>(1, n_experts);
    m_.tensors.push_back(
        {name + ".weight", type, ne, RandomWeightBytes(type, n, sigma, rng_)});
    if (extras.bias) Vector(name + ".bias", n_out, 0.1f, 0.5f);
    if (extras.scale && s_.scales) {
      Vector(name + ".scale", std::max<size_t>(1, n_experts), 1.0f, 0.25f);
    }
  }

  void Vector(const std::string& name, size_t n, float mean, float spread) {
    std::vector<std::byte> bytes(n * 4);
    for (size_t i = 0; i < n; ++i) {
      const float x = mean + spread * rng_.Uniform();
      std::memcpy(&bytes[i * 4], &x, 4);
    }
    m_.tensors.push_back({name, TensorType::kF32, {n}, std::move(bytes)});
  }

  void Layer(size_t i) {
    const std::string b = fmt::format("blk.{}.", i);
    const size_t d = s_.model_dim;
    const size_t q = Heads(i) * s_.head_dim, kv = KvHeads(i) * s_.head_dim;
    const Extras qkv{.bias = s_.qkv_bias, .scale = true};
    const Extras projection{.bias = s_.projection_bias, .scale = true};
    Vector(b + "attn_norm.weight", d, 1.0f, 0.3f);
    if (s_.fused_qkv) {
      Matrix(b + "attn_qkv", q + 2 * kv, d, 0, qkv);
    } else {
      Matrix(b + "attn_q", q, d, 0, qkv);
      Matrix(b + "attn_k", kv, d, 0, qkv);
      Matrix(b + "attn_v", kv, d, 0, qkv);
    }
    if (s_.arch.starts_with("qwen3")) {
      Vector(b + "attn_q_norm.weight", s_.head_dim, 1.0f, 0.3f);
      Vector(b + "attn_k_norm.weight", s_.head_dim, 1.0f, 0.3f);
    }
    Matrix(b + "attn_output", d, q, 0, projection);
    Vector(b + "ffn_norm.weight", d, 1.0f, 0.3f);
    const size_t ffn = Ffn(i);
    if (s_.n_experts == 0) {
      Matrix(b + "ffn_gate", ffn, d, 0, projection);
      Matrix(b + "ffn_up", ffn, d, 0, projection);
      Matrix(b + "ffn_down", d, ffn, 0, projection);
      return;
    }
    Matrix(b + "ffn_gate_inp", s_.n_experts, d, 0, {});
    Matrix(b + "ffn_gate_exps", ffn, d, 0, {.scale = true}, s_.n_experts);
    Matrix(b + "ffn_up_exps", ffn, d, 0, {.scale = true}, s_.n_experts);
    Matrix(b + "ffn_down_exps", d, ffn, 0, {.scale = true}, s_.n_experts);
  }

  ModelSpec s_;
  Random rng_;
  TestModel m_;
  size_t next_type_ = 0;
};

}  // namespace internal

inline TestModel MakeModel(const ModelSpec& spec) {
  return internal::ModelMaker(spec).Make();
}

// One named model of each kind of block: what must hold for all of them.
struct NamedSpec {
  std::string name;
  ModelSpec spec;
};

inline std::vector<NamedSpec> AllArchitectureSpecs() {
  std::vector<NamedSpec> all;
  const auto add = [&](std::string name, std::string arch) -> ModelSpec& {
    all.push_back({std::move(name), {}});
    all.back().spec.arch = std::move(arch);
    all.back().spec.seed = all.size();
    return all.back().spec;
  };
  add("LlamaDense", "llama").rope_freqs = true;
  ModelSpec& extras = add("LlamaExtras", "llama");
  extras.fused_qkv = extras.qkv_bias = extras.projection_bias = true;
  extras.scales = extras.vary_layers = true;
  extras.rope_scaling = "linear";
  ModelSpec& mixtral = add("LlamaExperts", "llama");
  mixtral.n_experts = 5;
  mixtral.n_experts_used = 2;
  mixtral.scales = true;
  ModelSpec& mistral = add("Mistral3", "mistral3");
  mistral.rope_scaling = "yarn";
  mistral.attn_temperature = 0.1f;
  ModelSpec& smol = add("SmolLm3", "smollm3");
  smol.n_layers = 5;  // the fourth has no RoPE
  smol.tied_output = true;
  ModelSpec& qwen2 = add("Qwen2", "qwen2");
  qwen2.qkv_bias = qwen2.output_bias = qwen2.tied_output = true;
  ModelSpec& qwen3 = add("Qwen3", "qwen3");
  qwen3.head_dim = 24;  // n_heads * head_dim differs from model_dim
  qwen3.rope_scaling = "yarn";
  ModelSpec& moe = add("Qwen3Moe", "qwen3moe");
  moe.n_experts = 6;
  moe.n_experts_used = 3;
  return all;
}

// The same with rows of 256, so that every block format fits.
inline ModelSpec Quantised(ModelSpec spec, std::vector<TensorType> types) {
  spec.model_dim = 256;
  spec.n_heads = 8;  // half of them still make a row of 256
  spec.head_dim = 64;
  spec.ffn_dim = 512;
  spec.types = std::move(types);
  return spec;
}

}  // namespace etalon::test

#endif  // ETALON_TESTS_UTIL_MODEL_BUILDER_H_
