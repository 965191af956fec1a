#include "quantize/type_mix.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <regex>
#include <set>

namespace etalon::quantize {
namespace {

enum class Role {
  kTokenEmbedding,
  kOutput,
  kAttentionV,  // also fused QKV and MLA's kv_b: the most sensitive matrices
  kAttentionK,
  kAttentionOutput,
  kFfnDown,
  kOther,
};

bool Contains(std::string_view name, std::string_view part) {
  return name.find(part) != std::string_view::npos;
}
bool EndsWith(std::string_view name, std::string_view end) {
  return name.size() >= end.size() &&
         name.substr(name.size() - end.size()) == end;
}

Role RoleOf(std::string_view name) {
  if (name == "output.weight") return Role::kOutput;
  if (name == "token_embd.weight") return Role::kTokenEmbedding;
  if (Contains(name, "attn_v.weight") || Contains(name, "attn_qkv.weight") ||
      Contains(name, "attn_kv_b.weight")) {
    return Role::kAttentionV;
  }
  if (Contains(name, "attn_k.weight")) return Role::kAttentionK;
  if (Contains(name, "attn_output.weight")) return Role::kAttentionOutput;
  if (Contains(name, "ffn_down")) return Role::kFfnDown;
  return Role::kOther;
}

// N of "blk.N.", 0 for a tensor of no layer.
uint64_t LayerOf(std::string_view name) {
  constexpr std::string_view kPrefix = "blk.";
  uint64_t layer = 0;
  if (name.substr(0, kPrefix.size()) == kPrefix) {
    std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(),
                    layer);
  }
  return layer;
}

// Norms, routers, convolutions and other small tensors are worth their bits.
bool MayQuantize(const MixTensor& tensor, const MixOptions& options) {
  const std::string_view name = tensor.name;
  if (tensor.n_dims < 2 || !EndsWith(name, "weight")) return false;
  if (options.leave_output_tensor && name == "output.weight") return false;
  if (name == "position_embd.weight" || name == "token_types.weight") {
    return false;
  }
  constexpr std::string_view kKept[] = {"_norm.weight",
                                        "ffn_gate_inp.weight",
                                        "ssm_conv1d",
                                        "shortconv.conv.weight",
                                        "attn_rel_b.weight",
                                        "altup",
                                        "laurel",
                                        "per_layer_model_proj",
                                        ".position_embd",
                                        ".patch_embd"};
  return std::none_of(
      std::begin(kKept), std::end(kKept),
      [&](std::string_view part) { return Contains(name, part); });
}

// The first and last eighth of the layers and every third between them.
bool UseMoreBits(uint64_t layer, uint64_t n_layers) {
  const uint64_t eighth = n_layers / 8;
  return layer < eighth || layer >= 7 * n_layers / 8 ||
         (layer - eighth) % 3 == 2;
}

struct Context {
  const MixModel& model;
  const MixOptions& options;
  TensorType base;
  bool tied_embeddings;
  // Layers that have an attention V, ascending: hybrid models skip some.
  std::vector<uint64_t> attention_layers;
};

TensorType MixAttentionV(const Context& c, const MixTensor& tensor) {
  const FileType f = c.options.file_type;
  const auto at =
      std::lower_bound(c.attention_layers.begin(), c.attention_layers.end(),
                       LayerOf(tensor.name));
  const uint64_t index = static_cast<uint64_t>(at - c.attention_layers.begin());
  TensorType type = c.base;
  if ((f == FileType::kQ4_K_M || f == FileType::kQ5_K_M) &&
      UseMoreBits(index, c.attention_layers.size())) {
    type = TensorType::kQ6_K;
  } else if (f == FileType::kQ4_K_S && index < 4) {
    type = TensorType::kQ5_K;
  }
  // 80 layers with shared V (llama 70B): an eighth of Q's size, so more bits
  // cost nearly nothing. The same for eight experts.
  const bool llama_70b = c.model.architecture == "llama" &&
                         c.model.n_layers == 80 &&
                         c.model.n_heads != c.model.n_kv_heads;
  if (llama_70b && type == TensorType::kQ4_K) type = TensorType::kQ5_K;
  if (c.model.n_experts == 8) type = TensorType::kQ8_0;
  return type;
}

TensorType MixFfnDown(const Context& c, const MixTensor& tensor) {
  const uint64_t layer = LayerOf(tensor.name);
  const uint64_t n = c.model.n_layers;
  switch (c.options.file_type) {
    case FileType::kQ4_K_M:
    case FileType::kQ5_K_M:
      return UseMoreBits(layer, n) ? TensorType::kQ6_K : c.base;
    case FileType::kQ4_K_S:
      return layer < n / 8 ? TensorType::kQ5_K : c.base;
    case FileType::kQ4_0:
      return c.model.has_importance && layer < n / 8 ? TensorType::kQ4_1
                                                     : c.base;
    case FileType::kQ5_0:
      return c.model.has_importance && layer < n / 8 ? TensorType::kQ5_1
                                                     : c.base;
    default:
      return c.base;
  }
}

TensorType MixType(const Context& c, const MixTensor& tensor) {
  const Role role = RoleOf(tensor.name);
  const FileType f = c.options.file_type;
  // Tied embeddings are the output matrix too.
  if (role == Role::kOutput ||
      (role == Role::kTokenEmbedding && c.tied_embeddings)) {
    if (c.options.output_tensor_type) return *c.options.output_tensor_type;
    if (tensor.ne[0] % GetTypeTraits(c.base).block_size != 0) {
      return TensorType::kQ8_0;
    }
    return c.base == TensorType::kQ8_0 ? c.base : TensorType::kQ6_K;
  }
  switch (role) {
    case Role::kAttentionV:
      return MixAttentionV(c, tensor);
    case Role::kAttentionK:
      return c.model.n_experts == 8 ? TensorType::kQ8_0 : c.base;
    case Role::kAttentionOutput:
      return c.model.n_experts == 8 &&
                     (f == FileType::kQ4_K_S || f == FileType::kQ4_K_M)
                 ? TensorType::kQ5_K
                 : c.base;
    case Role::kFfnDown:
      return MixFfnDown(c, tensor);
    default:
      return c.base;
  }
}

// A type of about the same size whose block divides the width.
TensorType Fallback(TensorType type, uint64_t width) {
  const auto fits = [&](TensorType t) {
    return width % GetTypeTraits(t).block_size == 0;
  };
  if (fits(type)) return type;
  TensorType smaller = TensorType::kF16;
  if (type == TensorType::kQ4_K) smaller = TensorType::kQ5_0;
  if (type == TensorType::kQ5_K) smaller = TensorType::kQ5_1;
  if (type == TensorType::kQ6_K) smaller = TensorType::kQ8_0;
  return fits(smaller) ? smaller : TensorType::kF16;
}

struct Rule {
  std::regex pattern;
  TensorType type;
};

Expected<std::vector<Rule>> CompileRules(const MixOptions& options) {
  std::vector<Rule> rules;
  for (const auto& [pattern, type] : options.tensor_types) {
    try {
      rules.push_back({std::regex(pattern), type});
    } catch (const std::regex_error& error) {
      return InvalidArgument(
          fmt::format("tensor type pattern '{}' is no regular expression: {}",
                      pattern, error.what()));
    }
  }
  return rules;
}

// What the user asked for this very tensor, if anything.
std::optional<TensorType> Explicit(const Context& c,
                                   const std::vector<Rule>& rules,
                                   const MixTensor& tensor) {
  const Role role = RoleOf(tensor.name);
  if (role == Role::kTokenEmbedding && c.options.token_embedding_type) {
    return c.options.token_embedding_type;
  }
  if (role == Role::kOutput && c.options.output_tensor_type) {
    return c.options.output_tensor_type;
  }
  for (const Rule& rule : rules) {
    if (std::regex_search(tensor.name.begin(), tensor.name.end(),
                          rule.pattern)) {
      return rule.type;
    }
  }
  return std::nullopt;
}

}  // namespace

