#include "simd/attention.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/parallel.h"
#include "etalon/config.h"
#include "ops/attention_check.h"
#include "ops/attention_fast.h"
#include "ops/attention_two_pass.h"

namespace etalon::ops {
namespace {

// The query heads of a kv head are processed together, so that its keys and
// values are read once: their rows are numbered r = t * q_per_kv + g. How rows
// and chunks are dealt out cannot show in the result, because a row's state
// after a chunk depends on that row and chunk only and states merge in
// ascending chunk order. Two ways of dealing:
//   split  one or a few tokens: tasks = kv head x chunk, so that one long
//          sequence occupies every core; chunk states meet in the workspace
//   tiles  many tokens: tasks = kv head x tile of rows, each walking the chunks
//          with its state at hand

// At most this many tokens are split; more have enough rows for tiles.
constexpr size_t kSplitTokens = 8;
// Chunk states alive at a time when split: 16,384 positions per parallel
// region; longer caches go in waves. Bounds the workspace.
constexpr size_t kWave = 64;

using simd::kAttentionBlock;
using simd::kAttentionMaxRows;
using simd::PaddedHeadDim;
using simd::PaddedRows;
using simd::SoftmaxStates;

constexpr size_t CeilDiv(size_t a, size_t b) { return (a + b - 1) / b; }
// Whole cache lines of floats, so that every part starts 64-byte aligned.
constexpr size_t Lines(size_t floats) { return CeilDiv(floats, 16) * 16; }

// Hands out consecutive parts of one workspace allocation.
class Carver {
 public:
  explicit Carver(float* p) : p_(p) {}
  float* Take(size_t floats) {
    float* part = p_;
    p_ += Lines(floats);
    return part;
  }
  SoftmaxStates TakeStates(size_t n_rows, size_t dim) {
    return {Take(n_rows), Take(n_rows), Take(n_rows * dim)};
  }

 private:
  float* p_;
};
constexpr size_t StatesFloats(size_t n_rows, size_t dim) {
  return 2 * Lines(n_rows) + Lines(n_rows * dim);
}

// What one thread needs: the scratch of simd::AttentionChunk, and for tiles
// also the packed queries, the running state and the state of a chunk.
constexpr size_t ChunkScratchFloats(size_t n_rows, size_t dim) {
  return PaddedRows(n_rows) * kKvChunk + kAttentionBlock * dim;
}
constexpr size_t TileScratchFloats(size_t n_rows, size_t dim) {
  return ChunkScratchFloats(n_rows, dim) + PaddedRows(n_rows) * dim +
         2 * StatesFloats(n_rows, dim);
}
// Packed queries and the states of a wave.
constexpr size_t SplitFloats(size_t n_kv_heads, size_t rows, size_t dim,
                             size_t n_chunks) {
  return n_kv_heads * PaddedRows(rows) * dim +
         std::min(n_chunks, kWave) * StatesFloats(n_kv_heads * rows, dim);
}

struct Problem {
  const AttentionArgs& args;
  size_t q_per_kv;
  size_t rows;      // query rows of one kv head
  size_t dim;       // head_dim, padded
  size_t n_chunks;  // of the longest row

  explicit Problem(const AttentionArgs& a)
      : args(a),
        q_per_kv(a.q.n_heads / a.k.n_kv_heads),
        rows(a.q.n_tokens * q_per_kv),
        dim(PaddedHeadDim(a.q.head_dim)),
        n_chunks(CeilDiv(a.kv_len, kKvChunk)) {}

  size_t Token(size_t row) const { return row / q_per_kv; }
  size_t Head(size_t kv_head, size_t row) const {
    return kv_head * q_per_kv + row % q_per_kv;
  }
  // Positions that a row attends to: bottom-right alignment when causal.
  size_t Limit(size_t row) const {
    if (!args.causal) return args.kv_len;
    return args.kv_len - args.q.n_tokens + Token(row) + 1;
  }
  size_t Visible(size_t row, size_t chunk) const {
    const size_t begin = chunk * kKvChunk;
    const size_t limit = Limit(row);
    return limit > begin ? std::min(limit - begin, kKvChunk) : 0;
  }

