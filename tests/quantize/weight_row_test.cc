#include "quantize/weight_row.h"

#include <gtest/gtest.h>

#include <algorithm>
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

// Limits 2 % above what these rules reach on bell-shaped weights. (A search
// that weighs all errors the same reaches 1 to 10 % less here, and loses on
// models: their large weights matter more.)
TEST(WeightRow, ErrorOnBellShapedWeightsStaysAtItsKnownLevel) {
  struct Limit {
    TensorType type;
    double relative_rmse;
  };
  const Limit limits[] = {
      {TensorType::kQ4_0, 0.0860}, {TensorType::kQ4_1, 0.0790},
      {TensorType::kQ5_0, 0.0423}, {TensorType::kQ5_1, 0.0379},
      {TensorType::kQ8_0, 0.0055}, {TensorType::kQ4_K, 0.0719},
      {TensorType::kQ5_K, 0.0362}, {TensorType::kQ6_K, 0.0176}};
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

// The plain rules put the value of largest magnitude, or both extremes, on the
// end of the grid: no error above half a step, but for Q4_0 and Q5_0 at the end
// that has a step less.
TEST(WeightRow, PlainRulesReachFromEndToEnd) {
  struct Rule {
    TensorType type;
    float levels;
    bool signed_max;  // else extremes
  };
  const Rule rules[] = {{TensorType::kQ4_0, 16, true},
                        {TensorType::kQ5_0, 32, true},
                        {TensorType::kQ4_1, 15, false},
                        {TensorType::kQ5_1, 31, false}};
  Random rng(26);
  for (int round = 0; round < 100; ++round) {
    const std::vector<float> x = rng.Vector(Family::kNormal, 32);
    const auto [low, high] = std::minmax_element(x.begin(), x.end());
    const float max = -*low > *high ? *low : *high;
    for (const Rule& rule : rules) {
      const float range = rule.signed_max ? 2 * std::abs(max) : *high - *low;
      const float step = range / rule.levels;
      const float f16_error = 0x1p-10f * (range + std::abs(*low));
      const std::vector<float> y = RoundTrip(rule.type, x);
      for (size_t i = 0; i < 32; ++i) {
        const bool short_end = rule.signed_max && x[i] / max < 0;
        EXPECT_NEAR(y[i], x[i], (short_end ? 1.0f : 0.5f) * step + f16_error)
            << TypeName(rule.type) << ", " << test::SeedNote();
        if (x[i] == max || (!rule.signed_max && x[i] == *low)) {
          EXPECT_NEAR(y[i], x[i], f16_error) << TypeName(rule.type);
        }
      }
    }
  }
}

uint64_t Fnv1a(const std::vector<std::byte>& bytes) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const std::byte b : bytes) {
    hash = (hash ^ static_cast<uint64_t>(b)) * 0x100000001b3u;
  }
  return hash;
}

// Rows of every kind, 8 blocks of each; fixed seed: the hashes below are of
// these.
std::vector<float> GoldenRow() {
  std::vector<float> row;
  Random rng(/*seed=*/2026, /*stream=*/1);
  for (const Family family :
       {Family::kNormal, Family::kUniform, Family::kWide, Family::kExactInt,
        Family::kOutlier, Family::kOffset, Family::kConstant, Family::kZero}) {
    for (const float v : rng.Vector(family, 8 * 256))
      row.push_back(v * 0x1p-6f);
  }
  return row;
}
std::vector<float> GoldenImportance(size_t n) {
  std::vector<float> importance =
      Random(/*seed=*/2026, /*stream=*/2).Vector(Family::kOutlier, n);
  for (float& v : importance) v = v * v + 0x1p-10f;
  return importance;
}

// The hashes were taken from the output of llama.cpp's quantiser for the same
// rows: the same decisions, to the bit.
TEST(WeightRow, BytesAreThoseOfTheEstablishedQuantiser) {
  struct Golden {
    TensorType type;
    uint64_t plain;
    uint64_t with_importance;
  };
  const Golden goldens[] = {
      {TensorType::kQ4_0, 0xaedbaffb8edcf288u, 0x1ffb062177bc7693u},
      {TensorType::kQ4_1, 0x1479dc12968ac2a3u, 0xd88aa50bd69a6937u},
      {TensorType::kQ5_0, 0xd179465a68a210fbu, 0x921b55dcb116a472u},
      {TensorType::kQ5_1, 0x51bba6b43b99fe58u, 0xa6a430824572405cu},
      {TensorType::kQ8_0, 0xe21a29a5ce88defcu, 0xe21a29a5ce88defcu},
      {TensorType::kQ4_K, 0xeb308e47214813b0u, 0xbc0db5206ecd9133u},
      {TensorType::kQ5_K, 0xb04390c8092c2a1du, 0x7de95aca597449bfu},
      {TensorType::kQ6_K, 0x28dfe11fd4ba6ef8u, 0xd7da8735525ff57bu},
  };
  const std::vector<float> x = GoldenRow();
  const std::vector<float> importance = GoldenImportance(x.size());
  for (const Golden& golden : goldens) {
    std::vector<std::byte> row(RowBytes(golden.type, x.size()));
    QuantizeWeightRow(golden.type, x.data(), x.size(), nullptr, row.data());
    EXPECT_EQ(Fnv1a(row), golden.plain) << TypeName(golden.type);
    QuantizeWeightRow(golden.type, x.data(), x.size(), importance.data(),
                      row.data());
    EXPECT_EQ(Fnv1a(row), golden.with_importance) << TypeName(golden.type);
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

TEST(WeightRow, ImportanceThatSaysNothingIsAccepted) {
  Random rng(25);
  const std::vector<float> x = rng.Vector(Family::kNormal, 256);
  for (const float value : {0.0f, 1e-44f, 3e38f}) {
    const std::vector<float> importance(x.size(), value);
    for (const TensorType type : kQuantized) {
      EXPECT_LE(RelativeError(x, RoundTrip(type, x, importance.data())), 0.15)
          << TypeName(type) << " " << value;
    }
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
