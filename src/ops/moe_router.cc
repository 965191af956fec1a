// Experts are ranked by their logits: exp is monotone, so this is the order of
// the exact probabilities, and probabilities that round to one f32 cannot turn
// the order around. Only the weights come from the rounded softmax.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "etalon/moe.h"
#include "ops/span_checks.h"
#include "simd/softmax.h"

namespace etalon::ops {
namespace {

Status CheckRouter(const MoeRouterArgs& args) {
  const Span2D<const float>& logits = args.logits;
  const Span2D<int32_t>& experts = args.experts;
  const NamedSpan weights = {"weights", args.weights};
  ETALON_RETURN_IF_ERROR(CheckSpan("moe_router", {"logits", logits}));
  ETALON_RETURN_IF_ERROR(CheckSpan("moe_router", weights));
  const size_t n_used = experts.cols;
  ETALON_ENSURE(
      n_used >= 1 && n_used <= logits.cols,
      fmt::format("moe_router: experts has {} slots, need 1 to n_experts {}",
                  n_used, logits.cols));
  ETALON_ENSURE(
      logits.cols <= size_t{1} << 30,
      fmt::format("moe_router: {} experts, at most 2^30", logits.cols));
  ETALON_ENSURE(experts.rows == logits.rows,
                fmt::format("moe_router: experts has {} rows, need n_tokens {}",
                            experts.rows, logits.rows));
  ETALON_ENSURE(experts.stride >= n_used || experts.rows <= 1,
                fmt::format("moe_router: experts stride {} < width {}",
                            experts.stride, n_used));
  ETALON_ENSURE(experts.data != nullptr || experts.rows == 0,
                "moe_router: experts is null");
  ETALON_ENSURE(
      args.weights.rows == experts.rows && args.weights.cols == n_used,
      fmt::format("moe_router: weights is [{}, {}], need the shape of "
                  "experts, [{}, {}]",
                  args.weights.rows, args.weights.cols, experts.rows, n_used));
  ETALON_RETURN_IF_ERROR(
      CheckDisjoint("moe_router", {"logits", logits}, weights));
  ETALON_ENSURE(
      std::isfinite(args.scale),
      fmt::format("moe_router: scale = {}, must be finite", args.scale));
  for (size_t t = 0; t < logits.rows; ++t) {
    const std::span<const float> row = logits.row(t);
    for (size_t e = 0; e < row.size(); ++e) {
      ETALON_ENSURE(
          std::isfinite(row[e]),
          fmt::format("moe_router: token {}: logit of expert {} is {}", t, e,
                      row[e]));
    }
  }
  return {};
}

// The n_used largest in descending order; an equal one goes behind, so ties go
// to the lower index.
void SelectExperts(std::span<const float> logits, std::span<int32_t> chosen) {
  size_t n = 0;
  for (size_t e = 0; e < logits.size(); ++e) {
    size_t slot = n;
    while (slot > 0 &&
           logits[e] > logits[static_cast<size_t>(chosen[slot - 1])]) {
      --slot;
    }
    if (slot == chosen.size()) continue;
    if (n < chosen.size()) ++n;
    for (size_t i = n - 1; i > slot; --i) chosen[i] = chosen[i - 1];
    chosen[slot] = static_cast<int32_t>(e);
  }
}

void RouteToken(std::span<const float> logits, const MoeRouterArgs& args,
                std::span<float> p, std::span<int32_t> chosen,
                std::span<float> weights) {
  simd::SoftmaxRows({logits.data(), 1, logits.size()}, {p.data(), 1, p.size()});
  SelectExperts(logits, chosen);
  float sum = 0.0f;
  for (size_t k = 0; k < chosen.size(); ++k) {
    weights[k] = p[static_cast<size_t>(chosen[k])];
    sum += weights[k];
  }
  for (float& w : weights) {
    if (args.normalize) w /= sum;
    w *= args.scale;
  }
}

}  // namespace

Status MoeRouter(const MoeRouterArgs& args, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(CheckRouter(args));
  const size_t n_tokens = args.logits.rows, n_experts = args.logits.cols;
  if (n_tokens == 0) return {};
  ETALON_ENSURE(ctx.workspace != nullptr, "moe_router: no workspace");
  Workspace::Scope scope(*ctx.workspace);
  // Probabilities of the token at hand, one row per thread.
  const size_t n_threads = static_cast<size_t>(std::max(ctx.n_threads, 1));
  ETALON_ASSIGN_OR_RETURN(
      const std::span<float> scratch,
      ctx.workspace->Allocate<float>(n_threads * n_experts));

  constexpr size_t kTokensPerTask = 64;  // some 20 us at 128 experts
  const size_t n_tasks = (n_tokens + kTokensPerTask - 1) / kTokensPerTask;
  ParallelFor(n_tasks, ctx.n_threads, [&](size_t task, int thread) {
    const std::span<float> p =
        scratch.subspan(static_cast<size_t>(thread) * n_experts, n_experts);
    const size_t end = std::min(n_tokens, (task + 1) * kTokensPerTask);
    for (size_t t = task * kTokensPerTask; t < end; ++t) {
      RouteToken(args.logits.row(t), args, p, args.experts.row(t),
                 args.weights.row(t));
    }
  });
  return {};
}

}  // namespace etalon::ops
