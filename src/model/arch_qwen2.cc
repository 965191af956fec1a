// Qwen2 and Qwen2.5: biases on Q, K and V; RoPE pairs lanes half a head apart.
#include "model/architecture.h"

namespace etalon::model {

Architecture Qwen2Architecture() {
  Architecture a;
  a.name = "qwen2";
  a.rope_style = RopeStyle::kHalfSplit;
  a.output_bias = Presence::kOptional;
  a.ffn_scales = false;
  return a;
}

}  // namespace etalon::model
