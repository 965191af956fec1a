// Backward passes of the row-wise ops.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/parallel.h"
#include "etalon/backward.h"
#include "ops/correctly_rounded.h"
#include "ops/row_chunks.h"
#include "ops/span_checks.h"
#include "simd/backward.h"
#include "simd/elementwise.h"

namespace etalon::ops {
namespace {

// Columns of one task of a sum over tokens.
constexpr size_t kCols = 64;

Status CheckAll(std::string_view op, std::span<const NamedSpan> spans) {
  for (const NamedSpan& s : spans) {
    ETALON_RETURN_IF_ERROR(CheckSpan(op, s));
    ETALON_RETURN_IF_ERROR(CheckSameShape(op, spans[0], s));
  }
  return {};
}

}  // namespace

Status RmsNormBackward(const RmsNormBackwardArgs& args, ExecContext& ctx) {
  constexpr char kOp[] = "rms_norm_backward";
  const NamedSpan x = {"x", args.x}, d_out = {"d_out", args.d_out},
                  d_x = {"d_x", args.d_x};
  const NamedSpan all[] = {x, d_out, d_x};
  ETALON_RETURN_IF_ERROR(CheckAll(kOp, all));
  ETALON_RETURN_IF_ERROR(CheckSameOrDisjoint(kOp, d_out, d_x));
  ETALON_RETURN_IF_ERROR(CheckDisjoint(kOp, x, d_x));
  const size_t n = args.x.cols;
  ETALON_ENSURE(args.rstd.size() == args.x.rows,
                fmt::format("{}: rstd has {} elements, need {}", kOp,
                            args.rstd.size(), args.x.rows));
  ETALON_ENSURE(args.weight.empty() || args.weight.size() == n,
                fmt::format("{}: weight has {} elements, need {} or none", kOp,
                            args.weight.size(), n));
  ETALON_ENSURE(args.d_weight.empty() || args.d_weight.size() == n,
                fmt::format("{}: d_weight has {} elements, need {} or none",
                            kOp, args.d_weight.size(), n));
  // Before d_x, which may be d_out.
  ParallelFor(args.d_weight.empty() ? 0 : (n + kCols - 1) / kCols,
              ctx.n_threads, [&](size_t task, int) {
                const size_t col = task * kCols;
                const size_t width = std::min(kCols, n - col);
                for (size_t t = 0; t < args.x.rows; t += kGradChunk) {
                  float sum[kCols] = {};
                  const size_t end = std::min(args.x.rows, t + kGradChunk);
                  for (size_t i = t; i < end; ++i) {
                    simd::RmsNormBackwardWeight(
                        args.x.data + i * args.x.stride + col, args.rstd[i],
                        args.d_out.data + i * args.d_out.stride + col, sum,
                        width);
                  }
                  simd::AddTo(sum, args.d_weight.data() + col, width);
                }
              });
  const float* weight = args.weight.empty() ? nullptr : args.weight.data();
  ForRowChunks(args.x.rows, n, ctx.n_threads, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      simd::RmsNormBackwardRow(args.x.row(t).data(), weight, args.rstd[t],
                               args.d_out.row(t).data(), args.d_x.row(t).data(),
                               n);
    }
  });
  return {};
}

Status RopeBackward(const RopeArgs& args, ExecContext& ctx) {
  ETALON_ENSURE(ctx.workspace != nullptr, "rope_backward: no workspace");
  const Workspace::Scope scope(*ctx.workspace);
  RopeArgs inverse = args;
  if (args.sin.data != nullptr && args.sin.stride >= args.sin.cols) {
    // The rotation by -theta: the same cosines, negated sines, exactly.
    ETALON_ASSIGN_OR_RETURN(
        const std::span<float> data,
        ctx.workspace->Allocate<float>(args.sin.rows * args.sin.cols));
    const Span2D<float> sin(data.data(), args.sin.rows, args.sin.cols);
    for (size_t r = 0; r < sin.rows; ++r) {
      for (size_t i = 0; i < sin.cols; ++i) {
        sin.row(r)[i] = -args.sin.row(r)[i];
      }
    }
    inverse.sin = sin;
  }
  return Rope(inverse, ctx);
}

Status SwiGluBackward(const SwiGluBackwardArgs& args, ExecContext& ctx) {
  constexpr char kOp[] = "swiglu_backward";
  const NamedSpan gate = {"gate", args.gate}, up = {"up", args.up},
                  d_out = {"d_out", args.d_out},
                  d_gate = {"d_gate", args.d_gate}, d_up = {"d_up", args.d_up};
  const NamedSpan all[] = {gate, up, d_out, d_gate, d_up};
  ETALON_RETURN_IF_ERROR(CheckAll(kOp, all));
  ETALON_RETURN_IF_ERROR(CheckSameOrDisjoint(kOp, gate, d_gate));
  ETALON_RETURN_IF_ERROR(CheckSameOrDisjoint(kOp, up, d_up));
  ETALON_RETURN_IF_ERROR(CheckDisjoint(kOp, gate, d_up));
  ETALON_RETURN_IF_ERROR(CheckDisjoint(kOp, up, d_gate));
  ETALON_RETURN_IF_ERROR(CheckDisjoint(kOp, d_out, d_gate));
  ETALON_RETURN_IF_ERROR(CheckDisjoint(kOp, d_out, d_up));
  ETALON_RETURN_IF_ERROR(CheckDisjoint(kOp, d_gate, d_up));
  ForRowChunks(args.gate.rows, args.gate.cols, ctx.n_threads,
               [&](size_t begin, size_t end) {
                 for (size_t t = begin; t < end; ++t) {
                   simd::SwiGluBackward(
                       args.gate.row(t).data(), args.up.row(t).data(),
                       args.d_out.row(t).data(), args.d_gate.row(t).data(),
                       args.d_up.row(t).data(), args.gate.cols);
                 }
               });
  return {};
}

