#include "etalon/elementwise.h"

#include <fmt/format.h>

#include "ops/row_chunks.h"
#include "ops/span_checks.h"
#include "simd/elementwise.h"

namespace etalon::ops {
namespace {

// out = f(a, b), all of one shape, out anew or in place of a or b.
Status CheckBinary(std::string_view op, const NamedSpan& a, const NamedSpan& b,
                   const NamedSpan& out) {
  for (const NamedSpan& s : {a, b, out}) {
    ETALON_RETURN_IF_ERROR(CheckSpan(op, s));
  }
  ETALON_RETURN_IF_ERROR(CheckSameShape(op, a, b));
  ETALON_RETURN_IF_ERROR(CheckSameShape(op, a, out));
  ETALON_RETURN_IF_ERROR(CheckSameOrDisjoint(op, a, out));
  return CheckSameOrDisjoint(op, b, out);
}

using BinaryKernel = void (*)(const float*, const float*, float*, size_t);

Status RunBinary(BinaryKernel kernel, std::string_view op, const NamedSpan& a,
                 const NamedSpan& b, Span2D<float> out, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(CheckBinary(op, a, b, {"out", out}));
  ForRowChunks(out.rows, out.cols, ctx.n_threads,
               [&](size_t begin, size_t end) {
                 for (size_t t = begin; t < end; ++t) {
                   kernel(a.span.row(t).data(), b.span.row(t).data(),
                          out.row(t).data(), out.cols);
                 }
               });
  return {};
}

}  // namespace

Status SwiGlu(const SwiGluArgs& args, ExecContext& ctx) {
  return RunBinary(simd::SwiGlu, "swiglu", {"gate", args.gate}, {"up", args.up},
                   args.out, ctx);
}

Status Add(const AddArgs& args, ExecContext& ctx) {
  return RunBinary(simd::Add, "add", {"a", args.a}, {"b", args.b}, args.out,
                   ctx);
}

Status ScaleRows(const ScaleRowsArgs& args, ExecContext& ctx) {
  const NamedSpan x = {"x", args.x};
  const NamedSpan out = {"out", args.out};
  const NamedSpan scale = {"scale",
                           {args.scale.data(), size_t{1}, args.scale.size()}};
  ETALON_RETURN_IF_ERROR(CheckSpan("scale_rows", x));
  ETALON_RETURN_IF_ERROR(CheckSpan("scale_rows", out));
  ETALON_RETURN_IF_ERROR(CheckSameShape("scale_rows", x, out));
  ETALON_RETURN_IF_ERROR(CheckSameOrDisjoint("scale_rows", x, out));
  ETALON_ENSURE(args.scale.size() == args.x.rows,
                fmt::format("scale_rows: scale has {} elements, need {} rows",
                            args.scale.size(), args.x.rows));
  ETALON_RETURN_IF_ERROR(CheckDisjoint("scale_rows", scale, out));
  ForRowChunks(args.out.rows, args.out.cols, ctx.n_threads,
               [&](size_t begin, size_t end) {
                 for (size_t t = begin; t < end; ++t) {
                   simd::Scale(args.x.row(t).data(), args.scale[t],
                               args.out.row(t).data(), args.out.cols);
                 }
               });
  return {};
}

}  // namespace etalon::ops
