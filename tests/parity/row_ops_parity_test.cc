// Row-wise and element-wise ops, their inputs strided and poisoned around.
#include <fmt/format.h>

#include <cmath>
#include <numbers>

#include "tests/parity/parity.h"

namespace etalon::test {
namespace {

using RowOps = Parity;

// Around 16 lanes, their unrollings and a long row.
const std::vector<size_t> kWidths = {1,  2,  7,  15, 16,  17,  31,
                                     33, 63, 64, 65, 128, 257, 1000};

std::string Shape(size_t rows, size_t cols) {
  return fmt::format("{}x{}", rows, cols);
}
CaseLabel Label(std::string op, size_t rows, size_t cols, Family family) {
  return {std::move(op), Shape(rows, cols), std::string(FamilyName(family))};
}

// Stride, offset and rows differ from case to case.
PaddedMatrix Draw(Random& rng, Family family, size_t rows, size_t cols) {
  return PaddedMatrix(rng.Vector(family, rows * cols), rows, cols, rng.Below(9),
                      rng.Below(5));
}

TEST_F(RowOps, RmsNorm) {
  Random rng(101);
  for (const Family family : kFamilies) {
    for (const size_t n : kWidths) {
      const size_t rows = 1 + rng.Below(5);
      const PaddedMatrix x = Draw(rng, family, rows, n);
      const auto weight = rng.Vector(Family::kNormal, n);
      RmsNormArgs args;
      args.x = x.view();
      args.eps = rng.Below(2) == 0 ? 1e-5f : 0.0f;
      if (rng.Below(4) != 0) args.weight = weight;
      PaddedMatrix shape(rows, n);
      args.out = shape.view();
      const auto oracle = reference::RmsNormOracle(args);
      ASSERT_TRUE(oracle) << oracle.error().message;
      Check(Label("rms_norm", rows, n, family), *oracle,
            RmsNormTolerance(*oracle, CpuStrictProfile(), n),
            [&](const Backend& backend, ExecContext& ctx) {
              return RunInto(rows, n, [&](Span2D<float> out) {
                RmsNormArgs a = args;
                a.out = out;
                return backend.rms_norm(a, ctx);
              });
            });
    }
  }
}

TEST_F(RowOps, RmsNormInPlaceAndItsRstd) {
  Random rng(102);
  for (const size_t n : kWidths) {
    const PaddedMatrix x = Draw(rng, Family::kNormal, 3, n);
    RmsNormArgs args;
    args.x = x.view();
    args.eps = 1e-6f;
    PaddedMatrix shape(3, n);
    args.out = shape.view();
    auto oracle = reference::RmsNormOracle(args);
    ASSERT_TRUE(oracle) << oracle.error().message;
    std::vector<double> bound =
        RmsNormTolerance(*oracle, CpuStrictProfile(), n);
    // rstd itself, correctly rounded but for the fp64 sum's own error.
    for (size_t r = 0; r < 3; ++r) {
      double sum = 0.0;
      for (const float v : x.view().row(r)) {
        sum += static_cast<double>(v) * static_cast<double>(v);
      }
      const double rstd = 1.0 / std::sqrt(sum / static_cast<double>(n) +
                                          static_cast<double>(args.eps));
      oracle->value.push_back(rstd);
      bound.push_back(rstd * 0x1p-24 * (1 + 0x1p-19));
    }
    Check(Label("rms_norm+rstd", 3, n, Family::kNormal), *oracle, bound,
          [&](const Backend& backend, ExecContext& ctx) {
            PaddedMatrix inout = x;
            std::vector<float> rstd(3);
            RmsNormArgs a = args;
            a.x = inout.view();
            a.out = inout.view();
            a.rstd = rstd;
            if (!Succeeded(backend.rms_norm(a, ctx))) {
              return std::vector<float>();
            }
            EXPECT_TRUE(inout.PaddingIntact());
            std::vector<float> got = inout.Dense();
            got.insert(got.end(), rstd.begin(), rstd.end());
            return got;
          });
  }
}

TEST_F(RowOps, Rope) {
  Random rng(103);
  for (const Family family : kFamilies) {
    for (const size_t head_dim : {2u, 6u, 32u, 34u, 64u, 80u, 128u}) {
      for (const RopeStyle style :
           {RopeStyle::kHalfSplit, RopeStyle::kInterleaved}) {
        const size_t half = 1 + rng.Below(head_dim / 2);
        const size_t n_tokens = 1 + rng.Below(4);
        const size_t n_heads = 1 + rng.Below(4);
        const size_t n_positions = 9;
        std::vector<float> cos;
        std::vector<float> sin;
        for (size_t i = 0; i < n_positions * half; ++i) {
          const double angle =
              static_cast<double>(rng.Uniform()) * std::numbers::pi;
          cos.push_back(static_cast<float>(std::cos(angle)));
          sin.push_back(static_cast<float>(std::sin(angle)));
        }
        std::vector<int32_t> positions;
        for (size_t t = 0; t < n_tokens; ++t) {
          positions.push_back(static_cast<int32_t>(rng.Below(n_positions)));
        }
        // Heads side by side with a gap, tokens as rows.
        const size_t head_stride = head_dim + rng.Below(3);
        PaddedMatrix x = Draw(rng, family, n_tokens, n_heads * head_stride);
        const auto heads = [&](PaddedMatrix& m) {
          return HeadsView<float>{m.view().data, n_tokens,   n_heads,
                                  head_dim,      m.stride(), head_stride};
        };
        const RopeArgs args = {heads(x),
                               positions,
                               {cos.data(), n_positions, half},
                               {sin.data(), n_positions, half},
                               style};
        const auto oracle = reference::RopeOracle(args);
        ASSERT_TRUE(oracle) << oracle.error().message;
        const CaseLabel label = {
            style == RopeStyle::kHalfSplit ? "rope half-split"
                                           : "rope interleaved",
            fmt::format("T={} H={} hd={} rotary={}", n_tokens, n_heads,
                        head_dim, 2 * half),
            std::string(FamilyName(family))};
        Check(label, *oracle, RopeTolerance(*oracle, CpuStrictProfile()),
              [&](const Backend& backend, ExecContext& ctx) {
                PaddedMatrix copy = x;
                RopeArgs a = args;
                a.x = heads(copy);
                std::vector<float> got;
                if (!Succeeded(backend.rope(a, ctx))) return got;
                EXPECT_TRUE(copy.PaddingIntact());
                for (size_t t = 0; t < n_tokens; ++t) {
                  for (size_t h = 0; h < n_heads; ++h) {
                    got.insert(got.end(), a.x.at(t, h),
                               a.x.at(t, h) + head_dim);
                  }
                }
                return got;
              });
      }
    }
  }
}

TEST_F(RowOps, SwiGlu) {
  Random rng(104);
  for (const Family family : kFamilies) {
    for (const size_t n : kWidths) {
      const size_t rows = 1 + rng.Below(4);
      const PaddedMatrix gate = Draw(rng, family, rows, n);
      const PaddedMatrix up = Draw(rng, Family::kNormal, rows, n);
      PaddedMatrix shape(rows, n);
      const SwiGluArgs args = {gate.view(), up.view(), shape.view()};
      const auto oracle = reference::SwiGluOracle(args);
      ASSERT_TRUE(oracle) << oracle.error().message;
      Check(Label("swiglu", rows, n, family), *oracle,
            SwiGluTolerance(*oracle, CpuStrictProfile()),
            [&](const Backend& backend, ExecContext& ctx) {
              return RunInto(rows, n, [&](Span2D<float> out) {
                return backend.swiglu({gate.view(), up.view(), out}, ctx);
              });
            });
    }
  }
}

// The bound of docs/numerics.md as a plain number of ULPs.
TEST_F(RowOps, SwiGluIsWithinFourUlp) {
  Random rng(105);
  const size_t n = 100000;
  std::vector<float> gate;
  for (size_t i = 0; i < n; ++i) gate.push_back(rng.Uniform() * 87.0f);
  const std::vector<float> up = rng.Vector(Family::kNormal, n);
  std::vector<float> out(n);
  Workspace workspace;
  const Config config;
  ExecContext ctx{&workspace, &config, 2};
  const SwiGluArgs args = {
      {gate.data(), 1, n}, {up.data(), 1, n}, {out.data(), 1, n}};
  const auto oracle = reference::SwiGluOracle(args);
  ASSERT_TRUE(oracle);
  ASSERT_TRUE(Succeeded(CpuBackend().swiglu(args, ctx)));
  double worst = 0.0;
  for (size_t i = 0; i < n; ++i) {
    if (std::abs(oracle->value[i]) < 0x1p-120) continue;
    const double error = UlpError(out[i], oracle->value[i]);
    ASSERT_TRUE(error <= 4.0) << "gate " << gate[i] << " up " << up[i];
    worst = std::fmax(worst, error);
  }
  std::printf("  swiglu: at most %.2f ulp\n", worst);
}

TEST_F(RowOps, AddAndScaleRows) {
  Random rng(106);
  for (const Family family : kFamilies) {
    for (const size_t n : kWidths) {
      const size_t rows = 1 + rng.Below(4);
      const PaddedMatrix a = Draw(rng, family, rows, n);
      const PaddedMatrix b = Draw(rng, family, rows, n);
      const auto scale = rng.Vector(Family::kWide, rows);
      PaddedMatrix shape(rows, n);
      const auto sum = reference::AddOracle({a.view(), b.view(), shape.view()});
      const auto scaled =
          reference::ScaleRowsOracle({a.view(), scale, shape.view()});
      ASSERT_TRUE(sum && scaled);
      Check(Label("add", rows, n, family), *sum,
            AddTolerance(*sum, CpuStrictProfile()),
            [&](const Backend& backend, ExecContext& ctx) {
              return RunInto(rows, n, [&](Span2D<float> out) {
                return backend.add({a.view(), b.view(), out}, ctx);
              });
            });
      Check(Label("scale_rows", rows, n, family), *scaled,
            ScaleRowsTolerance(*scaled, CpuStrictProfile()),
            [&](const Backend& backend, ExecContext& ctx) {
              return RunInto(rows, n, [&](Span2D<float> out) {
                return backend.scale_rows({a.view(), scale, out}, ctx);
              });
            });
    }
  }
}

TEST_F(RowOps, Softmax) {
  Random rng(107);
  for (const Family family : kFamilies) {
    for (const size_t n : kWidths) {
      const size_t rows = 1 + rng.Below(4);
      PaddedMatrix x = Draw(rng, family, rows, n);
      if (n > 3) x.at(0, n / 2) = -INFINITY;  // a masked element
      PaddedMatrix shape(rows, n);
      const auto oracle = reference::SoftmaxOracle({x.view(), shape.view()});
      ASSERT_TRUE(oracle) << oracle.error().message;
      Check(Label("softmax", rows, n, family), *oracle,
            SoftmaxTolerance(*oracle, CpuStrictProfile(), n),
            [&](const Backend& backend, ExecContext& ctx) {
              return RunInto(rows, n, [&](Span2D<float> out) {
                const PaddedMatrix& in = x;
                return backend.softmax({in.view(), out}, ctx);
              });
            });
    }
  }
}

TEST_F(RowOps, EmbeddingIsCorrectlyRounded) {
  Random rng(108);
  for (const TensorType type : kWeightTypes) {
    for (const size_t n : {256u, 768u}) {
      const auto table = MakeWeights(type, 11, n, rng);
      const std::vector<int32_t> tokens = {10, 0, 3, 3, 7};
      PaddedMatrix shape(5, n);
      const auto oracle =
          reference::EmbeddingOracle({table.view(), tokens, shape.view()});
      ASSERT_TRUE(oracle) << oracle.error().message;
      // Correctly rounded is at most half an ulp away, and equal to the
      // rounded exact value, which is what the oracle is compared as here.
      Oracle rounded = *oracle;
      for (double& v : rounded.value) {
        v = static_cast<double>(static_cast<float>(v));
      }
      Check({"embedding " + std::string(TypeName(type)), Shape(5, n), ""},
            rounded, std::vector<double>(5 * n, 0.0),
            [&](const Backend& backend, ExecContext& ctx) {
              return RunInto(5, n, [&](Span2D<float> out) {
                return backend.embedding({table.view(), tokens, out}, ctx);
              });
            });
    }
  }
}

}  // namespace
}  // namespace etalon::test
