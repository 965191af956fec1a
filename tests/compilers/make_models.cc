// usage: make_test_models DIR
// Writes small models of random weights, one per weight type and block kind,
// without a vocabulary: what compare.sh asks for logits.
#include <fmt/format.h>

#include <cstdio>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include "io/gguf_writer.h"
#include "tests/util/random_weights.h"

namespace etalon {
namespace {

// K-quants need rows of 256; head_dim 64 and two query heads per kv head.
constexpr uint64_t kModelDim = 256, kHeads = 4, kKvHeads = 2, kHeadDim = 64;
constexpr uint64_t kFfnDim = 512, kVocab = 96, kExperts = 4;
constexpr int kLayers = 2;

class ModelMaker {
 public:
  ModelMaker(std::string arch, TensorType type)
      : arch_(std::move(arch)), type_(type) {}

  Status Write(const std::string& path) {
    const bool experts = arch_ == "qwen3moe";
    ETALON_RETURN_IF_ERROR(Metadata(experts));
    ETALON_RETURN_IF_ERROR(Matrix("token_embd.weight", {kModelDim, kVocab}));
    // Small gains keep the attention scores small: a softmax that saturates
    // would hide differences.
    ETALON_RETURN_IF_ERROR(Vector("output_norm.weight", kModelDim, 1.0f));
    for (int layer = 0; layer < kLayers; ++layer) {
      const std::string b = fmt::format("blk.{}.", layer);
      ETALON_RETURN_IF_ERROR(Vector(b + "attn_norm.weight", kModelDim, gain_));
      const uint64_t q = kHeads * kHeadDim, kv = kKvHeads * kHeadDim;
      ETALON_RETURN_IF_ERROR(Matrix(b + "attn_q.weight", {kModelDim, q}));
      ETALON_RETURN_IF_ERROR(Matrix(b + "attn_k.weight", {kModelDim, kv}));
      ETALON_RETURN_IF_ERROR(Matrix(b + "attn_v.weight", {kModelDim, kv}));
      ETALON_RETURN_IF_ERROR(Matrix(b + "attn_output.weight", {q, kModelDim}));
      ETALON_RETURN_IF_ERROR(Vector(b + "ffn_norm.weight", kModelDim, gain_));
      if (arch_ != "llama") {
        ETALON_RETURN_IF_ERROR(Vector(b + "attn_q_norm.weight", kHeadDim, 1));
        ETALON_RETURN_IF_ERROR(Vector(b + "attn_k_norm.weight", kHeadDim, 1));
      }
      std::vector<uint64_t> up = {kModelDim, kFfnDim};
      std::vector<uint64_t> down = {kFfnDim, kModelDim};
      std::string suffix = ".weight";
      if (experts) {
        up.push_back(kExperts);
        down.push_back(kExperts);
        suffix = "_exps.weight";
        ETALON_RETURN_IF_ERROR(Matrix(b + "ffn_gate_inp.weight",
                                      {kModelDim, kExperts}, TensorType::kF32));
      }
      ETALON_RETURN_IF_ERROR(Matrix(b + "ffn_gate" + suffix, up));
      ETALON_RETURN_IF_ERROR(Matrix(b + "ffn_up" + suffix, up));
      ETALON_RETURN_IF_ERROR(Matrix(b + "ffn_down" + suffix, down));
    }
    return writer_.WriteFile(path);
  }

 private:
  Status Metadata(bool experts) {
    const auto number = [this](std::string_view key, auto value) {
      return writer_.AddNumber(fmt::format("{}.{}", arch_, key), value);
    };
    const auto size = [&](std::string_view key, uint64_t value) {
      return number(key, static_cast<uint32_t>(value));
    };
    ETALON_RETURN_IF_ERROR(writer_.AddString("general.architecture", arch_));
    ETALON_RETURN_IF_ERROR(
        writer_.AddString("tokenizer.ggml.model", "no_vocab"));
    ETALON_RETURN_IF_ERROR(size("vocab_size", kVocab));
    ETALON_RETURN_IF_ERROR(size("block_count", kLayers));
    ETALON_RETURN_IF_ERROR(size("context_length", 2048));
    ETALON_RETURN_IF_ERROR(size("embedding_length", kModelDim));
    ETALON_RETURN_IF_ERROR(size("feed_forward_length", kFfnDim));
    ETALON_RETURN_IF_ERROR(size("attention.head_count", kHeads));
    ETALON_RETURN_IF_ERROR(size("attention.head_count_kv", kKvHeads));
    ETALON_RETURN_IF_ERROR(size("attention.key_length", kHeadDim));
    ETALON_RETURN_IF_ERROR(size("attention.value_length", kHeadDim));
    ETALON_RETURN_IF_ERROR(number("attention.layer_norm_rms_epsilon", 1e-5f));
    if (experts) {
      ETALON_RETURN_IF_ERROR(size("expert_count", kExperts));
      ETALON_RETURN_IF_ERROR(size("expert_used_count", 2));
      ETALON_RETURN_IF_ERROR(size("expert_feed_forward_length", kFfnDim));
    }
    return {};
  }

  Status Matrix(const std::string& name, const std::vector<uint64_t>& ne) {
    return Matrix(name, ne, type_);
  }
  Status Matrix(const std::string& name, const std::vector<uint64_t>& ne,
                TensorType type) {
    size_t rows = 1;
    for (size_t i = 1; i < ne.size(); ++i) rows *= ne[i];
    return Add(name, ne, test::MakeWeights(type, rows, ne[0], rng_).bytes,
               type);
  }
  Status Vector(const std::string& name, uint64_t n, float gain) {
    std::vector<std::byte> bytes(n * sizeof(float));
    for (size_t i = 0; i < n; ++i) {
      const float x = gain * (1.0f + 0.5f * rng_.Uniform());
      std::memcpy(&bytes[i * sizeof(float)], &x, sizeof(float));
    }
    return Add(name, {n}, std::move(bytes), TensorType::kF32);
  }

  Status Add(const std::string& name, const std::vector<uint64_t>& ne,
             std::vector<std::byte> bytes, TensorType type) {
    data_.push_back(std::move(bytes));
    return writer_.AddTensor(name, static_cast<uint32_t>(type), ne,
                             data_.back());
  }

  std::string arch_;
  TensorType type_;
  const float gain_ = 0.01f;
  test::Random rng_{/*seed=*/1, /*stream=*/0};
  io::GgufWriter writer_;
  std::deque<std::vector<std::byte>> data_;  // read by the writer at the end
};

int MakeModels(const std::string& folder) {
  for (const char* arch : {"llama", "qwen3", "qwen3moe"}) {
    for (TensorType type : test::kWeightTypes) {
      // Every type once; the other block kinds with one type of each family.
      const bool all = std::string_view(arch) == "llama";
      if (!all && type != TensorType::kF32 && type != TensorType::kQ8_0 &&
          type != TensorType::kQ4_K) {
        continue;
      }
      const std::string path =
          fmt::format("{}/{}-{}.gguf", folder, arch, TypeName(type));
      if (const Status s = ModelMaker(arch, type).Write(path); !s) {
        fmt::print(stderr, "{}: {}\n", path, s.error().message);
        return 1;
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace etalon

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: make_test_models DIR\n", stderr);
    return 1;
  }
  return etalon::MakeModels(argv[1]);
}
