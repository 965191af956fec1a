#include "model/hyperparameters.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

namespace etalon::model {
namespace {

// Typed, range-checked access to the keys of one architecture.
class KeyReader {
 public:
  KeyReader(const io::GgufFile& file, std::string prefix)
      : file_(file), prefix_(std::move(prefix)) {}

  std::string Key(std::string_view name) const {
    return fmt::format("{}.{}", prefix_, name);
  }

  bool Has(std::string_view name) const {
    return file_.Find(Key(name)) != nullptr;
  }

  Expected<size_t> Size(std::string_view name, uint64_t min,
                        uint64_t max) const {
    const std::string key = Key(name);
    ETALON_ASSIGN_OR_RETURN(const uint64_t value, file_.GetUint(key));
    ETALON_RETURN_IF_ERROR(CheckRange(key, value, min, max));
    return static_cast<size_t>(value);
  }

  Expected<size_t> SizeOr(std::string_view name, size_t def, uint64_t min,
                          uint64_t max) const {
    if (!Has(name)) return def;
    return Size(name, min, max);
  }

  // One number for all layers, or an array of n_layers numbers.
  Expected<std::vector<size_t>> PerLayer(std::string_view name, size_t n_layers,
                                         uint64_t min, uint64_t max) const {
    const std::string key = Key(name);
    const io::GgufValue* value = file_.Find(key);
    if (value == nullptr || value->type != io::GgufType::kArray) {
      ETALON_ASSIGN_OR_RETURN(const size_t n, Size(name, min, max));
      return std::vector<size_t>(n_layers, n);
    }
    const auto& array = std::get<io::GgufArray>(value->v);
    if (array.count != n_layers) {
      return BadInput(fmt::format("{}: array length {}, need {} (block_count)",
                                  key, array.count, n_layers));
    }
    switch (array.element_type) {
      case io::GgufType::kString:
      case io::GgufType::kArray:
      case io::GgufType::kBool:
      case io::GgufType::kF32:
      case io::GgufType::kF64:
        return BadInput(fmt::format("{}: array of {}, need integers", key,
                                    io::GgufTypeName(array.element_type)));
      default:
        break;
    }
    std::vector<size_t> out(n_layers);
    for (size_t i = 0; i < n_layers; ++i) {
      const int64_t v = array.Integer(i);
      const std::string where = fmt::format("{}[{}]", key, i);
      if (v < 0) return BadInput(fmt::format("{}: {} is negative", where, v));
      ETALON_RETURN_IF_ERROR(
          CheckRange(where, static_cast<uint64_t>(v), min, max));
      out[i] = static_cast<size_t>(v);
    }
    return out;
  }

  Expected<float> FloatOr(std::string_view name, float def) const {
    const std::string key = Key(name);
    ETALON_ASSIGN_OR_RETURN(const float value, file_.GetFloatOr(key, def));
    if (!std::isfinite(value)) {
      return BadInput(fmt::format("{}: {} is not finite", key, value));
    }
    return value;
  }

  Expected<float> PositiveFloatOr(std::string_view name, float def) const {
    ETALON_ASSIGN_OR_RETURN(const float value, FloatOr(name, def));
    if (!(value > 0.0f)) {
      return BadInput(fmt::format("{}: {} must be > 0", Key(name), value));
    }
    return value;
  }

 private:
  static Status CheckRange(std::string_view key, uint64_t value, uint64_t min,
                           uint64_t max) {
    if (value < min || value > max) {
      return BadInput(
          fmt::format("{}: {} is outside {}..{}", key, value, min, max));
    }
    return {};
  }

