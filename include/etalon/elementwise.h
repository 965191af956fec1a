// Row-wise and element-wise ops.
#ifndef ETALON_ELEMENTWISE_H_
#define ETALON_ELEMENTWISE_H_

#include <span>

#include "etalon/tensor.h"
#include "etalon/workspace.h"

namespace etalon {

// out[t, :] = dequantised row tokens[t] of table [vocab, model_dim]. Exact
// (correctly rounded dequantisation). A token outside the table is an error.
struct EmbeddingArgs {
  WeightMatrix table;
  std::span<const int32_t> tokens;
  Span2D<float> out;  // [n_tokens, model_dim]
};

// out = fl(gate * sigmoid(gate)) * up, [rows, n]; out may be gate or up.
// Strict order: e = exp(-gate); s = fl(gate / fl(1 + e)); out = fl(s * up).
// Error: at most 4 ULP of the exact value; gate < -88 gives +-0.
struct SwiGluArgs {
  Span2D<const float> gate;
  Span2D<const float> up;
  Span2D<float> out;
};

// out = fl(a + b), [rows, n]; out may be a or b.
struct AddArgs {
  Span2D<const float> a;
  Span2D<const float> b;
  Span2D<float> out;
};

// out[t, i] = x[t, i] * scale[t]; out may be x.
struct ScaleRowsArgs {
  Span2D<const float> x;
  std::span<const float> scale;  // [rows]
  Span2D<float> out;
};

// Row softmax: m = max, e = exp(x - m), l = sum e in 16 virtual lanes,
// out = fl(e * fl(1 / l)). A row with NaN, or whose max is +Inf, is all NaN;
// a row of -Inf only is all NaN. out may be x.
struct SoftmaxArgs {
  Span2D<const float> x;
  Span2D<float> out;
};

namespace ops {
Status Embedding(const EmbeddingArgs& args, ExecContext& ctx);
Status SwiGlu(const SwiGluArgs& args, ExecContext& ctx);
Status Add(const AddArgs& args, ExecContext& ctx);
Status ScaleRows(const ScaleRowsArgs& args, ExecContext& ctx);
Status Softmax(const SoftmaxArgs& args, ExecContext& ctx);
}  // namespace ops

}  // namespace etalon

#endif  // ETALON_ELEMENTWISE_H_
