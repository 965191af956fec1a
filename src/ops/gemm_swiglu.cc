#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/parallel.h"
#include "etalon/gemm.h"
#include "ops/gemm_products.h"
#include "simd/elementwise.h"

namespace etalon::ops {
namespace {

Status Check(const GemmSwiGluArgs& a, const ExecContext& ctx) {
  ETALON_ENSURE(ctx.workspace != nullptr, "gemm_swiglu: no workspace");
  ETALON_ENSURE(a.x.empty() || a.x.data != nullptr, "gemm_swiglu: x is null");
  if (a.x.rows > 1 && a.x.stride < a.x.cols) {
    return InvalidArgument(
        fmt::format("gemm_swiglu: stride {} of x is less than its {} columns",
                    a.x.stride, a.x.cols));
  }
  for (const auto& [what, part] : {std::pair{"gemm_swiglu: gate", &a.gate},
                                   std::pair{"gemm_swiglu: up", &a.up}}) {
    ETALON_RETURN_IF_ERROR(CheckWeights(what, part->weights, a.x.cols));
    if (!part->bias.empty() && part->bias.size() != part->weights.rows) {
      return InvalidArgument(fmt::format("{}: bias of {} for {} rows", what,
                                         part->bias.size(),
                                         part->weights.rows));
    }
  }
  const size_t n = a.gate.weights.rows;
  if (a.up.weights.rows != n) {
    return InvalidArgument(fmt::format("gemm_swiglu: {} rows of gate, {} of up",
                                       n, a.up.weights.rows));
  }
  if (a.out.rows != a.x.rows || a.out.cols != n) {
    return InvalidArgument(
        fmt::format("gemm_swiglu: out is [{}, {}], must be [{}, {}]",
                    a.out.rows, a.out.cols, a.x.rows, n));
  }
  ETALON_ENSURE(a.out.empty() || a.out.data != nullptr,
                "gemm_swiglu: out is null");
  if (a.out.rows > 1 && a.out.stride < a.out.cols) {
    return InvalidArgument(
        fmt::format("gemm_swiglu: stride {} of out is less than its {} columns",
                    a.out.stride, a.out.cols));
  }
  ETALON_ENSURE(!Overlaps(a.out, a.x), "gemm_swiglu: out overlaps x");
  return {};
}

// Rows [begin, end) of a part as a product of their own.
simd::GemmRows RowBlock(const GemmPart& part, size_t begin, size_t end,
                        Span2D<float> out) {
  simd::GemmRows rows;
  rows.weights = part.weights;
  rows.weights.data += begin * part.weights.stride_bytes;
  rows.weights.rows = end - begin;
  rows.bias = part.bias.empty() ? nullptr : part.bias.data() + begin;
  rows.scale = part.scale;
  rows.out = out;
  rows.row_end = end - begin;
  return rows;
}

size_t TileBytes(size_t m) {
  return m * RowTasks::kLongestTask * sizeof(float);
}

}  // namespace

Status GemmSwiGlu(const GemmSwiGluArgs& args, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(Check(args, ctx));
  const Span2D<const float>& x = args.x;
  const size_t n_rows = args.gate.weights.rows;
  if (x.rows == 0 || n_rows == 0) return {};

  const Workspace::Scope scope(*ctx.workspace);
  const std::array<const GemmPart*, 2> parts = {&args.gate, &args.up};
  std::array<const simd::GemmActivations*, 2> q = {nullptr, nullptr};
  simd::GemmActivations q8_k, q8_0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const TensorType weights = parts[i]->weights.type;
    if (!QuantisesActivations(weights, args.activations, ctx)) continue;
    const TensorType type = simd::ActivationTypeFor(weights);
    simd::GemmActivations& shared = type == TensorType::kQ8_K ? q8_k : q8_0;
    if (shared.rows == 0) {
      ETALON_ASSIGN_OR_RETURN(shared, QuantiseRows(type, x, ctx));
    }
    q[i] = &shared;
  }

  const int n_threads = std::max(ctx.n_threads, 1);
  const size_t product_bytes = ProductScratchBytes(x.rows, x.cols, 1);
  const size_t thread_bytes = product_bytes + 2 * TileBytes(x.rows);
  ETALON_ASSIGN_OR_RETURN(const std::span<std::byte> scratch,
                          ctx.workspace->Allocate<std::byte>(
                              thread_bytes * static_cast<size_t>(n_threads)));
  const RowTasks tasks(2 * n_rows, x.rows, n_threads);
  ParallelFor(tasks.Count(n_rows), n_threads, [&](size_t task, int thread) {
    std::byte* mine =
        scratch.data() + static_cast<size_t>(thread) * thread_bytes;
    const size_t begin = tasks.Begin(task, n_rows);
    const size_t end = tasks.Begin(task + 1, n_rows);
    if (begin == end) return;
    std::array<Span2D<float>, 2> tile;
    for (size_t i = 0; i < parts.size(); ++i) {
      tile[i] = {reinterpret_cast<float*>(mine + product_bytes +
                                          i * TileBytes(x.rows)),
                 x.rows, end - begin, tasks.LongestTask()};
      const simd::GemmRows rows = RowBlock(*parts[i], begin, end, tile[i]);
      if (q[i] != nullptr) {
        simd::GemmQuantized(rows, *q[i], mine);
      } else {
        simd::GemmF32(rows, x, mine);
      }
    }
    for (size_t m = 0; m < x.rows; ++m) {
      simd::SwiGlu(tile[0].row(m).data(), tile[1].row(m).data(),
                   args.out.row(m).data() + begin, end - begin);
    }
  });
  return {};
}

size_t GemmSwiGluWorkspaceBytes(size_t m, size_t k, int n_threads,
                                size_t n_forms) {
  return GemmWorkspaceBytes(m, k, n_threads, n_forms) +
         2 * TileBytes(m) * static_cast<size_t>(std::max(n_threads, 1)) +
         Workspace::kAlignment;
}

}  // namespace etalon::ops
