#include "quantize/scale_fit.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "etalon/status.h"

namespace etalon::quantize {
namespace {

// Sums are kept in 8 lanes, in this order on every machine, so that compilers
// may use whatever vectors they have without changing a bit of the file.
constexpr size_t kSumLanes = 8;
using Lanes = std::array<float, kSumLanes>;

double Fold(const Lanes& l) {
  double sum = 0;
  for (const float v : l) sum += v;
  return sum;
}

// Nearest integer, ties to even, |x| < 2^22: adding 1.5 * 2^23 pushes the
// fraction out of the mantissa. Vectorises where nearbyint is a call.
inline float RoundSmall(float x) {
  constexpr float kMagic = 0x1.8p23f;
  return (x + kMagic) - kMagic;
}

inline float Clamp(float x, float lo, float hi) {
  return std::min(std::max(x, lo), hi);
}

// sum w q, w q^2, w x q for q = clamp(round(x * inverse + offset)).
struct GridSums {
  double q = 0;
  double qq = 0;
  double xq = 0;
};
GridSums SumOnGrid(const float* x, const float* w, size_t n, float inverse,
                   float offset, float lo, float hi) {
  Lanes sq{}, sqq{}, sxq{};
  for (size_t i = 0; i < n; i += kSumLanes) {
    for (size_t j = 0; j < kSumLanes; ++j) {
      const float q = RoundSmall(Clamp(x[i + j] * inverse + offset, lo, hi));
      const float wq = w[i + j] * q;
      sq[j] += wq;
      sqq[j] += wq * q;
      sxq[j] += wq * x[i + j];
    }
  }
  return {Fold(sq), Fold(sqq), Fold(sxq)};
}

struct Moments {
  double w = 0;
  double x = 0;
  double xx = 0;
};
Moments MomentsOf(const float* x, const float* w, size_t n) {
  Lanes sw{}, sx{}, sxx{};
  for (size_t i = 0; i < n; i += kSumLanes) {
    for (size_t j = 0; j < kSumLanes; ++j) {
      const float wx = w[i + j] * x[i + j];
      sw[j] += w[i + j];
      sx[j] += wx;
      sxx[j] += wx * x[i + j];
    }
  }
  return {Fold(sw), Fold(sx), Fold(sxx)};
}

struct Solution {
  double scale = 0;
  double min = 0;
  double error = 0;
};

// Least squares for (scale, min), min <= max_min; when the limit binds, the
// scale alone is free. False: q is degenerate.
bool Solve(const Moments& m, const GridSums& s, double max_min,
           Solution& result) {
  const double det = m.w * s.qq - s.q * s.q;
  if (!(det > 0) || !(s.qq > 0)) return false;
  double scale = (m.w * s.xq - m.x * s.q) / det;
  double min = (s.qq * m.x - s.q * s.xq) / det;
  if (min > max_min) {
    min = max_min;
    scale = (s.xq - min * s.q) / s.qq;
  }
  const double error = m.xx + scale * scale * s.qq + min * min * m.w +
                       2 * scale * min * s.q - 2 * scale * s.xq - 2 * min * m.x;
  result = {scale, min, error};
  return scale > 0;
}

constexpr int kAlternations = 4;

}  // namespace

GroupSums QuantizeGroup(const float* x, const float* w, size_t n, float scale,
                        float min, float q_min, float q_max, float* q_out) {
  ETALON_DCHECK(n % kSumLanes == 0);
  const float inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
  // A subnormal scale has no finite inverse; its group is as good as zero.
  const float safe_inverse = std::isfinite(inverse) ? inverse : 0.0f;
  Lanes se{}, sqq{}, sq{}, sxq{}, sx{}, sw{};
  for (size_t i = 0; i < n; i += kSumLanes) {
    for (size_t j = 0; j < kSumLanes; ++j) {
      const float xi = x[i + j];
      const float wi = w[i + j];
      const float q =
          RoundSmall(Clamp((xi - min) * safe_inverse, q_min, q_max));
      q_out[i + j] = q;
      const float e = scale * q + min - xi;
      se[j] += wi * e * e;
      const float wq = wi * q;
      sq[j] += wq;
      sqq[j] += wq * q;
      sxq[j] += wq * xi;
      sx[j] += wi * xi;
      sw[j] += wi;
    }
  }
  return {Fold(se), Fold(sqq), Fold(sq), Fold(sxq), Fold(sx), Fold(sw)};
}

ScaleMin FitScaleMin(const float* x, const float* w, size_t n, int levels,
                     float max_min) {
  const auto [low_it, high_it] = std::minmax_element(x, x + n);
  const float low = std::min(*low_it, max_min);
  const float range = *high_it - low;
  const float top = static_cast<float>(levels);
  // Constant groups, and those so small that the grid has no f32 inverse.
  if (!(range > 0x1p-120f)) return {0.0f, low};

  const Moments m = MomentsOf(x, w, n);
  Solution best{range / top, low, 0};
  bool found = false;
  // Grids from one level fewer to one more than the range asks for: with fewer
  // levels the extremes are exact, with more they are clipped for the benefit
  // of the middle.
  constexpr int kSteps = 20;
  for (int step = -kSteps / 2; step <= kSteps / 2; ++step) {
    const float inverse = (top + 0.1f * static_cast<float>(step)) / range;
    const GridSums s = SumOnGrid(x, w, n, inverse, -low * inverse, 0.0f, top);
    Solution candidate;
    if (!Solve(m, s, max_min, candidate)) continue;
    if (!found || candidate.error < best.error) best = candidate;
    found = true;
  }
  for (int round = 0; found && round < kAlternations; ++round) {
    const float inverse = static_cast<float>(1.0 / best.scale);
    const GridSums s = SumOnGrid(
        x, w, n, inverse, static_cast<float>(-best.min) * inverse, 0.0f, top);
    Solution candidate;
    if (!Solve(m, s, max_min, candidate) || !(candidate.error < best.error)) {
      break;
    }
    best = candidate;
  }
  return {static_cast<float>(best.scale), static_cast<float>(best.min)};
}

float FitScale(const float* x, const float* w, size_t n, int half) {
  float max = 0.0f;
  for (size_t i = 0; i < n; ++i) {
    if (std::abs(x[i]) > std::abs(max)) max = x[i];
  }
  if (std::abs(max) < 0x1p-120f) return 0.0f;
  const float lo = static_cast<float>(-half);
  const float hi = static_cast<float>(half - 1);
  // With scale = sum w x q / sum w q^2 the error is sum w x^2 - gain.
  float best_scale = max / lo;
  double best_gain = -1;
  const auto consider = [&](float inverse) {
    const GridSums s = SumOnGrid(x, w, n, inverse, 0.0f, lo, hi);
    if (!(s.qq > 0)) return false;
    const double gain = s.xq * s.xq / s.qq;
    if (!(gain > best_gain)) return false;
    best_gain = gain;
    best_scale = static_cast<float>(s.xq / s.qq);
    return best_scale != 0.0f;
  };
  for (int step = -9; step <= 9; ++step) {
    const float stretch = 0.1f * static_cast<float>(step);
    consider((lo - stretch) / max);  // the largest value on the minus side
    consider((hi + stretch) / max);  // or on the plus side
  }
  for (int round = 0; round < kAlternations; ++round) {
    const float inverse = 1.0f / best_scale;
    if (!std::isfinite(inverse) || !consider(inverse)) break;
  }
  return best_scale;
}

}  // namespace etalon::quantize
