#include <fmt/format.h>

#include <algorithm>

#include "core/log.h"
#include "etalon/adapters.h"
#include "etalon/config.h"
#include "ops/attention_debug.h"

namespace etalon::adapters::trueno {
namespace {

Status Check(std::span<const float> q, std::span<const float> k,
             std::span<const float> v, size_t n_heads, size_t head_dim,
             size_t seq_len) {
  size_t d_model = 0, n = 0;
  ETALON_ENSURE(
      !__builtin_mul_overflow(n_heads, head_dim, &d_model) &&
          !__builtin_mul_overflow(seq_len, d_model, &n),
      "batched_multihead_attention: extents exceed the address space");
  ETALON_ENSURE(
      q.size() == n,
      fmt::format("batched_multihead_attention: Q has {} elements, expected {} "
                  "(seq_len={}, d_model={})",
                  q.size(), n, seq_len, d_model));
  ETALON_ENSURE(
      k.size() == q.size() && v.size() == q.size(),
      "batched_multihead_attention: K and V must have same size as Q");
  return {};
}

// ETALON_DEBUG_ATTN, after a call that succeeded.
void LogHead0(std::span<const float> q, std::span<const float> k,
              std::span<const float> v, size_t n_heads, size_t head_dim,
              size_t seq_len, std::span<const float> out,
              const ExecContext& ctx) {
  if (ctx.config == nullptr || !ctx.config->debug_attn ||
      !LogEnabled(LogLevel::kInfo)) {
    return;
  }
  const auto heads = [&](std::span<const float> x) {
    return HeadsView<const float>{
        x.data(), seq_len, n_heads, head_dim, n_heads * head_dim, head_dim};
  };
  for (const std::string& line :
       ops::DescribeHead0(heads(q), heads(k), heads(v),
                          AttentionScale(head_dim), heads(out))) {
    LogMessage(LogLevel::kInfo, line);
  }
}

// A token's rows [H][hd] and its caches [H][max_seq][hd].
KvView Cache(std::span<const float> x, size_t n_heads, size_t head_dim,
             size_t max_seq) {
  return {TensorType::kF32, reinterpret_cast<const std::byte*>(x.data()),
          n_heads,          max_seq,
          head_dim,         max_seq * head_dim,
          head_dim};
}

Status CheckLength(const char* op, const char* name, size_t got, size_t n_heads,
                   size_t rows, size_t head_dim) {
  size_t ab = 0, expected = 0;
  ETALON_ENSURE(!__builtin_mul_overflow(n_heads, rows, &ab) &&
                    !__builtin_mul_overflow(ab, head_dim, &expected),
                fmt::format("{}: extents exceed the address space", op));
  ETALON_ENSURE(got == expected,
                fmt::format("{}: {} has {} elements, expected {}", op, name,
                            got, expected));
  return {};
}

}  // namespace

Status BatchedMultiheadAttention(std::span<const float> q,
                                 std::span<const float> k,
                                 std::span<const float> v, size_t n_heads,
                                 size_t head_dim, size_t seq_len,
                                 std::span<float> out, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(Check(q, k, v, n_heads, head_dim, seq_len));
  ETALON_RETURN_IF_ERROR(
      ops::BatchedMha({MhaLayout::kInterleaved, q, k, v, n_heads, head_dim,
                       seq_len, AttentionScale(head_dim), out},
                      ctx));
  LogHead0(q, k, v, n_heads, head_dim, seq_len, out, ctx);
  return {};
}

Status BatchedMultiheadAttentionOptimized(std::span<const float> q,
                                          std::span<const float> k,
                                          std::span<const float> v,
                                          size_t n_heads, size_t head_dim,
                                          size_t seq_len, std::span<float> out,
                                          ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(Check(q, k, v, n_heads, head_dim, seq_len));
  ETALON_ENSURE(out.size() == q.size(),
                fmt::format("batched_multihead_attention: out has {} elements, "
                            "expected {}",
                            out.size(), q.size()));
  // Through the batched layout, as the original goes.
  ETALON_ENSURE(ctx.workspace != nullptr, "batched_mha: no workspace");
  Workspace::Scope scope(*ctx.workspace);
  const size_t n = q.size();
  ETALON_ASSIGN_OR_RETURN(std::span<float> memory,
                          ctx.workspace->Allocate<float>(4 * n));
  std::span<float> batched[4];
  const std::span<const float> in[3] = {q, k, v};
  for (size_t i = 0; i < 4; ++i) batched[i] = memory.subspan(i * n, n);
  for (size_t i = 0; i < 3; ++i) {
    ETALON_RETURN_IF_ERROR(ops::InterleavedToBatched(in[i], n_heads, head_dim,
                                                     seq_len, batched[i]));
  }
  ETALON_RETURN_IF_ERROR(ops::BatchedMha(
      {MhaLayout::kBatched, batched[0], batched[1], batched[2], n_heads,
       head_dim, seq_len, AttentionScale(head_dim), batched[3]},
      ctx));
  ETALON_RETURN_IF_ERROR(
      ops::BatchedToInterleaved(batched[3], n_heads, head_dim, seq_len, out));
  LogHead0(q, k, v, n_heads, head_dim, seq_len, out, ctx);
  return {};
}

Status IncrementalAttention(std::span<const float> q,
                            std::span<const float> k_cache,
                            std::span<const float> v_cache, size_t n_heads,
                            size_t head_dim, size_t seq_len, size_t max_seq,
                            std::span<float> out, ExecContext& ctx) {
  constexpr char kOp[] = "incremental_attention";
  ETALON_RETURN_IF_ERROR(CheckLength(kOp, "q", q.size(), n_heads, 1, head_dim));
  ETALON_RETURN_IF_ERROR(
      CheckLength(kOp, "k_cache", k_cache.size(), n_heads, max_seq, head_dim));
  ETALON_RETURN_IF_ERROR(
      CheckLength(kOp, "v_cache", v_cache.size(), n_heads, max_seq, head_dim));
  ETALON_RETURN_IF_ERROR(
      CheckLength(kOp, "out", out.size(), n_heads, 1, head_dim));
  ETALON_ENSURE(
      seq_len <= max_seq,
      fmt::format("{}: seq_len {} exceeds max_seq {}", kOp, seq_len, max_seq));
  if (seq_len == 0) {
    std::fill(out.begin(), out.end(), 0.0f);
    return {};
  }
  AttentionArgs a;
  a.q = {q.data(), 1, n_heads, head_dim, n_heads * head_dim, head_dim};
  a.k = Cache(k_cache, n_heads, head_dim, max_seq);
  a.v = Cache(v_cache, n_heads, head_dim, max_seq);
  a.kv_len = seq_len;
  a.scale = AttentionScale(head_dim);
  a.out = {out.data(), 1, n_heads, head_dim, n_heads * head_dim, head_dim};
  return ops::FlashDecode(a, ctx);
}

Status KvCacheScatter(std::span<const float> x, std::span<float> cache,
                      size_t n_heads, size_t head_dim, size_t max_seq,
                      size_t pos, ExecContext& ctx) {
  constexpr char kOp[] = "kv_cache_scatter";
  ETALON_RETURN_IF_ERROR(CheckLength(kOp, "x", x.size(), n_heads, 1, head_dim));
  ETALON_RETURN_IF_ERROR(
      CheckLength(kOp, "cache", cache.size(), n_heads, max_seq, head_dim));
  ETALON_ENSURE(pos < max_seq, fmt::format("{}: pos {} is not below max_seq {}",
                                           kOp, pos, max_seq));
  const MutableKvView view = {
      TensorType::kF32, reinterpret_cast<std::byte*>(cache.data()),
      n_heads,          max_seq,
      head_dim,         max_seq * head_dim,
      head_dim};
  return ops::KvWrite(
      {{x.data(), 1, n_heads, head_dim, n_heads * head_dim, head_dim},
       pos,
       view,
       0},
      ctx);
}

}  // namespace etalon::adapters::trueno
