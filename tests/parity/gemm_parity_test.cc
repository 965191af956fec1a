// Matrix products of every weight type and activation mode.
#include <fmt/format.h>

#include "tests/parity/parity.h"

namespace etalon::test {
namespace {

constexpr Family kActivationFamilies[] = {
    Family::kNormal, Family::kWide,    Family::kExactInt, Family::kOutlier,
    Family::kOffset, Family::kCancel,  Family::kTiny,     Family::kSubnormal,
    Family::kZero,   Family::kConstant};

struct GemmShape {
  size_t m, n, k;
};

// Rows of x around the token tiles, outputs around the panels of 16.
constexpr GemmShape kBlockShapes[] = {
    {1, 1, 256},  {1, 17, 512}, {2, 16, 256}, {3, 33, 768}, {4, 15, 256},
    {5, 31, 512}, {8, 1, 1024}, {9, 48, 256}, {17, 5, 512}, {33, 17, 256}};
constexpr GemmShape kSmallShapes[] = {{1, 3, 32}, {2, 17, 96}, {7, 16, 160}};
constexpr GemmShape kOddShapes[] = {
    {1, 1, 1}, {3, 17, 15}, {2, 5, 17}, {5, 16, 33}, {1, 40, 100}};

class GemmParity : public Parity,
                   public ::testing::WithParamInterface<TensorType> {
 protected:
  void CheckShape(const GemmShape& s, Activations activations, Family family,
                  Random& rng) {
    const TensorType type = GetParam();
    const auto weights = MakeWeights(type, s.n, s.k, rng);
    const PaddedMatrix x(rng.Vector(family, s.m * s.k), s.m, s.k, rng.Below(7),
                         rng.Below(4));
    const auto bias = rng.Vector(Family::kNormal, s.n);
    GemmPart part;
    part.weights = weights.view();
    if (rng.Below(2) == 0) part.bias = bias;
    if (rng.Below(3) == 0) part.scale = rng.Normal();
    PaddedMatrix shape(s.m, s.n);
    part.out = shape.view();
    const GemmArgs args = {x.view(), {&part, 1}, activations};
    const auto oracle = reference::GemmOracle(args, 0);
    ASSERT_TRUE(oracle) << oracle.error().message;
    const CaseLabel label = {
        fmt::format("gemm {}{}", TypeName(type),
                    activations == Activations::kF32 ? " x F32" : ""),
        fmt::format("M={} N={} K={}", s.m, s.n, s.k),
        std::string(FamilyName(family))};
    Check(label, *oracle,
          GemmTolerance(*oracle, CpuStrictProfile(), part.weights, activations),
          [&](const Backend& backend, ExecContext& ctx) {
            return RunInto(s.m, s.n, [&](Span2D<float> out) {
              GemmPart p = part;
              p.out = out;
              return backend.gemm({x.view(), {&p, 1}, activations}, ctx);
            });
          });
  }
};

TEST_P(GemmParity, EveryElementWithinItsBoundAndOneBitPattern) {
  Random rng(200 + static_cast<uint32_t>(GetParam()));
  std::vector<GemmShape> shapes(std::begin(kBlockShapes),
                                std::end(kBlockShapes));
  const size_t block = GetTypeTraits(GetParam()).block_size;
  if (block <= 32) {
    shapes.insert(shapes.end(), std::begin(kSmallShapes),
                  std::end(kSmallShapes));
  }
  if (block == 1) {
    shapes.insert(shapes.end(), std::begin(kOddShapes), std::end(kOddShapes));
  }
  size_t i = 0;
  for (const GemmShape& shape : shapes) {
    for (const Activations activations :
         {Activations::kAuto, Activations::kF32}) {
      // Three families for each shape; every family meets several shapes.
      for (int f = 0; f < 3; ++f) {
        const Family family =
            kActivationFamilies[i++ % std::size(kActivationFamilies)];
        ASSERT_NO_FATAL_FAILURE(CheckShape(shape, activations, family, rng));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, GemmParity, ::testing::ValuesIn(kWeightTypes),
                         [](const auto& type) {
                           return std::string(TypeName(type.param));
                         });

using GemmParts = Parity;

// Several matrices over one x, of types that quantise x differently: each part
// must be what it is alone, and so must each row of x.
TEST_F(GemmParts, ShareTheActivationsWithoutASeam) {
  Random rng(250);
  const size_t k = 512;
  const TensorType types[] = {TensorType::kQ4_K, TensorType::kQ8_0,
                              TensorType::kQ6_K, TensorType::kF16,
                              TensorType::kQ4_1};
  for (const size_t m : {size_t{1}, size_t{6}, size_t{19}}) {
    const PaddedMatrix x(rng.Vector(Family::kNormal, m * k), m, k);
    std::vector<RandomWeights> weights;
    for (const TensorType type : types) {
      weights.push_back(MakeWeights(type, 13 + weights.size(), k, rng));
    }
    const auto run = [&](const Backend& backend, ExecContext& ctx,
                         size_t first_row, size_t rows) {
      std::vector<PaddedMatrix> outs;
      for (const auto& w : weights) outs.emplace_back(rows, w.rows);
      std::vector<GemmPart> parts;
      for (size_t i = 0; i < weights.size(); ++i) {
        parts.push_back({weights[i].view(), {}, outs[i].view(), 1.0f});
      }
      EXPECT_TRUE(Succeeded(backend.gemm(
          {x.view().Rows(first_row, first_row + rows), parts}, ctx)));
      return outs;
    };
    Workspace workspace;
    const Config config;
    ExecContext ctx{&workspace, &config, 2};
    const auto together = run(CpuBackend(), ctx, 0, m);
    for (size_t r = 0; r < m; ++r) {
      const auto alone = run(CpuBackend(), ctx, r, 1);
      for (size_t i = 0; i < weights.size(); ++i) {
        for (size_t n = 0; n < weights[i].rows; ++n) {
          ASSERT_TRUE(SameBits(alone[i].at(0, n), together[i].at(r, n)))
              << TypeName(types[i]) << " row " << r << " of " << m;
        }
      }
    }
    // Each part on its own against the reference.
    for (size_t i = 0; i < weights.size(); ++i) {
      PaddedMatrix shape(m, weights[i].rows);
      const GemmPart part = {weights[i].view(), {}, shape.view(), 1.0f};
      const auto oracle = reference::GemmOracle({x.view(), {&part, 1}}, 0);
      ASSERT_TRUE(oracle);
      EXPECT_TRUE(WithinBound(together[i].Dense(), oracle->value,
                              GemmTolerance(*oracle, CpuStrictProfile(),
                                            part.weights, Activations::kAuto),
                              {"gemm parts", fmt::format("M={}", m), ""}));
    }
  }
}

}  // namespace
}  // namespace etalon::test
