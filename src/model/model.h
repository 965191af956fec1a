// A loaded model: the mapped file, its shape, views of its weights, and its
// tokenizer. Immutable after Load; sessions share it.
#ifndef ETALON_MODEL_MODEL_H_
#define ETALON_MODEL_MODEL_H_

#include <functional>
#include <memory>
#include <string>

#include "io/gguf.h"
#include "model/architecture.h"
#include "model/hyperparameters.h"
#include "model/weights.h"
#include "text/tokenizer.h"

namespace etalon::model {

struct LoadOptions {
  int n_threads = 1;
  // Reads all weights once and refuses NaN and Inf (the default everywhere).
  bool check_weights = true;
  // Called with (bytes checked, bytes in all).
  std::function<void(uint64_t, uint64_t)> progress;
};

class Model {
 public:
  static Expected<std::unique_ptr<Model>> Load(const std::string& path,
                                               const LoadOptions& options);

  const io::GgufFile& file() const { return file_; }
  const Architecture& architecture() const { return *architecture_; }
  const Hyperparameters& hyperparameters() const { return hp_; }
  const Weights& weights() const { return weights_; }
  // nullptr when the file has no vocabulary (tokenizer.ggml.model "no_vocab").
  const text::Tokenizer* tokenizer() const { return tokenizer_.get(); }

  layer::LayerConfig LayerConfigOf(size_t i) const;
  // Accepted but odd: one line each.
  std::vector<std::string> Warnings() const;

 private:
  explicit Model(io::GgufFile file) : file_(std::move(file)) {}

  io::GgufFile file_;
  const Architecture* architecture_ = nullptr;
  Hyperparameters hp_;
  Weights weights_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
};

}  // namespace etalon::model

#endif  // ETALON_MODEL_MODEL_H_
