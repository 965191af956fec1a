// SwiGLU, add, scale, softmax: requirements B-10, B-13 and the bounds of
// etalon/elementwise.h.
#include "etalon/elementwise.h"

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

TEST(SwiGlu, WithinFourUlp) {
  test::Random rng(411);
  TestContext context;
  test::RatioStats stats;
  for (const Family family : {Family::kNormal, Family::kWide, Family::kLarge,
                              Family::kOffset, Family::kSubnormal}) {
    std::vector<float> gate(10000), up(10000), out(10000);
    rng.Fill(family, gate);
    rng.Fill(Family::kNormal, up);
    const Span2D<float> view(out.data(), 100, 100);
    ASSERT_TRUE(ops::SwiGlu({.gate = {gate.data(), 100, 100},
                             .up = {up.data(), 100, 100},
                             .out = view},
                            context.ctx));
    std::vector<double> y(out.size()), bound(out.size());
    for (size_t i = 0; i < out.size(); ++i) {
      const long double g = gate[i];
      const long double s = g / (1.0L + std::exp(-g));
      y[i] = static_cast<double>(s * up[i]);
      // exp(-g) overflows below -88: the result is +-0, and s may be
      // subnormal just above.
      bound[i] = 4.0 * test::UlpOf(y[i]) +
                 (gate[i] < -80.0f ? 0x1p-120 * std::fabs(up[i]) : 0.0);
    }
    EXPECT_TRUE(test::WithinBound(
        out, y, bound, {"swiglu", "100x100", std::string(FamilyName(family))},
        &stats));
  }
  EXPECT_GT(stats.max, 0.2) << "the bound is never approached";
}

TEST(Softmax, WithinItsBoundAndSumsToOne) {
  test::Random rng(412);
  TestContext context;
  constexpr double kU = 0x1p-24;
  for (const Family family : test::kFamilies) {
    for (const size_t n : {1u, 16u, 33u, 1000u}) {
      std::vector<float> x(n), p(n);
      rng.Fill(family, x);
      ASSERT_TRUE(ops::Softmax({.x = {x.data(), 1, n}, .out = {p.data(), 1, n}},
                               context.ctx));
      long double m = -std::numeric_limits<long double>::infinity();
      for (const float v : x) m = std::max<long double>(m, v);
      long double l = 0.0L;
      for (const float v : x) l += std::exp(v - m);
      std::vector<double> y(n), bound(n);
      double sum = 0.0;
      for (size_t i = 0; i < n; ++i) {
        y[i] = static_cast<double>(std::exp(x[i] - m) / l);
        // exp: 1 ulp plus the rounding of its argument; the sum: the same for
        // each term, and n / 16 + 4 additions; 1 / l and the product.
        const double shift = static_cast<double>(m - x[i]);
        const double chain = static_cast<double>(n) / 16.0 + 4.0;
        bound[i] =
            y[i] * kU * (2.0 + shift + 3.0 + 1.0 + chain + 2.0) + 0x1p-148;
        sum += static_cast<double>(p[i]);
      }
      EXPECT_TRUE(test::WithinBound(
          p, y, bound,
          {"softmax", std::to_string(n), std::string(FamilyName(family))}));
      EXPECT_NEAR(sum, 1.0, 1e-5);
    }
  }
}

TEST(RowOps, SameBitsOnEveryTierAndThreadCount) {
  test::Random rng(413);
  constexpr size_t kRows = 257, kCols = 401;
  std::vector<float> a(kRows * kCols), b(kRows * kCols), scale(kRows);
  rng.Fill(Family::kNormal, a);
  rng.Fill(Family::kWide, b);
  rng.Fill(Family::kNormal, scale);
  std::vector<std::vector<float>> expected;
  test::OnEveryTierAndThreadCount([&](int n_threads) {
    const PaddedMatrix pa(a, kRows, kCols), pb(b, kRows, kCols, 1, 0);
    std::vector<PaddedMatrix> out(4, PaddedMatrix(kRows, kCols, 6));
    TestContext context(n_threads);
    ExecContext& ctx = context.ctx;
    ASSERT_TRUE(ops::SwiGlu(
        {.gate = pa.view(), .up = pb.view(), .out = out[0].view()}, ctx));
    ASSERT_TRUE(
        ops::Add({.a = pa.view(), .b = pb.view(), .out = out[1].view()}, ctx));
    ASSERT_TRUE(ops::ScaleRows(
        {.x = pa.view(), .scale = scale, .out = out[2].view()}, ctx));
    ASSERT_TRUE(ops::Softmax({.x = pa.view(), .out = out[3].view()}, ctx));
    std::vector<std::vector<float>> dense;
    for (const PaddedMatrix& m : out) {
      EXPECT_TRUE(m.PaddingIntact());
      dense.push_back(m.Dense());
    }
    if (expected.empty()) expected = dense;
    for (size_t i = 0; i < dense.size(); ++i) {
      EXPECT_EQ(test::BitDiff(dense[i], expected[i]), 0u) << "op " << i;
    }
  });
}

