// Expert routing, whose decisions must agree exactly, and the expert mixture.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tests/parity/parity.h"

namespace etalon::test {
namespace {

using MoeParity = Parity;

TEST_F(MoeParity, RouterTakesTheSameExpertsAndWeights) {
  Random rng(401);
  for (const Family family :
       {Family::kNormal, Family::kLarge, Family::kExactInt, Family::kConstant,
        Family::kOffset, Family::kUniform, Family::kWide}) {
    for (const size_t n_experts : {1u, 4u, 8u, 17u, 128u}) {
      for (const bool normalize : {false, true}) {
        const size_t n_used = 1 + rng.Below(std::min<size_t>(n_experts, 8));
        const size_t n_tokens = 1 + rng.Below(6);
        const PaddedMatrix logits(rng.Vector(family, n_tokens * n_experts),
                                  n_tokens, n_experts);
        const float scale = rng.Below(2) == 0 ? 1.0f : 2.5f;
        const auto run = [&](const Backend& backend, ExecContext& ctx,
                             std::vector<int32_t>& experts) {
          experts.assign(n_tokens * n_used, -1);
          return RunInto(n_tokens, n_used, [&](Span2D<float> weights) {
            return backend.moe_router({logits.view(),
                                       normalize,
                                       scale,
                                       {experts.data(), n_tokens, n_used},
                                       weights},
                                      ctx);
          });
        };
        Workspace workspace;
        const Config config;
        ExecContext ctx{&workspace, &config, 1};
        std::vector<int32_t> want;
        const std::vector<float> weights = run(ReferenceBackend(), ctx, want);
        std::vector<float> shape(n_tokens * n_used);
        std::vector<int32_t> ids(n_tokens * n_used);
        const auto p =
            reference::MoeRouterOracle({logits.view(),
                                        normalize,
                                        scale,
                                        {ids.data(), n_tokens, n_used},
                                        {shape.data(), n_tokens, n_used}});
        ASSERT_TRUE(p) << p.error().message;
        const auto p_bound =
            SoftmaxTolerance(*p, CpuStrictProfile(), n_experts);
        // weight = p_k / sum p * scale: relative errors of p_k and of the sum,
        // the sum's chain, a division and a product.
        Oracle oracle;
        std::vector<double> bound;
        for (size_t t = 0; t < n_tokens; ++t) {
          double sum = 0.0;
          double sum_bound = 0.0;
          for (size_t k = 0; k < n_used; ++k) {
            const size_t i =
                t * n_experts + static_cast<size_t>(want[t * n_used + k]);
            sum += p->value[i];
            sum_bound += p_bound[i];
          }
          for (size_t k = 0; k < n_used; ++k) {
            const size_t i =
                t * n_experts + static_cast<size_t>(want[t * n_used + k]);
            const double s = static_cast<double>(scale);
            const double value =
                normalize ? p->value[i] / sum * s : p->value[i] * s;
            double error = p_bound[i] * s + 4 * 0x1p-24 * value + 0x1p-148;
            if (normalize) {
              const double chain = static_cast<double>(n_used + 3);
              error = (p_bound[i] + p->value[i] * sum_bound / sum) / sum * s +
                      chain * 0x1p-24 * value + 0x1p-148;
            }
            oracle.value.push_back(value);
            bound.push_back(error * 1.001);
          }
        }
        const CaseLabel label = {
            normalize ? "moe_router normalized" : "moe_router",
            fmt::format("T={} experts={} used={}", n_tokens, n_experts, n_used),
            std::string(FamilyName(family))};
        Check(label, oracle, bound,
              [&](const Backend& backend, ExecContext& c) {
                std::vector<int32_t> experts;
                const std::vector<float> got = run(backend, c, experts);
                EXPECT_EQ(experts, want) << label.where;
                return got;
              });
      }
    }
  }
}

TEST_F(MoeParity, FfnIsWithinItsBound) {
  Random rng(402);
  constexpr size_t kExperts = 5;
  constexpr size_t kModelDim = 256;
  constexpr size_t kFfnDim = 256;
  for (const TensorType type : kWeightTypes) {
    for (const Activations activations :
         {Activations::kAuto, Activations::kF32}) {
      const auto gate = MakeWeights(type, kExperts * kFfnDim, kModelDim, rng);
      const auto up = MakeWeights(type, kExperts * kFfnDim, kModelDim, rng);
      const auto down = MakeWeights(type, kExperts * kModelDim, kFfnDim, rng);
      std::vector<float> scales;
      for (size_t e = 0; e < kExperts; ++e)
        scales.push_back(1.0f + rng.Uniform01());
      const auto stack = [&](const RandomWeights& w, size_t rows) {
        ExpertWeights e;
        e.first = w.view();
        e.first.rows = rows;
        e.n_experts = kExperts;
        e.expert_stride_bytes = rows * w.stride_bytes;
        if (rng.Below(2) == 0) e.scales = scales;
        return e;
      };
      const size_t n_tokens = 1 + rng.Below(4);
      const size_t n_used = 1 + rng.Below(3);
      const PaddedMatrix x(rng.Vector(Family::kNormal, n_tokens * kModelDim),
                           n_tokens, kModelDim);
      std::vector<int32_t> experts;
      for (size_t i = 0; i < n_tokens * n_used; ++i) {
        experts.push_back(static_cast<int32_t>(rng.Below(kExperts)));
      }
      std::vector<float> weights;
      for (size_t i = 0; i < n_tokens * n_used; ++i) {
        weights.push_back(rng.Uniform01());
      }
      PaddedMatrix shape(n_tokens, kModelDim);
      const MoeFfnArgs args = {x.view(),
                               {experts.data(), n_tokens, n_used},
                               {weights.data(), n_tokens, n_used},
                               stack(gate, kFfnDim),
                               stack(up, kFfnDim),
                               stack(down, kModelDim),
                               shape.view(),
                               activations};
      const auto oracle = reference::MoeFfnOracle(args, CpuStrictProfile());
      ASSERT_TRUE(oracle) << oracle.error().message;
      Check({fmt::format("moe_ffn {}{}", TypeName(type),
                         activations == Activations::kF32 ? " x F32" : ""),
             fmt::format("T={} used={}", n_tokens, n_used), "normal"},
            *oracle, MoeFfnTolerance(*oracle, CpuStrictProfile(), n_used),
            [&](const Backend& backend, ExecContext& ctx) {
              return RunInto(n_tokens, kModelDim, [&](Span2D<float> out) {
                MoeFfnArgs a = args;
                a.out = out;
                return backend.moe_ffn(a, ctx);
              });
            });
    }
  }
}

}  // namespace
}  // namespace etalon::test
