// NaN and infinities at live positions: the same elements of every backend's
// output must be NaN or infinite as the formula's are. (Poison around the data,
// which must not reach any output, is part of every other parity test.)
#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "tests/parity/parity.h"

namespace etalon::test {
namespace {

using SpecialValues = Parity;

constexpr float kInf = std::numeric_limits<float>::infinity();
const float kSpecials[] = {std::nanf(""), kInf, -kInf};

PaddedMatrix With(Random& rng, size_t rows, size_t cols, size_t at, float x) {
  PaddedMatrix m(rng.Vector(Family::kUniform, rows * cols), rows, cols);
  m.at(at / cols, at % cols) = x;
  return m;
}
CaseLabel Label(std::string op, float special, size_t at) {
  return {std::move(op), "3x37", fmt::format("{} at {}", special, at)};
}

TEST_F(SpecialValues, RowWiseOps) {
  Random rng(501);
  constexpr size_t kRows = 3;
  constexpr size_t kCols = 37;
  for (const float special : kSpecials) {
    for (const size_t at : {0u, 20u, 36u, 40u, 110u}) {
      const PaddedMatrix x = With(rng, kRows, kCols, at, special);
      const PaddedMatrix y(rng.Vector(Family::kUniform, kRows * kCols), kRows,
                           kCols);
      const std::vector<float> scale = {1.0f, -2.0f, 0.5f};
      PaddedMatrix shape(kRows, kCols);
      const auto check =
          [&](const std::string& op, const Expected<Oracle>& oracle,
              const std::vector<double>& bound, const auto& call) {
            Check(Label(op, special, at), *oracle, bound,
                  [&](const Backend& backend, ExecContext& ctx) {
                    return RunInto(kRows, kCols, [&](Span2D<float> out) {
                      return call(backend, out, ctx);
                    });
                  });
          };
      RmsNormArgs norm;
      norm.x = x.view();
      norm.eps = 1e-5f;
      norm.out = shape.view();
      const auto rms = reference::RmsNormOracle(norm);
      const auto softmax = reference::SoftmaxOracle({x.view(), shape.view()});
      const auto gate =
          reference::SwiGluOracle({x.view(), y.view(), shape.view()});
      const auto up =
          reference::SwiGluOracle({y.view(), x.view(), shape.view()});
      const auto sum = reference::AddOracle({x.view(), y.view(), shape.view()});
      const auto scaled =
          reference::ScaleRowsOracle({x.view(), scale, shape.view()});
      ASSERT_TRUE(rms && softmax && gate && up && sum && scaled);
      const auto& p = CpuStrictProfile();
      check("rms_norm", rms, RmsNormTolerance(*rms, p, kCols),
            [&](const Backend& b, Span2D<float> out, ExecContext& ctx) {
              RmsNormArgs a = norm;
              a.out = out;
              return b.rms_norm(a, ctx);
            });
      check("softmax", softmax, SoftmaxTolerance(*softmax, p, kCols),
            [&](const Backend& b, Span2D<float> out, ExecContext& ctx) {
              return b.softmax({x.view(), out}, ctx);
            });
      check("swiglu gate", gate, SwiGluTolerance(*gate, p),
            [&](const Backend& b, Span2D<float> out, ExecContext& ctx) {
              return b.swiglu({x.view(), y.view(), out}, ctx);
            });
      check("swiglu up", up, SwiGluTolerance(*up, p),
            [&](const Backend& b, Span2D<float> out, ExecContext& ctx) {
              return b.swiglu({y.view(), x.view(), out}, ctx);
            });
      check("add", sum, AddTolerance(*sum, p),
            [&](const Backend& b, Span2D<float> out, ExecContext& ctx) {
              return b.add({x.view(), y.view(), out}, ctx);
            });
      check("scale_rows", scaled, ScaleRowsTolerance(*scaled, p),
            [&](const Backend& b, Span2D<float> out, ExecContext& ctx) {
              return b.scale_rows({x.view(), scale, out}, ctx);
            });
    }
  }
}

TEST_F(SpecialValues, SoftmaxOfMinusInfinityOnlyIsNan) {
  const PaddedMatrix x(std::vector<float>(2 * 20, -kInf), 2, 20);
  PaddedMatrix shape(2, 20);
  const auto oracle = reference::SoftmaxOracle({x.view(), shape.view()});
  ASSERT_TRUE(oracle);
  for (const double p : oracle->value) EXPECT_TRUE(std::isnan(p));
  Check({"softmax", "2x20", "-inf"}, *oracle,
        SoftmaxTolerance(*oracle, CpuStrictProfile(), 20),
        [&](const Backend& backend, ExecContext& ctx) {
          return RunInto(2, 20, [&](Span2D<float> out) {
            return backend.softmax({x.view(), out}, ctx);
          });
        });
}

// A non-finite activation makes its whole row NaN in a quantised product (its
// block has no scale) and follows IEEE rules in an f32 product.
TEST_F(SpecialValues, Gemm) {
  Random rng(502);
  for (const TensorType type : kWeightTypes) {
    const auto weights = MakeWeights(type, 19, 512, rng);
    for (const float special : kSpecials) {
      const PaddedMatrix x = With(rng, 3, 512, 512 + 300, special);
      PaddedMatrix shape(3, 19);
      const GemmPart part = {weights.view(), {}, shape.view(), 1.0f};
      const auto oracle = reference::GemmOracle({x.view(), {&part, 1}}, 0);
      ASSERT_TRUE(oracle);
      for (size_t n = 0; n < 19; ++n) {
        EXPECT_FALSE(std::isfinite(oracle->value[19 + n]));
        EXPECT_TRUE(std::isfinite(oracle->value[n]));
      }
      Check({fmt::format("gemm {}", TypeName(type)), "M=3 N=19 K=512",
             fmt::format("{}", special)},
            *oracle,
            GemmTolerance(*oracle, CpuStrictProfile(), part.weights,
                          Activations::kAuto),
            [&](const Backend& backend, ExecContext& ctx) {
              return RunInto(3, 19, [&](Span2D<float> out) {
                GemmPart p = part;
                p.out = out;
                return backend.gemm({x.view(), {&p, 1}}, ctx);
              });
            });
    }
  }
}

}  // namespace
}  // namespace etalon::test
