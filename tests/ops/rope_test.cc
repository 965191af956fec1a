// RoPE: requirements B-15 and B-17, bounds and errors of etalon/rope.h.
#include "etalon/rope.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "ops/correctly_rounded.h"
#include "tests/ops/row_ops_fixture.h"

namespace etalon {
namespace {

using test::ExpectError;
using test::Family;
using test::TestContext;

RopeParams Params(size_t rotary_dim, float base = 10000.0f) {
  RopeParams p;
  p.rotary_dim = rotary_dim;
  p.freq_base = base;
  return p;
}

double Power(double base, size_t i, size_t dim) {
  return std::pow(base,
                  -2.0 * static_cast<double>(i) / static_cast<double>(dim));
}

// B-17: frequency rounded once, angle = f32(pos) * freq, cos and sin rounded
// once.
TEST(RopeTable, HoldsCorrectlyRoundedSinesOfTheStatedAngles) {
  for (const size_t dim : {2u, 64u, 80u, 128u}) {
    for (const float base : {10000.0f, 500000.0f, 1e6f}) {
      const Expected<RopeTable> table = MakeRopeTable(Params(dim, base), 300);
      ASSERT_TRUE(table);
      ASSERT_EQ(table->half_dim, dim / 2);
      ASSERT_EQ(table->n_positions, 300u);
      for (size_t pos = 0; pos < 300; pos += 7) {
        for (size_t i = 0; i < dim / 2; ++i) {
          const float freq =
              static_cast<float>(Power(static_cast<double>(base), i, dim));
          const double angle =
              static_cast<double>(static_cast<float>(pos) * freq);
          EXPECT_EQ(table->CosView().row(pos)[i],
                    static_cast<float>(std::cos(angle)))
              << pos << " " << i;
          EXPECT_EQ(table->SinView().row(pos)[i],
                    static_cast<float>(std::sin(angle)))
              << pos << " " << i;
        }
      }
    }
  }
}

TEST(RopeTable, GrownInStepsOnAnyThreadsEqualsMadeAtOnce) {
  const Expected<RopeFrequencies> f = MakeRopeFrequencies(Params(96));
  ASSERT_TRUE(f);
  const Expected<RopeTable> whole = MakeRopeTable(Params(96), 1000);
  ASSERT_TRUE(whole);
  for (const int n_threads : {1, 2, 3, 4}) {
    RopeTable table;
    for (const size_t n : {1u, 65u, 65u, 30u, 1000u}) {
      ASSERT_TRUE(ExtendRopeTable(*f, n, n_threads, &table));
    }
    EXPECT_EQ(table.n_positions, 1000u);
    EXPECT_EQ(table.cos, whole->cos);
    EXPECT_EQ(table.sin, whole->sin);
  }
  std::vector<float> cos(10 * 50, -7.0f), sin(10 * 50, -7.0f);
  FillRopeRows(*f, 500, {cos.data(), 10, 48, 50}, {sin.data(), 10, 48, 50});
  for (size_t r = 0; r < 10; ++r) {
    for (size_t i = 0; i < 48; ++i) {
      EXPECT_EQ(cos[r * 50 + i], whole->CosView().row(500 + r)[i]);
      EXPECT_EQ(sin[r * 50 + i], whole->SinView().row(500 + r)[i]);
    }
    EXPECT_EQ(cos[r * 50 + 48], -7.0f);
  }
}

TEST(RopeFrequencies, FactorsDivideAndLinearScalingMultiplies) {
  RopeParams p = Params(8);
  p.freq_factors = {1.0f, 2.0f, 3.0f, 32.0f};
  p.scaling = RopeScaling::kLinear;
  p.factor = 3.0f;
  const Expected<RopeFrequencies> f = MakeRopeFrequencies(p);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->scale, 1.0f);
  for (size_t i = 0; i < 4; ++i) {
    const float base = static_cast<float>(Power(10000.0, i, 8));
    const float divided = base / p.freq_factors[i];
    EXPECT_EQ(f->freq[i], divided * (1.0f / 3.0f));
  }
  // Without scaling the factor is of no effect.
  p.scaling = RopeScaling::kNone;
  p.freq_factors.clear();
  EXPECT_EQ(MakeRopeFrequencies(p)->freq, MakeRopeFrequencies(Params(8))->freq);
}

RopeParams DeepSeekYarn() {
  RopeParams p = Params(64);
  p.scaling = RopeScaling::kYarn;
  p.factor = 40.0f;
  p.n_ctx_orig = 4096;
  return p;
}

// DeepSeek's constants give a ramp from pair 10 to pair 23. Beyond it the
// frequency is f / factor, not (factor * base)^(-2i/d).
TEST(RopeFrequencies, YarnBlendsAlongTheRamp) {
  const Expected<RopeFrequencies> f = MakeRopeFrequencies(DeepSeekYarn());
  ASSERT_TRUE(f);
  for (size_t i = 0; i < 32; ++i) {
    const double original = Power(10000.0, i, 64);
    const double ramp = (static_cast<double>(i) - 10.0) / 13.0;
    const double mix = 1.0 - std::min(1.0, std::max(0.0, ramp));
    const double want = original / 40.0 * (1.0 - mix) + original * mix;
    EXPECT_NEAR(f->freq[i], want, 4e-7 * want) << "pair " << i;
    if (i <= 10) {
      EXPECT_EQ(f->freq[i], static_cast<float>(original));
    }
  }
}

TEST(RopeFrequencies, YarnMagnitude) {
  const double ln40 = std::log(40.0);
  RopeParams p = DeepSeekYarn();
  EXPECT_EQ(MakeRopeFrequencies(p)->scale,
            static_cast<float>(1.0 + 0.1 * ln40));
  p.yarn_log_mul = 1.0f;  // mscale == mscale_all_dim
  EXPECT_EQ(MakeRopeFrequencies(p)->scale, 1.0f);
  p.yarn_log_mul = 0.5f;
  EXPECT_NEAR(MakeRopeFrequencies(p)->scale,
              (1.0 + 0.1 * ln40) / (1.0 + 0.05 * ln40), 1e-7);
  p.attn_factor = 2.0f;
  EXPECT_NEAR(MakeRopeFrequencies(p)->scale,
              2.0 * (1.0 + 0.1 * ln40) / (1.0 + 0.05 * ln40), 2e-7);
  p = DeepSeekYarn();
  p.factor = 1.0f;
  EXPECT_EQ(MakeRopeFrequencies(p)->scale, 1.0f);
  const Expected<RopeTable> table = MakeRopeTable(DeepSeekYarn(), 2);
  ASSERT_TRUE(table);
  EXPECT_EQ(table->CosView().row(0)[3], static_cast<float>(1.0 + 0.1 * ln40));
}

TEST(RopeFrequencies, YarnWithoutExtrapolationIsLinear) {
  RopeParams p = DeepSeekYarn();
  p.yarn_ext_factor = 0.0f;
  RopeParams linear = p;
  linear.scaling = RopeScaling::kLinear;
  EXPECT_EQ(MakeRopeFrequencies(p)->freq, MakeRopeFrequencies(linear)->freq);
  EXPECT_EQ(MakeRopeFrequencies(p)->scale, 1.0f);
}

TEST(RopeFrequencies, BadParametersAreNamed) {
  const auto error = [](RopeParams p, std::string_view part) {
    const Expected<RopeTable> t = MakeRopeTable(p, 4);
    ExpectError(t ? Status() : Status(tl::unexpected(t.error())), part);
  };
  error(Params(0), "rotary_dim = 0");
  error(Params(7), "rotary_dim = 7");
  error(Params(8, 0.0f), "freq_base = 0");
  error(Params(8, std::nanf("")), "freq_base = nan");
  RopeParams p = Params(8);
  p.freq_factors = {1.0f, 1.0f};
  error(p, "2 freq_factors, need rotary_dim / 2 = 4");
  p.freq_factors = {1.0f, 1.0f, 0.0f, 1.0f};
  error(p, "freq_factors[2] = 0");
  p.freq_factors = {1e-30f, 1.0f, 1.0f, 1.0f};
  error(p, "of pair 0 exceeds");
  p = Params(8);
  p.scaling = RopeScaling::kLinear;
  p.factor = 0.0f;
  error(p, "scaling factor = 0");
  p = DeepSeekYarn();
  p.n_ctx_orig = 0;
  error(p, "n_ctx_orig");
  p = DeepSeekYarn();
  p.beta_fast = -1.0f;
  error(p, "beta_fast = -1");
  p = DeepSeekYarn();
  p.freq_base = 1.0f;
  error(p, "freq_base > 1");
}

constexpr size_t kPositions = 64;

struct Case {
  size_t n_tokens, n_heads, head_dim, rotary_dim;
  bool head_major;
  RopeStyle style;
};

// Runs the op on a strided copy of x [n_tokens, n_heads, head_dim], dense.
std::vector<float> RunRope(const Case& c, const std::vector<float>& x,
                           const RopeTable& table,
                           const std::vector<int32_t>& positions,
                           int n_threads) {
  const size_t lane = c.head_dim + 3;
  const size_t head_stride = c.head_major ? c.n_tokens * lane : lane;
  const size_t token_stride = c.head_major ? lane : c.n_heads * lane + 1;
  std::vector<float> buffer(
      (c.n_tokens - 1) * token_stride + (c.n_heads - 1) * head_stride + lane,
      test::PaddedMatrix::Poison());
  const HeadsView<float> view = {buffer.data(), c.n_tokens,   c.n_heads,
                                 c.head_dim,    token_stride, head_stride};
  const auto copy = [&](bool in, std::vector<float>& dense) {
    for (size_t t = 0; t < c.n_tokens; ++t) {
      for (size_t h = 0; h < c.n_heads; ++h) {
        for (size_t d = 0; d < c.head_dim; ++d) {
          float& e = dense[(t * c.n_heads + h) * c.head_dim + d];
          if (in) {
            view.at(t, h)[d] = e;
          } else {
            e = view.at(t, h)[d];
            view.at(t, h)[d] = test::PaddedMatrix::Poison();
          }
        }
      }
    }
  };
  std::vector<float> dense = x;
  copy(/*in=*/true, dense);
  TestContext context(n_threads);
  const Status status = ops::Rope({.x = view,
                                   .positions = positions,
                                   .cos = table.CosView(),
                                   .sin = table.SinView(),
                                   .style = c.style},
                                  context.ctx);
  EXPECT_TRUE(status) << status.error().message;
  copy(/*in=*/false, dense);
  for (const float v : buffer) {
    EXPECT_EQ(std::bit_cast<uint32_t>(v),
              std::bit_cast<uint32_t>(test::PaddedMatrix::Poison()));
  }
  return dense;
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const RopeStyle style :
       {RopeStyle::kHalfSplit, RopeStyle::kInterleaved}) {
    for (const bool head_major : {false, true}) {
      cases.push_back({1, 1, 2, 2, head_major, style});
      cases.push_back({5, 3, 40, 40, head_major, style});
      cases.push_back({5, 3, 80, 32, head_major, style});  // partial rotary
      cases.push_back({5, 2, 129, 66, head_major, style});
      cases.push_back({97, 8, 128, 128, head_major, style});  // several tasks
    }
  }
  return cases;
}

