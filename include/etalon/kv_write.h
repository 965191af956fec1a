// Storing keys and values in a cache, and moving a prefill's into one.
#ifndef ETALON_KV_WRITE_H_
#define ETALON_KV_WRITE_H_

#include "etalon/tensor.h"
#include "etalon/workspace.h"

namespace etalon {

// Stores new keys or values: cache[h, pos + t, :] = x[t, h, :], in the cache's
// type. f16, bf16: nearest even, overflow to Inf. Q8_0: blocks of 32 lanes by
// the rule of docs/numerics.md ("quantised activations"); a last block that
// head_dim does not fill is padded with zeros.
struct KvWriteArgs {
  HeadsView<const float> x;  // [n_tokens, n_kv_heads, head_dim]
  size_t pos = 0;
  MutableKvView cache;
  // Lanes [head_dim, padded_head_dim) of every row written become 0; 0: none.
  size_t padded_head_dim = 0;
};

// Hand-over from prefill to decode, in place: `n_tokens` rows of every head,
// dense in front as [n_heads, n_tokens, row], become the first rows of
// [n_heads, capacity, row]. High heads move first. Rows behind the n_tokens of
// a head keep whatever they held.
struct KvRepackArgs {
  std::byte* data = nullptr;  // n_heads * capacity * row_bytes
  size_t n_heads = 0;
  size_t n_tokens = 0;
  size_t capacity = 0;
  size_t row_bytes = 0;
};

namespace ops {
// Errors, nothing written: extents of 0, tokens past kv_capacity, types and
// shapes that disagree, null or misaligned data, rows that overlap.
Status KvWrite(const KvWriteArgs& args, ExecContext& ctx);
Status KvRepack(const KvRepackArgs& args);
}  // namespace ops

}  // namespace etalon

#endif  // ETALON_KV_WRITE_H_
