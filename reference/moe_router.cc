#include <algorithm>
#include <cmath>
#include <numeric>

#include "reference/ops.h"
#include "reference/oracle.h"
#include "reference/softmax.h"
#include "reference/store.h"
#include "reference/validate.h"

namespace etalon::reference {
namespace {

constexpr char kOp[] = "moe_router";

Status Validate(const MoeRouterArgs& args) {
  const Span2D<const float>& logits = args.logits;
  ETALON_RETURN_IF_ERROR(CheckMatrix(kOp, "logits", logits));
  const size_t n_used = args.experts.cols;
  ETALON_ENSURE(
      n_used > 0 && n_used <= logits.cols,
      fmt::format("{}: takes {} of {} experts", kOp, n_used, logits.cols));
  ETALON_RETURN_IF_ERROR(
      CheckShape(kOp, "experts", args.experts, logits.rows, n_used));
  ETALON_RETURN_IF_ERROR(
      CheckShape(kOp, "weights", args.weights, logits.rows, n_used));
  ETALON_ENSURE(
      std::isfinite(args.scale),
      fmt::format("{}: scale is {}, want a finite number", kOp, args.scale));
  for (size_t t = 0; t < logits.rows; ++t) {
    for (const float v : logits.row(t)) {
      ETALON_ENSURE(std::isfinite(v),
                    fmt::format("{}: a logit of token {} is {}", kOp, t, v));
    }
  }
  return {};
}

}  // namespace

Expected<Oracle> MoeRouterOracle(const MoeRouterArgs& args) {
  ETALON_RETURN_IF_ERROR(Validate(args));
  SoftmaxArgs softmax;
  softmax.x = args.logits;
  // Only a shape: the oracle writes nothing.
  std::vector<float> shape(args.logits.rows * args.logits.cols);
  softmax.out = {shape.data(), args.logits.rows, args.logits.cols};
  return SoftmaxOracle(softmax);
}

Status MoeRouter(const MoeRouterArgs& args, ExecContext&) {
  ETALON_RETURN_IF_ERROR(Validate(args));
  std::vector<double> p = Widen(args.logits);
  const size_t n_experts = args.logits.cols;
  std::vector<size_t> order(n_experts);
  for (size_t t = 0; t < args.logits.rows; ++t) {
    const std::span<double> row(p.data() + t * n_experts, n_experts);
    SoftmaxInPlace(row);
    std::iota(order.begin(), order.end(), size_t{0});
    // exp is monotone: the order of the exact probabilities is that of the
    // logits, without the ties that rounding makes.
    const std::span<const float> logits = args.logits.row(t);
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
    });
    double sum = 0.0;
    for (size_t k = 0; k < args.experts.cols; ++k) sum += row[order[k]];
    for (size_t k = 0; k < args.experts.cols; ++k) {
      const double weight =
          args.normalize ? row[order[k]] / sum : row[order[k]];
      args.experts.row(t)[k] = static_cast<int32_t>(order[k]);
      args.weights.row(t)[k] =
          static_cast<float>(weight * static_cast<double>(args.scale));
    }
  }
  return {};
}

}  // namespace etalon::reference
