// Attention of a set of query rows to one chunk of at most 256 positions, and
// the merge of chunk states: the two halves of flash attention. The formula and
// the strict order are those of etalon/attention.h.
//
// A state is (m, l, o): the largest score, the sum of e = exp(s - m), and the
// sum of e * v. Where every score is -Inf, m counts as 0 in the exponents: the
// chunk then has l = 0 and takes no part in the result, as in the formula over
// all positions; if all chunks are so, o * (1 / l) = 0 * Inf = NaN, again as in
// the formula (0 / 0). A NaN score makes its e NaN whatever m is, hence l and
// all of o, hence every later merge: so m itself need not keep NaN. The same
// holds for a score of +Inf, whose e is exp(Inf - Inf).
//
// A row sees the first n_visible[r] positions of the chunk; of a position that
// it does not see, neither the score nor the value enters its state, and a
// position that no row sees is not read.
// All kernels run on the calling thread, allocate nothing, and give the same
// bits on every target and for every grouping of rows into calls.
#ifndef ETALON_SIMD_ATTENTION_H_
#define ETALON_SIMD_ATTENTION_H_

#include <cstddef>
#include <cstdint>

#include "etalon/attention.h"
#include "etalon/types.h"

namespace etalon::simd {

// Query rows per call: enough to pay for reading keys and values and widening
// them once per call, few enough that rows, scores and states stay in L2.
inline constexpr size_t kAttentionMaxRows = 192;
// Up to this many rows (one token's heads) keys and values are read straight
// from the cache, each once; more rows lie in the lanes of vectors, 16 by 16.
inline constexpr size_t kAttentionFewRows = 8;
// Positions widened to f32 at a time: 32 KiB at head_dim 128. Each is paid for
// by walking all rows, so longer blocks pay as long as they stay in L1.
inline constexpr size_t kAttentionBlock = 64;

// head_dim in whole steps of 16 lanes: the row length of q and o below.
constexpr size_t PaddedHeadDim(size_t head_dim) {
  return (head_dim + 15) / 16 * 16;
}
// n_rows in whole tiles: the rows that q and scores have below.
constexpr size_t PaddedRows(size_t n_rows) {
  const size_t tile = n_rows > kAttentionFewRows ? 16 : n_rows > 4 ? 8 : 4;
  return (n_rows + tile - 1) / tile * tile;
}

// Keys or values of one kv head, from the chunk's first position on.
struct KvRows {
  TensorType type = TensorType::kF32;  // F32, F16, BF16 or Q8_0
  const std::byte* data = nullptr;     // [positions, head_dim]
  size_t stride = 0;                   // elements from position to position
};

struct SoftmaxStates {
  float* m = nullptr;  // [n_rows]
  float* l = nullptr;  // [n_rows]
  float* o = nullptr;  // [n_rows, PaddedHeadDim(head_dim_v)], rest any
};

struct AttentionChunkArgs {
  const float* q = nullptr;  // as PackQueries leaves it
  size_t n_rows = 0;         // 1..kAttentionMaxRows
  size_t head_dim = 0;
  size_t head_dim_v = 0;
  KvRows k;
  KvRows v;
  KvRows next_k;  // what the caller will read next, or no data: a hint only
  const size_t* n_visible = nullptr;  // [n_rows], 0..256 each
  float scale = 0.0f;
  float* scores = nullptr;  // scratch [PaddedRows, 256]
  // scratch [kAttentionBlock, PaddedHeadDim of the larger head_dim]
  float* block = nullptr;
  // Written for the rows with n_visible > 0, left alone for the others.
  SoftmaxStates state;
};
void AttentionChunk(const AttentionChunkArgs& args);

// Query rows [n_rows], head_dim elements each, in the order that the kernels
// want: q has PaddedRows(n_rows) * PaddedHeadDim(head_dim) elements, those
// without data +0.
void PackQueries(const float* const* rows, size_t n_rows, size_t head_dim,
                 float* q);

// A chunk whose scores are changed before the softmax, or of which rows see
// only a part: the variants of etalon/attention.h in their order. Slower per
// position than AttentionChunk and with its bits where nothing is changed.
struct AttentionVariantArgs {
  // q is [VariantRows(n_rows), PaddedHeadDim] in row order, rows without data
  // any; scores has VariantRows(n_rows) rows.
  AttentionChunkArgs chunk;
  const size_t* first = nullptr;  // [n_rows] first visible position, or null: 0
  float softcap = 0.0f;
  const float* slopes = nullptr;  // [n_rows], or null: no ALiBi
  // [n_rows] the row's own position, counted from the chunk's first.
  const int32_t* pos = nullptr;
  // [n_rows] each from the chunk's first position on, or null: no mask.
  const float* const* mask = nullptr;
};
constexpr size_t VariantRows(size_t n_rows) { return (n_rows + 7) / 8 * 8; }
void AttentionVariantChunk(const AttentionVariantArgs& args);

// The rows' weights, given m and l of the whole row: for p < n_visible
//   probs[r][p] = fl(exp(fl(s - m[r])) * fl(1 / l[r])), hidden positions +0.
void AttentionVariantWeights(const AttentionVariantArgs& args, const float* m,
                             const float* l, float* const* probs);

// into = merge(into, later), `later` being the next chunk in position order.
// Rows with n_visible 0 in the later chunk keep their state bit by bit.
void MergeSoftmaxStates(size_t n_rows, size_t head_dim, const size_t* n_visible,
                        const SoftmaxStates& into, const SoftmaxStates& later);

// into = merge(into, (sinks[r], 1, 0)).
void MergeSinks(size_t n_rows, size_t head_dim, const float* sinks,
                const SoftmaxStates& into);

// out[d] = o[d] * (1 / l) for d < head_dim; every NaN is written as the quiet
// NaN 0x7fc00000.
void FinishAttentionRow(float l, const float* o, size_t head_dim, float* out);
// out[d] = fl(out[d] * fl(1 / fl(1 + exp(-gate[d])))), NaN as above.
void GateAttentionRow(const float* gate, size_t head_dim, float* out);

}  // namespace etalon::simd

#endif  // ETALON_SIMD_ATTENTION_H_
