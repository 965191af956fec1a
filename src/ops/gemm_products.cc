#include "ops/gemm_products.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/parallel.h"
#include "etalon/config.h"
#include "quant/block_formats.h"
#include "simd/activation_rows.h"
#include "simd/quantize_row.h"

namespace etalon::ops {
namespace {

// For one token, and for many: the rows of a task share the tokens' cache
// lines.
constexpr size_t kGemvTasksPerThread = 8;
constexpr size_t kGemmTasksPerThread = 4;

size_t Blocks(size_t rows, size_t task_rows) {
  return (rows + task_rows - 1) / task_rows;
}

}  // namespace

// One token streams weights, best in long runs; many multiply panels two by
// two. One token's task is walked in 16 runs of rows at a time, and K most
// often has a large power of two in it: with runs of even length the streams
// would meet in a few sets of the caches and drive each other out. So every
// second cut moves by a panel where lengths would be even.
RowTasks::RowTasks(size_t total_rows, size_t m, int n_threads) {
  const size_t n_tasks = (m > 1 ? kGemmTasksPerThread : kGemvTasksPerThread) *
                         static_cast<size_t>(n_threads);
  const size_t unit = m > 1 ? 2 * kRowUnit : kRowUnit;
  const size_t wanted =
      m > 1 ? Blocks(total_rows, n_tasks) : total_rows / n_tasks + 1;
  rows_ = std::clamp(Blocks(wanted, unit) * unit, unit, kMaxTaskRows);
  shift_ = m == 1 && rows_ / kRowUnit % 2 == 0 ? kRowUnit : 0;
}

size_t RowTasks::Count(size_t n_rows) const { return Blocks(n_rows, rows_); }

size_t RowTasks::Begin(size_t task, size_t n_rows) const {
  return std::min(task * rows_ + task % 2 * shift_, n_rows);
}

Status CheckWeights(std::string_view what, const WeightMatrix& w, size_t k) {
  const TypeTraits* traits = FindTypeTraits(w.type);
  if (traits == nullptr || w.type == TensorType::kQ8_K) {
    return InvalidArgument(
        fmt::format("{}: weights of type {} are not supported", what,
                    static_cast<uint32_t>(w.type)));
  }
  if (w.cols != k) {
    return InvalidArgument(fmt::format(
        "{}: weights have {} columns, activations {}", what, w.cols, k));
  }
  if (k % traits->block_size != 0) {
    return InvalidArgument(
        fmt::format("{}: {} columns are not a multiple of {} ({} block)", what,
                    k, traits->block_size, traits->name));
  }
  if (w.rows > 0 && k > 0 && w.data == nullptr) {
    return InvalidArgument(fmt::format("{}: weights are null", what));
  }
  if (const size_t row = RowBytes(w.type, k);
      w.rows > 1 && w.stride_bytes < row) {
    return InvalidArgument(
        fmt::format("{}: weight stride of {} bytes is less than a row of {}",
                    what, w.stride_bytes, row));
  }
  return {};
}

bool QuantisesActivations(TensorType weights, Activations mode,
                          const ExecContext& ctx) {
  if (!IsQuantized(weights) || mode == Activations::kF32) return false;
  return ctx.config == nullptr || ctx.config->UseQ8Activations();
}

Expected<simd::GemmActivations> QuantiseRows(TensorType type,
                                             Span2D<const float> x,
                                             ExecContext& ctx) {
  const size_t n_threads = static_cast<size_t>(std::max(ctx.n_threads, 1));
  ETALON_ASSIGN_OR_RETURN(
      const std::span<std::byte> row_memory,
      ctx.workspace->Allocate<std::byte>(
          simd::ActivationRowsBytes(type, n_threads, x.cols)));
  ETALON_ASSIGN_OR_RETURN(
      const std::span<std::byte> memory,
      ctx.workspace->Allocate<std::byte>(
          simd::GemmActivationsBytes(type, x.rows, x.cols)));
  // One row per thread, then into the kernels' order.
  const simd::MutableActivationRows row =
      simd::PlaceActivationRows(type, n_threads, x.cols, row_memory.data());
  const simd::GemmActivations out =
      simd::PlaceGemmActivations(type, x.rows, x.cols, memory.data());
  ParallelFor(
      x.rows, ctx.n_threads,
      [&](size_t r, int thread) {
        const size_t mine = static_cast<size_t>(thread);
        simd::QuantizeActivationRow(x.data + r * x.stride, mine, row);
        simd::PackActivationRow(row.View(), mine, r, out);
      },
      Schedule::kStatic);
  return out;
}

size_t QuantiseRowsBytes(size_t rows, size_t cols, int n_threads) {
  // A width that is no multiple of 256 may still be one of 32.
  const size_t k = (cols + kQkK - 1) / kQkK * kQkK;
  const auto bytes = [&](TensorType type) {
    return simd::ActivationRowsBytes(
               type, static_cast<size_t>(std::max(n_threads, 1)), k) +
           simd::GemmActivationsBytes(type, rows, k) +
           2 * Workspace::kAlignment;
  };
  return std::max(bytes(TensorType::kQ8_K), bytes(TensorType::kQ8_0));
}

size_t ProductScratchBytes(size_t m, size_t k, int n_threads) {
  return simd::GemmScratchBytes(m, k) *
         static_cast<size_t>(std::max(n_threads, 1));
}

void RunProducts(std::span<const GemmProduct> products, size_t max_m,
                 size_t max_k, std::byte* scratch, int n_threads) {
  n_threads = std::max(n_threads, 1);
  size_t total_rows = 0;
  for (const GemmProduct& p : products) total_rows += p.rows.weights.rows;
  const RowTasks tasks(total_rows, max_m, n_threads);
  size_t n_tasks = 0;
  for (const GemmProduct& p : products) {
    n_tasks += tasks.Count(p.rows.weights.rows);
  }
  const size_t thread_bytes = simd::GemmScratchBytes(max_m, max_k);
  const auto one_task = [&](size_t task, int thread) {
    const GemmProduct* p = products.data();
    for (size_t n; task >= (n = tasks.Count(p->rows.weights.rows)); ++p) {
      task -= n;
    }
    simd::GemmRows rows = p->rows;
    rows.row_begin = tasks.Begin(task, rows.weights.rows);
    rows.row_end = tasks.Begin(task + 1, rows.weights.rows);
    if (rows.row_begin == rows.row_end) return;
    std::byte* mine = scratch + static_cast<size_t>(thread) * thread_bytes;
    if (p->q != nullptr) {
      simd::GemmQuantized(rows, *p->q, mine);
    } else {
      simd::GemmF32(rows, p->x, mine);
    }
  };
  // In its own stretch of rows a thread asks for the next task's first ones.
  ParallelFor(n_tasks, n_threads, one_task,
              max_m == 1 ? Schedule::kOwnFirst : Schedule::kDynamic);
}

bool Overlaps(const Span2D<const float>& a, const Span2D<const float>& b) {
  if (a.empty() || b.empty()) return false;
  const auto begin = [](const auto& s) {
    return reinterpret_cast<uintptr_t>(s.data);
  };
  const auto end = [&](const auto& s) {
    return begin(s) + ((s.rows - 1) * s.stride + s.cols) * sizeof(float);
  };
  if (begin(a) >= end(b) || begin(b) >= end(a)) return false;
  if (a.stride != b.stride) return true;
  // Of equal stride: column b0 of b in the frame of a, in [0, stride).
  const size_t stride = a.stride;
  const uintptr_t distance =
      begin(b) >= begin(a) ? begin(b) - begin(a) : begin(a) - begin(b);
  if (distance % sizeof(float) != 0) return true;
  const size_t first = begin(b) >= begin(a) ? a.cols : b.cols;
  const size_t second = begin(b) >= begin(a) ? b.cols : a.cols;
  const size_t offset = distance / sizeof(float) % stride;
  return offset < first || offset + second > stride;
}

}  // namespace etalon::ops
