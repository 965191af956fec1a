// Which type each tensor of a model gets. A function of names, shapes and a few
// hyperparameters alone, so that it can be asked without the weights.
#ifndef ETALON_QUANTIZE_TYPE_MIX_H_
#define ETALON_QUANTIZE_TYPE_MIX_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "etalon/status.h"
#include "etalon/types.h"
#include "quantize/file_type.h"

namespace etalon::quantize {

struct MixTensor {
  std::string_view name;
  uint32_t n_dims = 0;
  std::array<uint64_t, 4> ne{1, 1, 1, 1};
};

struct MixModel {
  std::string_view architecture;
  uint64_t n_layers = 0;
  uint64_t n_experts = 0;
  uint64_t n_heads = 0;
  uint64_t n_kv_heads = 0;
  bool has_importance = false;
};

struct MixOptions {
  FileType file_type = FileType::kQ4_K_M;
  bool pure = false;  // the base type everywhere
  bool leave_output_tensor = false;
  std::optional<TensorType> output_tensor_type;
  std::optional<TensorType> token_embedding_type;
  // Pattern found in a tensor's name (regular expression) -> type; the first
  // match wins over the mix.
  std::vector<std::pair<std::string, TensorType>> tensor_types;
};

struct MixChoice {
  // nullopt: the tensor stays as it is.
  std::optional<TensorType> type;
  // What the mix wanted where the width is not a multiple of its block.
  std::optional<TensorType> wanted;
};

// One choice per tensor, in the same order. Error: a pattern that is no regular
// expression.
Expected<std::vector<MixChoice>> ChooseTypes(
    const MixModel& model, const std::vector<MixTensor>& tensors,
    const MixOptions& options);

}  // namespace etalon::quantize

#endif  // ETALON_QUANTIZE_TYPE_MIX_H_
