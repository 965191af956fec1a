#include <fmt/format.h>

#include <algorithm>

#include "core/parallel.h"
#include "etalon/backward.h"
#include "ops/gemm_products.h"
#include "ops/outer_products.h"
#include "ops/span_checks.h"
#include "simd/backward.h"
#include "simd/elementwise.h"

namespace etalon::ops {
namespace {

constexpr char kOp[] = "gemm_backward";

Status CheckPart(const GemmBackwardArgs& args, size_t i) {
  const GemmBackwardPart& p = args.parts[i];
  const std::string what = fmt::format("{}: part {}", kOp, i);
  const size_t k = args.d_x.empty() ? args.x.cols : args.d_x.cols;
  const size_t m = args.d_x.empty() ? args.x.rows : args.d_x.rows;
  ETALON_RETURN_IF_ERROR(CheckSpan(what, {"d_out", p.d_out}));
  ETALON_ENSURE(p.d_out.rows == m, fmt::format("{}: d_out has {} rows, need {}",
                                               what, p.d_out.rows, m));
  if (!args.d_x.empty()) {
    ETALON_RETURN_IF_ERROR(CheckWeights(what, p.weights, k));
    ETALON_ENSURE(p.weights.type == TensorType::kF32,
                  fmt::format("{}: weights of type {} have no gradient, need "
                              "F32",
                              what, static_cast<int>(p.weights.type)));
    ETALON_ENSURE(p.weights.stride_bytes % sizeof(float) == 0,
                  fmt::format("{}: weights stride {} is no multiple of 4 bytes",
                              what, p.weights.stride_bytes));
    ETALON_ENSURE(p.weights.rows == p.d_out.cols,
                  fmt::format("{}: d_out has {} columns for {} weight rows",
                              what, p.d_out.cols, p.weights.rows));
    ETALON_RETURN_IF_ERROR(
        CheckDisjoint(what, {"d_out", p.d_out}, {"d_x", args.d_x}));
  }
  if (!p.d_weights.empty()) {
    const NamedSpan d_weights = {"d_weights", p.d_weights};
    ETALON_RETURN_IF_ERROR(CheckSpan(what, d_weights));
    ETALON_ENSURE(p.d_weights.rows == p.d_out.cols && p.d_weights.cols == k &&
                      args.x.rows == m,
                  fmt::format("{}: d_weights is [{}, {}], must be [{}, {}] for "
                              "an x of {} rows",
                              what, p.d_weights.rows, p.d_weights.cols,
                              p.d_out.cols, k, args.x.rows));
    for (const NamedSpan& in :
         {NamedSpan{"x", args.x}, NamedSpan{"d_out", p.d_out},
          NamedSpan{"d_x", args.d_x}}) {
      ETALON_RETURN_IF_ERROR(CheckDisjoint(what, in, d_weights));
    }
  }
  ETALON_ENSURE(p.d_bias.empty() || p.d_bias.size() == p.d_out.cols,
                fmt::format("{}: d_bias of {} for {} columns", what,
                            p.d_bias.size(), p.d_out.cols));
  return {};
}

Status Check(const GemmBackwardArgs& args, const ExecContext& ctx) {
  ETALON_ENSURE(ctx.workspace != nullptr, fmt::format("{}: no workspace", kOp));
  ETALON_RETURN_IF_ERROR(CheckSpan(kOp, {"x", args.x}));
  ETALON_RETURN_IF_ERROR(CheckSpan(kOp, {"d_x", args.d_x}));
  if (!args.d_x.empty() && !args.x.empty()) {
    ETALON_RETURN_IF_ERROR(
        CheckSameShape(kOp, {"x", args.x}, {"d_x", args.d_x}));
    ETALON_RETURN_IF_ERROR(
        CheckDisjoint(kOp, {"x", args.x}, {"d_x", args.d_x}));
  }
  for (size_t i = 0; i < args.parts.size(); ++i) {
    ETALON_RETURN_IF_ERROR(CheckPart(args, i));
  }
  return {};
}

// d_bias[n] += sum over tokens, chunk by chunk.
void AddColumnSums(Span2D<const float> d_out, std::span<float> d_bias,
                   int n_threads) {
  constexpr size_t kCols = 64;
  ParallelFor((d_out.cols + kCols - 1) / kCols, n_threads,
              [&](size_t task, int) {
                const size_t col = task * kCols;
                const size_t n = std::min(kCols, d_out.cols - col);
                for (size_t t = 0; t < d_out.rows; t += kGradChunk) {
                  float sum[kCols] = {};
                  const size_t end = std::min(d_out.rows, t + kGradChunk);
                  for (size_t i = t; i < end; ++i) {
                    simd::AddTo(d_out.data + i * d_out.stride + col, sum, n);
                  }
                  simd::AddTo(sum, d_bias.data() + col, n);
                }
              });
}

Expected<Span2D<const float>> Scaled(const GemmBackwardPart& p,
                                     ExecContext& ctx) {
  if (p.scale == 1.0f) return p.d_out;
  ETALON_ASSIGN_OR_RETURN(
      const std::span<float> data,
      ctx.workspace->Allocate<float>(p.d_out.rows * p.d_out.cols));
  const Span2D<float> out(data.data(), p.d_out.rows, p.d_out.cols);
  for (size_t t = 0; t < out.rows; ++t) {
    simd::Scale(p.d_out.row(t).data(), p.scale, out.row(t).data(), out.cols);
  }
  return Span2D<const float>(out);
}

}  // namespace

Status GemmBackward(const GemmBackwardArgs& args, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(Check(args, ctx));
  bool first = true;
  for (const GemmBackwardPart& p : args.parts) {
    const Workspace::Scope scope(*ctx.workspace);
    ETALON_ASSIGN_OR_RETURN(const Span2D<const float> d_out, Scaled(p, ctx));
    if (!args.d_x.empty()) {
      simd::OuterProductArgs product;
      product.m = args.d_x.rows;
      product.n = args.d_x.cols;
      product.k = d_out.cols;
      product.a = d_out.data;
      product.a_row = d_out.stride;
      product.a_col = 1;
      product.b = reinterpret_cast<const float*>(p.weights.data);
      product.b_row = p.weights.stride_bytes / sizeof(float);
      product.b_col = 1;
      product.c = args.d_x.data;
      product.c_row = args.d_x.stride;
      product.accumulate = !first;
      ETALON_RETURN_IF_ERROR(RunOuterProduct(product, ctx));
      first = false;
    }
    if (!p.d_weights.empty()) {
      simd::OuterProductArgs product;
      product.m = d_out.cols;
      product.n = args.x.cols;
      product.k = d_out.rows;
      product.a = d_out.data;
      product.a_row = 1;
      product.a_col = d_out.stride;
      product.b = args.x.data;
      product.b_row = args.x.stride;
      product.b_col = 1;
      product.c = p.d_weights.data;
      product.c_row = p.d_weights.stride;
      product.accumulate = true;
      ETALON_RETURN_IF_ERROR(RunOuterProduct(product, ctx));
    }
    if (!p.d_bias.empty()) AddColumnSums(p.d_out, p.d_bias, ctx.n_threads);
  }
  return {};
}

}  // namespace etalon::ops
