#include "quantize/scale_fit.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "etalon/status.h"
#include "quantize/rounding.h"

namespace etalon::quantize {
namespace {

// One candidate per lane: each lane sums in the order of i, as a scalar loop
// would, and compilers may use whatever vectors they have without changing a
// bit of the file.
constexpr size_t kLanes = 4;
using Lanes = std::array<float, kLanes>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Moments {
  float w = 0.0f;   // sum w
  float wx = 0.0f;  // sum w x
};

// Least squares for (scale, min) on the grids q = round((x - origin) * inverse)
// of all lanes, min <= 0; where that limit binds, the scale alone is free.
// error: infinite where q is degenerate.
struct Fits {
  Lanes scale;
  Lanes min;
  Lanes error;
};
Fits SolveLanes(const float* x, const float* w, size_t n, const Moments& m,
                float origin, float top, const Lanes& inverse) {
  std::array<Lanes, kMaxGroup> q;
  Lanes wq{}, wqq{}, wqx{};
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < kLanes; ++j) {
      const float code = RoundInto(inverse[j] * (x[i] - origin), 0.0f, top);
      q[i][j] = code;
      wq[j] += w[i] * code;
      wqq[j] += w[i] * code * code;
      wqx[j] += w[i] * code * x[i];
    }
  }
  Fits fits{};
  for (size_t j = 0; j < kLanes; ++j) {
    const float det = m.w * wqq[j] - wq[j] * wq[j];
    if (!(det > 0)) {
      fits.error[j] = kInfinity;
      continue;
    }
    fits.scale[j] = (m.w * wqx[j] - m.wx * wq[j]) / det;
    fits.min[j] = (wqq[j] * m.wx - wq[j] * wqx[j]) / det;
    if (fits.min[j] > 0) {
      fits.min[j] = 0;
      fits.scale[j] = wqx[j] / wqq[j];
    }
  }
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < kLanes; ++j) {
      const float e = fits.scale[j] * q[i][j] + fits.min[j] - x[i];
      fits.error[j] += w[i] * (e * e);
    }
  }
  return fits;
}

// sum w x q and sum w q^2 for q = round(x * inverse): the least-squares scale
// is their quotient, and the error sum w x^2 - (sum w x q)^2 / sum w q^2.
struct ScaleSums {
  Lanes wxq;
  Lanes wqq;
};
ScaleSums SumLanes(const float* x, const float* w, size_t n, float half,
                   const Lanes& inverse) {
  Lanes wxq{}, wqq{};
  for (size_t i = 0; i < n; ++i) {
    const float wx = w[i] * x[i];
    for (size_t j = 0; j < kLanes; ++j) {
      const float q = RoundInto(inverse[j] * x[i], -half, half - 1);
      wxq[j] += wx * q;
      wqq[j] += w[i] * q * q;
    }
  }
  return {wxq, wqq};
}

// The plain grid first, then up to 0.9 steps fewer and more.
constexpr size_t kScaleCandidates = 19;
constexpr float ScaleStretch(size_t k) {
  const int step = static_cast<int>(k) - (k <= 9 ? 10 : 9);
  return k == 0 ? 0.0f : 0.1f * static_cast<float>(step);
}

}  // namespace

ScaleMin FitScaleMin(const float* x, const float* w, size_t n, int levels,
                     const Stretches& stretches, float* q) {
  ETALON_DCHECK(n <= kMaxGroup);
  const auto [low_it, high_it] = std::minmax_element(x, x + n);
  const float low = std::min(*low_it, 0.0f);
  const float high = *high_it;
  const float range = high - low;
  const float top = static_cast<float>(levels);
  std::fill_n(q, n, 0.0f);
  if (!(range > kZeroBelow)) return {0.0f, low};

  // To beat: the grid from extreme to extreme as it is.
  float best_inverse = top / range;
  float best_origin = low;
  ScaleMin best{1.0f / best_inverse, low};
  float best_error = 0.0f;
  Moments m;
  for (size_t i = 0; i < n; ++i) {
    m.w += w[i];
    m.wx += w[i] * x[i];
    const float code = RoundInto(best_inverse * (x[i] - low), 0.0f, top);
    const float e = best.scale * code + low - x[i];
    best_error += w[i] * (e * e);
  }
  // Grids start at the best minimum so far: a candidate that wins moves all
  // those after it, which lanes have tried in vain then.
  for (int k = 0; k < stretches.count;) {
    const float origin = best.min;
    const float span = high - origin;
    if (!(span > kZeroBelow)) break;
    Lanes inverse;
    for (size_t j = 0; j < kLanes; ++j) {
      const float index = static_cast<float>(k + static_cast<int>(j));
      inverse[j] = (stretches.first + stretches.step * index + top) / span;
    }
    const Fits fits = SolveLanes(x, w, n, m, origin, top, inverse);
    const size_t n_used =
        std::min(kLanes, static_cast<size_t>(stretches.count - k));
    size_t j = 0;
    while (j < n_used && !(fits.error[j] < best_error)) ++j;
    k += static_cast<int>(j);
    if (j == n_used) continue;
    ++k;
    best = {fits.scale[j], fits.min[j]};
    best_error = fits.error[j];
    best_inverse = inverse[j];
    best_origin = origin;
  }
  for (size_t i = 0; i < n; ++i) {
    q[i] = RoundInto(best_inverse * (x[i] - best_origin), 0.0f, top);
  }
  return best;
}

