// Many tokens: tasks = kv head x tile of rows, each walking the chunks with its
// state at hand.
#include <array>

#include "core/parallel.h"
#include "ops/attention_problem.h"

namespace etalon::ops {
namespace {

using simd::kAttentionMaxRows;
using simd::SoftmaxStates;

// Queries in both orders, the running state and the state of a chunk.
constexpr size_t TileFloats(size_t n_rows, size_t dim) {
  return ChunkScratchFloats(n_rows, dim) +
         (simd::PaddedRows(n_rows) + simd::VariantRows(n_rows)) * dim +
         2 * StatesFloats(n_rows, dim);
}

// Rows per tile: the more, the less often keys and values are read and widened.
// Not so many that threads are left without work.
size_t TileRows(const AttentionProblem& p, int n_threads) {
  size_t tile = kAttentionMaxRows;
  const size_t wanted = 4 * static_cast<size_t>(n_threads);
  while (tile > 16 && p.args.k.n_kv_heads * CeilDiv(p.rows, tile) < wanted) {
    tile = tile / 2 / 16 * 16;  // 192, 96, 48, 16
  }
  return std::min(tile, p.rows);
}

void WalkTile(const AttentionProblem& p, size_t h, size_t row, size_t n,
              float* memory) {
  Carver carver(memory);
  const PackedQueries q =
      p.PackQueries(h, row, n, carver.Take(p.QueryFloats(n)));
  const SoftmaxStates state = carver.TakeStates(n, p.dim_v);
  const SoftmaxStates later = carver.TakeStates(n, p.dim_v);
  float* scratch = carver.Take(ChunkScratchFloats(n, std::max(p.dim, p.dim_v)));
  // The last row sees furthest, the first one earliest.
  const size_t end = CeilDiv(p.Limit(row + n - 1), kKvChunk);
  const size_t all_begin = p.FirstChunk(row + n - 1);
  for (size_t chunk = p.FirstChunk(row); chunk < end; ++chunk) {
    std::array<size_t, kAttentionMaxRows> n_visible;
    for (size_t r = 0; r < n; ++r) n_visible[r] = p.Visible(row + r, chunk);
    const bool first_of_all = chunk == p.FirstChunk(row) && chunk == all_begin;
    p.Chunk(h, chunk, row, n, q, n_visible.data(), scratch,
            first_of_all ? state : later);
    if (first_of_all) continue;
    p.Join(chunk, row, n, n_visible.data(), state, later);
  }
  p.Finish(h, row, n, state);
}

}  // namespace

Status AttentionTiles(const AttentionProblem& p, ExecContext& ctx) {
  const size_t n_kv_heads = p.args.k.n_kv_heads;
  const size_t tile_rows = TileRows(p, ctx.n_threads);
  const size_t n_tiles = CeilDiv(p.rows, tile_rows);
  const size_t n_workers =
      std::min(static_cast<size_t>(ctx.n_threads), n_kv_heads * n_tiles);
  const size_t worker_floats = TileFloats(tile_rows, std::max(p.dim, p.dim_v));
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

size_t TilesFloatsAtMost(size_t n_tokens, size_t n_heads, size_t dim,
                         size_t n_threads) {
  const size_t rows = std::min(n_tokens * n_heads, kAttentionMaxRows);
  return std::min(n_threads, n_tokens * n_heads) * TileFloats(rows, dim);
}

}  // namespace etalon::ops
