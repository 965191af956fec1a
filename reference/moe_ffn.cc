// The expert mixture: the reference's own products and SwiGLU, rounded to f32
// between stages because the down projection quantises what it is given. The
// tolerance follows an error through the stages; where it can change a
// quantised activation, that activation counts as flipped by one step.
#include <algorithm>
#include <cmath>

#include "reference/formats.h"
#include "reference/ops.h"
#include "reference/oracle.h"
#include "reference/quantize.h"
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

double F16Rounded(double x) { return F16ToDouble(DoubleToF16(x)); }

// How far the dequantised activation of a port may be from the reference's when
// the row it quantises differs from `x` by at most `error`.
std::vector<double> QuantizedError(std::span<const float> x,
                                   std::span<const double> error,
                                   size_t block_size) {
  const QuantizedRow row = block_size == 256 ? QuantizeQ8K(x) : QuantizeQ8_0(x);
  std::vector<double> out(x.size());
  for (size_t b = 0; b * block_size < x.size(); ++b) {
    double amax = 0.0;
    double max_error = 0.0;
    for (size_t i = b * block_size; i < (b + 1) * block_size; ++i) {
      amax = std::max(amax, std::abs(static_cast<double>(x[i])));
      max_error = std::max(max_error, error[i]);
    }
    const double relative = amax > 0.0 ? max_error / amax + 16 * 0x1p-24 : 1.0;
    const double d = std::abs(static_cast<double>(row.d[b]));
    double d_error = 2 * relative * d;
    if (block_size == 32) {
      // The f16 scale stays the same or takes a whole step.
      const double exact = amax / 127.0;
      d_error = std::max(
          std::abs(F16Rounded(exact * (1 + relative)) - d),
          std::abs(F16Rounded(exact * std::max(0.0, 1 - relative)) - d));
    }
    for (size_t i = b * block_size; i < (b + 1) * block_size; ++i) {
      const double value = std::abs(static_cast<double>(x[i]));
      if (!(relative < 0.25) || amax < 0x1p-119) {
        out[i] = 2 * value + 2 * max_error + d;  // nothing is known
        continue;
      }
      const double scaled = 127.0 * value / amax;
      const double moved = 2 * scaled * relative + 127.0 * error[i] / amax +
                           127.0 * 16 * 0x1p-24;
      const bool may_flip = !(static_cast<double>(row.margin[i]) > moved);
      const double q = std::abs(static_cast<double>(row.q[i]));
      out[i] = q * d_error + (may_flip ? (d + d_error) * (1.0 + moved) : 0.0);
    }
  }
  return out;
}

// Adds what errors of the hidden rows do to the down projection.
void InheritThroughDown(const Stage& hidden, const ExpertWeights& stack,
                        size_t e, Activations activations, size_t rows,
                        Stage& y) {
  const WeightMatrix down = stack.expert(e);
  const double scale = std::abs(ExpertScale(stack, e));
  const size_t cols = down.cols;
  std::vector<double> moved = hidden.error;
  if (IsQuantized(down.type) && activations == Activations::kAuto) {
    const size_t block = WeightFormat(down.type)->block_size;
    for (size_t r = 0; r < rows; ++r) {
      const std::vector<double> row =
          QuantizedError({hidden.value.data() + r * cols, cols},
                         {hidden.error.data() + r * cols, cols}, block);
      std::copy(row.begin(), row.end(),
                moved.begin() + static_cast<std::ptrdiff_t>(r * cols));
    }
  }
  std::vector<double> w(cols);
  for (size_t n = 0; n < down.rows; ++n) {
    DecodeRow(down.type, down.row(n), w);
    for (size_t r = 0; r < rows; ++r) {
      double sum = 0.0;
      for (size_t i = 0; i < cols; ++i) {
        sum += std::abs(w[i]) * moved[r * cols + i];
      }
      // 1 + 2^-8: these errors are rounded along with the rest.
      y.error[r * down.rows + n] += scale * sum * (1.0 + 0x1p-8);
    }
  }
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
        Stage y,
        Multiply({hidden.value.data(), rows, ffn_dim}, args.down.expert(e),
                 ExpertScale(args.down, e), args.activations, p));
    if (magnitudes) {
      InheritThroughDown(hidden, args.down, e, args.activations, rows, y);
    }
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