float FitScale(const float* x, const float* w, size_t n, int half, float* q) {
  const float side = static_cast<float>(half);
  float max = 0.0f;
  for (size_t i = 0; i < n; ++i) {
    if (std::abs(x[i]) > std::abs(max)) max = x[i];
  }
  if (std::abs(max) < kZeroBelow) {
    std::fill_n(q, n, -side);
    return 0.0f;
  }
  // Holds where all weights are 0.
  float best_inverse = -side / max;
  float best_scale = 1.0f / best_inverse;
  float best_gain = 0.0f;
  for (size_t first = 0; first < kScaleCandidates; first += kLanes) {
    Lanes inverse;
    for (size_t j = 0; j < kLanes; ++j) {
      inverse[j] = -(side + ScaleStretch(first + j)) / max;
    }
    const ScaleSums s = SumLanes(x, w, n, side, inverse);
    const size_t n_used = std::min(kLanes, kScaleCandidates - first);
    for (size_t j = 0; j < n_used; ++j) {
      const float square = s.wxq[j] * s.wxq[j];
      if (!(s.wqq[j] > 0 && square > best_gain * s.wqq[j])) continue;
      if (!(square < kInfinity)) continue;  // weights near the end of f32
      best_scale = s.wxq[j] / s.wqq[j];
      best_gain = best_scale * s.wxq[j];
      best_inverse = inverse[j];
    }
  }
  for (size_t i = 0; i < n; ++i) {
    q[i] = RoundInto(best_inverse * x[i], -side, side - 1);
  }
  return best_scale;
}

float FitLevels(const float* x, const float* w, size_t n, int top,
                uint8_t* level) {
  ETALON_DCHECK(n <= kMaxGroup);
  std::fill_n(level, n, uint8_t{0});
  const float max = *std::max_element(x, x + n);
  if (!(max > kZeroBelow)) return 0.0f;
  const float limit = static_cast<float>(top);
  const auto nearest = [&](float v) { return RoundInto(v, 0.0f, limit); };

  constexpr int kStretches[] = {0, -4, -3, -2, -1, 1, 2, 3, 4};
  float inverse = limit / max;
  float best_error = kInfinity;
  for (const int stretch : kStretches) {
    const float candidate = (0.1f * static_cast<float>(stretch) + limit) / max;
    const float step = 1.0f / candidate;
    float error = 0.0f;
    for (size_t i = 0; i < n; ++i) {
      const float e = x[i] - step * nearest(candidate * x[i]);
      error += w[i] * e * e;
    }
    if (!(error < best_error)) continue;
    best_error = error;
    inverse = candidate;
  }

  std::array<float, kMaxGroup> q;
  float wxq = 0.0f, wqq = 0.0f;
  for (size_t i = 0; i < n; ++i) {
    q[i] = nearest(inverse * x[i]);
    wxq += w[i] * x[i] * q[i];
    wqq += w[i] * q[i] * q[i];
  }
  constexpr int kMaxRounds = 5;
  bool moved = true;
  for (int round = 0; moved && round < kMaxRounds; ++round) {
    moved = false;
    for (size_t i = 0; i < n; ++i) {
      // The step that the others ask for says where this one belongs.
      float rest_xq = wxq - w[i] * x[i] * q[i];
      float rest_qq = wqq - w[i] * q[i] * q[i];
      if (!(rest_xq > 0 && rest_qq > 0)) continue;
      const float place = nearest(x[i] * rest_qq / rest_xq);
      if (place == q[i]) continue;
      rest_xq += w[i] * x[i] * place;
      rest_qq += w[i] * place * place;
      if (!(rest_xq * rest_xq * wqq > wxq * wxq * rest_qq)) continue;
      q[i] = place;
      wxq = rest_xq;
      wqq = rest_qq;
      moved = true;
    }
  }
  for (size_t i = 0; i < n; ++i) level[i] = static_cast<uint8_t>(q[i]);
  // All weights 0, or near the end of f32: the grid as it was.
  const float step = wqq > 0 ? wxq / wqq : 0.0f;
  return step > 0 && std::isfinite(step) ? step : 1.0f / inverse;
}

}  // namespace etalon::quantize
