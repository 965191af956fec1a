// Scaled dot-product attention of new tokens against a KV cache.
//   s[p] = scale * sum_d q[t, h, d] * k[kvh, p, d],   kvh = h / q_per_kv
//   o[t, h, :] = sum_p softmax(s)[p] * v[kvh, p, :]
// over p < kv_len, and when causal only p <= kv_len - n_tokens + t
// (bottom-right alignment: the queries are the last n_tokens positions). Strict
// order: chunks of 256 positions at absolute multiples of 256. In a chunk: the
// dot in 16 virtual lanes (fold 8, 4, 2, 1), s = fl(dot * scale), m = max, e =
// exp(fl(s - m)), l = sum e in 16 lanes by position, o by fma over ascending
// positions per lane. Chunk states merge in ascending order with m = max(m1,
// m2), a = exp(m1 - m), b = exp(m2 - m): l = fma(l2, b, fl(l1 * a)), o
// likewise. At the end o * (1 / l). A chunk is the unit of parallel work, so
// neither threads, prefill split nor capacity can show. NaN and Inf in visible
// positions propagate; positions >= kv_len and masked positions are never read.
// Error: docs/numerics.md, "attention".
#ifndef ETALON_ATTENTION_H_
#define ETALON_ATTENTION_H_

#include "etalon/tensor.h"
#include "etalon/workspace.h"

namespace etalon {

inline constexpr size_t kKvChunk = 256;

struct AttentionArgs {
  HeadsView<const float> q;  // [n_tokens, n_heads, head_dim]
  KvView k;                  // [n_kv_heads, kv_capacity, head_dim]
  KvView v;
  size_t kv_len = 0;  // positions to attend, new tokens included
  float scale = 0.0f;
  bool causal = true;
  HeadsView<float> out;  // [n_tokens, n_heads, head_dim]
};

// Stores new keys or values: cache[h, pos + t, :] = x[t, h, :], rounded to the
// cache's type (f16: nearest even, overflow to Inf).
struct KvWriteArgs {
  HeadsView<const float> x;  // [n_tokens, n_kv_heads, head_dim]
  size_t pos = 0;
  MutableKvView cache;
};

namespace ops {
Status Attention(const AttentionArgs& args, ExecContext& ctx);
// Workspace that Attention takes at most for up to n_tokens tokens and kv_len
// positions on up to n_threads threads, whatever n_kv_heads is.
size_t AttentionWorkspaceBytes(size_t n_tokens, size_t n_heads, size_t head_dim,
                               size_t kv_len, int n_threads = 64);
Status KvWrite(const KvWriteArgs& args, ExecContext& ctx);
}  // namespace ops

}  // namespace etalon

#endif  // ETALON_ATTENTION_H_