  const io::GgufFile& file_;
  std::string prefix_;
};

// The vocabulary's size: its token list, or the key when there is none.
Expected<size_t> ReadVocabSize(const io::GgufFile& file,
                               const KeyReader& keys) {
  ETALON_ASSIGN_OR_RETURN(const io::GgufArray* tokens,
                          file.GetArray("tokenizer.ggml.tokens"));
  if (tokens != nullptr && tokens->count > 0) {
    return static_cast<size_t>(tokens->count);
  }
  if (!keys.Has("vocab_size")) {
    return BadInput("tokenizer.ggml.tokens: missing or empty, and no " +
                    keys.Key("vocab_size"));
  }
  return keys.Size("vocab_size", 1, std::numeric_limits<int32_t>::max());
}

// Before anything is derived from them, the two numbers that every product
// contains must agree with the embedding table.
Status CheckEmbeddingShape(const io::GgufFile& file,
                           const Hyperparameters& hp) {
  const io::GgufTensor* embd = file.FindTensor("token_embd.weight");
  if (embd == nullptr) return BadInput("token_embd.weight: missing");
  if (embd->n_dims != 2 || embd->ne[0] != hp.model_dim ||
      embd->ne[1] != hp.n_vocab) {
    return BadInput(
        fmt::format("token_embd.weight: shape [{},{}], need [{},{}] "
                    "(embedding_length, vocabulary size)",
                    embd->ne[0], embd->ne[1], hp.model_dim, hp.n_vocab));
  }
  return {};
}

Status ReadHeads(const KeyReader& keys, Hyperparameters& hp) {
  constexpr uint64_t kMaxHeads = 65536;
  ETALON_ASSIGN_OR_RETURN(hp.n_heads, keys.PerLayer("attention.head_count",
                                                    hp.n_layers, 1, kMaxHeads));
  hp.n_kv_heads = hp.n_heads;
  if (keys.Has("attention.head_count_kv")) {
    ETALON_ASSIGN_OR_RETURN(
        hp.n_kv_heads,
        keys.PerLayer("attention.head_count_kv", hp.n_layers, 1, kMaxHeads));
  }
  for (size_t i = 0; i < hp.n_layers; ++i) {
    if (hp.n_heads[i] % hp.n_kv_heads[i] != 0) {
      return BadInput(fmt::format(
          "{}: {} is not a multiple of head_count_kv {}",
          keys.Key("attention.head_count"), hp.n_heads[i], hp.n_kv_heads[i]));
    }
  }
  if (keys.Has("attention.key_length")) {
    ETALON_ASSIGN_OR_RETURN(hp.head_dim,
                            keys.Size("attention.key_length", 1, kMaxHeadDim));
  } else {
    if (hp.model_dim % hp.n_heads[0] != 0) {
      return BadInput(fmt::format("{}: {} is not a multiple of head_count {}",
                                  keys.Key("embedding_length"), hp.model_dim,
                                  hp.n_heads[0]));
    }
    hp.head_dim = hp.model_dim / hp.n_heads[0];
    if (hp.head_dim > kMaxHeadDim) {
      return BadInput(
          fmt::format("{}: {} gives heads of {} lanes, need at most {}",
                      keys.Key("attention.head_count"), hp.n_heads[0],
                      hp.head_dim, kMaxHeadDim));
    }
  }
  ETALON_ASSIGN_OR_RETURN(
      const size_t value_length,
      keys.SizeOr("attention.value_length", hp.head_dim, 1, kMaxHeadDim));
  if (value_length != hp.head_dim) {
    return BadInput(fmt::format("{}: {} differs from key_length {}",
                                keys.Key("attention.value_length"),
                                value_length, hp.head_dim));
  }
  return {};
}

Status ReadRope(const io::GgufFile& file, const KeyReader& keys,
                Hyperparameters& hp) {
  RopeParams& rope = hp.rope;
  ETALON_ASSIGN_OR_RETURN(
      rope.rotary_dim,
      keys.SizeOr("rope.dimension_count", hp.head_dim, 1, 1u << 20));
  if (rope.rotary_dim > hp.head_dim || rope.rotary_dim % 2 != 0) {
    return BadInput(fmt::format("{}: {} must be even and <= head_dim {}",
                                keys.Key("rope.dimension_count"),
                                rope.rotary_dim, hp.head_dim));
  }
  ETALON_ASSIGN_OR_RETURN(rope.freq_base,
                          keys.PositiveFloatOr("rope.freq_base", 10000.0f));
  // Scaling: without a type but with a factor it is linear, as older files
  // have it; a factor of 0 means none.
  const char* factor_key = keys.Has("rope.scaling.factor")
                               ? "rope.scaling.factor"
                               : "rope.scale_linear";
  ETALON_ASSIGN_OR_RETURN(const float factor, keys.FloatOr(factor_key, 0.0f));
  if (factor < 0.0f) {
    return BadInput(
        fmt::format("{}: {} must be >= 0", keys.Key(factor_key), factor));
  }
  rope.factor = factor == 0.0f ? 1.0f : factor;
  ETALON_ASSIGN_OR_RETURN(
      const std::string_view type,
      file.GetStringOr(keys.Key("rope.scaling.type"), "linear"));
  if (type == "yarn") {
    rope.scaling = RopeScaling::kYarn;
  } else if (type == "linear") {
    rope.scaling =
        rope.factor == 1.0f ? RopeScaling::kNone : RopeScaling::kLinear;
  } else if (type == "none") {
    rope.scaling = RopeScaling::kNone;
  } else {
    return BadInput(fmt::format("{}: \"{}\" unknown, need none, linear or yarn",
                                keys.Key("rope.scaling.type"), type));
  }
  ETALON_ASSIGN_OR_RETURN(rope.attn_factor,
                          keys.PositiveFloatOr("rope.scaling.attn_factor", 1));
  ETALON_ASSIGN_OR_RETURN(
      rope.beta_fast, keys.PositiveFloatOr("rope.scaling.yarn_beta_fast", 32));
  ETALON_ASSIGN_OR_RETURN(
      rope.beta_slow, keys.PositiveFloatOr("rope.scaling.yarn_beta_slow", 1));
  ETALON_ASSIGN_OR_RETURN(
      rope.yarn_log_mul,
      keys.FloatOr("rope.scaling.yarn_log_multiplier", 0.0f));
  ETALON_ASSIGN_OR_RETURN(const float ext_factor,
                          keys.FloatOr("rope.scaling.yarn_ext_factor", -1.0f));
  if (ext_factor >= 0.0f) rope.yarn_ext_factor = ext_factor;
  ETALON_ASSIGN_OR_RETURN(
      rope.n_ctx_orig,
      keys.SizeOr("rope.scaling.original_context_length", hp.n_ctx_train, 0,
                  std::numeric_limits<uint32_t>::max()));
  if (rope.n_ctx_orig == 0) rope.n_ctx_orig = hp.n_ctx_train;
  return {};
}

Status ReadExperts(const KeyReader& keys, Hyperparameters& hp) {
  ETALON_ASSIGN_OR_RETURN(hp.n_experts,
                          keys.SizeOr("expert_count", 0, 0, kMaxExperts));
  if (hp.n_experts == 0) return {};
  ETALON_ASSIGN_OR_RETURN(hp.n_experts_used,
                          keys.Size("expert_used_count", 1, hp.n_experts));
  return {};
}

}  // namespace

Expected<Hyperparameters> ReadHyperparameters(const io::GgufFile& file) {
  Hyperparameters hp;
  ETALON_ASSIGN_OR_RETURN(const std::string_view architecture,
                          file.GetString("general.architecture"));
  hp.architecture = architecture;
  const KeyReader keys(file, hp.architecture);
  constexpr uint64_t kMaxU32 = std::numeric_limits<uint32_t>::max();

  ETALON_ASSIGN_OR_RETURN(hp.n_layers, keys.Size("block_count", 1, kMaxLayers));
  ETALON_ASSIGN_OR_RETURN(hp.n_ctx_train,
                          keys.Size("context_length", 1, kMaxU32));
  ETALON_ASSIGN_OR_RETURN(hp.model_dim,
                          keys.Size("embedding_length", 1, kMaxU32));
  ETALON_ASSIGN_OR_RETURN(hp.n_vocab, ReadVocabSize(file, keys));
  ETALON_RETURN_IF_ERROR(CheckEmbeddingShape(file, hp));
  ETALON_RETURN_IF_ERROR(ReadHeads(keys, hp));
  ETALON_ASSIGN_OR_RETURN(
      hp.rms_eps, keys.FloatOr("attention.layer_norm_rms_epsilon", -1.0f));
  if (hp.rms_eps < 0.0f) {
    return BadInput(keys.Key("attention.layer_norm_rms_epsilon") +
                    ": missing or negative");
  }
  ETALON_RETURN_IF_ERROR(ReadRope(file, keys, hp));
  ETALON_RETURN_IF_ERROR(ReadExperts(keys, hp));
  if (hp.n_experts > 0 && keys.Has("expert_feed_forward_length")) {
    ETALON_ASSIGN_OR_RETURN(
        const size_t ffn_dim,
        keys.SizeOr("expert_feed_forward_length", 0, 0, kMaxU32));
    if (ffn_dim > 0) hp.ffn_dim.assign(hp.n_layers, ffn_dim);
  }
  if (hp.ffn_dim.empty()) {
    ETALON_ASSIGN_OR_RETURN(hp.ffn_dim, keys.PerLayer("feed_forward_length",
                                                      hp.n_layers, 1, kMaxU32));
  }
  ETALON_ASSIGN_OR_RETURN(hp.attn_temperature,
                          keys.FloatOr("attention.temperature_scale", 0.0f));
  return hp;
}

}  // namespace etalon::model
