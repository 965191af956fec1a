// Qwen3: RMSNorm on every head of Q and K before RoPE; n_heads * head_dim need
// not be the model width.
#include "model/architecture.h"

namespace etalon::model {

Architecture Qwen3Architecture() {
  Architecture a;
  a.name = "qwen3";
  a.rope_style = RopeStyle::kHalfSplit;
  a.qk_norm = Presence::kRequired;
  return a;
}

}  // namespace etalon::model
