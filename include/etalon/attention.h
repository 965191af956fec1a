// Scaled dot-product attention of new tokens against a KV cache.
//   s[p] = scale * sum_d q[t, h, d] * k[kvh, p, d],   kvh = h / q_per_kv
//   o[t, h, :] = sum_p softmax(s)[p] * v[kvh, p, :]
// over p < kv_len, and when causal only p <= pos, pos = kv_len - n_tokens + t
// (bottom-right alignment: the queries are the last n_tokens positions).
//
// Variants (AttentionVariant), in this order where several are on:
//   softcap c    s = c * tanh(s / c)
//   ALiBi        s = s - slope[h] * |pos - p|
//   mask         s = s + mask[t, h, p]; -Inf hides the position
//   window W     hides p <= pos - W: the W keys up to its own remain
//   sinks        exp(sink[h]) joins the denominator of the softmax
//   gate         o = o * sigmoid(gate[t, h, :]), element by element
// A hidden position takes no part: whatever lies there, NaN too, cannot show.
//
// Strict order: chunks of 256 positions at absolute multiples of 256. In a
// chunk: the dot in 16 virtual lanes (fold 8, 4, 2, 1), s = fl(dot * scale),
//   s = fl(c * tanh(fl(s / c))), s = fma(-slope, float(|pos - p|), s),
//   s = fl(s + mask),
// m = max, e = exp(fl(s - m)), l = sum e in 16 lanes by position, o by fma over
// ascending visible positions per lane. Chunk states merge in ascending order,
// beginning with the first chunk that a row sees by position (window, causal),
// with m = max(m1, m2), a = exp(m1 - m), b = exp(m2 - m): l = fma(l2, b,
// fl(l1 * a)), o likewise. A sink merges last, as the state (sink, 1, 0). At
// the end fl(o * fl(1 / l)), with a gate then fl(that * fl(1 / fl(1 +
// exp(-gate)))). A chunk is the unit of parallel work, so neither threads,
// prefill split nor capacity can show. f16, bf16 and Q8_0 keys and values are
// exact numbers (d * q fits f32) and enter as such. NaN and Inf in visible
// positions propagate; those >= kv_len are never read. A row whose keys are all
// hidden or have s = -Inf is NaN without a sink, as 0 / 0 is, and 0 with one.
// kv_len 0 (not causal) gives o = +0, with sinks or without, and a gate acts on
// it; a sink of NaN or +Inf and a gate of NaN show. A cache may then have no
// capacity and null data. Error: docs/numerics.md, "attention".
#ifndef ETALON_ATTENTION_H_
#define ETALON_ATTENTION_H_

#include <cmath>
#include <span>

#include "etalon/kv_write.h"
#include "etalon/tensor.h"
#include "etalon/workspace.h"

namespace etalon {

inline constexpr size_t kKvChunk = 256;
// Largest head_dim of keys and of values: DeepSeek's latent attention.
inline constexpr size_t kMaxHeadDim = 576;
// Most tokens of a FlashDecode.
inline constexpr size_t kMaxDecodeTokens = 8;

// Added to the scores; element (t, h, p) is at data[t * token_stride + h *
// head_stride + p]. Strides may be 0: one row for all heads or tokens.
struct AttentionMask {
  const float* data = nullptr;  // [n_tokens, n_heads, kv_len], null: no mask
  size_t token_stride = 0;
  size_t head_stride = 0;
};

struct AttentionVariant {
  size_t window = 0;     // keys that a token sees, itself included; 0: all
  float softcap = 0.0f;  // 0: none
  std::span<const float> alibi_slopes;  // [n_heads] or empty
  AttentionMask mask;
  std::span<const float> sinks;  // [n_heads] or empty

  bool ChangesScores() const {
    return softcap != 0.0f || !alibi_slopes.empty() || mask.data != nullptr;
  }
};

struct AttentionArgs {
  HeadsView<const float> q;  // [n_tokens, n_heads, head_dim]
  KvView k;                  // [n_kv_heads, kv_capacity, head_dim]
  KvView v;                  // [n_kv_heads, kv_capacity, head_dim_v]
  size_t kv_len = 0;         // positions to attend, new tokens included
  float scale = 0.0f;
  bool causal = true;
  HeadsView<float> out;  // [n_tokens, n_heads, head_dim_v], overlaps no input
  AttentionVariant variant = {};
  HeadsView<const float> gate = {};  // as out; data null: no gate
};

// 1 / sqrt(head_dim) correctly rounded, the usual scale. (The double root is
// off by 2^-53 of itself, which moves the f32 only where the exact value lies
// that near to a midpoint: for no head_dim up to kMaxHeadDim, as tested.)
inline float AttentionScale(size_t head_dim) {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim)));
}

// Attention that also hands out its weights (requirement B-43):
//   probs[t, h, p] = fl(exp(fl(s - m)) * fl(1 / l)), +0 where hidden,
// m and l those of the whole row, and `out` with the bits of Attention. Only
// elements (t, h, p < kv_len) at t * token_stride + h * head_stride + p are
// written: none if kv_len is 0. A row of NaN is NaN in its visible positions.
struct AttentionProbsArgs {
  AttentionArgs attention;
  float* probs = nullptr;
  size_t token_stride = 0;
  size_t head_stride = 0;
};

namespace ops {
// Any number of tokens. Errors, in this order: head_dim 0, n_heads 0,
// n_kv_heads 0, their ratio, n_tokens 0, kv_len above a capacity, causal with
// kv_len below n_tokens (so also 0), scale not finite, a head_dim above
// kMaxHeadDim, types, shapes that disagree, variants, then per view null data,
// alignment, strides and size, and last that `out` overlaps an input (by
// address range). Nothing is written on error.
Status Attention(const AttentionArgs& args, ExecContext& ctx);
// The same for up to kMaxDecodeTokens tokens, more are an error: always split
// into tasks of kv head x chunk, so that one sequence occupies every core. O(
// kv_len * head_dim) time; keys and values are read once per group of heads.
Status FlashDecode(const AttentionArgs& args, ExecContext& ctx);
// The same with a gate, whose absence is an error (requirement A-06).
Status GatedSdpa(const AttentionArgs& args, ExecContext& ctx);
Status AttentionWithProbs(const AttentionProbsArgs& args, ExecContext& ctx);

// "ggml-f16 emulation" (requirement B-44): what an engine computes that keeps
// attention in f16. q, k and v are rounded to f16; the dot is a sequential f32
// sum; the softmax is online, key by key; every update of the output, the
// rescaling at a new maximum too, is rounded to f16. A third numerics beside
// strict and fast, for comparison only: plain C++, one thread, exp of this
// project. Takes f32 and f16 caches and no variant. Same errors.
Status AttentionGgmlF16(const AttentionArgs& args, ExecContext& ctx);

// Workspace that the functions above take at most for up to n_tokens tokens and
// kv_len positions on up to n_threads threads, whatever n_kv_heads is; head_dim
// is the larger of both.
size_t AttentionWorkspaceBytes(size_t n_tokens, size_t n_heads, size_t head_dim,
                               size_t kv_len, int n_threads = 64);
size_t AttentionProbsWorkspaceBytes(size_t n_tokens, size_t n_heads,
                                    size_t head_dim, size_t kv_len,
                                    int n_threads = 64);
}  // namespace ops

}  // namespace etalon

#endif  // ETALON_ATTENTION_H_
