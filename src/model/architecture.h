// What distinguishes one architecture from another over the shared block
// (layer/layer.h). Adding one is a file `arch_NAME.cc` that fills this
// description and a line in the table of architecture.cc.
#ifndef ETALON_MODEL_ARCHITECTURE_H_
#define ETALON_MODEL_ARCHITECTURE_H_

#include <string_view>
#include <vector>

#include "etalon/rope.h"
#include "model/hyperparameters.h"

namespace etalon::model {

enum class Presence { kNever, kOptional, kRequired };

struct Architecture {
  std::string_view name;  // general.architecture
  RopeStyle rope_style = RopeStyle::kHalfSplit;
  Presence qk_norm = Presence::kNever;          // blk.N.attn_{q,k}_norm.weight
  Presence experts = Presence::kNever;          // expert_count > 0
  Presence projection_bias = Presence::kNever;  // attn_output, ffn biases
  Presence output_bias = Presence::kNever;      // output.bias
  bool ffn_scales = true;         // ffn_{gate,up,down}.scale is honoured
  bool rope_factors = false;      // rope_freqs.weight may be there
  bool attn_temperature = false;  // attention.temperature_scale is honoured
  // nullptr: every layer rotates.
  bool (*use_rope)(size_t layer) = nullptr;
};

// nullptr if this engine does not know the name.
const Architecture* FindArchitecture(std::string_view name);
const std::vector<Architecture>& AllArchitectures();

Architecture LlamaArchitecture();
Architecture Mistral3Architecture();
Architecture SmolLm3Architecture();
Architecture Qwen2Architecture();
Architecture Qwen3Architecture();
Architecture Qwen3MoeArchitecture();

}  // namespace etalon::model

#endif  // ETALON_MODEL_ARCHITECTURE_H_
