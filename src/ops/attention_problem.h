// One attention call as the ways of dealing out its work see it: which rows
// there are, what each sees, and one chunk of 256 positions for some of them.
//
// The query heads of a kv head are processed together, so that its keys and
// values are read once: their rows are numbered r = t * q_per_kv + g. How rows
// and chunks are dealt out cannot show in the result, because a row's state
// after a chunk depends on that row and chunk only and states merge in
// ascending chunk order.
#ifndef ETALON_OPS_ATTENTION_PROBLEM_H_
#define ETALON_OPS_ATTENTION_PROBLEM_H_

#include <algorithm>
#include <cstddef>

#include "etalon/attention.h"
#include "simd/attention.h"

namespace etalon::ops {

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
  simd::SoftmaxStates TakeStates(size_t n_rows, size_t dim) {
    return {Take(n_rows), Take(n_rows), Take(n_rows * dim)};
  }

 private:
  float* p_;
};
constexpr size_t StatesFloats(size_t n_rows, size_t dim) {
  return 2 * Lines(n_rows) + Lines(n_rows * dim);
}
inline simd::SoftmaxStates RowsFrom(const simd::SoftmaxStates& s, size_t row,
                                    size_t dim) {
  return {s.m + row, s.l + row, s.o + row * dim};
}

// The queries of some rows: as the plain kernels want them, in row order as the
// variant's do, or both (a window needs both).
struct PackedQueries {
  float* plain = nullptr;
  float* rows = nullptr;
};

// Largest m and l of rows, for whoever needs them: [n_tokens, n_heads].
struct RowStatistics {
  float* m = nullptr;
  float* l = nullptr;
};

struct AttentionProblem {
  const AttentionArgs& args;
  RowStatistics statistics;
  size_t q_per_kv;
  size_t rows;                    // query rows of one kv head
  size_t dim;                     // head_dim of keys, padded
  size_t dim_v;                   // of values
  size_t chunk_begin, chunk_end;  // that any row sees
  bool needs_plain;
  bool needs_rows;

  explicit AttentionProblem(const AttentionArgs& a, RowStatistics s = {});

  size_t n_chunks() const { return chunk_end - chunk_begin; }
  size_t Token(size_t row) const { return row / q_per_kv; }
  size_t Head(size_t kv_head, size_t row) const {
    return kv_head * q_per_kv + row % q_per_kv;
  }
  // The row's own position.
  size_t Position(size_t row) const {
    return args.kv_len - args.q.n_tokens + Token(row);
  }
  // A row attends to positions [First, Limit): bottom-right alignment when
  // causal.
  size_t Limit(size_t row) const {
    return args.causal ? Position(row) + 1 : args.kv_len;
  }
  size_t First(size_t row) const {
    const size_t window = args.variant.window;
    const size_t limit = Limit(row);
    return window != 0 && limit > window ? limit - window : 0;
  }
  size_t FirstChunk(size_t row) const { return First(row) / kKvChunk; }
  // End of what a row sees of a chunk, 0 where it sees nothing.
  size_t Visible(size_t row, size_t chunk) const {
    const size_t begin = chunk * kKvChunk;
    const size_t limit = Limit(row);
    if (limit <= begin || First(row) >= begin + kKvChunk) return 0;
    return std::min(limit - begin, kKvChunk);
  }

  size_t QueryFloats(size_t n_rows) const;
  // Rows [begin, begin + n) to memory of QueryFloats(n).
  PackedQueries PackQueries(size_t kv_head, size_t begin, size_t n,
                            float* memory) const;
  // Where PackQueries has put n rows.
  PackedQueries Packed(size_t n, float* memory) const;
  // The states of n rows from `row` on after one chunk alone; n_visible as
  // Visible gives it. At most simd::kAttentionMaxRows rows.
  void Chunk(size_t kv_head, size_t chunk, size_t row, size_t n,
             const PackedQueries& q, const size_t* n_visible, float* scratch,
             const simd::SoftmaxStates& state) const;
  // The weights of n rows in one chunk; probs[r] is where the chunk's first
  // position goes.
  void Weights(size_t kv_head, size_t chunk, size_t row, size_t n,
               const PackedQueries& q, const size_t* n_visible, float* scratch,
               const float* m, const float* l, float* const* probs) const;
  // into = merge(into, later), after `chunk` was computed into `later`: a row's
  // first chunk is taken as it is.
  void Join(size_t chunk, size_t row, size_t n, const size_t* n_visible,
            const simd::SoftmaxStates& into,
            const simd::SoftmaxStates& later) const;
  // Sinks, outputs and gates of n rows.
  void Finish(size_t kv_head, size_t row, size_t n,
              const simd::SoftmaxStates& state) const;
};

// Scratch of AttentionProblem::Chunk, in floats.
constexpr size_t ChunkScratchFloats(size_t n_rows, size_t dim) {
  return (n_rows + 15) / 16 * 16 * kKvChunk + simd::kAttentionBlock * dim;
}

// Most tokens that are split.
inline constexpr size_t kSplitTokens = kMaxDecodeTokens;

Status AttentionSplit(const AttentionProblem& p, ExecContext& ctx);
Status AttentionTiles(const AttentionProblem& p, ExecContext& ctx);
// Floats that they take at most, as AttentionWorkspaceBytes counts.
size_t SplitFloatsAtMost(size_t n_tokens, size_t n_heads, size_t dim,
                         size_t kv_len, size_t n_threads);
size_t TilesFloatsAtMost(size_t n_tokens, size_t n_heads, size_t dim,
                         size_t n_threads);

}  // namespace etalon::ops

#endif  // ETALON_OPS_ATTENTION_PROBLEM_H_
