#include "ops/attention_fast.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "core/parallel.h"
#include "etalon/config.h"
#include "simd/attention_bf16.h"

namespace etalon::ops {
namespace {

using simd::Bf16HeadDim;
using simd::Bf16Rows;
using simd::kBf16MaxRows;
using simd::kBf16Rows;
using simd::PaddedHeadDim;

// Up to this many tokens strict attention is as fast as memory, and splits one
// sequence over all cores.
constexpr size_t kSplitTokens = 8;

constexpr size_t CeilDiv(size_t a, size_t b) { return (a + b - 1) / b; }
// Whole cache lines, so that every part starts 64-byte aligned.
constexpr size_t Lines(size_t bytes) { return CeilDiv(bytes, 64) * 64; }

// What one thread needs for a tile of rows: packed queries, the running state,
// the kernel's scratch.
size_t TileBytes(size_t n_rows, size_t head_dim) {
  return Lines(Bf16Rows(n_rows) * Bf16HeadDim(head_dim) * sizeof(uint16_t)) +
         2 * Lines(n_rows * sizeof(float)) +
         Lines(n_rows * PaddedHeadDim(head_dim) * sizeof(float)) +
         Lines(simd::AttentionBf16ScratchBytes(head_dim));
}

// Query rows of a kv head, numbered r = t * q_per_kv + g, as in attention.cc.
class Walk {
 public:
  explicit Walk(const AttentionArgs& args)
      : args_(args),
        q_per_kv_(args.q.n_heads / args.k.n_kv_heads),
        rows_(args.q.n_tokens * q_per_kv_) {}

  size_t rows() const { return rows_; }

  void Tile(size_t kv_head, size_t row, size_t n, std::byte* memory) const {
    const size_t head_dim = args_.q.head_dim, dim = PaddedHeadDim(head_dim);
    const auto take = [&memory](size_t bytes) {
      std::byte* part = memory;
      memory += Lines(bytes);
      return part;
    };
    auto* q = reinterpret_cast<uint16_t*>(
        take(Bf16Rows(n) * Bf16HeadDim(head_dim) * sizeof(uint16_t)));
    const simd::SoftmaxStates state = {
        reinterpret_cast<float*>(take(n * sizeof(float))),
        reinterpret_cast<float*>(take(n * sizeof(float))),
        reinterpret_cast<float*>(take(n * dim * sizeof(float)))};
    std::array<const float*, kBf16MaxRows> rows = {};
    for (size_t r = 0; r < n; ++r) {
      rows[r] = args_.q.at(Token(row + r), Head(kv_head, row + r));
    }
    simd::PackQueriesBf16(rows.data(), n, head_dim, args_.scale, q);
    std::fill_n(state.m, n, -std::numeric_limits<float>::infinity());
    std::fill_n(state.l, n, 0.0f);
    std::fill_n(state.o, n * dim, 0.0f);
    // The last row sees furthest.
    const size_t end = Limit(row + n - 1);
    for (size_t begin = 0; begin < end; begin += kKvChunk) {
      std::array<size_t, kBf16MaxRows> n_visible = {};
      for (size_t r = 0; r < n; ++r) {
        const size_t limit = Limit(row + r);
        n_visible[r] = limit > begin ? std::min(limit - begin, kKvChunk) : 0;
      }
      simd::AttentionChunkBf16({.q = q,
                                .n_rows = n,
                                .head_dim = head_dim,
                                .k = ChunkRows(args_.k, kv_head, begin),
                                .v = ChunkRows(args_.v, kv_head, begin),
                                .n_visible = n_visible.data(),
                                .scratch = memory,
                                .state = state});
    }
    for (size_t r = 0; r < n; ++r) {
      simd::FinishAttentionRow(
          state.l[r], state.o + r * dim, head_dim,
          args_.out.at(Token(row + r), Head(kv_head, row + r)));
    }
  }

