// RMSNorm: requirement B-11 and the bounds of etalon/norm.h.
#include "etalon/norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/ops/row_ops_fixture.h"

namespace etalon {
namespace {

using test::ExpectError;
using test::Family;
using test::PaddedMatrix;
using test::TestContext;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

// y in long double, one row.
std::vector<double> Oracle(std::span<const float> x,
                           std::span<const float> weight, float eps) {
  long double sum = 0.0L;
  for (const float v : x) sum += static_cast<long double>(v) * v;
  const long double rstd =
      1.0L / std::sqrt(sum / static_cast<long double>(x.size()) + eps);
  std::vector<double> y(x.size());
  for (size_t d = 0; d < x.size(); ++d) {
    const long double w = weight.empty() ? 1.0L : weight[d];
    y[d] = static_cast<double>(x[d] * rstd * w);
  }
  return y;
}

// A rounding each of rstd and of the two products, with room for their second
// order and for the f64 sum; what underflows adds half a subnormal each.
double Bound(double y) {
  return 3.0 * 0x1p-24 * (1.0 + 0x1p-20) * std::fabs(y) + 0x1p-148;
}

TEST(RmsNorm, WithinThreeRoundingsForEveryFamilyAndWidth) {
  test::Random rng(401);
  test::RatioStats stats;
  for (const Family family :
       {Family::kNormal, Family::kUniform, Family::kWide, Family::kOutlier,
        Family::kOffset, Family::kConstant, Family::kLarge}) {
    for (const size_t n : test::EdgesAround({16, 32, 64, 1024})) {
      std::vector<float> x(2 * n), weight(n);
      rng.Fill(family, x);
      rng.Fill(Family::kNormal, weight);
      const PaddedMatrix in(x, 2, n);
      PaddedMatrix out(2, n, 9);
      TestContext context;
      ASSERT_TRUE(ops::RmsNorm({.x = in.view(),
                                .weight = weight,
                                .eps = 1e-6f,
                                .out = out.view(),
                                .rstd = {}},
                               context.ctx));
      for (size_t t = 0; t < 2; ++t) {
        const std::vector<double> y =
            Oracle(std::span(x).subspan(t * n, n), weight, 1e-6f);
        std::vector<double> bound(n);
        for (size_t d = 0; d < n; ++d) bound[d] = Bound(y[d]);
        EXPECT_TRUE(test::WithinBound(
            out.view().row(t), y, bound,
            {"rms_norm", std::to_string(n), std::string(FamilyName(family))},
            &stats));
      }
    }
  }
  EXPECT_GT(stats.max, 0.5) << "the bound is never approached";
}

TEST(RmsNorm, SameBitsOnEveryTierAndThreadCount) {
  test::Random rng(402);
  constexpr size_t kRows = 300, kCols = 333;  // several tasks and a tail
  std::vector<float> x(kRows * kCols), weight(kCols);
  rng.Fill(Family::kOutlier, x);
  rng.Fill(Family::kNormal, weight);
  std::vector<float> expected, expected_rstd;
  test::OnEveryTierAndThreadCount([&](int n_threads) {
    const PaddedMatrix in(x, kRows, kCols);
    PaddedMatrix out(kRows, kCols);
    std::vector<float> rstd(kRows);
    TestContext context(n_threads);
    ASSERT_TRUE(ops::RmsNorm({.x = in.view(),
                              .weight = weight,
                              .eps = 1e-5f,
                              .out = out.view(),
                              .rstd = rstd},
                             context.ctx));
    EXPECT_TRUE(out.PaddingIntact());
    if (expected.empty()) {
      expected = out.Dense();
      expected_rstd = rstd;
    }
    EXPECT_EQ(test::BitDiff(out.Dense(), expected), 0u);
    EXPECT_EQ(test::BitDiff(rstd, expected_rstd), 0u);
  });
}

TEST(RmsNorm, MeanIsOverTheWidthNotTheStride) {
  PaddedMatrix in(std::vector<float>{3.0f, 4.0f}, 1, 2, 14);
  float rstd = 0.0f;
  TestContext context;
  ASSERT_TRUE(ops::RmsNorm({.x = in.view(),
                            .weight = {},
                            .eps = 0.0f,
                            .out = in.view(),
                            .rstd = {&rstd, 1}},
                           context.ctx));
  EXPECT_EQ(rstd, 1.0f / std::sqrt(12.5f));
}

TEST(RmsNorm, NonFiniteInputMakesItsRowAndNoOtherNonFinite) {
  test::OnEveryTierAndThreadCount([&](int n_threads) {
    for (const float bad : {kNaN, kInf, -kInf}) {
      std::vector<float> x(3 * 33, 1.0f);
      x[33 + 32] = bad;  // in the tail of the middle row
      TestContext context(n_threads);
      const Span2D<float> v(x.data(), 3, 33);
      ASSERT_TRUE(ops::RmsNorm(
          {.x = v, .weight = {}, .eps = 1e-5f, .out = v, .rstd = {}},
          context.ctx));
      EXPECT_TRUE(std::isnan(x[33 + 32]));
      for (size_t d = 0; d < 33; ++d) {
        EXPECT_NEAR(x[d], 1.0f, 1e-4f);
        EXPECT_NEAR(x[66 + d], 1.0f, 1e-4f);
      }
    }
  });
}

TEST(RmsNorm, RefusesWhatBreaksTheContract) {
  TestContext context;
  std::vector<float> buffer(200, 1.0f), other(200), weight(8, 1.0f);
  const Span2D<float> x(buffer.data(), 4, 8, 10), y(other.data(), 4, 8, 10);
  const auto run = [&](Span2D<const float> in, std::span<const float> w,
                       float eps, Span2D<float> out, std::span<float> rstd) {
    return ops::RmsNorm(
        {.x = in, .weight = w, .eps = eps, .out = out, .rstd = rstd},
        context.ctx);
  };
  EXPECT_TRUE(run(x, weight, 0.0f, y, {}));
  EXPECT_TRUE(run(x, weight, 0.0f, x, {}));
  EXPECT_TRUE(run(x.Rows(0, 0), weight, 0.0f, y.Rows(0, 0), {}));
  std::vector<float> seven(7), three(3);
  ExpectError(run(x, seven, 0.0f, y, {}), "weight has 7 elements, need 8");
  ExpectError(run(x, weight, 0.0f, y, three), "rstd has 3 elements, need 4");
  ExpectError(run(x, weight, -1.0f, y, {}), "eps = -1");
  ExpectError(run(x, weight, kNaN, y, {}), "eps = nan");
  ExpectError(run(x, weight, 0.0f, y.Rows(0, 3), {}), "out is [3, 8]");
  ExpectError(run({buffer.data(), 4, 8, 7}, weight, 0.0f, y, {}),
              "x stride 7 < width 8");
  ExpectError(run({nullptr, 4, 8, 8}, weight, 0.0f, y, {}), "x [4, 8] is null");
  ExpectError(
      run({buffer.data(), size_t{1} << 60, 8, size_t{1} << 60}, weight, 0.0f,
          {other.data(), size_t{1} << 60, 8, size_t{1} << 60}, {}),
      "exceeds the address space");
  ExpectError(
      run({buffer.data(), 4, 0, 0}, {}, 0.0f, {other.data(), 4, 0, 0}, {}),
      "width 0");
  ExpectError(run(x, weight, 0.0f, {buffer.data() + 1, 4, 8, 10}, {}),
              "out overlaps x");
  ExpectError(run(x, {buffer.data(), 8}, 0.0f, x, {}), "out overlaps weight");
  ExpectError(run(x, weight, 0.0f, y, {other.data() + 8, 4}),
              "rstd overlaps out");
}

TEST(RmsNorm, ColumnsSideBySideInOneBufferDoNotOverlap) {
  TestContext context;
  std::vector<float> buffer(4 * 16, 2.0f);
  const Span2D<float> left(buffer.data(), 4, 8, 16);
  const Span2D<float> right(buffer.data() + 8, 4, 8, 16);
  const auto run = [&](Span2D<float> in, Span2D<float> out) {
    return ops::RmsNorm(
        {.x = in, .weight = {}, .eps = 0.0f, .out = out, .rstd = {}},
        context.ctx);
  };
  EXPECT_TRUE(run(left, right));
  EXPECT_EQ(buffer[8], 1.0f);
  EXPECT_TRUE(run(right, left));
  ExpectError(run(left, {buffer.data() + 7, 4, 8, 16}), "overlaps");
  ExpectError(run(left, {buffer.data() + 9, 3, 8, 16}), "need the shape of x");
}

}  // namespace
}  // namespace etalon
