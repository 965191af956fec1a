#include <fmt/format.h>

#include <algorithm>

#include "core/parallel.h"
#include "etalon/elementwise.h"
#include "simd/dequantize.h"

namespace etalon::ops {
namespace {

Status CheckEmbedding(const EmbeddingArgs& args) {
  const WeightMatrix& table = args.table;
  const TypeTraits* traits = FindTypeTraits(table.type);
  ETALON_ENSURE(traits != nullptr && table.type != TensorType::kQ8_K,
                fmt::format("embedding: table type {} is not a weight type",
                            static_cast<uint32_t>(table.type)));
  ETALON_ENSURE(
      table.cols > 0 && table.cols % traits->block_size == 0,
      fmt::format("embedding: table width {} is not a multiple of {}'s {}",
                  table.cols, traits->name, traits->block_size));
  ETALON_ENSURE(
      table.stride_bytes >= RowBytes(table.type, table.cols),
      fmt::format("embedding: table stride {} bytes < row of {} bytes",
                  table.stride_bytes, RowBytes(table.type, table.cols)));
  // Rows are read as blocks: the strictest field is f32 or f16.
  const size_t align = table.type == TensorType::kF32 ? 4 : 2;
  ETALON_ENSURE(
      table.stride_bytes % align == 0 &&
          reinterpret_cast<uintptr_t>(table.data) % align == 0,
      fmt::format("embedding: table rows are not {}-byte aligned", align));
  const Span2D<float>& out = args.out;
  ETALON_ENSURE(
      out.rows == args.tokens.size() && out.cols == table.cols,
      fmt::format("embedding: out is [{}, {}], need [n_tokens {}, model_dim "
                  "{}]",
                  out.rows, out.cols, args.tokens.size(), table.cols));
  ETALON_ENSURE(
      out.stride >= out.cols,
      fmt::format("embedding: out stride {} < width {}", out.stride, out.cols));
  if (args.tokens.empty()) return {};
  ETALON_ENSURE(table.data != nullptr && out.data != nullptr,
                "embedding: null table or out");
  for (size_t t = 0; t < args.tokens.size(); ++t) {
    const int32_t token = args.tokens[t];
    ETALON_ENSURE(token >= 0 && static_cast<size_t>(token) < table.rows,
                  fmt::format("embedding: tokens[{}] = {} is not in [0, {})", t,
                              token, table.rows));
  }
  return {};
}

}  // namespace

Status Embedding(const EmbeddingArgs& args, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(CheckEmbedding(args));
  // A row is a few microseconds: tasks of 16 rows are worth a hand-over, a
  // decode step stays on the calling thread.
  constexpr size_t kRowsPerTask = 16;
  const size_t n_tokens = args.tokens.size();
  const size_t n_tasks = (n_tokens + kRowsPerTask - 1) / kRowsPerTask;
  ParallelFor(n_tasks, ctx.n_threads, [&](size_t task, int) {
    const size_t end = std::min(n_tokens, (task + 1) * kRowsPerTask);
    for (size_t t = task * kRowsPerTask; t < end; ++t) {
      simd::DequantizeRow(args.table.type,
                          args.table.row(static_cast<size_t>(args.tokens[t])),
                          args.table.cols, args.out.row(t).data());
    }
  });
  return {};
}

}  // namespace etalon::ops
