#include <cmath>

#include "reference/exp.h"
#include "reference/ops.h"
#include "reference/oracle.h"
#include "reference/store.h"
#include "reference/validate.h"

namespace etalon::reference {
namespace {

Status ValidateAlias(std::string_view op, const Span2D<const float>& in,
                     std::string_view name, const Span2D<float>& out) {
  ETALON_ENSURE(SameView(in, out) || !Overlap(in, out),
                fmt::format("{}: out overlaps {} without being it", op, name));
  return {};
}

}  // namespace

Expected<Oracle> SwiGluOracle(const SwiGluArgs& args) {
  constexpr char kOp[] = "swiglu";
  const size_t rows = args.gate.rows;
  const size_t cols = args.gate.cols;
  ETALON_RETURN_IF_ERROR(CheckMatrix(kOp, "gate", args.gate));
  ETALON_RETURN_IF_ERROR(CheckShape(kOp, "up", args.up, rows, cols));
  ETALON_RETURN_IF_ERROR(CheckShape(kOp, "out", args.out, rows, cols));
  ETALON_RETURN_IF_ERROR(ValidateAlias(kOp, args.gate, "gate", args.out));
  ETALON_RETURN_IF_ERROR(ValidateAlias(kOp, args.up, "up", args.out));
  const std::vector<double> gate = Widen(args.gate);
  const std::vector<double> up = Widen(args.up);
  Oracle oracle;
  oracle.c.resize(4);
  for (size_t i = 0; i < gate.size(); ++i) {
    const double g = gate[i];
    const double e = Exp(-g);
    const double y = g / (1.0 + e) * up[i];
    // 1 - sigmoid(g) = e / (1 + e), with its limit where e overflows.
    const double complement = std::isinf(e) ? 1.0 : e / (1.0 + e);
    oracle.value.push_back(y);
    oracle.c[0].push_back(std::abs(y) * complement);
    oracle.c[1].push_back(std::abs(y));
    oracle.c[2].push_back(g < -87.0 ? std::abs(y) : 0.0);
    oracle.c[3].push_back(std::abs(up[i]) + std::abs(g) + 1.0);
  }
  return oracle;
}

std::vector<double> SwiGluTolerance(const Oracle& oracle, const Profile& p) {
  // exp(-g): its argument is exact; |g| <= 88 where the error counts.
  const double exp_error = p.exp() + p.exp_per_x() * 88.0;
  const double kappa[] = {exp_error, 2 * p.u + p.div(), 1.0, p.tiny};
  return Combine(oracle, p, kappa);
}

Status SwiGlu(const SwiGluArgs& args, ExecContext&) {
  ETALON_ASSIGN_OR_RETURN(const Oracle oracle, SwiGluOracle(args));
  Store(oracle.value, args.out);
  return {};
}

Expected<Oracle> AddOracle(const AddArgs& args) {
  constexpr char kOp[] = "add";
  const size_t rows = args.a.rows;
  const size_t cols = args.a.cols;
  ETALON_RETURN_IF_ERROR(CheckMatrix(kOp, "a", args.a));
  ETALON_RETURN_IF_ERROR(CheckShape(kOp, "b", args.b, rows, cols));
  ETALON_RETURN_IF_ERROR(CheckShape(kOp, "out", args.out, rows, cols));
  ETALON_RETURN_IF_ERROR(ValidateAlias(kOp, args.a, "a", args.out));
  ETALON_RETURN_IF_ERROR(ValidateAlias(kOp, args.b, "b", args.out));
  const std::vector<double> a = Widen(args.a);
  const std::vector<double> b = Widen(args.b);
  Oracle oracle;
  oracle.c.resize(2);
  for (size_t i = 0; i < a.size(); ++i) {
    oracle.value.push_back(a[i] + b[i]);
    oracle.c[0].push_back(std::abs(a[i] + b[i]));
    oracle.c[1].push_back(1.0);
  }
  return oracle;
}

std::vector<double> AddTolerance(const Oracle& oracle, const Profile& p) {
  // A sum that is subnormal is exact: only flushing can lose it.
  const double kappa[] = {p.u, 3 * p.ftz()};
  return Combine(oracle, p, kappa);
}

Status Add(const AddArgs& args, ExecContext&) {
  ETALON_ASSIGN_OR_RETURN(const Oracle oracle, AddOracle(args));
  Store(oracle.value, args.out);
  return {};
}

Expected<Oracle> ScaleRowsOracle(const ScaleRowsArgs& args) {
  constexpr char kOp[] = "scale_rows";
  const Span2D<const float>& x = args.x;
  ETALON_RETURN_IF_ERROR(CheckMatrix(kOp, "x", x));
  ETALON_RETURN_IF_ERROR(CheckShape(kOp, "out", args.out, x.rows, x.cols));
  ETALON_RETURN_IF_ERROR(CheckLength(kOp, "scale", args.scale.size(), x.rows));
  ETALON_RETURN_IF_ERROR(ValidateAlias(kOp, x, "x", args.out));
  Oracle oracle;
  oracle.c.resize(2);
  for (size_t r = 0; r < x.rows; ++r) {
    for (const float v : x.row(r)) {
      const double y =
          static_cast<double>(v) * static_cast<double>(args.scale[r]);
      oracle.value.push_back(y);
      oracle.c[0].push_back(std::abs(y));
      oracle.c[1].push_back(1.0 + std::abs(static_cast<double>(v)) +
                            std::abs(static_cast<double>(args.scale[r])));
    }
  }
  return oracle;
}

std::vector<double> ScaleRowsTolerance(const Oracle& oracle, const Profile& p) {
  const double kappa[] = {p.u, p.tiny};
  return Combine(oracle, p, kappa);
}

Status ScaleRows(const ScaleRowsArgs& args, ExecContext&) {
  ETALON_ASSIGN_OR_RETURN(const Oracle oracle, ScaleRowsOracle(args));
  Store(oracle.value, args.out);
  return {};
}

}  // namespace etalon::reference
