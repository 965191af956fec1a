#include <algorithm>
#include <cstring>

#include "core/parallel.h"
#include "ops/attention_check.h"
#include "simd/f16.h"

namespace etalon::ops {
namespace {

// One token's rows are a few KiB: too little to be a task of its own.
constexpr size_t kTokensPerTask = 16;

void WriteRow(const KvWriteArgs& args, size_t t, size_t h) {
  const MutableKvView& cache = args.cache;
  const float* x = args.x.at(t, h);
  // [n_kv_heads, kv_capacity, head_dim]
  const size_t at = h * cache.head_stride + (args.pos + t) * cache.pos_stride;
  if (cache.type == TensorType::kF16) {
    simd::NarrowToF16(x, reinterpret_cast<uint16_t*>(cache.data) + at,
                      cache.head_dim);
  } else {
    std::memcpy(reinterpret_cast<float*>(cache.data) + at, x,
                cache.head_dim * sizeof(float));
  }
}

}  // namespace

Status KvWrite(const KvWriteArgs& args, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(CheckKvWrite(args));
  const size_t n_tokens = args.x.n_tokens;
  const size_t n_tasks = (n_tokens + kTokensPerTask - 1) / kTokensPerTask;
  ParallelFor(
      n_tasks, ctx.n_threads,
      [&](size_t task, int) {
        const size_t end = std::min(n_tokens, (task + 1) * kTokensPerTask);
        for (size_t t = task * kTokensPerTask; t < end; ++t) {
          for (size_t h = 0; h < args.x.n_heads; ++h) WriteRow(args, t, h);
        }
      },
      Schedule::kStatic);
  return {};
}

}  // namespace etalon::ops
