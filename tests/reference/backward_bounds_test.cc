// The derived bounds of backward passes: a naive f32 port in any order stays
// within them, an error such as ports make does not.
#include "reference/backward_bounds.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/util/backward_fixture.h"

namespace etalon::reference {
namespace {

using test::Rows;

const Profile& AnyOrder() { return AnyOrderF32Profile(); }

// The largest share of its bound that an error takes; above 1 it is caught.
double Share(const Rows& got, const Matrix& want, const Matrix& bound) {
  double largest = 0;
  for (size_t r = 0; r < got.rows(); ++r) {
    for (size_t c = 0; c < got.cols(); ++c) {
      const double error =
          std::abs(static_cast<double>(got.at(r, c)) - want(r, c));
      if (!(error <= bound(r, c))) {
        largest = std::max(largest, error / bound(r, c));
        if (std::isnan(error)) return INFINITY;
      } else if (error > 0) {
        largest = std::max(largest, error / bound(r, c));
      }
    }
  }
  return largest;
}

class BackwardBounds : public ::testing::Test {
 protected:
  Rows Random(size_t rows, size_t cols, float mean = 0, float spread = 1) {
    return Rows::Random(rng_, rows, cols, mean, spread);
  }
  test::Random rng_{7, /*stream=*/21};
};

// d_x = d w; `terms` of the sum are added, all but the last one when planted.
Rows NaiveInput(const Rows& w, const Rows& d, size_t terms) {
  Rows out(d.rows(), w.cols());
  for (size_t t = 0; t < d.rows(); ++t) {
    for (size_t k = 0; k < w.cols(); ++k) {
      float sum = 0;
      for (size_t n = 0; n < terms; ++n) sum += d.at(t, n) * w.at(n, k);
      out.at(t, k) = sum;
    }
  }
  return out;
}

TEST_F(BackwardBounds, LinearCatchesALostTerm) {
  const Rows w = Random(90, 7), d = Random(5, 90);
  const Matrix weights = w.matrix();
  const Measured d_y(d.matrix());
  const Matrix want = LinearBackward(Matrix(5, 7), weights, d_y.value).x;
  const LinearPart part = {weights, d_y};
  const Matrix bound = LinearInputBound({&part, 1}, AnyOrder());
  EXPECT_LE(Share(NaiveInput(w, d, 90), want, bound), 1);
  EXPECT_GT(Share(NaiveInput(w, d, 89), want, bound), 1e3);
}

// What is off in d_y arrives in d_x, no more and no less than |w| times it.
TEST_F(BackwardBounds, AnErrorOfTheGradientIsCarried) {
  const Rows w = Random(20, 6);
  Rows d = Random(4, 20);
  const Matrix weights = w.matrix(), exact = d.matrix();
  Matrix error(4, 20);
  for (double& e : error.v) e = 1e-3;
  for (size_t t = 0; t < 4; ++t) {
    for (size_t n = 0; n < 20; ++n) d.at(t, n) += 0.9e-3f;
  }
  const Matrix want = LinearBackward(Matrix(4, 6), weights, exact).x;
  const Measured measured(exact, error), unaware(exact);
  const LinearPart part = {weights, measured}, blind = {weights, unaware};
  const Rows got = NaiveInput(w, d, 20);
  EXPECT_LE(Share(got, want, LinearInputBound({&part, 1}, AnyOrder())), 1);
  EXPECT_GT(Share(got, want, LinearInputBound({&blind, 1}, AnyOrder())), 10);
}

Rows NaiveRmsNorm(const Rows& x, const Rows& w, const Rows& d, float eps,
                  bool forget_mean) {
  const size_t n = x.cols();
  Rows out(x.rows(), n);
  for (size_t r = 0; r < x.rows(); ++r) {
    float squares = 0, sum = 0;
    for (size_t c = 0; c < n; ++c) squares += x.at(r, c) * x.at(r, c);
    const float rstd = 1.0f / std::sqrt(squares / static_cast<float>(n) + eps);
    for (size_t c = 0; c < n; ++c) {
      sum += d.at(r, c) * w.at(0, c) * (x.at(r, c) * rstd);
    }
    const float mean = forget_mean ? 0 : sum / static_cast<float>(n);
    for (size_t c = 0; c < n; ++c) {
      const float t = x.at(r, c) * rstd * mean;
      out.at(r, c) = (d.at(r, c) * w.at(0, c) - t) * rstd;
    }
  }
  return out;
}

TEST_F(BackwardBounds, B12RmsNormCatchesAForgottenMeanAndEps) {
  const Rows x = Random(9, 65), w = Random(1, 65, 1), d = Random(9, 65);
  const double eps = static_cast<double>(1e-5f);
  const Matrix want =
      RmsNormBackward(x.matrix(), w.matrix(), eps, d.matrix()).x;
  const Matrix bound = RmsNormBackwardBound(x.matrix(), w.matrix(), eps,
                                            Measured(d.matrix()), AnyOrder())
                           .x;
  EXPECT_LE(Share(NaiveRmsNorm(x, w, d, 1e-5f, false), want, bound), 1);
  EXPECT_GT(Share(NaiveRmsNorm(x, w, d, 1e-5f, true), want, bound), 100);
  EXPECT_GT(Share(NaiveRmsNorm(x, w, d, 0, false), want, bound), 1);
}

// `gated` false: the slope's term with gate left out.
Rows NaiveSwiGluGate(const Rows& gate, const Rows& up, const Rows& d,
                     bool gated) {
  Rows out(gate.rows(), gate.cols());
  for (size_t r = 0; r < gate.rows(); ++r) {
    for (size_t c = 0; c < gate.cols(); ++c) {
      const float g = gate.at(r, c), s = 1.0f / (1.0f + std::exp(-g));
      const float slope = gated ? s * (1.0f + g * (1.0f - s)) : s;
      out.at(r, c) = d.at(r, c) * up.at(r, c) * slope;
    }
  }
  return out;
}

TEST_F(BackwardBounds, B14SwiGluCatchesAWrongSlope) {
  const Rows g = Random(20, 30, 0, 12), u = Random(20, 30), d = Random(20, 30);
  const Matrix want = SwiGluBackward(g.matrix(), u.matrix(), d.matrix()).gate;
  const Matrix bound = SwiGluBackwardBound(g.matrix(), u.matrix(),
                                           Measured(d.matrix()), AnyOrder())
                           .gate;
  EXPECT_LE(Share(NaiveSwiGluGate(g, u, d, true), want, bound), 1);
  EXPECT_GT(Share(NaiveSwiGluGate(g, u, d, false), want, bound), 1e3);
}

enum class Fault { kNone, kHalfPrecisionWeights, kNoMean, kMaskOff };

float Rounded(float x) {  // to bf16
  const auto bits = std::bit_cast<uint32_t>(x);
  return std::bit_cast<float>((bits + 0x8000u) & 0xffff0000u);
}

// d_q of one head, one sequence.
Rows NaiveAttention(const Rows& q, const Rows& k, const Rows& v, const Rows& d,
                    float scale, Fault fault) {
  const size_t n = q.rows(), dim = q.cols();
  Rows out(n, dim);
  for (size_t t = 0; t < n; ++t) {
    const size_t seen = fault == Fault::kMaskOff && t + 1 < n ? t + 2 : t + 1;
    std::vector<float> p(seen), dp(seen);
    float max = -INFINITY, sum = 0, mean = 0;
    for (size_t j = 0; j < seen; ++j) {
      for (size_t c = 0; c < dim; ++c) {
        p[j] += q.at(t, c) * k.at(j, c);
        dp[j] += d.at(t, c) * v.at(j, c);
      }
      p[j] *= scale;
      max = std::max(max, p[j]);
    }
    for (float& x : p) sum += x = std::exp(x - max);
    for (float& x : p) {
      x /= sum;
      if (fault == Fault::kHalfPrecisionWeights) x = Rounded(x);
    }
    for (size_t j = 0; j < seen; ++j) mean += p[j] * dp[j];
    if (fault == Fault::kNoMean) mean = 0;
    for (size_t j = 0; j < seen; ++j) {
      const float ds = p[j] * (dp[j] - mean) * scale;
      for (size_t c = 0; c < dim; ++c) out.at(t, c) += ds * k.at(j, c);
    }
  }
  return out;
}

TEST_F(BackwardBounds, B45AttentionCatchesWeightsMeanAndMask) {
  constexpr size_t kN = 40, kWidth = 24;
  const Rows q = Random(kN, kWidth), k = Random(kN, kWidth),
             v = Random(kN, kWidth), d = Random(kN, kWidth);
  const float scale = 0.4f;
  const AttentionShape s = {1, 1, kWidth, kN, static_cast<double>(scale)};
  const Matrix want =
      AttentionBackward(s, q.matrix(), k.matrix(), v.matrix(), d.matrix()).q;
  const Matrix bound =
      AttentionBackwardBound(s, q.matrix(), k.matrix(), v.matrix(),
                             Measured(d.matrix()), AnyOrder())
          .q;
  const auto share = [&](Fault fault) {
    return Share(NaiveAttention(q, k, v, d, scale, fault), want, bound);
  };
  EXPECT_LE(share(Fault::kNone), 1);
  EXPECT_GT(share(Fault::kHalfPrecisionWeights), 10);
  EXPECT_GT(share(Fault::kNoMean), 1e3);
  EXPECT_GT(share(Fault::kMaskOff), 1e3);
}

TEST_F(BackwardBounds, CrossEntropyCatchesANeighboursTarget) {
  const Rows x = Random(6, 50, 0, 6);
  const std::vector<int32_t> targets = {3, 0, 49, 7, -1, 21};
  const auto naive = [&](size_t shift) {
    Rows out(6, 50);
    for (size_t t = 0; t < 6; ++t) {
      if (targets[t] < 0) continue;
      float max = -INFINITY, sum = 0;
      for (size_t c = 0; c < 50; ++c) max = std::max(max, x.at(t, c));
      for (size_t c = 0; c < 50; ++c) {
        sum += out.at(t, c) = std::exp(x.at(t, c) - max);
      }
      for (size_t c = 0; c < 50; ++c) out.at(t, c) *= 0.5f / sum;
      out.at(t, (static_cast<size_t>(targets[t]) + shift) % 50) -= 0.5f;
    }
    return out;
  };
  Matrix want = CrossEntropyBackward(x.matrix(), targets);
  for (double& g : want.v) g *= 0.5;
  const Matrix bound =
      CrossEntropyBound(x.matrix(), targets, 0.5, AnyOrder()).x;
  EXPECT_LE(Share(naive(0), want, bound), 1);
  EXPECT_GT(Share(naive(1), want, bound), 1e3);
}

}  // namespace
}  // namespace etalon::reference
