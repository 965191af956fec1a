// The router: which experts a token takes. Decisions are judged by their
// margins, weights by a bound.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "reference/golden/ops_tables.h"
#include "reference/oracle.h"

namespace etalon::golden::internal {
namespace {

using reference::Oracle;

Expected<MoeRouterArgs> RouterOf(Operands& o) {
  MoeRouterArgs args;
  ETALON_ASSIGN_OR_RETURN(args.logits, o.Matrix("logits"));
  ETALON_ASSIGN_OR_RETURN(const int64_t normalize,
                          o.golden_case().Int("normalize"));
  args.normalize = normalize != 0;
  ETALON_ASSIGN_OR_RETURN(args.scale, o.golden_case().Float("scale"));
  ETALON_ASSIGN_OR_RETURN(args.experts, o.OutIntMatrix(0));
  ETALON_ASSIGN_OR_RETURN(args.weights, o.OutMatrix(1));
  return args;
}
Status RunRouter(const Subject& s, Operands& o) {
  ETALON_ASSIGN_OR_RETURN(const MoeRouterArgs args, RouterOf(o));
  return s.backend->moe_router(args, *s.ctx);
}

// Weight k is w = scale p_k (/ sum of the p taken): relative errors of p_k and
// of the sum, which is at most the largest of its terms' and its additions'.
//   c1 |w|; c2 |w| (D_k + max_j D_j), D_k = softmax's c2 / p: (M - x) + mean;
//   c3 |scale| (1 + n_experts).
// The margin of slot k is by how much the weight would change if it took the
// next expert, or the one before, instead; infinite beside exact ties.
Status ExpectRouter(Operands& o, TensorFile& expected) {
  ETALON_ASSIGN_OR_RETURN(const MoeRouterArgs args, RouterOf(o));
  ETALON_ASSIGN_OR_RETURN(const Oracle probabilities,
                          reference::MoeRouterOracle(args));
  const size_t n_experts = args.logits.cols;
  const size_t n_used = args.experts.cols;
  const double scale = static_cast<double>(args.scale);
  Oracle w;
  w.c.resize(3);
  std::vector<int32_t> experts;
  std::vector<float> margin;
  std::vector<size_t> order(n_experts);
  for (size_t t = 0; t < args.logits.rows; ++t) {
    const double* p = probabilities.value.data() + t * n_experts;
    const double* distance = probabilities.c[1].data() + t * n_experts;
    const auto logits = args.logits.row(t);
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return logits[a] > logits[b]; });
    double sum = 0.0;
    double max_distance = 0.0;
    for (size_t k = 0; k < n_used; ++k) {
      sum += p[order[k]];
      if (p[order[k]] > 0.0) {
        max_distance = std::max(max_distance, distance[order[k]] / p[order[k]]);
      }
    }
    const double factor = std::abs(args.normalize ? scale / sum : scale);
    const auto gap = [&](size_t a, size_t b) {
      return factor * std::abs(p[order[a]] - p[order[b]]);
    };
    for (size_t k = 0; k < n_used; ++k) {
      const double pk = p[order[k]];
      const double value = args.normalize ? pk / sum * scale : pk * scale;
      w.value.push_back(value);
      w.c[0].push_back(std::abs(value));
      w.c[1].push_back(factor * distance[order[k]] +
                       std::abs(value) * max_distance);
      w.c[2].push_back(std::abs(scale) *
                       (1.0 + static_cast<double>(n_experts)));
      experts.push_back(static_cast<int32_t>(order[k]));
      double m = INFINITY;
      for (const size_t other : {k + 1, k - 1}) {
        if (other >= n_experts) continue;
        // An exact tie is no rounding's matter: the lower index takes it.
        if (logits[order[other]] == logits[order[k]]) continue;
        m = std::min(m, std::max(gap(k, other), 0x1p-149));
      }
      margin.push_back(static_cast<float>(m));
    }
  }
  const Shape shape = {args.logits.rows, n_used};
  expected.Add("experts.y",
               Tensor(DType::kI32, shape, std::span<const int32_t>(experts)));
  expected.Add("experts.margin",
               Tensor(DType::kF32, shape, std::span<const float>(margin)));
  Emit("weights", shape, w, expected);
  return {};
}

}  // namespace

std::vector<Op> ExpertOps() {
  return {{"moe_router", RunRouter, ExpectRouter, {"token", "slot"}}};
}

}  // namespace etalon::golden::internal