std::vector<int32_t> DrawPositions(size_t n, test::Random& rng) {
  std::vector<int32_t> positions(n);
  for (int32_t& p : positions) p = static_cast<int32_t>(rng.Below(kPositions));
  return positions;
}

TEST(Rope, WithinTwoScaledUlpAndOtherLanesPassThrough) {
  test::Random rng(441);
  test::RatioStats stats;
  for (const Case& c : Cases()) {
    const Expected<RopeTable> table =
        MakeRopeTable(Params(c.rotary_dim), kPositions);
    ASSERT_TRUE(table);
    std::vector<float> x(c.n_tokens * c.n_heads * c.head_dim);
    rng.Fill(Family::kNormal, x);
    const std::vector<int32_t> positions = DrawPositions(c.n_tokens, rng);
    const std::vector<float> y = RunRope(c, x, *table, positions, 1);

    std::vector<double> expected(x.begin(), x.end()), bound(x.size(), 0.0);
    const size_t half = c.rotary_dim / 2;
    for (size_t t = 0; t < c.n_tokens; ++t) {
      const size_t pos = static_cast<size_t>(positions[t]);
      for (size_t h = 0; h < c.n_heads; ++h) {
        const size_t head = (t * c.n_heads + h) * c.head_dim;
        for (size_t i = 0; i < half; ++i) {
          const bool split = c.style == RopeStyle::kHalfSplit;
          const size_t a = head + (split ? i : 2 * i);
          const size_t b = head + (split ? i + half : 2 * i + 1);
          const double cos = static_cast<double>(table->CosView().row(pos)[i]);
          const double sin = static_cast<double>(table->SinView().row(pos)[i]);
          const double x0 = static_cast<double>(x[a]);
          const double x1 = static_cast<double>(x[b]);
          expected[a] = x0 * cos - x1 * sin;
          expected[b] = x0 * sin + x1 * cos;
          bound[a] = 0x1p-23 * (std::fabs(x0 * cos) + std::fabs(x1 * sin));
          bound[b] = 0x1p-23 * (std::fabs(x0 * sin) + std::fabs(x1 * cos));
        }
      }
    }
    EXPECT_TRUE(test::WithinBound(
        y, expected, bound,
        {"rope",
         std::to_string(c.rotary_dim) + "/" + std::to_string(c.head_dim),
         c.style == RopeStyle::kHalfSplit ? "half-split" : "interleaved"},
        &stats));
  }
  EXPECT_GT(stats.max, 0.25) << "the bound is never approached";
}

