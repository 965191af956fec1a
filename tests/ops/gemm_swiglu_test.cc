// GemmSwiGlu is two Gemm and a SwiGlu, bit for bit, whatever the tiling.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "etalon/config.h"
#include "etalon/elementwise.h"
#include "etalon/gemm.h"
#include "tests/simd/tier_scope.h"
#include "tests/util/random.h"
#include "tests/util/random_weights.h"

namespace etalon {
namespace {

using test::MakeWeights;
using test::Random;
using test::RandomWeights;

class GemmSwiGluTest : public testing::Test {
 protected:
  ExecContext Context(int n_threads) {
    return {&workspace_, &config_, n_threads};
  }

  std::vector<float> Floats(size_t n) {
    std::vector<float> v(n);
    for (float& x : v) x = random_.Normal();
    return v;
  }

  Workspace workspace_;
  Config config_;
  Random random_{7, 0};
};

TEST_F(GemmSwiGluTest, HasTheBitsOfItsParts) {
  const std::array<std::array<TensorType, 2>, 4> types = {
      {{TensorType::kQ4_K, TensorType::kQ4_K},
       {TensorType::kQ4_K, TensorType::kQ6_K},
       {TensorType::kQ8_0, TensorType::kQ4_K},
       {TensorType::kF32, TensorType::kQ5_1}}};
  for (const auto& type : types) {
    for (const size_t m : {size_t{1}, size_t{17}, size_t{64}}) {
      for (const size_t n : {size_t{1}, size_t{16}, size_t{300}}) {
        const size_t k = 512;
        const RandomWeights gate = MakeWeights(type[0], n, k, random_);
        const RandomWeights up = MakeWeights(type[1], n, k, random_);
        const std::vector<float> bias = Floats(n);
        const std::vector<float> x = Floats(m * k);
        std::vector<float> g(m * n), u(m * n), want(m * n);
        std::array<GemmPart, 2> parts;
        parts[0] = {gate.view(), bias, {g.data(), m, n}, 0.5f};
        parts[1] = {up.view(), {}, {u.data(), m, n}, 1.0f};
        const Span2D<const float> xs(x.data(), m, k);
        ExecContext one = Context(1);
        ASSERT_TRUE(ops::Gemm({xs, parts}, one));
        ASSERT_TRUE(ops::SwiGlu(
            {parts[0].out, parts[1].out, {want.data(), m, n}}, one));

        for (const SimdTier tier : SupportedSimdTiers()) {
          const test::TierScope scope(tier);
          for (const int n_threads : {1, 2, 3}) {
            // Rows of out are wider than the result; the rest stays as it is.
            const float nan = std::numeric_limits<float>::quiet_NaN();
            std::vector<float> got(m * (n + 3), nan);
            ExecContext ctx = Context(n_threads);
            ASSERT_TRUE(ops::GemmSwiGlu(
                {xs, parts[0], parts[1], {got.data(), m, n, n + 3}}, ctx));
            for (size_t r = 0; r < m; ++r) {
              ASSERT_EQ(0, std::memcmp(&got[r * (n + 3)], &want[r * n],
                                       n * sizeof(float)))
                  << SimdTierName(tier) << " threads " << n_threads << " m "
                  << m << " n " << n << " row " << r;
              ASSERT_TRUE(std::isnan(got[r * (n + 3) + n]));
            }
          }
        }
      }
    }
  }
}

TEST_F(GemmSwiGluTest, WorkspaceBoundHolds) {
  const size_t m = 40, n = 700, k = 768;
  const RandomWeights w = MakeWeights(TensorType::kQ4_K, n, k, random_);
  const std::vector<float> x = Floats(m * k);
  std::vector<float> out(m * n);
  ASSERT_TRUE(workspace_.Reserve(ops::GemmSwiGluWorkspaceBytes(m, k, 3)));
  const size_t growths = workspace_.growths();
  ExecContext ctx = Context(3);
  const GemmPart part{w.view(), {}, {}, 1.0f};
  ASSERT_TRUE(
      ops::GemmSwiGlu({{x.data(), m, k}, part, part, {out.data(), m, n}}, ctx));
  EXPECT_EQ(workspace_.growths(), growths);
}

TEST_F(GemmSwiGluTest, RefusesShapesThatDoNotFit) {
  const RandomWeights a = MakeWeights(TensorType::kF32, 4, 32, random_);
  const RandomWeights b = MakeWeights(TensorType::kF32, 5, 32, random_);
  const std::vector<float> x = Floats(2 * 32);
  std::vector<float> out(2 * 4, 7.0f);
  ExecContext ctx = Context(1);
  const Span2D<const float> xs(x.data(), 2, 32);
  const GemmPart four{a.view(), {}, {}, 1.0f};
  const GemmPart five{b.view(), {}, {}, 1.0f};
  const Span2D<float> o(out.data(), 2, 4);
  EXPECT_FALSE(ops::GemmSwiGlu({xs, four, five, o}, ctx));
  EXPECT_FALSE(ops::GemmSwiGlu({xs, four, four, {out.data(), 1, 4}}, ctx));
  EXPECT_FALSE(ops::GemmSwiGlu({{x.data(), 2, 31}, four, four, o}, ctx));
  EXPECT_FALSE(ops::GemmSwiGlu(
      {xs, {a.view(), std::span(x).first(3), {}, 1}, four, o}, ctx));
  for (const float v : out) EXPECT_EQ(v, 7.0f);
}

}  // namespace
}  // namespace etalon
