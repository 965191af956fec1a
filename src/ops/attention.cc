#include "etalon/attention.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "core/parallel.h"
#include "etalon/config.h"
#include "ops/attention_check.h"
#include "ops/attention_fast.h"
#include "ops/attention_problem.h"
#include "ops/attention_two_pass.h"

namespace etalon::ops {
namespace {

Status CheckContext(const ExecContext& ctx) {
  ETALON_ENSURE(ctx.workspace != nullptr, "attention: no workspace");
  ETALON_ENSURE(ctx.n_threads >= 1, "attention: n_threads below 1");
  return {};
}

bool WantsTwoPass(const AttentionArgs& args, const ExecContext& ctx) {
  const Config* config = ctx.config;
  if (config == nullptr) return false;
  const bool decode = args.q.n_tokens == 1;
  return config->strict_parity || (config->flash_attn_strict && decode);
}

// kv_len 0: +0 where 0 / 0 would stand. A sink or gate that is no number shows.
Status AttendNothing(const AttentionArgs& args) {
  using Limits = std::numeric_limits<float>;
  for (size_t t = 0; t < args.out.n_tokens; ++t) {
    for (size_t h = 0; h < args.out.n_heads; ++h) {
      const float sink =
          args.variant.sinks.empty() ? 0.0f : args.variant.sinks[h];
      float* out = args.out.at(t, h);
      std::fill_n(out, args.out.head_dim,
                  sink < Limits::infinity() ? 0.0f : Limits::quiet_NaN());
      if (args.gate.data == nullptr) continue;
      simd::GateAttentionRow(args.gate.at(t, h), args.out.head_dim, out);
    }
  }
  return {};
}

// How work is dealt out cannot show in the result.
Status Run(const AttentionProblem& p, ExecContext& ctx) {
  Workspace::Scope scope(*ctx.workspace);
  return p.args.q.n_tokens <= kSplitTokens ? AttentionSplit(p, ctx)
                                           : AttentionTiles(p, ctx);
}

}  // namespace

Status Attention(const AttentionArgs& args, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(CheckAttention(args));
  ETALON_RETURN_IF_ERROR(CheckContext(ctx));
  if (args.kv_len == 0) return AttendNothing(args);
  if (WantsTwoPass(args, ctx)) return AttentionTwoPass(args, ctx);
  if (TakesAttentionFast(args, ctx)) {
    return AttentionFast(args, ctx);
  }
  return Run(AttentionProblem(args), ctx);
}

Status FlashDecode(const AttentionArgs& args, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(CheckAttention(args));
  ETALON_ENSURE(args.q.n_tokens <= kMaxDecodeTokens,
                fmt::format("attention: n_tokens {} exceeds the {} of a decode",
                            args.q.n_tokens, kMaxDecodeTokens));
  return Attention(args, ctx);
}

Status GatedSdpa(const AttentionArgs& args, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(CheckAttention(args));
  ETALON_ENSURE(args.gate.data != nullptr, "attention gate: data is null");
  return Attention(args, ctx);
}

Status AttentionWithProbs(const AttentionProbsArgs& args, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(CheckAttentionProbs(args));
  ETALON_RETURN_IF_ERROR(CheckContext(ctx));
  const AttentionArgs& a = args.attention;
  if (a.kv_len == 0) return AttendNothing(a);
  Workspace::Scope scope(*ctx.workspace);
  const size_t n_rows = a.q.n_tokens * a.q.n_heads;
  ETALON_ASSIGN_OR_RETURN(std::span<float> memory,
                          ctx.workspace->Allocate<float>(2 * Lines(n_rows)));
  const RowStatistics statistics{memory.data(), memory.data() + Lines(n_rows)};
  AttentionProblem p(a, statistics);
  ETALON_RETURN_IF_ERROR(Run(p, ctx));

  // The scores again, now that m and l are known: tasks = kv head x tile.
  p.needs_plain = false;
  p.needs_rows = true;
  constexpr size_t kTile = simd::kAttentionMaxRows;
  const size_t tile_rows = std::min(p.rows, kTile);
  const size_t n_tiles = CeilDiv(p.rows, tile_rows);
  const size_t worker_floats =
      Lines(p.QueryFloats(tile_rows)) + ChunkScratchFloats(tile_rows, p.dim);
  const size_t n_tasks = a.k.n_kv_heads * n_tiles;
  const size_t n_workers =
      std::min(static_cast<size_t>(ctx.n_threads), n_tasks);
  ETALON_ASSIGN_OR_RETURN(
      std::span<float> scratch,
      ctx.workspace->Allocate<float>(n_workers * worker_floats));
  ParallelFor(
      n_tasks, static_cast<int>(n_workers), [&](size_t task, int worker) {
        const size_t h = task / n_tiles, row = task % n_tiles * tile_rows;
        const size_t n = std::min(tile_rows, p.rows - row);
        Carver carver(scratch.data() +
                      static_cast<size_t>(worker) * worker_floats);
        const PackedQueries q =
            p.PackQueries(h, row, n, carver.Take(p.QueryFloats(n)));
        float* chunk_scratch = carver.Take(ChunkScratchFloats(n, p.dim));
        float m[kTile], l[kTile];
        float* probs[kTile];
        for (size_t r = 0; r < n; ++r) {
          const size_t t = p.Token(row + r), head = p.Head(h, row + r);
          m[r] = statistics.m[t * a.q.n_heads + head];
          l[r] = statistics.l[t * a.q.n_heads + head];
          probs[r] =
              args.probs + t * args.token_stride + head * args.head_stride;
          std::fill_n(probs[r], a.kv_len, 0.0f);
        }
        for (size_t chunk = p.chunk_begin; chunk < p.chunk_end; ++chunk) {
          size_t n_visible[kTile];
          float* at[kTile];
          for (size_t r = 0; r < n; ++r) {
            n_visible[r] = p.Visible(row + r, chunk);
            at[r] = probs[r] + chunk * kKvChunk;
          }
          p.Weights(h, chunk, row, n, q, n_visible, chunk_scratch, m, l, at);
        }
      });
  return {};
}

// Largest over all ways, any n_kv_heads that divides n_heads, and any smaller
// n_tokens and kv_len, so that one reservation serves prefill and decode.
size_t AttentionWorkspaceBytes(size_t n_tokens, size_t n_heads, size_t head_dim,
                               size_t kv_len, int n_threads) {
  const size_t dim = simd::PaddedHeadDim(head_dim);
  const size_t threads = static_cast<size_t>(std::max(n_threads, 1));
  const size_t split =
      SplitFloatsAtMost(n_tokens, n_heads, dim, kv_len, threads);
  const size_t tiles = TilesFloatsAtMost(n_tokens, n_heads, dim, threads);
  const size_t two_pass = Lines(kv_len);
  return std::max(
      std::max({split, tiles, two_pass}) * sizeof(float),
      AttentionFastWorkspaceBytes(n_tokens, n_heads, head_dim, n_threads));
}

size_t AttentionProbsWorkspaceBytes(size_t n_tokens, size_t n_heads,
                                    size_t head_dim, size_t kv_len,
                                    int n_threads) {
  const size_t dim = simd::PaddedHeadDim(head_dim);
  const size_t threads = static_cast<size_t>(std::max(n_threads, 1));
  const size_t rows = std::min(n_tokens * n_heads, simd::kAttentionMaxRows);
  const size_t weights =
      std::min(threads, n_tokens * n_heads) *
      (Lines(simd::VariantRows(rows) * dim) + ChunkScratchFloats(rows, dim));
  return std::max(AttentionWorkspaceBytes(n_tokens, n_heads, head_dim, kv_len,
                                          n_threads),
                  weights * sizeof(float)) +
         2 * Lines(n_tokens * n_heads) * sizeof(float);
}

}  // namespace etalon::ops
