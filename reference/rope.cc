#include <cmath>

#include "reference/ops.h"
#include "reference/oracle.h"
#include "reference/validate.h"

namespace etalon::reference {
namespace {

constexpr char kOp[] = "rope";

Status Validate(const RopeArgs& args) {
  ETALON_RETURN_IF_ERROR(CheckHeads(kOp, "x", args.x));
  ETALON_RETURN_IF_ERROR(CheckMatrix(kOp, "cos", args.cos));
  ETALON_RETURN_IF_ERROR(
      CheckShape(kOp, "sin", args.sin, args.cos.rows, args.cos.cols));
  ETALON_ENSURE(2 * args.cos.cols <= args.x.head_dim,
                fmt::format("{}: cos has {} cols, want at most half of "
                            "head_dim {}",
                            kOp, args.cos.cols, args.x.head_dim));
  ETALON_RETURN_IF_ERROR(
      CheckLength(kOp, "positions", args.positions.size(), args.x.n_tokens));
  for (size_t t = 0; t < args.positions.size(); ++t) {
    const int32_t pos = args.positions[t];
    ETALON_ENSURE(
        pos >= 0 && static_cast<size_t>(pos) < args.cos.rows,
        fmt::format("{}: position {} of token {} is outside the table of {}",
                    kOp, pos, t, args.cos.rows));
  }
  return {};
}

}  // namespace

Expected<Oracle> RopeOracle(const RopeArgs& args) {
  ETALON_RETURN_IF_ERROR(Validate(args));
  const HeadsView<float>& x = args.x;
  const size_t half = args.cos.cols;
  Oracle oracle;
  oracle.c.resize(2);
  for (size_t t = 0; t < x.n_tokens; ++t) {
    const size_t pos = static_cast<size_t>(args.positions[t]);
    for (size_t h = 0; h < x.n_heads; ++h) {
      const float* head = x.at(t, h);
      std::vector<double> y(head, head + x.head_dim);
      std::vector<double> c1(x.head_dim, 0.0);
      std::vector<double> c2(x.head_dim, 0.0);
      for (size_t i = 0; i < half; ++i) {
        const bool split = args.style == RopeStyle::kHalfSplit;
        const size_t i0 = split ? i : 2 * i;
        const size_t i1 = split ? i + half : 2 * i + 1;
        const double cos = static_cast<double>(args.cos.row(pos)[i]);
        const double sin = static_cast<double>(args.sin.row(pos)[i]);
        const double x0 = static_cast<double>(head[i0]);
        const double x1 = static_cast<double>(head[i1]);
        y[i0] = x0 * cos - x1 * sin;
        y[i1] = x0 * sin + x1 * cos;
        c1[i0] = std::abs(x0 * cos) + std::abs(x1 * sin);
        c1[i1] = std::abs(x0 * sin) + std::abs(x1 * cos);
        c2[i0] = c2[i1] = 1.0;
      }
      oracle.value.insert(oracle.value.end(), y.begin(), y.end());
      oracle.c[0].insert(oracle.c[0].end(), c1.begin(), c1.end());
      oracle.c[1].insert(oracle.c[1].end(), c2.begin(), c2.end());
    }
  }
  return oracle;
}

std::vector<double> RopeTolerance(const Oracle& oracle, const Profile& p) {
  // Flushed: both operands, both products, the sum.
  const double kappa[] = {Gamma(2, p.u), 6 * p.tiny, p.angle_rel, p.trig_abs};
  return Combine(oracle, p, kappa);
}

Status Rope(const RopeArgs& args, ExecContext&) {
  ETALON_ASSIGN_OR_RETURN(const Oracle oracle, RopeOracle(args));
  const double* value = oracle.value.data();
  for (size_t t = 0; t < args.x.n_tokens; ++t) {
    for (size_t h = 0; h < args.x.n_heads; ++h) {
      float* head = args.x.at(t, h);
      for (size_t d = 0; d < args.x.head_dim; ++d) {
        head[d] = static_cast<float>(*value++);
      }
    }
  }
  return {};
}

}  // namespace etalon::reference
