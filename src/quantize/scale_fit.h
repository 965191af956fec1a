// Weighted least squares for one group of weights: the scale (and minimum) of a
// uniform quantiser that lose least.
//   asymmetric: minimise sum_i w_i (scale * q_i + min - x_i)^2, q_i in
//   0..levels symmetric:  minimise sum_i w_i (scale * q_i - x_i)^2, q_i in
//   -half..half - 1
// The q_i depend on scale and min, so the problem is solved by a search: a set
// of slightly stretched and shrunk grids gives candidate q, each candidate its
// least-squares scale and min in closed form, the best one a few rounds of
// alternation (q by rounding, scale and min by least squares), which can only
// improve it.
// Groups have 16 or 32 values; weights are >= 0, values finite.
#ifndef ETALON_QUANTIZE_SCALE_FIT_H_
#define ETALON_QUANTIZE_SCALE_FIT_H_

#include <cstddef>

namespace etalon::quantize {

inline constexpr size_t kMaxGroup = 32;

struct ScaleMin {
  float scale = 0.0f;
  float min = 0.0f;
};

// max_min: upper limit of `min`: 0 for the K-quants, which store a subtracted
// non-negative minimum, infinity where the minimum has a sign of its own.
ScaleMin FitScaleMin(const float* x, const float* w, size_t n, int levels,
                     float max_min);

// The scale may be negative: the grid has one value more on its minus side.
float FitScale(const float* x, const float* w, size_t n, int half);

// q_i = the nearest of 0..levels to (x_i - min) / scale (0 if scale is 0), and
// the weighted sums that errors and least squares are made of.
struct GroupSums {
  double error = 0;  // sum w (scale q + min - x)^2
  double qq = 0;     // sum w q^2
  double q = 0;      // sum w q
  double xq = 0;     // sum w x q
  double x = 0;      // sum w x
  double w = 0;      // sum w
};
GroupSums QuantizeGroup(const float* x, const float* w, size_t n, float scale,
                        float min, float q_min, float q_max, float* q);

}  // namespace etalon::quantize

#endif  // ETALON_QUANTIZE_SCALE_FIT_H_
