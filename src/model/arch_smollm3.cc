// SmolLM3: the llama block, with every fourth layer left without RoPE (NoPE).
#include "model/architecture.h"

namespace etalon::model {

Architecture SmolLm3Architecture() {
  Architecture a;
  a.name = "smollm3";
  a.rope_style = RopeStyle::kInterleaved;
  a.use_rope = [](size_t layer) { return (layer + 1) % 4 != 0; };
  a.ffn_scales = false;
  return a;
}

}  // namespace etalon::model
