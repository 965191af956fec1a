// Stages of a chain of ops: values rounded to f32, and how far a port's may be
// from them. Shared by the gated feed-forward, the mixture of experts and the
// whole layer. A stage takes the stages before it: what their errors do to the
// op is bounded, the op's own magnitudes are enlarged to those of the worst
// inputs, and its own tolerance for these comes on top. docs/numerics.md,
// "Chains", derives each.
#ifndef ETALON_REFERENCE_STAGES_H_
#define ETALON_REFERENCE_STAGES_H_

#include <span>
#include <vector>

#include "etalon/attention.h"
#include "etalon/gemm.h"
#include "etalon/rope.h"
#include "etalon/status.h"
#include "reference/bounds.h"

namespace etalon::reference {

struct Stage {
  std::vector<float> value;
  std::vector<double> error;  // empty without a profile

  void Add(std::span<const double> more);
  // The reference's own rounding of `exact` to f32.
  void AddRounding(const std::vector<double>& exact, double u);
};

std::vector<float> RoundedToF32(const std::vector<double>& v);

// x W^T * scale, [x.rows, w.rows]. p null: no errors.
Expected<Stage> Multiply(const Span2D<const float>& x, const WeightMatrix& w,
                         double scale, Activations activations,
                         const Profile* p, std::span<const float> bias = {});

// The same of rows that carry errors.
Expected<Stage> Multiply(const Stage& x, size_t rows, const WeightMatrix& w,
                         double scale, Activations activations,
                         const Profile* p, std::span<const float> bias = {});

// How far the dequantised activation of a port may be from the reference's when
// the row it quantises differs from `x` by at most `error`: where that can
// change a quantised activation, it counts as flipped by one step.
std::vector<double> QuantizedError(std::span<const float> x,
                                   std::span<const double> error,
                                   size_t block_size);

// |value| + by: what a tolerance that is relative to the value must see.
void Enlarge(std::span<const double> by, std::span<double> values);

// silu(gate) * up with the errors of both.
Expected<Stage> Activate(const Stage& gate, const Stage& up, size_t rows,
                         size_t cols, const Profile* p);

// Values that are given: no errors.
Stage Given(const Span2D<const float>& x, const Profile* p);

// RMSNorm of rows of `cols`.
Expected<Stage> Normalize(const Stage& x, size_t cols,
                          std::span<const float> weight, float eps,
                          const Profile* p);

struct Rotation {
  std::span<const int32_t> positions;
  Span2D<const float> cos;
  Span2D<const float> sin;
  RopeStyle style = RopeStyle::kHalfSplit;
};
// RoPE of [tokens, n_heads, head_dim] by tables that are given.
Expected<Stage> Rotate(const Stage& x, size_t n_heads, size_t head_dim,
                       const Rotation& rotation, const Profile* p);

// a + b, rows of `cols`.
Expected<Stage> Sum(const Stage& a, const Stage& b, size_t cols,
                    const Profile* p);

// Positions [0, pos) of a cache, which are given, and behind them x [tokens,
// n_kv_heads, head_dim] as that cache stores it: [n_kv_heads, pos + tokens,
// head_dim]. F32 or F16.
Stage Append(const KvView& cache, size_t pos, const Stage& x, const Profile* p);

// Causal attention of q [tokens, n_heads, head_dim] to caches made by Append.
Expected<Stage> Attend(const Stage& q, const Stage& k, const Stage& v,
                       size_t n_heads, size_t n_kv_heads, size_t head_dim,
                       size_t kv_len, float scale, const Profile* p);

}  // namespace etalon::reference

#endif  // ETALON_REFERENCE_STAGES_H_
