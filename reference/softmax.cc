#include "reference/softmax.h"

#include <cmath>
#include <limits>

#include "reference/exp.h"
#include "reference/ops.h"
#include "reference/oracle.h"
#include "reference/store.h"
#include "reference/validate.h"

namespace etalon::reference {

double SoftmaxInPlace(std::span<double> row) {
  double max = -std::numeric_limits<double>::infinity();
  for (const double v : row) max = v > max ? v : max;
  double sum = 0.0;
  for (double& v : row) {
    v = Exp(v - max);  // NaN for Inf - Inf: the whole row becomes NaN by `sum`
    sum += v;
  }
  for (double& v : row) v /= sum;
  return max;
}

Expected<Oracle> SoftmaxOracle(const SoftmaxArgs& args) {
  constexpr char kOp[] = "softmax";
  const Span2D<const float>& x = args.x;
  ETALON_RETURN_IF_ERROR(CheckMatrix(kOp, "x", x));
  ETALON_RETURN_IF_ERROR(CheckShape(kOp, "out", args.out, x.rows, x.cols));
  ETALON_ENSURE(SameView(x, args.out) || !Overlap(x, args.out),
                fmt::format("{}: out overlaps x without being x", kOp));
  Oracle oracle;
  oracle.value = Widen(x);
  oracle.c.resize(3);
  for (size_t r = 0; r < x.rows; ++r) {
    const std::span<double> p(oracle.value.data() + r * x.cols, x.cols);
    const double max = SoftmaxInPlace(p);
    // x = -Inf has p = 0 exactly, whatever its distance.
    const auto distance = [&](size_t i) {
      return p[i] == 0.0 ? 0.0 : max - static_cast<double>(x.row(r)[i]);
    };
    double mean_distance = 0.0;
    for (size_t i = 0; i < x.cols; ++i) mean_distance += p[i] * distance(i);
    for (size_t i = 0; i < x.cols; ++i) {
      oracle.c[0].push_back(p[i]);
      oracle.c[1].push_back(p[i] * (distance(i) + mean_distance));
      oracle.c[2].push_back(1.0 + static_cast<double>(x.cols) * p[i]);
    }
  }
  return oracle;
}

std::vector<double> SoftmaxTolerance(const Oracle& oracle, const Profile& p,
                                     size_t n) {
  // e: its own exp and, through the sum, the mean of all; the sum's chain; 1 /
  // l and the product. The tiny term: a subnormal e is off by one step.
  const double kappa[] = {
      2 * p.exp() + p.Accumulated(p.Chain(n) + 1, p.u) + p.div(),
      p.u + p.exp_per_x(), 3 * p.tiny + p.exp_tiny()};
  return Combine(oracle, p, kappa);
}

Status Softmax(const SoftmaxArgs& args, ExecContext&) {
  ETALON_ASSIGN_OR_RETURN(const Oracle oracle, SoftmaxOracle(args));
  Store(oracle.value, args.out);
  return {};
}

}  // namespace etalon::reference
