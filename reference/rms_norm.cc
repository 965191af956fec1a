#include <cmath>
#include <limits>

#include "reference/ops.h"
#include "reference/oracle.h"
#include "reference/store.h"
#include "reference/validate.h"

namespace etalon::reference {
namespace {

constexpr char kOp[] = "rms_norm";

Status Validate(const RmsNormArgs& args) {
  const Span2D<const float>& x = args.x;
  ETALON_RETURN_IF_ERROR(CheckMatrix(kOp, "x", x));
  ETALON_RETURN_IF_ERROR(CheckShape(kOp, "out", args.out, x.rows, x.cols));
  if (!args.weight.empty()) {
    ETALON_RETURN_IF_ERROR(
        CheckLength(kOp, "weight", args.weight.size(), x.cols));
  }
  if (!args.rstd.empty()) {
    ETALON_RETURN_IF_ERROR(CheckLength(kOp, "rstd", args.rstd.size(), x.rows));
  }
  ETALON_ENSURE(
      std::isfinite(args.eps) && args.eps >= 0.0f,
      fmt::format("{}: eps is {}, want a finite number >= 0", kOp, args.eps));
  ETALON_ENSURE(SameView(x, args.out) || !Overlap(x, args.out),
                fmt::format("{}: out overlaps x without being x", kOp));
  return {};
}

// 1 / sqrt(mean of squares + eps). The op keeps it in f32, so what no f32 can
// hold (a row of subnormals, eps = 0) is infinite.
double Rstd(std::span<const float> row, double eps) {
  double sum = 0.0;
  for (const float v : row) {
    sum += static_cast<double>(v) * static_cast<double>(v);
  }
  const double rstd =
      1.0 / std::sqrt(sum / static_cast<double>(row.size()) + eps);
  return rstd < 0x1.ffffffp127 || std::isnan(rstd)
             ? rstd
             : std::numeric_limits<double>::infinity();
}

}  // namespace

Expected<Oracle> RmsNormOracle(const RmsNormArgs& args) {
  ETALON_RETURN_IF_ERROR(Validate(args));
  Oracle oracle;
  oracle.c.resize(3);
  for (size_t r = 0; r < args.x.rows; ++r) {
    const std::span<const float> row = args.x.row(r);
    const double rstd = Rstd(row, static_cast<double>(args.eps));
    for (size_t d = 0; d < row.size(); ++d) {
      const double x = static_cast<double>(row[d]);
      const double w =
          args.weight.empty() ? 1.0 : static_cast<double>(args.weight[d]);
      const double y = x * rstd * w;
      oracle.value.push_back(y);
      oracle.c[0].push_back(std::abs(y));
      oracle.c[1].push_back(std::abs(x * w) + std::abs(w) + 1.0);
      oracle.c[2].push_back(std::abs(rstd * w));
    }
  }
  return oracle;
}

std::vector<double> RmsNormTolerance(const Oracle& oracle, const Profile& p,
                                     size_t n) {
  const double rstd_error =
      p.f64_norm_sum
          ? p.u
          : 0.5 * p.Accumulated(p.Chain(n) + 3, p.u) + 2 * p.u * p.rsqrt_ulp;
  const double kappa[] = {rstd_error + 2 * p.u, p.tiny, p.ftz()};
  return Combine(oracle, p, kappa);
}

Status RmsNorm(const RmsNormArgs& args, ExecContext&) {
  ETALON_ASSIGN_OR_RETURN(const Oracle oracle, RmsNormOracle(args));
  for (size_t r = 0; r < args.rstd.size(); ++r) {
    args.rstd[r] =
        static_cast<float>(Rstd(args.x.row(r), static_cast<double>(args.eps)));
  }
  Store(oracle.value, args.out);
  return {};
}

}  // namespace etalon::reference
