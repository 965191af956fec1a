#include "etalon/norm.h"

#include <fmt/format.h>

#include <cmath>

#include "ops/row_chunks.h"
#include "ops/span_checks.h"
#include "simd/rms_norm.h"

namespace etalon::ops {
namespace {

Status CheckRmsNorm(const RmsNormArgs& args) {
  const NamedSpan x = {"x", args.x};
  const NamedSpan out = {"out", args.out};
  ETALON_RETURN_IF_ERROR(CheckSpan("rms_norm", x));
  ETALON_RETURN_IF_ERROR(CheckSpan("rms_norm", out));
  ETALON_RETURN_IF_ERROR(CheckSameShape("rms_norm", x, out));
  ETALON_ENSURE(args.x.cols > 0 || args.x.rows == 0,
                "rms_norm: x has width 0, the mean is undefined");
  ETALON_ENSURE(
      std::isfinite(args.eps) && args.eps >= 0.0f,
      fmt::format("rms_norm: eps = {}, must be finite and >= 0", args.eps));
  ETALON_ENSURE(args.weight.empty() || args.weight.size() == args.x.cols,
                fmt::format("rms_norm: weight has {} elements, need {} or none",
                            args.weight.size(), args.x.cols));
  ETALON_ENSURE(args.rstd.empty() || args.rstd.size() == args.x.rows,
                fmt::format("rms_norm: rstd has {} elements, need {} or none",
                            args.rstd.size(), args.x.rows));
  ETALON_RETURN_IF_ERROR(CheckSameOrDisjoint("rms_norm", x, out));
  const NamedSpan weight = {
      "weight", {args.weight.data(), size_t{1}, args.weight.size()}};
  const NamedSpan rstd = {"rstd",
                          {args.rstd.data(), size_t{1}, args.rstd.size()}};
  ETALON_RETURN_IF_ERROR(CheckDisjoint("rms_norm", weight, out));
  for (const NamedSpan& other : {x, out, weight}) {
    ETALON_RETURN_IF_ERROR(CheckDisjoint("rms_norm", other, rstd));
  }
  return {};
}

}  // namespace

Status RmsNorm(const RmsNormArgs& args, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(CheckRmsNorm(args));
  const float* weight = args.weight.empty() ? nullptr : args.weight.data();
  ForRowChunks(args.x.rows, args.x.cols, ctx.n_threads,
               [&](size_t begin, size_t end) {
                 simd::RmsNormRows(
                     args.x.Rows(begin, end), weight, args.eps,
                     args.out.Rows(begin, end),
                     args.rstd.empty() ? nullptr : args.rstd.data() + begin);
               });
  return {};
}

}  // namespace etalon::ops
