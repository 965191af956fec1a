// Finds every tensor of a model in the file, checks its name, rank, shape and
// type against the hyperparameters, and makes views of it. Matrices stay in the
// mapped file; one-dimensional weights are copied (and widened) to f32.
#ifndef ETALON_MODEL_WEIGHTS_H_
#define ETALON_MODEL_WEIGHTS_H_

#include <functional>
#include <string>
#include <vector>

#include "etalon/layer.h"
#include "io/gguf.h"
#include "model/architecture.h"
#include "model/hyperparameters.h"

namespace etalon::model {

struct Weights {
  WeightMatrix token_embd;         // [n_vocab, model_dim]
  std::vector<float> output_norm;  // [model_dim]
  layer::Linear output;            // [n_vocab, model_dim]; may be token_embd
  std::vector<layer::LayerWeights> layers;
  std::vector<float> rope_factors;  // [rotary_dim / 2] or empty
  std::vector<std::string> unused;  // tensors this model does not read
};

Expected<Weights> LoadWeights(const io::GgufFile& file,
                              const Architecture& architecture,
                              const Hyperparameters& hp);

// Reads every weight once and refuses NaN and Inf in block scales and in
// unquantised values: "blk.0.attn_q.weight: block 5 (row 0) scale is NaN".
// `progress` is called now and then with the bytes done, from this thread.
Status CheckFinite(const io::GgufFile& file, int n_threads,
                   const std::function<void(uint64_t)>& progress);

}  // namespace etalon::model

#endif  // ETALON_MODEL_WEIGHTS_H_