TEST(Rope, SameBitsOnEveryTierThreadCountAndLayout) {
  test::Random rng(442);
  for (const RopeStyle style :
       {RopeStyle::kHalfSplit, RopeStyle::kInterleaved}) {
    const Case c = {211, 4, 72, 70, false, style};
    const Expected<RopeTable> table =
        MakeRopeTable(Params(c.rotary_dim), kPositions);
    std::vector<float> x(c.n_tokens * c.n_heads * c.head_dim);
    rng.Fill(Family::kWide, x);
    const std::vector<int32_t> positions = DrawPositions(c.n_tokens, rng);
    std::vector<float> expected;
    test::OnEveryTierAndThreadCount([&](int n_threads) {
      for (const bool head_major : {false, true}) {
        Case layout = c;
        layout.head_major = head_major;
        const std::vector<float> y =
            RunRope(layout, x, *table, positions, n_threads);
        if (expected.empty()) expected = y;
        EXPECT_EQ(test::BitDiff(y, expected), 0u);
      }
    });
  }
}

TEST(Rope, PositionZeroIsIdentityAndNanStaysInItsPair) {
  const Expected<RopeTable> table = MakeRopeTable(Params(64), 4);
  std::vector<float> x(64, 1.5f);
  const Case c = {1, 1, 64, 64, false, RopeStyle::kHalfSplit};
  EXPECT_EQ(RunRope(c, x, *table, {0}, 1), x);
  x[5] = std::nanf("");
  const std::vector<float> y = RunRope(c, x, *table, {3}, 1);
  for (size_t i = 0; i < 64; ++i) {
    EXPECT_EQ(std::isnan(y[i]), i == 5 || i == 37) << i;
  }
}

