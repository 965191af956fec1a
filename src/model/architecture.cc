#include "model/architecture.h"

namespace etalon::model {

const std::vector<Architecture>& AllArchitectures() {
  static const std::vector<Architecture> all = {
      LlamaArchitecture(), Mistral3Architecture(), SmolLm3Architecture(),
      Qwen2Architecture(), Qwen3Architecture(),    Qwen3MoeArchitecture()};
  return all;
}

const Architecture* FindArchitecture(std::string_view name) {
  for (const Architecture& a : AllArchitectures()) {
    if (a.name == name) return &a;
  }
  return nullptr;
}

}  // namespace etalon::model
