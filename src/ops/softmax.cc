#include "simd/softmax.h"

#include "etalon/elementwise.h"
#include "ops/row_chunks.h"
#include "ops/span_checks.h"

namespace etalon::ops {

Status Softmax(const SoftmaxArgs& args, ExecContext& ctx) {
  const NamedSpan x = {"x", args.x};
  const NamedSpan out = {"out", args.out};
  ETALON_RETURN_IF_ERROR(CheckSpan("softmax", x));
  ETALON_RETURN_IF_ERROR(CheckSpan("softmax", out));
  ETALON_RETURN_IF_ERROR(CheckSameShape("softmax", x, out));
  ETALON_RETURN_IF_ERROR(CheckSameOrDisjoint("softmax", x, out));
  if (args.x.empty()) return {};
  ForRowChunks(
      args.x.rows, args.x.cols, ctx.n_threads, [&](size_t begin, size_t end) {
        simd::SoftmaxRows(args.x.Rows(begin, end), args.out.Rows(begin, end));
      });
  return {};
}

}  // namespace etalon::ops
