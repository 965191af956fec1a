#include "train/adamw.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "ops/correctly_rounded.h"
#include "simd/backward.h"

namespace etalon::train {
namespace {

// Elements of one task; also where the norm's partial sums are cut.
constexpr size_t kPiece = size_t{1} << 15;

// b^n by squaring: libm's pow differs between systems.
double Power(double b, size_t n) {
  double result = 1.0;
  for (; n > 0; n >>= 1, b *= b) {
    if (n & 1) result *= b;
  }
  return result;
}

double GradientNorm(std::span<const float> g, int n_threads) {
  std::vector<double> sums((g.size() + kPiece - 1) / kPiece);
  ParallelFor(sums.size(), n_threads, [&](size_t i, int) {
    const size_t begin = i * kPiece;
    sums[i] = simd::SumOfSquares(g.data() + begin,
                                 std::min(kPiece, g.size() - begin));
  });
  double sum = 0.0;
  for (const double s : sums) sum += s;
  return std::sqrt(sum);
}

}  // namespace

float LearningRate(const AdamWOptions& o, size_t step, size_t n_steps) {
  if (step < o.warmup_steps) {
    return o.learning_rate * static_cast<float>(step + 1) /
           static_cast<float>(o.warmup_steps);
  }
  const float rest = static_cast<float>(
      std::max<size_t>(1, n_steps - std::min(n_steps, o.warmup_steps)));
  const float done =
      std::min(1.0f, static_cast<float>(step - o.warmup_steps) / rest);
  constexpr float kPi = 0x1.921fb6p+1f;
  const float cosine = 0.5f * (1.0f + ops::SinCosOf(kPi * done).cos);
  return o.learning_rate * (o.min_ratio + (1.0f - o.min_ratio) * cosine);
}

double AdamWUpdate(const AdamWOptions& o, size_t step, float rate, Net& net,
                   AdamWState& state, int n_threads) {
  const double norm = GradientNorm(net.gradients(), n_threads);
  if (!std::isfinite(norm)) return norm;
  const double t1 = 1.0 - Power(static_cast<double>(o.beta1), step + 1);
  const double t2 = 1.0 - Power(static_cast<double>(o.beta2), step + 1);
  simd::AdamWStep s;
  const double clip = static_cast<double>(o.clip);
  s.grad_factor = norm > clip ? static_cast<float>(clip / norm) : 1.0f;
  s.beta1 = o.beta1;
  s.beta2 = o.beta2;
  s.step_size = static_cast<float>(static_cast<double>(rate) / t1);
  s.inv_correction2 = static_cast<float>(1.0 / std::sqrt(t2));
  s.eps = o.eps;

  struct Piece {
    size_t begin, size;
    bool decays;
  };
  std::vector<Piece> pieces;
  for (const Parameter& p : net.parameters()) {
    for (size_t i = 0; i < p.size(); i += kPiece) {
      pieces.push_back(
          {p.offset + i, std::min(kPiece, p.size() - i), p.rows > 0});
    }
  }
  ParallelFor(pieces.size(), n_threads, [&](size_t i, int) {
    const Piece& p = pieces[i];
    simd::AdamWStep mine = s;
    mine.decay = p.decays ? 1.0f - rate * o.weight_decay : 1.0f;
    simd::AdamW(mine, net.gradients().data() + p.begin,
                state.m.data() + p.begin, state.v.data() + p.begin,
                net.values().data() + p.begin, p.size);
  });
  return norm;
}

}  // namespace etalon::train
