#include "bench/random_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "io/gguf_writer.h"
#include "quant/block_formats.h"
#include "quant/dequantize.h"
#include "quant/f16.h"
#include "quantize/type_mix.h"

namespace etalon::bench {
namespace {

// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
// generators", OOPSLA 2014): fast, and any seed is a good one.
class SplitMix {
 public:
  explicit SplitMix(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  void Fill(void* out, size_t n_bytes) {
    auto* p = static_cast<std::byte*>(out);
    for (size_t i = 0; i < n_bytes; i += 8) {
      const uint64_t word = Next();
      std::memcpy(p + i, &word, std::min<size_t>(8, n_bytes - i));
    }
  }
  // [0.75, 1.25): scales differ from block to block.
  float Jitter() { return 0.75f + static_cast<float>(Next() >> 40) * 0x1p-25f; }
  // [-1, 1).
  float Uniform() { return static_cast<float>(Next() >> 40) * 0x1p-23f - 1.0f; }

 private:
  uint64_t state_;
};

// Uniform q in 0..15 has standard deviation 4.61 about 7.5: with m = sc and
// dmin = 7.5 d the weights are centred.
void Draw(SplitMix& rng, float sigma, BlockQ4_K& block) {
  rng.Fill(&block, sizeof(block));
  KScales scales;
  for (size_t s = 0; s < 8; ++s) {
    scales.sc[s] = static_cast<uint8_t>(32 + (block.scales[s] & 31));
    scales.m[s] = scales.sc[s];
  }
  constexpr float kMeanScale = 47.5f;
  const float d = sigma * rng.Jitter() / (kMeanScale * 4.61f);
  block.d = F32ToF16(d);
  block.dmin = F32ToF16(7.5f * d);
  PackKScales(scales, block.scales);
}

// Uniform q in -32..31 has standard deviation 18.5; scales of both signs centre
// the weights.
void Draw(SplitMix& rng, float sigma, BlockQ6_K& block) {
  rng.Fill(&block, sizeof(block));
  for (int8_t& scale : block.scales) {
    const int magnitude = 64 + (scale & 63);
    scale = static_cast<int8_t>((scale & 64) != 0 ? -magnitude : magnitude);
  }
  constexpr float kMeanScale = 95.5f;
  block.d = F32ToF16(sigma * rng.Jitter() / (kMeanScale * 18.5f));
}

void Draw(SplitMix& rng, float sigma, float& value) {
  value = sigma * std::sqrt(3.0f) * rng.Uniform();
}

template <class Element>
Status StreamElements(SplitMix rng, float sigma, uint64_t n,
                      const io::GgufWriter::ByteSink& sink) {
  std::vector<Element> chunk(
      static_cast<size_t>(std::min<uint64_t>(n, (1 << 20) / sizeof(Element))));
  for (uint64_t done = 0; done < n;) {
    const size_t count =
        static_cast<size_t>(std::min<uint64_t>(n - done, chunk.size()));
    for (size_t i = 0; i < count; ++i) Draw(rng, sigma, chunk[i]);
    ETALON_RETURN_IF_ERROR(
        sink(std::as_bytes(std::span<const Element>(chunk.data(), count))));
    done += count;
  }
  return {};
}

struct TensorPlan {
  std::string name;
  std::vector<uint64_t> ne;  // contiguous dimension first
};

std::vector<TensorPlan> ListTensors(const ModelShape& s) {
  const uint64_t q_dim = s.n_heads * s.head_dim;
  const uint64_t kv_dim = s.n_kv_heads * s.head_dim;
  std::vector<TensorPlan> t;
  t.push_back({"token_embd.weight", {s.model_dim, s.n_vocab}});
  for (size_t layer = 0; layer < s.n_layers; ++layer) {
    const auto add = [&](std::string_view name, std::vector<uint64_t> ne) {
      t.push_back(
          {fmt::format("blk.{}.{}.weight", layer, name), std::move(ne)});
    };
    add("attn_norm", {s.model_dim});
    add("attn_q", {s.model_dim, q_dim});
    add("attn_k", {s.model_dim, kv_dim});
    add("attn_v", {s.model_dim, kv_dim});
    if (s.qk_norm) {
      add("attn_q_norm", {s.head_dim});
      add("attn_k_norm", {s.head_dim});
    }
    add("attn_output", {q_dim, s.model_dim});
    add("ffn_norm", {s.model_dim});
    if (s.n_experts == 0) {
      add("ffn_gate", {s.model_dim, s.ffn_dim});
      add("ffn_up", {s.model_dim, s.ffn_dim});
      add("ffn_down", {s.ffn_dim, s.model_dim});
    } else {
      add("ffn_gate_inp", {s.model_dim, s.n_experts});
      add("ffn_gate_exps", {s.model_dim, s.ffn_dim, s.n_experts});
      add("ffn_up_exps", {s.model_dim, s.ffn_dim, s.n_experts});
      add("ffn_down_exps", {s.ffn_dim, s.model_dim, s.n_experts});
    }
  }
  t.push_back({"output_norm.weight", {s.model_dim}});
  if (!s.tied_embeddings) {
    t.push_back({"output.weight", {s.model_dim, s.n_vocab}});
  }
  return t;
}

Status AddHyperparameters(const ModelShape& s, io::GgufWriter& w) {
  const std::string a = std::string(s.architecture) + ".";
  const auto u32 = [](size_t n) { return static_cast<uint32_t>(n); };
  ETALON_RETURN_IF_ERROR(w.AddString("general.architecture", s.architecture));
  ETALON_RETURN_IF_ERROR(
      w.AddString("general.name", fmt::format("random {}", s.name)));
  ETALON_RETURN_IF_ERROR(w.AddNumber(
      "general.file_type", static_cast<uint32_t>(quantize::FileType::kQ4_K_M)));
  ETALON_RETURN_IF_ERROR(
      w.AddNumber("general.quantization_version", uint32_t{2}));
  const std::pair<const char*, size_t> numbers[] = {
      {"block_count", s.n_layers},
      {"context_length", 32768},
      {"embedding_length", s.model_dim},
      {"feed_forward_length", s.ffn_dim},
      {"attention.head_count", s.n_heads},
      {"attention.head_count_kv", s.n_kv_heads},
      {"attention.key_length", s.head_dim},
      {"attention.value_length", s.head_dim},
      {"rope.dimension_count", s.head_dim},
      {"vocab_size", s.n_vocab},
  };
  for (const auto& [key, value] : numbers) {
    ETALON_RETURN_IF_ERROR(w.AddNumber(a + key, u32(value)));
  }
  ETALON_RETURN_IF_ERROR(
      w.AddNumber(a + "attention.layer_norm_rms_epsilon", 1e-5f));
  ETALON_RETURN_IF_ERROR(w.AddNumber(a + "rope.freq_base", s.rope_freq_base));
  if (s.n_experts == 0) return {};
  ETALON_RETURN_IF_ERROR(w.AddNumber(a + "expert_count", u32(s.n_experts)));
  ETALON_RETURN_IF_ERROR(
      w.AddNumber(a + "expert_used_count", u32(s.n_experts_used)));
  return w.AddNumber(a + "expert_feed_forward_length", u32(s.ffn_dim));
}

// The smallest vocabulary that every engine accepts: the SentencePiece kind
// with unknown, BOS, EOS and all bytes; the rest are made-up words.
Status AddTokenizer(const ModelShape& s, io::GgufWriter& w) {
  enum : int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kByte = 6 };
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  std::vector<int32_t> types = {kUnknown, kControl, kControl};
  for (int byte = 0; byte < 256; ++byte) {
    tokens.push_back(fmt::format("<0x{:02X}>", byte));
    types.push_back(kByte);
  }
  while (tokens.size() < s.n_vocab) {
    // U+2581 marks the blank before a word.
    tokens.push_back(fmt::format("\xe2\x96\x81w{}", tokens.size()));
    types.push_back(kNormal);
  }
  std::vector<float> scores(tokens.size(), 0.0f);
  for (size_t i = 259; i < scores.size(); ++i) {
    scores[i] = -static_cast<float>(i);
  }
  ETALON_RETURN_IF_ERROR(w.AddString("tokenizer.ggml.model", "llama"));
  ETALON_RETURN_IF_ERROR(w.AddString("tokenizer.ggml.pre", "default"));
  ETALON_RETURN_IF_ERROR(w.AddStrings("tokenizer.ggml.tokens", tokens));
  ETALON_RETURN_IF_ERROR(w.AddNumbers<float>("tokenizer.ggml.scores", scores));
  ETALON_RETURN_IF_ERROR(
      w.AddNumbers<int32_t>("tokenizer.ggml.token_type", types));
  ETALON_RETURN_IF_ERROR(
      w.AddNumber("tokenizer.ggml.unknown_token_id", uint32_t{0}));
  ETALON_RETURN_IF_ERROR(
      w.AddNumber("tokenizer.ggml.bos_token_id", uint32_t{1}));
  ETALON_RETURN_IF_ERROR(
      w.AddNumber("tokenizer.ggml.eos_token_id", uint32_t{2}));
  return w.AddBool("tokenizer.ggml.add_bos_token", true);
}

// Weights of standard deviation 1 / sqrt(width) keep the size of what they
// multiply; norms are 1.
io::GgufWriter::TensorSource MakeSource(const TensorPlan& tensor,
                                        TensorType type, uint64_t seed) {
  uint64_t n = 1;
  for (const uint64_t extent : tensor.ne) n *= extent;
  const float sigma = 1.0f / std::sqrt(static_cast<float>(tensor.ne[0]));
  const SplitMix rng(seed);
  const bool norm = tensor.ne.size() == 1;
  return [=](const io::GgufWriter::ByteSink& sink) -> Status {
    if (norm) {
      const std::vector<float> ones(n, 1.0f);
      return sink(std::as_bytes(std::span<const float>(ones)));
    }
    switch (type) {
      case TensorType::kQ4_K:
        return StreamElements<BlockQ4_K>(rng, sigma, n / kQkK, sink);
      case TensorType::kQ6_K:
        return StreamElements<BlockQ6_K>(rng, sigma, n / kQkK, sink);
      case TensorType::kF32:
        return StreamElements<float>(rng, sigma, n, sink);
      default:
        return Fail(ErrorCode::kInternal,
                    fmt::format("no random {} blocks", TypeName(type)));
    }
  };
}

}  // namespace

Status WriteRandomModel(const ModelShape& shape, uint64_t seed,
                        const std::string& path) {
  const std::vector<TensorPlan> tensors = ListTensors(shape);
  std::vector<quantize::MixTensor> mix_tensors;
  for (const TensorPlan& tensor : tensors) {
    quantize::MixTensor m{
        tensor.name, static_cast<uint32_t>(tensor.ne.size()), {1, 1, 1, 1}};
    std::copy(tensor.ne.begin(), tensor.ne.end(), m.ne.begin());
    mix_tensors.push_back(m);
  }
  quantize::MixModel model;
  model.architecture = shape.architecture;
  model.n_layers = shape.n_layers;
  model.n_experts = shape.n_experts;
  model.n_heads = shape.n_heads;
  model.n_kv_heads = shape.n_kv_heads;
  ETALON_ASSIGN_OR_RETURN(
      const std::vector<quantize::MixChoice> choices,
      quantize::ChooseTypes(model, mix_tensors, quantize::MixOptions{}));

  io::GgufWriter writer;
  ETALON_RETURN_IF_ERROR(AddHyperparameters(shape, writer));
  ETALON_RETURN_IF_ERROR(AddTokenizer(shape, writer));
  SplitMix seeds(seed);
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TensorType type = choices[i].type.value_or(TensorType::kF32);
    ETALON_RETURN_IF_ERROR(writer.AddTensor(
        tensors[i].name, static_cast<uint32_t>(type), tensors[i].ne,
        MakeSource(tensors[i], type, seeds.Next())));
  }
  return writer.WriteFile(path);
}

}  // namespace etalon::bench
