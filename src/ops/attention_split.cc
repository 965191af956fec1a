// One or a few tokens: tasks = kv head x chunk, so that one long sequence
// occupies every core; chunk states meet in the workspace.
#include <algorithm>
#include <array>
#include <span>

#include "core/parallel.h"
#include "ops/attention_problem.h"

namespace etalon::ops {
namespace {

using simd::kAttentionMaxRows;
using simd::SoftmaxStates;

// Chunk states alive at a time: 16,384 positions per parallel region; longer
// caches go in waves. Bounds the workspace.
constexpr size_t kWave = 64;

// Which chunk states of a wave are in a head's merged state (slot 0) already. A
// thread walks its tasks in ascending order, so whoever has merged a chunk
// merges the next one while its state is in L1; a thread that begins inside a
// head cannot, since the order of merging is ascending, and leaves states to
// the second region.
class MergedPrefix {
 public:
  // A line of cache for each: they are written by different threads.
  static constexpr size_t Words(size_t n_heads, size_t n_workers) {
    return (n_heads + n_workers) * kLine;
  }
  static constexpr size_t Floats(size_t n_heads, size_t n_workers) {
    return Words(n_heads, n_workers) * sizeof(size_t) / sizeof(float);
  }

  MergedPrefix(std::span<size_t> words, size_t n_heads)
      : words_(words), expected_(words.data() + n_heads * kLine) {}
  // has_state: slot 0 holds what earlier waves have merged.
  void BeginWave(bool has_state) {
    has_state_ = has_state;
    std::fill(words_.begin(), words_.end(), kNone);
  }
  bool Continues(size_t task, size_t chunk, int worker) const {
    return chunk == 0 ? has_state_ : Expected(worker) == task;
  }
  void Count(size_t task, size_t head, size_t chunk, int worker) {
    words_[head * kLine] = chunk + 1;
    Expected(worker) = task + 1;
  }
  // Chunks of the wave; all of them have been computed.
  size_t NumMerged(size_t head) const {
    const size_t n = words_[head * kLine];
    return n == kNone ? 0 : n;
  }

