#include "profile/model_label.h"

#include <fmt/format.h>

#include <array>
#include <map>
#include <string_view>

namespace etalon::profile {
namespace {

// Size classes by architecture and number of layers, as llama.cpp (d32676d,
// src/models) tells them; those that need more are decided below.
struct SizeClass {
  std::string_view architecture;
  size_t n_layers;
  std::string_view name;
};
constexpr auto kSizeClasses = std::to_array<SizeClass>({
    {"llama", 16, "1B"},         {"llama", 22, "1B"},
    {"llama", 26, "3B"},         {"llama", 28, "3B"},
    {"llama", 30, "256M"},       {"llama", 36, "8B"},
    {"llama", 40, "13B"},        {"llama", 48, "34B"},
    {"llama", 60, "30B"},        {"qwen2", 32, "7B"},
    {"qwen2", 36, "3B"},         {"qwen2", 48, "14B"},
    {"qwen2", 64, "32B"},        {"qwen2", 80, "70B"},
    {"qwen3", 40, "14B"},        {"qwen3", 64, "32B"},
    {"qwen3moe", 48, "30B.A3B"}, {"qwen3moe", 94, "235B.A22B"},
    {"mistral3", 26, "3B"},      {"mistral3", 34, "8B"},
    {"mistral3", 40, "14B"},     {"smollm3", 36, "3B"},
});

std::string_view SizeClassOf(const model::Hyperparameters& hp) {
  const std::string& arch = hp.architecture;
  const size_t layers = hp.n_layers, width = hp.model_dim;
  if (arch == "llama" && hp.n_experts > 0) {
    return layers == 32 ? "8x7B" : layers == 56 ? "8x22B" : "?B";
  }
  if (arch == "llama" && layers == 32) {
    return hp.n_vocab == 49152 ? "3B" : hp.n_vocab < 40000 ? "7B" : "8B";
  }
  if (arch == "llama" && layers == 80) {
    return hp.n_heads[0] == hp.n_kv_heads[0] ? "65B" : "70B";
  }
  if (arch == "qwen2" && layers == 24) return width == 1024 ? "0.5B" : "1B";
  if (arch == "qwen2" && layers == 28) return width == 1536 ? "1.5B" : "7B";
  if (arch == "qwen2" && layers == 40) {
    return hp.n_heads[0] == 20 ? "4B" : "13B";
  }
  if (arch == "qwen3" && layers == 28) return width == 1024 ? "0.6B" : "1.7B";
  if (arch == "qwen3" && layers == 36) return width == 2560 ? "4B" : "8B";
  for (const SizeClass& c : kSizeClasses) {
    if (c.architecture == arch && c.n_layers == layers) return c.name;
  }
  return "?B";
}

// general.file_type, the numbers of the GGUF format.
std::string FileTypeText(const io::GgufFile& file) {
  static const std::map<uint64_t, std::string_view> kNames = {
      {0, "all F32"},        {1, "F16"},
      {2, "Q4_0"},           {3, "Q4_1"},
      {7, "Q8_0"},           {8, "Q5_0"},
      {9, "Q5_1"},           {10, "Q2_K - Medium"},
      {11, "Q3_K - Small"},  {12, "Q3_K - Medium"},
      {13, "Q3_K - Large"},  {14, "Q4_K - Small"},
      {15, "Q4_K - Medium"}, {16, "Q5_K - Small"},
      {17, "Q5_K - Medium"}, {18, "Q6_K"},
      {32, "BF16"}};
  const auto type = file.GetUintOr("general.file_type", UINT64_MAX);
  if (!type || *type == UINT64_MAX) return "unknown type";
  const auto name = kNames.find(*type);
  return name == kNames.end() ? fmt::format("type {}", *type)
                              : std::string(name->second);
}

}  // namespace

ModelLabel LabelOf(const model::Model& model) {
  ModelLabel label;
  const model::Hyperparameters& hp = model.hyperparameters();
  label.type = fmt::format("{} {} {}", hp.architecture, SizeClassOf(hp),
                           FileTypeText(model.file()));
  for (const io::GgufTensor& t : model.file().tensors()) {
    label.n_bytes += t.n_bytes;
    label.n_params += t.ne[0] * t.ne[1] * t.ne[2] * t.ne[3];
  }
  return label;
}

}  // namespace etalon::profile