  // Rows [begin, begin + n), a tile, as simd::AttentionChunk wants them.
  void PackQueries(size_t kv_head, size_t begin, size_t n, float* q) const {
    std::array<const float*, kAttentionMaxRows> rows_of_tile;
    for (size_t r = 0; r < n; ++r) {
      rows_of_tile[r] = args.q.at(Token(begin + r), Head(kv_head, begin + r));
    }
    simd::PackQueries(rows_of_tile.data(), n, args.q.head_dim, q);
  }
  static simd::KvRows ChunkRows(const KvView& x, size_t kv_head, size_t chunk) {
    const size_t at = kv_head * x.head_stride + chunk * kKvChunk * x.pos_stride;
    const size_t bytes = x.type == TensorType::kF16 ? 2 : 4;
    return {x.type, x.data + at * bytes, x.pos_stride};
  }
  // What one chunk after (kv_head, chunk) will read; a hint.
  simd::KvRows NextKeys(size_t kv_head, size_t chunk) const {
    if (chunk + 1 < n_chunks) return ChunkRows(args.k, kv_head, chunk + 1);
    if (kv_head + 1 < args.k.n_kv_heads) {
      return ChunkRows(args.k, kv_head + 1, 0);
    }
    return {};
  }
  // The state of n packed rows after one chunk alone.
  void Chunk(size_t kv_head, size_t chunk, size_t n, const float* q,
             const size_t* n_visible, float* scratch,
             const SoftmaxStates& state) const {
    simd::AttentionChunk({.q = q,
                          .n_rows = n,
                          .head_dim = args.q.head_dim,
                          .k = ChunkRows(args.k, kv_head, chunk),
                          .v = ChunkRows(args.v, kv_head, chunk),
                          .next_k = NextKeys(kv_head, chunk),
                          .n_visible = n_visible,
                          .scale = args.scale,
                          .scores = scratch,
                          .block = scratch + PaddedRows(n) * kKvChunk,
                          .state = state});
  }
  void Finish(size_t kv_head, size_t row, float l, const float* o) const {
    simd::FinishAttentionRow(l, o, args.q.head_dim,
                             args.out.at(Token(row), Head(kv_head, row)));
  }
};

SoftmaxStates RowsFrom(const SoftmaxStates& s, size_t row, size_t dim) {
  return {s.m + row, s.l + row, s.o + row * dim};
}

Status Split(const Problem& p, ExecContext& ctx) {
  const size_t n_kv_heads = p.args.k.n_kv_heads;
  const size_t all_rows = n_kv_heads * p.rows;
  const size_t tile_rows = std::min(p.rows, kAttentionMaxRows);
  const size_t n_slots = std::min(p.n_chunks, kWave);
  const size_t n_workers =
      std::min(static_cast<size_t>(ctx.n_threads), n_kv_heads * n_slots);
  const size_t worker_floats = ChunkScratchFloats(tile_rows, p.dim);
  ETALON_ASSIGN_OR_RETURN(
      std::span<float> memory,
      ctx.workspace->Allocate<float>(
          SplitFloats(n_kv_heads, p.rows, p.dim, p.n_chunks) +
          n_workers * worker_floats));
  Carver carver(memory.data());
  const size_t q_floats = PaddedRows(p.rows) * p.dim;
  float* q = carver.Take(n_kv_heads * q_floats);
  std::array<SoftmaxStates, kWave> slots;
  for (size_t s = 0; s < n_slots; ++s) {
    slots[s] = carver.TakeStates(all_rows, p.dim);
  }
  float* scratch = carver.Take(n_workers * worker_floats);
  for (size_t h = 0; h < n_kv_heads; ++h) {
    for (size_t row = 0; row < p.rows; row += tile_rows) {
      p.PackQueries(h, row, std::min(tile_rows, p.rows - row),
                    q + h * q_floats + row * p.dim);
    }
  }

  // Slot 0 keeps the merged state; a wave after the first fills slots 1, ...
  size_t first_slot = 0;
  for (size_t chunk0 = 0; chunk0 < p.n_chunks;) {
    const size_t n = std::min(n_slots - first_slot, p.n_chunks - chunk0);
    const auto one_chunk = [&](size_t task, int worker) {
      const size_t h = task / n, s = task % n, chunk = chunk0 + s;
      for (size_t row = 0; row < p.rows; row += tile_rows) {
        const size_t n_rows = std::min(tile_rows, p.rows - row);
        std::array<size_t, kAttentionMaxRows> n_visible;
        for (size_t r = 0; r < n_rows; ++r) {
          n_visible[r] = p.Visible(row + r, chunk);
        }
        p.Chunk(h, chunk, n_rows, q + h * q_floats + row * p.dim,
                n_visible.data(),
                scratch + static_cast<size_t>(worker) * worker_floats,
                RowsFrom(slots[first_slot + s], h * p.rows + row, p.dim));
      }
    };
    ParallelFor(n_kv_heads * n, static_cast<int>(n_workers), one_chunk,
                Schedule::kStatic);

    const bool last = chunk0 + n == p.n_chunks;
    const auto merge_row = [&](size_t i, int) {
      const size_t h = i / p.rows, row = i % p.rows;
      const SoftmaxStates into = RowsFrom(slots[0], i, p.dim);
      for (size_t s = first_slot == 0 ? 1 : 0; s < n; ++s) {
        const size_t n_visible = p.Visible(row, chunk0 + s);
        simd::MergeSoftmaxStates(1, p.args.q.head_dim, &n_visible, into,
                                 RowsFrom(slots[first_slot + s], i, p.dim));
      }
      if (last) p.Finish(h, row, *into.l, into.o);
    };
    ParallelFor(all_rows, ctx.n_threads, merge_row, Schedule::kStatic);
    chunk0 += n;
    first_slot = 1;
  }
  return {};
}

// Rows per tile: the largest, unless that leaves threads without work.
size_t TileRows(const Problem& p, int n_threads) {
  size_t tile = kAttentionMaxRows;
  const size_t wanted = 4 * static_cast<size_t>(n_threads);
  while (tile > 16 && p.args.k.n_kv_heads * CeilDiv(p.rows, tile) < wanted) {
    tile = tile / 2 / 16 * 16;  // 96, 48, 16
  }
  return std::min(tile, p.rows);
}

void WalkTile(const Problem& p, size_t h, size_t row, size_t n, float* memory) {
  Carver carver(memory);
  float* q = carver.Take(PaddedRows(n) * p.dim);
  const SoftmaxStates state = carver.TakeStates(n, p.dim);
  const SoftmaxStates later = carver.TakeStates(n, p.dim);
  float* scratch = carver.Take(ChunkScratchFloats(n, p.dim));
  p.PackQueries(h, row, n, q);
  // The last row sees furthest.
  const size_t n_chunks = CeilDiv(p.Limit(row + n - 1), kKvChunk);
  for (size_t chunk = 0; chunk < n_chunks; ++chunk) {
    std::array<size_t, kAttentionMaxRows> n_visible;
    for (size_t r = 0; r < n; ++r) n_visible[r] = p.Visible(row + r, chunk);
    p.Chunk(h, chunk, n, q, n_visible.data(), scratch,
            chunk == 0 ? state : later);
    if (chunk == 0) continue;  // every row sees position 0
    simd::MergeSoftmaxStates(n, p.args.q.head_dim, n_visible.data(), state,
                             later);
  }
  for (size_t r = 0; r < n; ++r) {
    p.Finish(h, row + r, state.l[r], state.o + r * p.dim);
  }
}

Status Tiles(const Problem& p, ExecContext& ctx) {
  const size_t n_kv_heads = p.args.k.n_kv_heads;
  const size_t tile_rows = TileRows(p, ctx.n_threads);
  const size_t n_tiles = CeilDiv(p.rows, tile_rows);
  const size_t n_workers =
      std::min(static_cast<size_t>(ctx.n_threads), n_kv_heads * n_tiles);
  const size_t worker_floats = TileScratchFloats(tile_rows, p.dim);
  ETALON_ASSIGN_OR_RETURN(
      std::span<float> memory,
      ctx.workspace->Allocate<float>(n_workers * worker_floats));
  ParallelFor(
      n_kv_heads * n_tiles, static_cast<int>(n_workers),
      [&](size_t task, int worker) {
        // Causal: later tiles see more; the longest tasks go first.
        const size_t h = task % n_kv_heads;
        const size_t row = (n_tiles - 1 - task / n_kv_heads) * tile_rows;
        WalkTile(p, h, row, std::min(tile_rows, p.rows - row),
                 memory.data() + static_cast<size_t>(worker) * worker_floats);
      });
  return {};
}

}  // namespace

Status Attention(const AttentionArgs& args, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(CheckAttention(args));
  ETALON_ENSURE(ctx.workspace != nullptr, "attention: no workspace");
  ETALON_ENSURE(ctx.n_threads >= 1, "attention: n_threads below 1");
  if (const Config* config = ctx.config) {
    const bool decode = args.q.n_tokens == 1;
    if (config->strict_parity || (config->flash_attn_strict && decode)) {
      return AttentionTwoPass(args, ctx);
    }
  }
  if (TakesAttentionFast(args, ctx)) return AttentionFast(args, ctx);
  Workspace::Scope scope(*ctx.workspace);
  const Problem problem(args);
  return args.q.n_tokens <= kSplitTokens ? Split(problem, ctx)
                                         : Tiles(problem, ctx);
}

// Largest over both ways, any n_kv_heads that divides n_heads, and any smaller
// n_tokens and kv_len, so that one reservation serves prefill and decode.
size_t AttentionWorkspaceBytes(size_t n_tokens, size_t n_heads, size_t head_dim,
                               size_t kv_len, int n_threads) {
  const size_t dim = PaddedHeadDim(head_dim);
  const size_t n_chunks = CeilDiv(kv_len, kKvChunk);
  const size_t threads = static_cast<size_t>(std::max(n_threads, 1));
  const size_t split_tokens = std::min(n_tokens, kSplitTokens);
  // A kv head has at most n_tokens * n_heads rows. Up to 8 rows, padding is
  // worst with one kv head per head; from 9 on it less than doubles them.
  const size_t split_rows = std::min(split_tokens * n_heads, kAttentionMaxRows);
  const size_t split =
      n_heads * std::max(PaddedRows(split_tokens), 2 * split_tokens) * dim +
      std::min(n_chunks, kWave) * StatesFloats(n_heads * split_tokens, dim) +
      std::min(threads, n_heads * std::min(n_chunks, kWave)) *
          ChunkScratchFloats(split_rows, dim);
  const size_t tile_rows = std::min(n_tokens * n_heads, kAttentionMaxRows);
  const size_t tiles =
      std::min(threads, n_tokens * n_heads) * TileScratchFloats(tile_rows, dim);
  const size_t two_pass = Lines(kv_len);
  return std::max(
      std::max({split, tiles, two_pass}) * sizeof(float),
      AttentionFastWorkspaceBytes(n_tokens, n_heads, head_dim, n_threads));
}

}  // namespace etalon::ops
