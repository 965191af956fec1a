// Backward passes of the ops (requirements B-12, B-14, B-16, B-45, B-70..B-74).
//
// One rule for every gradient:
//   - a gradient of a PARAMETER (d_weights, d_bias, d_weight, d_table) is ADDED
//     to what the caller's buffer holds, so that micro-batches accumulate;
//   - a gradient of an ACTIVATION (d_x, d_q, d_gate, ...) is OVERWRITTEN;
//   - what is passed in (d_out above all) is only read. RopeBackward alone
//     works in place, on d_x.
// An empty gradient view is not wanted and not computed.
//
// Strict order. A long sum (over output features for d_x, over tokens for
// parameters) is cut at multiples of kGradChunk; a chunk is a chain of fma in
// ascending order from +0, and chunks are added in ascending order:
//   c_0 = chunk 0,  c_i = fl(c_{i-1} + chunk i)            (activations)
//   p = fl(p + chunk 0), p = fl(p + chunk 1), ...          (parameters)
// So neither threads nor tiles nor vector widths can show in a gradient.
// Error: gamma_{256 + n / 256} * sum |terms| for a sum of n terms; of whole
// ops: docs/numerics.md. The f32 weights of a product are needed as f32;
// quantised weights have no gradient.
#ifndef ETALON_BACKWARD_H_
#define ETALON_BACKWARD_H_

#include <span>

#include "etalon/rope.h"
#include "etalon/tensor.h"
#include "etalon/workspace.h"

namespace etalon {

inline constexpr size_t kGradChunk = 256;

// y_i = scale_i * x W_i^T + b_i for parts i that read the same x:
//   d_x       = sum_i d_out_i (scale_i W_i)   parts ascending, one long sum
//   d_W_i    += (scale_i d_out_i)^T x
//   d_b_i    += sum_t d_out_i[t]
// Scales other than 1 are applied to d_out first, rounded once.
struct GemmBackwardPart {
  WeightMatrix weights;       // F32 [N, K]
  Span2D<const float> d_out;  // [M, N]
  Span2D<float> d_weights;    // [N, K] or empty
  std::span<float> d_bias;    // [N] or empty
  float scale = 1.0f;
};
struct GemmBackwardArgs {
  Span2D<const float> x;  // [M, K]; may be empty if no d_weights is wanted
  std::span<const GemmBackwardPart> parts;
  Span2D<float> d_x;  // [M, K] or empty
};

// With xh = x * rstd and g = d_out * weight:
//   m = (1 / n) sum_d g * xh                16 virtual f64 lanes, folded
//   d_x = rstd * fl(g - fl(xh * fl(m)))
//   d_weight += sum_t d_out * xh
// d_x may be d_out. rstd is what RmsNorm returned.
struct RmsNormBackwardArgs {
  Span2D<const float> x;          // [rows, n]
  std::span<const float> weight;  // [n] or empty (all ones)
  std::span<const float> rstd;    // [rows]
  Span2D<const float> d_out;
  Span2D<float> d_x;
  std::span<float> d_weight;  // [n] or empty
};

// s = sigmoid(gate): d_up = d_out * (gate * s),
// d_gate = d_out * up * s * (1 + gate * (1 - s)). d_gate may be gate, d_up up.
struct SwiGluBackwardArgs {
  Span2D<const float> gate;
  Span2D<const float> up;
  Span2D<const float> d_out;
  Span2D<float> d_gate;
  Span2D<float> d_up;
};

// loss[t] = log(sum_v exp(x[t, v])) - x[t, target[t]];
// d_logits = scale * (softmax(x) - onehot(target)), d_logits may be logits.
// A target of -1 is no term: loss 0, d_logits 0. log is our own (LogOf), on the
// sum in 16 virtual lanes; NaN logits give NaN.
struct CrossEntropyArgs {
  Span2D<const float> logits;        // [n_tokens, n_vocab]
  std::span<const int32_t> targets;  // [n_tokens]
  float scale = 1.0f;
  std::span<double> losses;  // [n_tokens]
  Span2D<float> d_logits;    // [n_tokens, n_vocab] or empty
};

// Causal attention of whole sequences, probabilities recomputed:
// tokens [s L, (s + 1) L) are sequence s, L = seq_len; kvh = h / q_per_kv;
//   S = scale q k^T, P = softmax over positions <= own;
//   d_v += P^T d_out;  dP = d_out v^T;  dS = scale P (dP - sum_j P dP);
//   d_q = dS k;  d_k += dS^T q        (sums over the query heads; from +0)
// Sums over query tokens go by blocks of 64 rows, heads ascending, blocks
// ascending; sums over keys and lanes as stated above.
struct AttentionBackwardArgs {
  HeadsView<const float> q;  // [n_tokens, n_heads, head_dim]
  HeadsView<const float> k;  // [n_tokens, n_kv_heads, head_dim]
  HeadsView<const float> v;
  size_t seq_len = 0;  // divides n_tokens
  float scale = 0.0f;
  HeadsView<const float> d_out;
  HeadsView<float> d_q;
  HeadsView<float> d_k;
  HeadsView<float> d_v;
};

// d_table[tokens[t], :] += d_out[t, :], tokens ascending.
struct EmbeddingBackwardArgs {
  std::span<const int32_t> tokens;
  Span2D<const float> d_out;  // [n_tokens, model_dim]
  Span2D<float> d_table;      // [n_vocab, model_dim]
};

namespace ops {
Status GemmBackward(const GemmBackwardArgs& args, ExecContext& ctx);
Status RmsNormBackward(const RmsNormBackwardArgs& args, ExecContext& ctx);
// In place: rotates by the negative angle; lanes that Rope passes through pass.
Status RopeBackward(const RopeArgs& d_x, ExecContext& ctx);
Status SwiGluBackward(const SwiGluBackwardArgs& args, ExecContext& ctx);
Status CrossEntropy(const CrossEntropyArgs& args, ExecContext& ctx);
Status AttentionBackward(const AttentionBackwardArgs& args, ExecContext& ctx);
Status EmbeddingBackward(const EmbeddingBackwardArgs& args, ExecContext& ctx);
}  // namespace ops

}  // namespace etalon

#endif  // ETALON_BACKWARD_H_
