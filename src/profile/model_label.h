// How other tools name a model: "qwen3 0.6B Q4_K - Medium".
#ifndef ETALON_PROFILE_MODEL_LABEL_H_
#define ETALON_PROFILE_MODEL_LABEL_H_

#include <cstdint>
#include <string>

#include "model/model.h"

namespace etalon::profile {

struct ModelLabel {
  std::string type;       // architecture, size class, file type
  uint64_t n_bytes = 0;   // of all tensors
  uint64_t n_params = 0;  // elements of all tensors
};
// The size class follows llama.cpp's rule (by layers and width, "?B" where it
// knows none), so that rows of both tools join in its comparison script.
ModelLabel LabelOf(const model::Model& model);

}  // namespace etalon::profile

#endif  // ETALON_PROFILE_MODEL_LABEL_H_
