#include "etalon/kv_write.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "core/parallel.h"
#include "ops/attention_check.h"
#include "quant/f16.h"
#include "quant/quantize_row.h"
#include "simd/f16.h"

namespace etalon::ops {
namespace {

// One token's rows are a few KiB: too little to be a task of its own.
constexpr size_t kTokensPerTask = 16;

void WriteBlocks(const float* x, size_t n, BlockQ8_0* out) {
  const size_t whole = n / kQk * kQk;
  QuantizeRowQ80(x, whole, out);
  if (whole == n) return;
  std::array<float, kQk> last = {};
  std::copy(x + whole, x + n, last.begin());
  QuantizeRowQ80(last.data(), kQk, out + whole / kQk);
}

void WriteRow(const KvWriteArgs& args, size_t t, size_t h) {
  const MutableKvView& cache = args.cache;
  const float* x = args.x.at(t, h);
  const size_t n = cache.head_dim;
  const size_t padded = std::max(args.padded_head_dim, n);
  // [n_kv_heads, kv_capacity, head_dim]
  const size_t at = h * cache.head_stride + (args.pos + t) * cache.pos_stride;
  switch (cache.type) {
    case TensorType::kQ8_0: {
      BlockQ8_0* row = reinterpret_cast<BlockQ8_0*>(cache.data) + at / kQk;
      WriteBlocks(x, n, row);
      const size_t used = (n + kQk - 1) / kQk;
      std::fill(row + used, row + (padded + kQk - 1) / kQk, BlockQ8_0{});
      break;
    }
    case TensorType::kF32: {
      float* row = reinterpret_cast<float*>(cache.data) + at;
      std::memcpy(row, x, n * sizeof(float));
      std::fill(row + n, row + padded, 0.0f);
      break;
    }
    default: {
      uint16_t* row = reinterpret_cast<uint16_t*>(cache.data) + at;
      if (cache.type == TensorType::kF16) {
        simd::NarrowToF16(x, row, n);
      } else {
        std::transform(x, x + n, row, F32ToBF16);
      }
      std::fill(row + n, row + padded, uint16_t{0});
    }
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

Status KvRepack(const KvRepackArgs& args) {
  for (const auto& [name, value] : {std::pair{"n_heads", args.n_heads},
                                    std::pair{"n_tokens", args.n_tokens},
                                    std::pair{"row_bytes", args.row_bytes}}) {
    ETALON_ENSURE(value > 0, fmt::format("kv_repack: {} is 0", name));
  }
  ETALON_ENSURE(args.n_tokens <= args.capacity,
                fmt::format("kv_repack: n_tokens {} exceeds capacity {}",
                            args.n_tokens, args.capacity));
  ETALON_ENSURE(args.data != nullptr, "kv_repack: data is null");
  size_t head_bytes = 0, bytes = 0;
  ETALON_ENSURE(
      !__builtin_mul_overflow(args.capacity, args.row_bytes, &head_bytes) &&
          !__builtin_mul_overflow(args.n_heads, head_bytes, &bytes),
      fmt::format("kv_repack: {} x {} rows of {} bytes exceed the address "
                  "space",
                  args.n_heads, args.capacity, args.row_bytes));
  const size_t used = args.n_tokens * args.row_bytes;
  // A head never moves down, so the highest goes first.
  for (size_t h = args.n_heads; h-- > 1;) {
    std::memmove(args.data + h * head_bytes, args.data + h * used, used);
  }
  return {};
}

}  // namespace etalon::ops