 private:
  size_t Token(size_t row) const { return row / q_per_kv_; }
  size_t Head(size_t kv_head, size_t row) const {
    return kv_head * q_per_kv_ + row % q_per_kv_;
  }
  // Positions that a row attends to: bottom-right alignment when causal.
  size_t Limit(size_t row) const {
    if (!args_.causal) return args_.kv_len;
    return args_.kv_len - args_.q.n_tokens + Token(row) + 1;
  }
  static simd::KvRows ChunkRows(const KvView& x, size_t kv_head, size_t begin) {
    const size_t at = kv_head * x.head_stride + begin * x.pos_stride;
    const size_t bytes = x.type == TensorType::kF16 ? 2 : 4;
    return {x.type, x.data + at * bytes, x.pos_stride};
  }

  const AttentionArgs& args_;
  size_t q_per_kv_;
  size_t rows_;
};

// Rows per tile: the most, unless that leaves threads without work.
size_t TileRows(size_t rows, size_t n_kv_heads, int n_threads) {
  size_t tile = kBf16MaxRows;
  const size_t wanted = 4 * static_cast<size_t>(n_threads);
  while (tile > kBf16Rows && n_kv_heads * CeilDiv(rows, tile) < wanted) {
    tile /= 2;
  }
  return std::min(tile, rows);
}

// What AttentionFast knows: no variant, no gate, keys as long as values.
bool IsPlain(const AttentionArgs& args) {
  const AttentionVariant& v = args.variant;
  return !v.ChangesScores() && v.window == 0 && v.sinks.empty() &&
         args.gate.data == nullptr && args.k.head_dim == args.v.head_dim;
}

}  // namespace

bool TakesAttentionFast(const AttentionArgs& args, const ExecContext& ctx) {
  if (ctx.config == nullptr || ctx.config->profile != Profile::kFast ||
      ctx.config->strict_parity || !IsPlain(args)) {
    return false;
  }
  const auto fits = [](TensorType t) {
    return t == TensorType::kF32 || t == TensorType::kF16;
  };
  // q is scaled before it is rounded: so far from 1 it could overflow, or lose
  // more than the profile's bound grants.
  const float scale = std::fabs(args.scale);
  if (!(scale >= 0x1p-16f && scale <= 0x1p16f)) return false;
  const size_t rows = args.q.n_tokens * (args.q.n_heads / args.k.n_kv_heads);
  return args.q.n_tokens > kSplitTokens && rows >= kBf16Rows &&
         fits(args.k.type) && fits(args.v.type) && simd::HasAttentionBf16();
}

Status AttentionFast(const AttentionArgs& args, ExecContext& ctx) {
  Workspace::Scope scope(*ctx.workspace);
  const Walk walk(args);
  const size_t n_kv_heads = args.k.n_kv_heads;
  const size_t tile_rows = TileRows(walk.rows(), n_kv_heads, ctx.n_threads);
  const size_t n_tiles = CeilDiv(walk.rows(), tile_rows);
  const size_t n_workers =
      std::min(static_cast<size_t>(ctx.n_threads), n_kv_heads * n_tiles);
  const size_t worker_bytes = TileBytes(tile_rows, args.q.head_dim);
  ETALON_ASSIGN_OR_RETURN(
      std::span<std::byte> memory,
      ctx.workspace->Allocate<std::byte>(n_workers * worker_bytes));
  ParallelFor(
      n_kv_heads * n_tiles, static_cast<int>(n_workers),
      [&](size_t task, int worker) {
        // Causal: later tiles see more; the longest tasks go first.
        const size_t h = task % n_kv_heads;
        const size_t row = (n_tiles - 1 - task / n_kv_heads) * tile_rows;
        walk.Tile(h, row, std::min(tile_rows, walk.rows() - row),
                  memory.data() + static_cast<size_t>(worker) * worker_bytes);
      });
  return {};
}

size_t AttentionFastWorkspaceBytes(size_t n_tokens, size_t n_heads,
                                   size_t head_dim, int n_threads) {
  const size_t rows = std::min(n_tokens * n_heads, kBf16MaxRows);
  return std::min(static_cast<size_t>(std::max(n_threads, 1)),
                  n_tokens * n_heads) *
         TileBytes(rows, head_dim);
}

}  // namespace etalon::ops
