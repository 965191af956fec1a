// Attention as four other systems call it: their layouts, their order of
// arguments, their order of checks, this library's arithmetic and its typed
// errors where they return silently or read past the end. For porters who
// compare like with like; new code calls etalon/attention.h.
// Scales that those systems fix are AttentionScale(head_dim).
#ifndef ETALON_ADAPTERS_H_
#define ETALON_ADAPTERS_H_

#include <cstdint>
#include <span>

#include "etalon/attention.h"
#include "etalon/sdpa.h"

namespace etalon::adapters {

// moeflux: one query token, sigmoid gate, f32.
namespace moeflux {
struct Variant {
  size_t num_attn_heads = 0;
  size_t num_kv_heads = 0;
  size_t head_dim = 0;
};
// q, q_gate, out [H * hd]; k_cache, v_cache [kv_len][Hkv * hd], lengths exact.
// Errors in order: kv_len <= 0 (EmptyCache), length of q, q_gate, k_cache,
// v_cache, out. An empty q_gate is the form without a gate.
Status SdpaCpu(const Variant& variant, int32_t kv_len, std::span<const float> q,
               std::span<const float> q_gate, std::span<const float> k_cache,
               std::span<const float> v_cache, std::span<float> out,
               ExecContext& ctx);
}  // namespace moeflux

// C-Kernel-Engine: C pointers and ints, head-major, rows padded from head_dim
// to aligned_head_dim. Pads of inputs are never read; those of outputs become
// 0. Null pointers, extents below 1 and aligned_head_dim below head_dim are
// errors.
namespace cke {
// out, q [T_q][H][D_h]; k, v [T_k][H][D_h]: queries are the last T_q positions.
Status AttentionFlashDecode(float* out, const float* q, const float* k,
                            const float* v, int t_q, int t_k, int h, int d_h,
                            float scale, ExecContext& ctx);
// One token: q_token, out_token [H][ad]; caches [Hkv][capacity][ad].
Status AttentionFlashDecodeWrapper(const float* q_token, const float* k_cache,
                                   const float* v_cache, float* out_token,
                                   int num_heads, int num_kv_heads,
                                   int kv_tokens, int cache_capacity,
                                   int head_dim, int aligned_head_dim,
                                   ExecContext& ctx);
// The same without tiles; with `strict_parity` of ctx.config in f16 as
// AttentionGgmlF16 defines it (requirement B-44).
Status AttentionForwardDecodeHeadMajorGqaRegular(
    const float* q_token, const float* k_cache, const float* v_cache,
    float* out_token, int num_heads, int num_kv_heads, int kv_tokens,
    int cache_capacity, int head_dim, int aligned_head_dim, ExecContext& ctx);
// Prefill. q, output [H][T][ad]; k, v [Hkv][T][ad]; scores [H][AW][AW]: row i
// gets its probabilities for j <= i and 0 for j in (i, T); columns and rows
// from T on are left alone. Null `scores`: the form without them.
Status AttentionForwardCausalHeadMajorGqa(const float* q, const float* k,
                                          const float* v, float* scores,
                                          float* output, int num_heads,
                                          int num_kv_heads, int num_tokens,
                                          int head_dim, int aligned_head_dim,
                                          int aligned_context_window,
                                          ExecContext& ctx);
// k_token, v_token [Hkv][ad] into slot token_index; pads become 0.
Status KvCacheWriteHeadMajor(const float* k_token, const float* v_token,
                             float* k_cache, float* v_cache, int num_kv_heads,
                             int token_index, int cache_capacity, int head_dim,
                             int aligned_head_dim, ExecContext& ctx);
// [H][tokens][ad] to [H][capacity][ad] in place.
Status KvCacheRepackHeadMajorInplace(float* buf, int num_heads, int tokens,
                                     int cache_capacity, int aligned_head_dim);
}  // namespace cke

// trueno-gpu: [seq][H * hd] interleaved, no mask, as many key heads as queries.
namespace trueno {
// Errors: the length of q with got, expected, seq_len and d_model; then "K and
// V must have same size as Q". Both forms give the same bits. With `debug_attn`
// of ctx.config they log four lines about head 0.
Status BatchedMultiheadAttention(std::span<const float> q,
                                 std::span<const float> k,
                                 std::span<const float> v, size_t n_heads,
                                 size_t head_dim, size_t seq_len,
                                 std::span<float> out, ExecContext& ctx);
Status BatchedMultiheadAttentionOptimized(std::span<const float> q,
                                          std::span<const float> k,
                                          std::span<const float> v,
                                          size_t n_heads, size_t head_dim,
                                          size_t seq_len, std::span<float> out,
                                          ExecContext& ctx);
// q, out [H][hd]; caches [H][max_seq][hd], lengths exact. seq_len 0 gives
// zeros, seq_len > max_seq is an error.
Status IncrementalAttention(std::span<const float> q,
                            std::span<const float> k_cache,
                            std::span<const float> v_cache, size_t n_heads,
                            size_t head_dim, size_t seq_len, size_t max_seq,
                            std::span<float> out, ExecContext& ctx);
// x [H * hd] into slot pos; pos >= max_seq is an error.
Status KvCacheScatter(std::span<const float> x, std::span<float> cache,
                      size_t n_heads, size_t head_dim, size_t max_seq,
                      size_t pos, ExecContext& ctx);
}  // namespace trueno

// mlx-native: [B][H][T][hd] against [B][Hkv][capacity][hd], f32 or bf16.
namespace mlx {
struct SdpaParams {
  uint32_t n_heads = 0;
  uint32_t n_kv_heads = 0;
  uint32_t head_dim = 0;
  uint32_t seq_len = 0;
  uint32_t kv_seq_len = 0;
  float scale = 1.0f;
  uint32_t kv_capacity = 0;  // 0: kv_seq_len
  uint32_t do_causal = 1;
};
static_assert(sizeof(SdpaParams) == 32);

// A typed buffer; longer than needed is allowed.
template <class Byte>
struct Buffer {
  TensorType dtype = TensorType::kF32;
  std::span<Byte> bytes;
};
// Errors in order: head_dim 0, n_heads 0, n_kv_heads 0, their ratio, seq_len 0,
// kv_seq_len 0; dtypes of K, V, output against Q's; Q's dtype not F32 or BF16;
// batch 0; kv_capacity below kv_seq_len; causal with kv_seq_len below seq_len;
// head_dim above kMaxHeadDim; scale not finite; buffers Q, K, V, output too
// small.
Status Sdpa(const SdpaParams& params, uint32_t batch,
            const Buffer<const std::byte>& q, const Buffer<const std::byte>& k,
            const Buffer<const std::byte>& v, const Buffer<std::byte>& out,
            ExecContext& ctx);

// The same in two steps, as a recorded dispatch: a plan has passed every check
// and is run when, and as often as, the caller wants. It holds no memory of its
// own; the buffers must live.
struct SdpaPlan {
  SdpaArgs args;
};
Expected<SdpaPlan> PlanSdpa(const SdpaParams& params, uint32_t batch,
                            const Buffer<const std::byte>& q,
                            const Buffer<const std::byte>& k,
                            const Buffer<const std::byte>& v,
                            const Buffer<std::byte>& out);
Status Execute(const SdpaPlan& plan, ExecContext& ctx);
}  // namespace mlx

}  // namespace etalon::adapters

#endif  // ETALON_ADAPTERS_H_
