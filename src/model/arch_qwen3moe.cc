// Qwen3-MoE: the Qwen3 block with a mixture of experts in every layer; expert
// weights are renormalised over the chosen ones.
#include "model/architecture.h"

namespace etalon::model {

Architecture Qwen3MoeArchitecture() {
  Architecture a = Qwen3Architecture();
  a.name = "qwen3moe";
  a.experts = Presence::kRequired;
  return a;
}

}  // namespace etalon::model
