#include "ops/attention_problem.h"

#include <array>
#include <cstdint>
#include <cstring>

namespace etalon::ops {
namespace {

using simd::kAttentionMaxRows;
using simd::PaddedHeadDim;
using simd::PaddedRows;

simd::KvRows ChunkRows(const KvView& x, size_t kv_head, size_t chunk) {
  const size_t at = kv_head * x.head_stride + chunk * kKvChunk * x.pos_stride;
  const TypeTraits& type = GetTypeTraits(x.type);
  return {x.type, x.data + at / type.block_size * type.block_bytes,
          x.pos_stride};
}

// Per row: what the variant kernels want beside the chunk.
struct VariantRowsOfTile {
  std::array<size_t, kAttentionMaxRows> first;
  std::array<float, kAttentionMaxRows> slopes;
  std::array<int32_t, kAttentionMaxRows> pos;
  std::array<const float*, kAttentionMaxRows> mask;
  bool any_first = false;

  simd::AttentionVariantArgs Fill(const AttentionProblem& p, size_t kv_head,
                                  size_t chunk, size_t row, size_t n) {
    const AttentionVariant& v = p.args.variant;
    const size_t begin = chunk * kKvChunk;
    for (size_t r = 0; r < n; ++r) {
      const size_t head = p.Head(kv_head, row + r);
      const size_t seen = p.First(row + r);
      first[r] = seen > begin ? seen - begin : 0;
      any_first = any_first || first[r] != 0;
      if (!v.alibi_slopes.empty()) {
        slopes[r] = v.alibi_slopes[head];
        // Below 2^31 in magnitude: so is kv_len.
        pos[r] =
            static_cast<int32_t>(static_cast<int64_t>(p.Position(row + r)) -
                                 static_cast<int64_t>(begin));
      }
      if (v.mask.data != nullptr) {
        mask[r] = v.mask.data + p.Token(row + r) * v.mask.token_stride +
                  head * v.mask.head_stride + begin;
      }
    }
    simd::AttentionVariantArgs a;
    a.first = first.data();
    a.softcap = v.softcap;
    if (!v.alibi_slopes.empty()) a.slopes = slopes.data();
    a.pos = pos.data();
    if (v.mask.data != nullptr) a.mask = mask.data();
    return a;
  }
};

}  // namespace

AttentionProblem::AttentionProblem(const AttentionArgs& a, RowStatistics s)
    : args(a),
      statistics(s),
      q_per_kv(a.q.n_heads / a.k.n_kv_heads),
      rows(a.q.n_tokens * q_per_kv),
      dim(PaddedHeadDim(a.q.head_dim)),
      dim_v(PaddedHeadDim(a.v.head_dim)),
      needs_plain(!a.variant.ChangesScores()),
      needs_rows(a.variant.ChangesScores() || a.variant.window != 0) {
  chunk_begin = FirstChunk(0);
  chunk_end = CeilDiv(Limit(rows - 1), kKvChunk);
}

size_t AttentionProblem::QueryFloats(size_t n_rows) const {
  return (needs_plain ? PaddedRows(n_rows) * dim : 0) +
         (needs_rows ? simd::VariantRows(n_rows) * dim : 0);
}

PackedQueries AttentionProblem::Packed(size_t n, float* memory) const {
  PackedQueries packed;
  if (needs_plain) packed.plain = memory;
  if (needs_rows) {
    packed.rows = memory + (needs_plain ? PaddedRows(n) * dim : 0);
  }
  return packed;
}

PackedQueries AttentionProblem::PackQueries(size_t kv_head, size_t begin,
                                            size_t n, float* memory) const {
  std::array<const float*, kAttentionMaxRows> q;
  for (size_t r = 0; r < n; ++r) {
    q[r] = args.q.at(Token(begin + r), Head(kv_head, begin + r));
  }
  const PackedQueries packed = Packed(n, memory);
  if (needs_plain) {
    simd::PackQueries(q.data(), n, args.q.head_dim, packed.plain);
  }
  if (needs_rows) {
    std::fill_n(packed.rows, simd::VariantRows(n) * dim, 0.0f);
    for (size_t r = 0; r < n; ++r) {
      std::copy_n(q[r], args.q.head_dim, packed.rows + r * dim);
    }
  }
  return packed;
}

void AttentionProblem::Chunk(size_t kv_head, size_t chunk, size_t row, size_t n,
                             const PackedQueries& q, const size_t* n_visible,
                             float* scratch,
                             const simd::SoftmaxStates& state) const {
  simd::AttentionChunkArgs a;
  a.q = q.plain;
  a.n_rows = n;
  a.head_dim = args.q.head_dim;
  a.head_dim_v = args.v.head_dim;
  a.k = ChunkRows(args.k, kv_head, chunk);
  a.v = ChunkRows(args.v, kv_head, chunk);
  // What comes after this chunk; a hint.
  if (chunk + 1 < chunk_end) {
    a.next_k = ChunkRows(args.k, kv_head, chunk + 1);
  } else if (kv_head + 1 < args.k.n_kv_heads) {
    a.next_k = ChunkRows(args.k, kv_head + 1, chunk_begin);
  }
  a.n_visible = n_visible;
  a.scale = args.scale;
  a.scores = scratch;
  a.block = scratch + (n + 15) / 16 * 16 * kKvChunk;
  a.state = state;
  if (!needs_rows) {
    simd::AttentionChunk(a);
    return;
  }
  VariantRowsOfTile tile;
  simd::AttentionVariantArgs variant = tile.Fill(*this, kv_head, chunk, row, n);
  // A window that does not begin in this chunk changes nothing in it.
  if (needs_plain && !tile.any_first) {
    simd::AttentionChunk(a);
    return;
  }
  a.q = q.rows;
  variant.chunk = a;
  simd::AttentionVariantChunk(variant);
}

void AttentionProblem::Weights(size_t kv_head, size_t chunk, size_t row,
                               size_t n, const PackedQueries& q,
                               const size_t* n_visible, float* scratch,
                               const float* m, const float* l,
                               float* const* probs) const {
  VariantRowsOfTile tile;
  simd::AttentionVariantArgs a = tile.Fill(*this, kv_head, chunk, row, n);
  a.chunk.q = q.rows;
  a.chunk.n_rows = n;
  a.chunk.head_dim = args.q.head_dim;
  a.chunk.head_dim_v = args.v.head_dim;
  a.chunk.k = ChunkRows(args.k, kv_head, chunk);
  a.chunk.n_visible = n_visible;
  a.chunk.scale = args.scale;
  a.chunk.scores = scratch;
  a.chunk.block = scratch + (n + 15) / 16 * 16 * kKvChunk;
  simd::AttentionVariantWeights(a, m, l, probs);
}

void AttentionProblem::Join(size_t chunk, size_t row, size_t n,
                            const size_t* n_visible,
                            const simd::SoftmaxStates& into,
                            const simd::SoftmaxStates& later) const {
  std::array<size_t, kAttentionMaxRows> merged;
  for (size_t r = 0; r < n; ++r) {
    merged[r] = n_visible[r];
    if (merged[r] == 0 || FirstChunk(row + r) != chunk) continue;
    merged[r] = 0;
    into.m[r] = later.m[r];
    into.l[r] = later.l[r];
    std::copy_n(later.o + r * dim_v, dim_v, into.o + r * dim_v);
  }
  simd::MergeSoftmaxStates(n, args.v.head_dim, merged.data(), into, later);
}

void AttentionProblem::Finish(size_t kv_head, size_t row, size_t n,
                              const simd::SoftmaxStates& state) const {
  for (size_t r = 0; r < n; ++r) {
    const size_t t = Token(row + r), h = Head(kv_head, row + r);
    const simd::SoftmaxStates one = RowsFrom(state, r, dim_v);
    if (!args.variant.sinks.empty()) {
      simd::MergeSinks(1, args.v.head_dim, &args.variant.sinks[h], one);
    }
    if (statistics.m != nullptr) {
      statistics.m[t * args.q.n_heads + h] = *one.m;
      statistics.l[t * args.q.n_heads + h] = *one.l;
    }
    float* out = args.out.at(t, h);
    simd::FinishAttentionRow(*one.l, one.o, args.v.head_dim, out);
    if (args.gate.data != nullptr) {
      simd::GateAttentionRow(args.gate.at(t, h), args.v.head_dim, out);
    }
  }
}

}  // namespace etalon::ops
