// RMSNorm: y[t, d] = x[t, d] * rstd[t] * weight[d],
//          rstd[t] = 1 / sqrt(mean_d(x[t, d]^2) + eps).
//   x, out [rows, n], row strides free; out may be x itself, else no overlap.
//   weight [n] or empty (all ones); rstd [rows] or empty (not wanted).
// Strict order: squares are summed in 16 virtual f64 lanes (lane j takes
// d = j mod 16), folded 8, 4, 2, 1; mean, + eps, sqrt and 1/ in f64; rstd is
// rounded to f32 once; then fl(fl(x * rstd) * weight).
// Error: at most 3 u |y|, u = 2^-24, a rounding each of rstd (the f64 sum
// leaves nothing else) and of the two products: 1.5 scaled ULP at any n, up to
// 3 raw ULP where |y| is just below a power of two.
// NaN or Inf in a row makes the row non-finite. Per-head QK-norm is the same op
// on rows of head_dim.
#ifndef ETALON_NORM_H_
#define ETALON_NORM_H_

#include <span>

#include "etalon/tensor.h"
#include "etalon/workspace.h"

namespace etalon {

struct RmsNormArgs {
  Span2D<const float> x;
  std::span<const float> weight;
  float eps = 0.0f;  // finite, >= 0
  Span2D<float> out;
  std::span<float> rstd;
};

namespace ops {
Status RmsNorm(const RmsNormArgs& args, ExecContext& ctx);
}

}  // namespace etalon

#endif  // ETALON_NORM_H_
