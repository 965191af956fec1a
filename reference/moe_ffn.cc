// The expert mixture: the reference's own products and SwiGLU, rounded to f32
// between stages because the down projection quantises what it is given. The
// tolerance follows an error through the stages (stages.h).
#include <algorithm>
#include <cmath>

#include "reference/ops.h"
#include "reference/oracle.h"
#include "reference/stages.h"
#include "reference/store.h"
#include "reference/validate.h"

namespace etalon::reference {
namespace {

constexpr char kOp[] = "moe_ffn";

Status ValidateExperts(std::string_view name, const ExpertWeights& w,
                       size_t n_experts, size_t rows, size_t cols) {
  ETALON_RETURN_IF_ERROR(CheckWeights(kOp, name, w.first));
  ETALON_ENSURE(
      w.n_experts == n_experts && w.first.rows == rows && w.first.cols == cols,
      fmt::format("{}: {} is [{}, {}, {}], want [{}, {}, {}]", kOp, name,
                  w.n_experts, w.first.rows, w.first.cols, n_experts, rows,
                  cols));
  if (!w.scales.empty()) {
    ETALON_RETURN_IF_ERROR(CheckLength(kOp, fmt::format("{} scales", name),
                                       w.scales.size(), n_experts));
  }
  return {};
}

Status Validate(const MoeFfnArgs& args) {
  const size_t n_tokens = args.x.rows;
  const size_t model_dim = args.x.cols;
  const size_t ffn_dim = args.gate.first.rows;
  const size_t n_experts = args.gate.n_experts;
  const size_t n_used = args.experts.cols;
  ETALON_RETURN_IF_ERROR(CheckMatrix(kOp, "x", args.x));
  ETALON_RETURN_IF_ERROR(
      CheckShape(kOp, "experts", args.experts, n_tokens, n_used));
  ETALON_RETURN_IF_ERROR(
      CheckShape(kOp, "weights", args.weights, n_tokens, n_used));
  ETALON_RETURN_IF_ERROR(CheckShape(kOp, "out", args.out, n_tokens, model_dim));
  ETALON_ENSURE(!Overlap(args.x, args.out),
                fmt::format("{}: out overlaps x", kOp));
  ETALON_RETURN_IF_ERROR(
      ValidateExperts("gate", args.gate, n_experts, ffn_dim, model_dim));
  ETALON_RETURN_IF_ERROR(
      ValidateExperts("up", args.up, n_experts, ffn_dim, model_dim));
  ETALON_RETURN_IF_ERROR(
      ValidateExperts("down", args.down, n_experts, model_dim, ffn_dim));
  for (size_t t = 0; t < n_tokens; ++t) {
    for (const int32_t e : args.experts.row(t)) {
      ETALON_ENSURE(e >= 0 && static_cast<size_t>(e) < n_experts,
                    fmt::format("{}: expert {} of token {} is outside 0..{}",
                                kOp, e, t, n_experts - 1));
    }
  }
  return {};
}

double ExpertScale(const ExpertWeights& stack, size_t e) {
  return stack.scales.empty() ? 1.0 : static_cast<double>(stack.scales[e]);
}

}  // namespace

Expected<Oracle> MoeFfnOracle(const MoeFfnArgs& args, const Profile& profile,
                              bool magnitudes) {
  ETALON_RETURN_IF_ERROR(Validate(args));
  const Profile* p = magnitudes ? &profile : nullptr;
  const size_t model_dim = args.x.cols;
  const size_t ffn_dim = args.gate.first.rows;
  const size_t n_used = args.experts.cols;
  struct Use {
    size_t token;
    size_t slot;
  };
  std::vector<std::vector<Use>> uses(args.gate.n_experts);
  for (size_t t = 0; t < args.x.rows; ++t) {
    for (size_t k = 0; k < n_used; ++k) {
      uses[static_cast<size_t>(args.experts.row(t)[k])].push_back({t, k});
    }
  }
  // y[(t, k), :] of every slot, summed over k at the end in slot order.
  Stage slots;
  slots.value.resize(args.x.rows * n_used * model_dim);
  slots.error.resize(slots.value.size());
  for (size_t e = 0; e < uses.size(); ++e) {
    const size_t rows = uses[e].size();
    if (rows == 0) continue;
    std::vector<float> gathered;
    for (const Use& use : uses[e]) {
      const auto row = args.x.row(use.token);
      gathered.insert(gathered.end(), row.begin(), row.end());
    }
    const Span2D<const float> x(gathered.data(), rows, model_dim);
    ETALON_ASSIGN_OR_RETURN(
        const Stage gate,
        Multiply(x, args.gate.expert(e), ExpertScale(args.gate, e),
                 args.activations, p));
    ETALON_ASSIGN_OR_RETURN(
        const Stage up, Multiply(x, args.up.expert(e), ExpertScale(args.up, e),
                                 args.activations, p));
    ETALON_ASSIGN_OR_RETURN(const Stage hidden,
                            Activate(gate, up, rows, ffn_dim, p));
    ETALON_ASSIGN_OR_RETURN(
        const Stage y,
        Multiply(hidden, rows, args.down.expert(e), ExpertScale(args.down, e),
                 args.activations, p));
    for (size_t r = 0; r < rows; ++r) {
      const size_t to =
          (uses[e][r].token * n_used + uses[e][r].slot) * model_dim;
      for (size_t i = 0; i < model_dim; ++i) {
        slots.value[to + i] = y.value[r * model_dim + i];
        if (magnitudes) slots.error[to + i] = y.error[r * model_dim + i];
      }
    }
  }
  Oracle oracle;
  oracle.value.resize(args.x.rows * model_dim);
  oracle.c.assign(magnitudes ? 3 : 0,
                  std::vector<double>(oracle.value.size(), 0.0));
  for (size_t t = 0; t < args.x.rows; ++t) {
    for (size_t k = 0; k < n_used; ++k) {
      const double w = static_cast<double>(args.weights.row(t)[k]);
      for (size_t i = 0; i < model_dim; ++i) {
        const size_t from = (t * n_used + k) * model_dim + i;
        const size_t to = t * model_dim + i;
        const double y = static_cast<double>(slots.value[from]);
        oracle.value[to] += w * y;
        if (!magnitudes) continue;
        oracle.c[0][to] += std::abs(w) * slots.error[from];
        oracle.c[1][to] += std::abs(w) * (std::abs(y) + slots.error[from]);
        oracle.c[2][to] += 1.0;
      }
    }
  }
  return oracle;
}

std::vector<double> MoeFfnTolerance(const Oracle& oracle, const Profile& p,
                                    size_t n_used) {
  const double chain = static_cast<double>(n_used) + (p.fused ? 0.0 : 1.0);
  const double kappa[] = {1.0, Gamma(chain, p.u), p.tiny};
  return Combine(oracle, p, kappa);
}

Status MoeFfn(const MoeFfnArgs& args, ExecContext&) {
  ETALON_ASSIGN_OR_RETURN(
      const Oracle oracle,
      MoeFfnOracle(args, CpuStrictProfile(), /*magnitudes=*/false));
  Store(oracle.value, args.out);
  return {};
}

}  // namespace etalon::reference
