#include "quantize/scale_fit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/util/random.h"

namespace etalon::quantize {
namespace {

using test::Family;
using test::Random;

constexpr Stretches kSearch{-1.0f, 0.1f, 21};
constexpr Stretches kPlain{0.0f, 0.0f, 0};

std::vector<float> Weights(Random& rng, size_t n) {
  std::vector<float> w = rng.Vector(Family::kUniform, n);
  for (float& v : w) v *= v;
  return w;
}

double Error(const std::vector<float>& x, const std::vector<float>& w,
             const ScaleMin& fit, const std::vector<float>& q) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    sum += w[i] * std::pow(double{fit.scale} * q[i] + fit.min - x[i], 2);
  }
  return sum;
}

TEST(ScaleFit, TheSearchNeverLosesToTheGridBetweenTheExtremes) {
  Random rng(41);
  double searched = 0, plain = 0;
  for (int round = 0; round < 200; ++round) {
    const std::vector<float> x =
        rng.Vector(round % 2 == 0 ? Family::kNormal : Family::kOutlier, 32);
    const std::vector<float> w = Weights(rng, 32);
    std::vector<float> q(32), q_plain(32);
    const ScaleMin fit =
        FitScaleMin(x.data(), w.data(), 32, 15, kSearch, q.data());
    const ScaleMin start =
        FitScaleMin(x.data(), w.data(), 32, 15, kPlain, q_plain.data());
    EXPECT_LE(fit.min, 0.0f);
    for (const float v : q) {
      EXPECT_TRUE(v >= 0 && v <= 15 && v == std::floor(v)) << v;
    }
    const double error = Error(x, w, fit, q);
    const double start_error = Error(x, w, start, q_plain);
    EXPECT_LE(error, start_error * 1.0001) << test::SeedNote();
    searched += error;
    plain += start_error;
  }
  EXPECT_LT(searched, 0.8 * plain);
}

TEST(ScaleFit, WhatLiesOnAGridIsFoundExactly) {
  std::vector<float> x(32), w(32, 1.0f), q(32);
  for (size_t i = 0; i < 32; ++i) {
    x[i] = 0.25f * static_cast<float>((7 * i) % 16) - 1.0f;
  }
  const ScaleMin fit =
      FitScaleMin(x.data(), w.data(), 32, 15, kSearch, q.data());
  EXPECT_EQ(fit.scale, 0.25f);
  EXPECT_EQ(fit.min, -1.0f);
  for (size_t i = 0; i < 32; ++i) x[i] += 1.0f - 8 * 0.25f;
  EXPECT_EQ(FitScale(x.data(), w.data(), 32, 8, q.data()), 0.25f);
  for (size_t i = 0; i < 32; ++i) EXPECT_EQ(0.25f * q[i], x[i]);
}

TEST(ScaleFit, LevelsNeverLoseToTheGridOfTheLargest) {
  Random rng(42);
  for (int round = 0; round < 200; ++round) {
    std::vector<float> x = rng.Vector(Family::kUniform, 8);
    for (float& v : x) v = std::abs(v) + 0.01f;
    const std::vector<float> w = Weights(rng, 8);
    std::vector<uint8_t> level(8);
    const float step = FitLevels(x.data(), w.data(), 8, 63, level.data());
    const float max = *std::max_element(x.begin(), x.end());
    double error = 0, start_error = 0;
    for (size_t i = 0; i < 8; ++i) {
      EXPECT_LE(level[i], 63);
      error += w[i] * std::pow(step * level[i] - x[i], 2);
      const float q = std::nearbyint(x[i] * 63 / max);
      start_error += w[i] * std::pow(max / 63 * q - x[i], 2);
    }
    EXPECT_LE(error, start_error * 1.0001) << test::SeedNote();
  }
}

// Weights that say nothing leave the plain grid, never NaN.
TEST(ScaleFit, UselessWeightsAreSurvived) {
  Random rng(43);
  const std::vector<float> x = rng.Vector(Family::kNormal, 32);
  std::vector<float> magnitudes = x;
  for (float& v : magnitudes) v = std::abs(v);
  const float largest = std::numeric_limits<float>::max();
  for (const float weight : {0.0f, 1e-44f, largest}) {
    const std::vector<float> w(32, weight);
    std::vector<float> q(32);
    const ScaleMin fit =
        FitScaleMin(x.data(), w.data(), 32, 31, kSearch, q.data());
    const float scale = FitScale(x.data(), w.data(), 32, 16, q.data());
    EXPECT_TRUE(fit.scale > 0.01f && fit.scale < 1.0f) << fit.scale;
    EXPECT_TRUE(fit.min < 0 && fit.min > -10.0f) << fit.min;
    EXPECT_TRUE(std::abs(scale) > 0.01f && std::abs(scale) < 1) << scale;
    std::vector<uint8_t> level(32);
    const float step =
        FitLevels(magnitudes.data(), w.data(), 32, 63, level.data());
    EXPECT_TRUE(step > 0.001f && step < 1.0f) << step;
  }
}

}  // namespace
}  // namespace etalon::quantize