Status CrossEntropy(const CrossEntropyArgs& args, ExecContext& ctx) {
  constexpr char kOp[] = "cross_entropy";
  ETALON_ENSURE(ctx.workspace != nullptr, fmt::format("{}: no workspace", kOp));
  const size_t rows = args.logits.rows, n = args.logits.cols;
  const NamedSpan logits = {"logits", args.logits};
  ETALON_RETURN_IF_ERROR(CheckSpan(kOp, logits));
  if (!args.d_logits.empty()) {
    const NamedSpan d_logits = {"d_logits", args.d_logits};
    ETALON_RETURN_IF_ERROR(CheckSpan(kOp, d_logits));
    ETALON_RETURN_IF_ERROR(CheckSameShape(kOp, logits, d_logits));
    ETALON_RETURN_IF_ERROR(CheckSameOrDisjoint(kOp, logits, d_logits));
  }
  ETALON_ENSURE(args.targets.size() == rows && args.losses.size() == rows,
                fmt::format("{}: {} targets and {} losses for {} rows", kOp,
                            args.targets.size(), args.losses.size(), rows));
  for (size_t t = 0; t < rows; ++t) {
    const int32_t target = args.targets[t];
    ETALON_ENSURE(target >= -1 && target < static_cast<int64_t>(n),
                  fmt::format("{}: targets[{}] = {} is not in [-1, {})", kOp, t,
                              target, n));
  }
  const Workspace::Scope scope(*ctx.workspace);
  const size_t n_threads = static_cast<size_t>(std::max(ctx.n_threads, 1));
  ETALON_ASSIGN_OR_RETURN(const std::span<float> rows_of_threads,
                          ctx.workspace->Allocate<float>(
                              args.d_logits.empty() ? n_threads * n : 0));
  const auto one_row = [&](size_t t, int thread) {
    const std::span<const float> x = args.logits.row(t);
    float* p = args.d_logits.empty()
                   ? rows_of_threads.data() + static_cast<size_t>(thread) * n
                   : args.d_logits.row(t).data();
    if (args.targets[t] < 0) {
      args.losses[t] = 0.0;
      if (!args.d_logits.empty()) std::fill(p, p + n, 0.0f);
      return;
    }
    const size_t target = static_cast<size_t>(args.targets[t]);
    const double x_target = static_cast<double>(x[target]);
    if (p != x.data()) std::copy(x.begin(), x.end(), p);
    const simd::SoftmaxSums s = simd::SoftmaxInPlace(p, n);
    const bool usable = std::isfinite(s.sum) && s.sum > 0.0f;
    args.losses[t] = usable ? LogOf(static_cast<double>(s.sum)) +
                                  (static_cast<double>(s.max) - x_target)
                            : std::numeric_limits<double>::quiet_NaN();
    if (args.d_logits.empty()) return;
    p[target] -= 1.0f;
    simd::Scale(p, args.scale, p, n);
  };
  ParallelFor(rows, ctx.n_threads, one_row,
              n * 2 >= kGradChunk * 8 ? Schedule::kDynamic : Schedule::kStatic);
  return {};
}

Status EmbeddingBackward(const EmbeddingBackwardArgs& args, ExecContext& ctx) {
  constexpr char kOp[] = "embedding_backward";
  const NamedSpan d_out = {"d_out", args.d_out},
                  d_table = {"d_table", args.d_table};
  ETALON_RETURN_IF_ERROR(CheckSpan(kOp, d_out));
  ETALON_RETURN_IF_ERROR(CheckSpan(kOp, d_table));
  ETALON_RETURN_IF_ERROR(CheckDisjoint(kOp, d_out, d_table));
  const size_t n = args.d_out.cols;
  ETALON_ENSURE(args.d_table.cols == n && args.tokens.size() == args.d_out.rows,
                fmt::format("{}: d_out is [{}, {}] for {} tokens and a table "
                            "of width {}",
                            kOp, args.d_out.rows, n, args.tokens.size(),
                            args.d_table.cols));
  for (size_t t = 0; t < args.tokens.size(); ++t) {
    const int32_t token = args.tokens[t];
    ETALON_ENSURE(token >= 0 && static_cast<size_t>(token) < args.d_table.rows,
                  fmt::format("{}: tokens[{}] = {} is not in [0, {})", kOp, t,
                              token, args.d_table.rows));
  }
  ParallelFor((n + kCols - 1) / kCols, ctx.n_threads, [&](size_t task, int) {
    const size_t col = task * kCols;
    const size_t width = std::min(kCols, n - col);
    for (size_t t = 0; t < args.tokens.size(); ++t) {
      const size_t row = static_cast<size_t>(args.tokens[t]);
      simd::AddTo(args.d_out.data + t * args.d_out.stride + col,
                  args.d_table.data + row * args.d_table.stride + col, width);
    }
  });
  return {};
}

}  // namespace etalon::ops
