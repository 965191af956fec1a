// A llama model whose parameters are f32 in one array: forward and backward
// over a batch of windows. Embedding and output share one matrix.
#ifndef ETALON_TRAIN_NET_H_
#define ETALON_TRAIN_NET_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "etalon/config.h"
#include "etalon/layer.h"
#include "etalon/rope.h"
#include "etalon/workspace.h"

namespace etalon::train {

struct NetShape {
  size_t n_vocab = 0;
  size_t n_layers = 6;
  size_t model_dim = 256;
  size_t n_heads = 4;
  size_t n_kv_heads = 2;
  size_t head_dim = 64;
  size_t ffn_dim = 768;
  size_t seq_len = 512;
  float rms_eps = 1e-5f;
  float rope_base = 10000.0f;
};
// One line per broken rule: sizes that are 0 or do not divide.
Status CheckShape(const NetShape& shape);

struct Parameter {
  std::string name;  // as in GGUF
  size_t rows = 0;   // 0: a vector
  size_t cols = 0;
  size_t offset = 0;  // into the array of all parameters
  size_t size() const { return (rows == 0 ? 1 : rows) * cols; }
};
std::vector<Parameter> ListParameters(const NetShape& shape);

class Net {
 public:
  // n_windows windows of seq_len tokens go through at a time.
  static Expected<std::unique_ptr<Net>> Create(const NetShape& shape,
                                               size_t n_windows, int n_threads);

  // Weights from the seed: normal with deviation 0.02, those that write to the
  // residual stream smaller by sqrt(2 n_layers); norms are 1.
  void Initialise(uint64_t seed);

  // The losses' sum over tokens [n_windows * seq_len] with the given targets.
  // With gradients: adds scale * (their gradient) to gradients().
  Expected<double> Loss(std::span<const int32_t> tokens,
                        std::span<const int32_t> targets, bool gradients,
                        float scale);

  const NetShape& shape() const { return shape_; }
  const std::vector<Parameter>& parameters() const { return parameters_; }
  std::span<float> values() { return values_; }
  std::span<float> gradients() { return gradients_; }
  // Fused multiply-adds of one pass with gradients, per token: the products of
  // forward (1) and backward (2), attention included.
  double FmaPerToken() const;

 private:
  explicit Net(const NetShape& shape);
  Status Prepare(size_t n_windows, int n_threads);
  Span2D<float> Matrix(std::vector<float>& of, size_t index);
  std::span<float> Vector(std::vector<float>& of, size_t index);
  void BindLayers();
  void CopyNorms();
  Status Backward(std::span<const int32_t> tokens, Span2D<float> d_logits);

  NetShape shape_;
  std::vector<Parameter> parameters_;
  std::vector<float> values_, gradients_;
  layer::LayerConfig config_;
  std::vector<layer::LayerWeights> layers_;
  std::vector<layer::LayerGradients> layer_gradients_;
  RopeTable rope_;
  std::vector<int32_t> positions_;

  Workspace memory_;  // tapes
  std::vector<layer::LayerTape> tapes_;
  Span2D<float> last_, normed_, logits_;  // [n_tokens, ...]
  Span2D<float> d_a_, d_b_;               // [n_tokens, model_dim]
  std::span<float> rstd_;
  std::vector<double> losses_;
  Workspace scratch_;
  Config switches_;
  ExecContext ctx_;
};

}  // namespace etalon::train

#endif  // ETALON_TRAIN_NET_H_