TEST(RowOps, InPlaceEqualsOutOfPlace) {
  test::Random rng(414);
  constexpr size_t kRows = 3, kCols = 37;
  std::vector<float> a(kRows * kCols), b(kRows * kCols);
  rng.Fill(Family::kNormal, a);
  rng.Fill(Family::kNormal, b);
  TestContext context;
  const std::vector<float> scale = {1.5f, -2.0f, 0.1f};
  const auto run = [&](int op, Span2D<float> x, Span2D<float> y,
                       Span2D<float> out) -> Status {
    switch (op) {
      case 0:
        return ops::SwiGlu({.gate = x, .up = y, .out = out}, context.ctx);
      case 1:
        return ops::Add({.a = x, .b = y, .out = out}, context.ctx);
      case 2:
        return ops::ScaleRows({.x = x, .scale = scale, .out = out},
                              context.ctx);
      default:
        return ops::Softmax({.x = x, .out = out}, context.ctx);
    }
  };
  for (int op = 0; op < 4; ++op) {
    PaddedMatrix pa(a, kRows, kCols), pb(b, kRows, kCols), out(kRows, kCols);
    ASSERT_TRUE(run(op, pa.view(), pb.view(), out.view()));
    ASSERT_TRUE(run(op, pa.view(), pb.view(), pa.view()));
    EXPECT_EQ(test::BitDiff(pa.Dense(), out.Dense()), 0u) << op;
    EXPECT_TRUE(pa.PaddingIntact());
    if (op >= 2) continue;
    PaddedMatrix qa(a, kRows, kCols);
    ASSERT_TRUE(run(op, qa.view(), pb.view(), pb.view()));
    EXPECT_EQ(test::BitDiff(pb.Dense(), out.Dense()), 0u) << op;
  }
}

TEST(RowOps, RefuseWhatBreaksTheContract) {
  TestContext context;
  ExecContext& ctx = context.ctx;
  std::vector<float> buffer(100), other(100), third(100);
  const Span2D<float> a(buffer.data(), 4, 8, 10), b(other.data(), 4, 8),
      out(third.data(), 4, 8);
  EXPECT_TRUE(ops::SwiGlu({.gate = a, .up = b, .out = out}, ctx));
  EXPECT_TRUE(ops::Add({.a = {}, .b = {}, .out = {}}, ctx));
  ExpectError(ops::SwiGlu({.gate = a, .up = b.Rows(0, 3), .out = out}, ctx),
              "swiglu: up is [3, 8], need the shape of gate, [4, 8]");
  ExpectError(ops::Add({.a = a, .b = b, .out = {third.data(), 4, 7}}, ctx),
              "add: out is [4, 7], need the shape of a");
  ExpectError(
      ops::Add({.a = a, .b = b, .out = {buffer.data() + 10, 4, 8, 10}}, ctx),
      "add: out overlaps a without being the same view");
  ExpectError(
      ops::SwiGlu({.gate = a, .up = b, .out = {other.data(), 4, 8, 9}}, ctx),
      "swiglu: out overlaps up");
  ExpectError(ops::Softmax({.x = a, .out = {nullptr, 4, 8}}, ctx),
              "softmax: out [4, 8] is null");
  ExpectError(ops::Softmax({.x = {buffer.data(), 4, 8, 3}, .out = out}, ctx),
              "softmax: x stride 3 < width 8");
  const std::vector<float> scale(3, 1.0f);
  ExpectError(ops::ScaleRows({.x = a, .scale = scale, .out = out}, ctx),
              "scale_rows: scale has 3 elements, need 4 rows");
  ExpectError(
      ops::ScaleRows({.x = a, .scale = {third.data() + 1, 4}, .out = out}, ctx),
      "scale_rows: out overlaps scale");
}

// B-13: gate and up are halves of one [T, 2n] buffer.
TEST(SwiGlu, TakesTheTwoHalvesOfOneBuffer) {
  TestContext context;
  std::vector<float> in(5 * 12);
  test::Random rng(415);
  rng.Fill(Family::kNormal, in);
  std::vector<float> a(30), b(30);
  const Span2D<float> gate(in.data(), 5, 6, 12), up(in.data() + 6, 5, 6, 12);
  ASSERT_TRUE(ops::SwiGlu({.gate = gate, .up = up, .out = {a.data(), 5, 6}},
                          context.ctx));
  ASSERT_TRUE(ops::SwiGlu({.gate = gate, .up = up, .out = gate}, context.ctx));
  for (size_t t = 0; t < 5; ++t) {
    for (size_t i = 0; i < 6; ++i) EXPECT_EQ(gate.row(t)[i], a[t * 6 + i]);
  }
}

}  // namespace
}  // namespace etalon