 private:
  static constexpr size_t kLine = 64 / sizeof(size_t);
  static constexpr size_t kNone = ~size_t{0};
  size_t& Expected(int worker) const {
    return expected_[static_cast<size_t>(worker) * kLine];
  }
  std::span<size_t> words_;
  size_t* expected_;  // per worker: the task that follows its last merge
  bool has_state_ = false;
};

}  // namespace

Status AttentionSplit(const AttentionProblem& p, ExecContext& ctx) {
  const size_t n_kv_heads = p.args.k.n_kv_heads;
  const size_t all_rows = n_kv_heads * p.rows;
  const size_t tile_rows = std::min(p.rows, kAttentionMaxRows);
  const size_t n_tiles = CeilDiv(p.rows, tile_rows);
  const size_t n_slots = std::min(p.n_chunks(), kWave);
  const size_t n_workers =
      std::min(static_cast<size_t>(ctx.n_threads), n_kv_heads * n_slots);
  const size_t worker_floats =
      ChunkScratchFloats(tile_rows, std::max(p.dim, p.dim_v));
  const size_t q_floats = Lines(p.QueryFloats(tile_rows));
  const size_t prefix_floats = MergedPrefix::Floats(n_kv_heads, n_workers);
  ETALON_ASSIGN_OR_RETURN(std::span<float> memory,
                          ctx.workspace->Allocate<float>(
                              n_kv_heads * n_tiles * q_floats +
                              n_slots * StatesFloats(all_rows, p.dim_v) +
                              n_workers * worker_floats + prefix_floats));
  Carver carver(memory.data());
  float* q = carver.Take(n_kv_heads * n_tiles * q_floats);
  std::array<SoftmaxStates, kWave> slots;
  for (size_t s = 0; s < n_slots; ++s) {
    slots[s] = carver.TakeStates(all_rows, p.dim_v);
  }
  float* scratch = carver.Take(n_workers * worker_floats);
  const std::span<size_t> words(
      reinterpret_cast<size_t*>(carver.Take(prefix_floats)),
      MergedPrefix::Words(n_kv_heads, n_workers));
  MergedPrefix merged(words, n_kv_heads);

  // A window may hide a row's first chunks: they must count as not there.
  const auto visible = [&](size_t row, size_t n, size_t chunk) {
    std::array<size_t, kAttentionMaxRows> seen;
    for (size_t r = 0; r < n; ++r) seen[r] = p.Visible(row + r, chunk);
    return seen;
  };
  // Slot 0 keeps the merged state; a wave after the first fills slots 1, ...
  size_t first_slot = 0;
  for (size_t chunk0 = p.chunk_begin; chunk0 < p.chunk_end;) {
    const size_t n = std::min(n_slots - first_slot, p.chunk_end - chunk0);
    merged.BeginWave(first_slot == 1);
    const auto one_chunk = [&](size_t task, int worker) {
      const size_t h = task / n, s = task % n, chunk = chunk0 + s;
      // Slot 1 is then free: the same thread has merged what belongs there.
      const bool merge = merged.Continues(task, s, worker);
      const SoftmaxStates& slot = slots[merge ? 1 : first_slot + s];
      for (size_t tile = 0; tile < n_tiles; ++tile) {
        const size_t row = tile * tile_rows;
        const size_t n_rows = std::min(tile_rows, p.rows - row);
        const auto n_visible = visible(row, n_rows, chunk);
        const size_t at = h * p.rows + row;
        p.Chunk(h, chunk, row, n_rows,
                p.Packed(n_rows, q + (h * n_tiles + tile) * q_floats),
                n_visible.data(),
                scratch + static_cast<size_t>(worker) * worker_floats,
                RowsFrom(slot, at, p.dim_v));
        if (merge) {
          p.Join(chunk, row, n_rows, n_visible.data(),
                 RowsFrom(slots[0], at, p.dim_v), RowsFrom(slot, at, p.dim_v));
        }
      }
      if (merge || (s == 0 && first_slot == 0)) {
        merged.Count(task, h, s, worker);
      }
    };
    if (chunk0 == p.chunk_begin) {
      for (size_t i = 0; i < n_kv_heads * n_tiles; ++i) {
        const size_t row = i % n_tiles * tile_rows;
        p.PackQueries(i / n_tiles, row, std::min(tile_rows, p.rows - row),
                      q + i * q_floats);
      }
    }
    ParallelFor(n_kv_heads * n, static_cast<int>(n_workers), one_chunk,
                Schedule::kStatic);

    const bool last = chunk0 + n == p.chunk_end;
    const auto merge_row = [&](size_t i, int) {
      const size_t h = i / p.rows, row = i % p.rows;
      const SoftmaxStates into = RowsFrom(slots[0], i, p.dim_v);
      for (size_t s = merged.NumMerged(h); s < n; ++s) {
        const size_t n_visible = p.Visible(row, chunk0 + s);
        p.Join(chunk0 + s, row, 1, &n_visible, into,
               RowsFrom(slots[first_slot + s], i, p.dim_v));
      }
      if (last) p.Finish(h, row, 1, into);
    };
    ParallelFor(all_rows, ctx.n_threads, merge_row, Schedule::kStatic);
    chunk0 += n;
    first_slot = 1;
  }
  return {};
}

// A kv head has at most n_tokens * n_heads rows. Up to 8 rows, padding is worst
// with one kv head per head; from 9 on it less than doubles them. A window
// takes the queries twice.
size_t SplitFloatsAtMost(size_t n_tokens, size_t n_heads, size_t dim,
                         size_t kv_len, size_t n_threads) {
  const size_t tokens = std::min(n_tokens, kSplitTokens);
  const size_t n_slots = std::min(CeilDiv(kv_len, kKvChunk), kWave);
  const size_t rows = std::min(tokens * n_heads, kAttentionMaxRows);
  const size_t padded =
      n_heads * (std::max(simd::PaddedRows(tokens), 2 * tokens) +
                 std::max(simd::VariantRows(tokens), 2 * tokens));
  const size_t n_workers = std::min(n_threads, n_heads * n_slots);
  return padded * dim + n_slots * StatesFloats(n_heads * tokens, dim) +
         n_workers * ChunkScratchFloats(rows, dim) +
         MergedPrefix::Floats(n_heads, n_workers);
}

}  // namespace etalon::ops
