// Attention over a batch of sequences, in f32, f16 or bf16, and multi-head
// attention without a cache; the maps between their layouts.
#ifndef ETALON_SDPA_H_
#define ETALON_SDPA_H_

#include <span>

#include "etalon/attention.h"

namespace etalon {

// Queries or outputs of a batch in one of F32, F16, BF16: element (batch b,
// token t, head h, lane d) is at b * batch_stride + t * token_stride + h *
// head_stride + d. Strides count elements.
template <class Byte>
struct BasicBatchedHeads {
  TensorType type = TensorType::kF32;
  Byte* data = nullptr;
  size_t n_batch = 0;
  size_t n_tokens = 0;
  size_t n_heads = 0;
  size_t head_dim = 0;
  size_t batch_stride = 0;
  size_t token_stride = 0;
  size_t head_stride = 0;
};
using BatchedHeads = BasicBatchedHeads<const std::byte>;
using MutableBatchedHeads = BasicBatchedHeads<std::byte>;

// out[b] = Attention(q[b], k[b], v[b]) with the variant for all; q is widened
// exactly, all sums are those of Attention in f32, and out is rounded once, to
// nearest even. So neither the batch nor its size can show.
struct SdpaArgs {
  BatchedHeads q;  // [n_batch, n_tokens, n_heads, head_dim]
  KvView k;        // of batch 0: [n_kv_heads, kv_capacity, head_dim]
  KvView v;        // of batch 0: [n_kv_heads, kv_capacity, head_dim_v]
  size_t k_batch_stride = 0;  // elements; 0: one cache for the whole batch
  size_t v_batch_stride = 0;
  size_t kv_len = 0;
  float scale = 0.0f;
  bool causal = true;
  MutableBatchedHeads out;  // [n_batch, n_tokens, n_heads, head_dim_v]
  AttentionVariant variant = {};
};

// softmax(scale q k^T) v, no mask, as many key heads as query heads, all four
// in one layout:
//   kInterleaved  [seq_len, n_heads * head_dim]
//   kBatched      [n_heads, seq_len, head_dim]
// Both give the same bits.
enum class MhaLayout { kInterleaved, kBatched };
struct BatchedMhaArgs {
  MhaLayout layout = MhaLayout::kInterleaved;
  std::span<const float> q, k, v;  // seq_len * n_heads * head_dim
  size_t n_heads = 0;
  size_t head_dim = 0;
  size_t seq_len = 0;
  float scale = 0.0f;
  std::span<float> out;
};

namespace ops {
// Errors in the order of Attention, a batch of 0 first and the types of q and
// out with those of k and v; nothing is written on error.
Status Sdpa(const SdpaArgs& args, ExecContext& ctx);
size_t SdpaWorkspaceBytes(size_t n_tokens, size_t n_heads, size_t head_dim,
                          size_t kv_len, int n_threads = 64);

// Errors in this order: n_heads, head_dim or seq_len 0, length of q, of k, of
// v, of out, then as Attention.
Status BatchedMha(const BatchedMhaArgs& args, ExecContext& ctx);

// Layout maps (requirement C-04), exact copies; out must not overlap in. Each
// refuses lengths other than the product of the extents.
//   batched[h][s][d] = interleaved[s][h * head_dim + d]
Status InterleavedToBatched(std::span<const float> in, size_t n_heads,
                            size_t head_dim, size_t seq_len,
                            std::span<float> out);
Status BatchedToInterleaved(std::span<const float> in, size_t n_heads,
                            size_t head_dim, size_t seq_len,
                            std::span<float> out);
//   out[s][d] = interleaved[s][head * head_dim + d], and back
Status ExtractHead(std::span<const float> in, size_t n_heads, size_t head_dim,
                   size_t seq_len, size_t head, std::span<float> out);
Status CopyHead(std::span<const float> in, size_t n_heads, size_t head_dim,
                size_t seq_len, size_t head, std::span<float> out);
//   out[b][c][r] = in[b][r][c]
Status BatchedTranspose(std::span<const float> in, size_t n_batch, size_t rows,
                        size_t cols, std::span<float> out);
// out[b] = x[b] y[b], [b][m][k] times [b][k][n], in the order of the f32
// products of etalon/gemm.h (requirement C-05).
Status BatchedGemm(std::span<const float> x, std::span<const float> y,
                   size_t n_batch, size_t m, size_t k, size_t n,
                   std::span<float> out, ExecContext& ctx);
}  // namespace ops

}  // namespace etalon

#endif  // ETALON_SDPA_H_