TEST(Rope, RefusesWhatBreaksTheContract) {
  const Expected<RopeTable> table = MakeRopeTable(Params(8), 4);
  std::vector<float> x(200);
  TestContext context;
  const auto run = [&](HeadsView<float> v, std::vector<int32_t> positions) {
    return ops::Rope({.x = v,
                      .positions = positions,
                      .cos = table->CosView(),
                      .sin = table->SinView(),
                      .style = RopeStyle::kHalfSplit},
                     context.ctx);
  };
  EXPECT_TRUE(run({x.data(), 2, 3, 8, 24, 8}, {0, 3}));
  EXPECT_TRUE(run({x.data(), 0, 3, 8, 24, 8}, {}));
  ExpectError(run({x.data(), 2, 3, 8, 24, 8}, {0, 4}),
              "positions[1] = 4 is not in [0, 4)");
  ExpectError(run({x.data(), 2, 3, 8, 24, 8}, {-1, 0}), "positions[0] = -1");
  ExpectError(run({x.data(), 2, 3, 8, 24, 8}, {0}),
              "1 positions, need n_tokens 2");
  ExpectError(run({x.data(), 2, 3, 6, 24, 8}, {0, 0}),
              "rotary_dim 8 (2 x width of cos) exceeds head_dim 6");
  ExpectError(run({x.data(), 2, 3, 8, 24, 7}, {0, 0}),
              "head_stride 7 < head_dim 8");
  ExpectError(run({x.data(), 2, 3, 8, 23, 8}, {0, 0}), "token_stride");
  ExpectError(run({nullptr, 2, 3, 8, 24, 8}, {0, 0}), "null");
}

}  // namespace
}  // namespace etalon
