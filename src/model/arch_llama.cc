// Llama 1 to 3, Mistral, Mixtral and everything converted as "llama": weights
// of Q and K are permuted at conversion, so RoPE pairs neighbouring lanes.
// Llama 3.1+ carries rope_freqs.weight; expert_count > 0 makes it a Mixtral.
#include "model/architecture.h"

namespace etalon::model {

Architecture LlamaArchitecture() {
  Architecture a;
  a.name = "llama";
  a.rope_style = RopeStyle::kInterleaved;
  a.experts = Presence::kOptional;
  a.projection_bias = Presence::kOptional;
  a.rope_factors = true;
  return a;
}

}  // namespace etalon::model
