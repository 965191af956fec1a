// Weighted least squares for one group of weights: the scale (and minimum) of a
// uniform quantiser that lose least.
//   FitScaleMin minimises sum_i w_i (scale * q_i + min - x_i)^2,
//   q_i in 0..levels;
//   FitScale minimises sum_i w_i (scale * q_i - x_i)^2, q_i in -half..half-1.
// The q_i depend on scale and min, so the problem is solved by a search: a set
// of slightly stretched and shrunk grids gives candidate q, each candidate its
// least-squares scale and min in closed form, and the best candidate wins, the
// first one on a tie. Which grids, and every sum in f32 in the order of i, are
// those of the established quantisers of these formats, so that the same
// weights give the same file.
// Groups have at most kMaxGroup values; weights are >= 0, values finite.
#ifndef ETALON_QUANTIZE_SCALE_FIT_H_
#define ETALON_QUANTIZE_SCALE_FIT_H_

#include <cstddef>
#include <cstdint>

namespace etalon::quantize {

inline constexpr size_t kMaxGroup = 32;

struct ScaleMin {
  float scale = 0.0f;
  float min = 0.0f;
};

// Candidate k = 0..count - 1 spreads levels + first + step * k steps over the
// range of the group, from the best minimum found so far (at first the smallest
// value, or 0) to the largest value: with fewer than `levels` the extremes are
// exact, with more they are clipped for the benefit of the middle.
struct Stretches {
  float first;
  float step;
  int count;
};

// min <= 0: the K-quants store a subtracted non-negative minimum. q [n]: the
// winner's codes.
ScaleMin FitScaleMin(const float* x, const float* w, size_t n, int levels,
                     const Stretches& stretches, float* q);

// The scale may be negative: the grid has one value more on its minus side, and
// the largest value goes there. q [n]: the winner's codes, -half for a group of
// zeros.
float FitScale(const float* x, const float* w, size_t n, int half, float* q);

// Scales x [n] >= 0 on a grid of their own: minimise sum_i w_i (step * level_i
// - x_i)^2, level_i in 0..top. Stretched grids first, then each level in turn
// moves to its best place while the others stay, until none moves. Returns the
// step.
float FitLevels(const float* x, const float* w, size_t n, int top,
                uint8_t* level);

}  // namespace etalon::quantize

#endif  // ETALON_QUANTIZE_SCALE_FIT_H_
