#include "quantize/weight_row.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "quant/dequantize.h"
#include "tests/util/random.h"

namespace etalon::quantize {
namespace {

using test::Family;
using test::Random;

constexpr TensorType kQuantized[] = {
    TensorType::kQ4_0, TensorType::kQ4_1, TensorType::kQ5_0, TensorType::kQ5_1,
    TensorType::kQ8_0, TensorType::kQ4_K, TensorType::kQ5_K, TensorType::kQ6_K};

std::vector<float> RoundTrip(TensorType type, const std::vector<float>& x,
                             const float* importance = nullptr) {
  std::vector<std::byte> row(RowBytes(type, x.size()));
  QuantizeWeightRow(type, x.data(), x.size(), importance, row.data());
  std::vector<float> y(x.size());
  DequantizeRow(type, row.data(), x.size(), y.data());
  return y;
}

double RelativeError(const std::vector<float>& x, const std::vector<float>& y) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    error += (y[i] - x[i]) * static_cast<double>(y[i] - x[i]);
    norm += x[i] * static_cast<double>(x[i]);
  }
  return std::sqrt(error / norm);
}

// Limits 2 % above what this search reaches on bell-shaped weights; plain
// rounding between the extremes is 5 to 12 % worse and fails.
TEST(WeightRow, ErrorOnBellShapedWeightsStaysAtItsKnownLevel) {
  struct Limit {
    TensorType type;
    double relative_rmse;
  };
  const Limit limits[] = {
      {TensorType::kQ4_0, 0.0801}, {TensorType::kQ4_1, 0.0705},
      {TensorType::kQ5_0, 0.0400}, {TensorType::kQ5_1, 0.0337},
      {TensorType::kQ8_0, 0.0055}, {TensorType::kQ4_K, 0.0702},
      {TensorType::kQ5_K, 0.0342}, {TensorType::kQ6_K, 0.0172}};
  Random rng(21);
  const std::vector<float> x = rng.Vector(Family::kNormal, 64 * 256);
  for (const Limit& limit : limits) {
    const double error = RelativeError(x, RoundTrip(limit.type, x));
    EXPECT_LE(error, limit.relative_rmse) << TypeName(limit.type);
    EXPECT_GE(error, 0.95 * limit.relative_rmse) << TypeName(limit.type);
  }
}

// A lost bit of precision or a wrong nibble shows on every kind of data.
TEST(WeightRow, ErrorIsSmallOnEveryFamily) {
  Random rng(22);
  for (const Family family : test::kFamilies) {
    // f16 scales end at 2^-24: below, rows become zeros, as they must.
    if (family == Family::kSubnormal || family == Family::kTiny ||
        family == Family::kZero) {
      continue;
    }
    std::vector<float> x = rng.Vector(family, 8 * 256);
    for (float& v : x) v *= 0x1p-6f;  // the wide family leaves f16's range
    for (const TensorType type : kQuantized) {
      const double error = RelativeError(x, RoundTrip(type, x));
      EXPECT_LE(error, 0.13) << TypeName(type) << " " << FamilyName(family)
                             << ", " << test::SeedNote();
    }
  }
}

TEST(WeightRow, ZerosAndVanishingRowsBecomeZeros) {
  Random rng(23);
  for (const Family family : {Family::kZero, Family::kSubnormal}) {
    const std::vector<float> x = rng.Vector(family, 256);
    for (const TensorType type : kQuantized) {
      for (const float v : RoundTrip(type, x)) {
        EXPECT_EQ(v, 0.0f) << TypeName(type);
      }
    }
  }
}

TEST(WeightRow, ConstantsSpikesAndTheLargestValueStayFinite) {
  for (const TensorType type : kQuantized) {
    const float largest = LargestWeight(type);
    for (const float value : {1.0f, -1.0f, largest, -largest}) {
      const std::vector<float> constant(256, value);
      for (const float v : RoundTrip(type, constant)) {
        EXPECT_NEAR(v, value, std::abs(value) * 0.005f) << TypeName(type);
      }
      std::vector<float> spike(256, 0.0f);
      spike[77] = value;
      const std::vector<float> y = RoundTrip(type, spike);
      EXPECT_NEAR(y[77], value, std::abs(value) * 0.005f) << TypeName(type);
      EXPECT_EQ(y[128], 0.0f) << TypeName(type);
    }
  }
}

TEST(WeightRow, ImportantColumnsLoseLess) {
  Random rng(24);
  const std::vector<float> x = rng.Vector(Family::kNormal, 16 * 256);
  std::vector<float> importance(x.size());
  for (size_t i = 0; i < x.size(); ++i) importance[i] = i % 4 == 0 ? 100 : 1;
  for (const TensorType type : kQuantized) {
    if (type == TensorType::kQ8_0) continue;  // fixed rule, no search
    const auto important_error = [&](const std::vector<float>& y) {
      double sum = 0;
      for (size_t i = 0; i < x.size(); i += 4) {
        sum += (y[i] - x[i]) * static_cast<double>(y[i] - x[i]);
      }
      return sum;
    };
    EXPECT_LT(important_error(RoundTrip(type, x, importance.data())),
              0.9 * important_error(RoundTrip(type, x)))
        << TypeName(type);
  }
}

TEST(WeightRow, ImportanceOfZeroIsAccepted) {
  Random rng(25);
  const std::vector<float> x = rng.Vector(Family::kNormal, 256);
  const std::vector<float> importance(x.size(), 0.0f);
  for (const TensorType type : kQuantized) {
    EXPECT_LE(RelativeError(x, RoundTrip(type, x, importance.data())), 0.3)
        << TypeName(type);
  }
}

TEST(WeightRow, FloatTypesRoundToNearest) {
  const std::vector<float> x = {1.0f, 0x1.002p0f, 0x1.01p0f, -3.5f};
  EXPECT_EQ(RoundTrip(TensorType::kF32, x), x);
  EXPECT_EQ(RoundTrip(TensorType::kF16, x),
            (std::vector<float>{1.0f, 1.0f, 0x1.01p0f, -3.5f}));
  EXPECT_EQ(RoundTrip(TensorType::kBF16, x),
            (std::vector<float>{1.0f, 1.0f, 1.0f, -3.5f}));
}

}  // namespace
}  // namespace etalon::quantize