Expected<std::vector<MixChoice>> ChooseTypes(
    const MixModel& model, const std::vector<MixTensor>& tensors,
    const MixOptions& options) {
  ETALON_ASSIGN_OR_RETURN(const std::vector<Rule> rules, CompileRules(options));
  Context c{model, options, GetFileTypeInfo(options.file_type).base, true, {}};
  std::set<uint64_t> attention_layers;
  for (const MixTensor& tensor : tensors) {
    const Role role = RoleOf(tensor.name);
    if (role == Role::kOutput) c.tied_embeddings = false;
    if (role == Role::kAttentionV)
      attention_layers.insert(LayerOf(tensor.name));
  }
  c.attention_layers.assign(attention_layers.begin(), attention_layers.end());

  std::vector<MixChoice> choices;
  for (const MixTensor& tensor : tensors) {
    if (!MayQuantize(tensor, options)) {
      choices.push_back({});
      continue;
    }
    TensorType wanted = c.base;
    if (const auto asked = Explicit(c, rules, tensor)) {
      wanted = *asked;
    } else if (IsQuantized(c.base) && !options.pure) {
      wanted = MixType(c, tensor);
    }
    MixChoice choice;
    choice.type = Fallback(wanted, tensor.ne[0]);
    if (choice.type != wanted) choice.wanted = wanted;
    choices.push_back(choice);
  }
  return choices;
}

}  // namespace etalon::quantize
