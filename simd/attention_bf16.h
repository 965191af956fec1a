// Attention of profile fast on bf16 products, of matrix tiles or, without such
// a unit, of vectors: many query rows against one chunk of at most 256
// positions, merged at once into the running state.
//
// q * scale * log2(e), k and v are rounded to bf16 (nearest even), products are
// summed in f32 (subnormal operands and results count as 0), 2^(s - m) comes
// from a polynomial and is rounded to bf16 before it meets v; l sums it
// unrounded. m is the running maximum, in units of ln 2, so that a chunk
// rescales what came before and never itself. The bound: docs/numerics.md,
// "attention", with cpu-fast of reference/bounds.h.
//
// The result depends on the row, the positions and the order of chunks only,
// not on the grouping of rows into calls.
#ifndef ETALON_SIMD_ATTENTION_BF16_H_
#define ETALON_SIMD_ATTENTION_BF16_H_

#include <cstddef>
#include <cstdint>

#include "simd/attention.h"

namespace etalon::simd {

// Rows per call: keys and values are packed once for all of them; queries,
// states and the packed chunk stay in L2.
inline constexpr size_t kBf16MaxRows = 1024;
// Rows per step of the tile unit: two tiles of 16.
inline constexpr size_t kBf16Rows = 32;

// Whether the active tier has bf16 products: amx, and avx512-vnni on processors
// with AVX512_BF16.
bool HasAttentionBf16();

// head_dim in whole tile depths of 32 elements.
constexpr size_t Bf16HeadDim(size_t head_dim) {
  return (head_dim + 31) / 32 * 32;
}
constexpr size_t Bf16Rows(size_t n_rows) {
  return (n_rows + kBf16Rows - 1) / kBf16Rows * kBf16Rows;
}

// q: [Bf16Rows(n_rows), Bf16HeadDim(head_dim)] bf16 from rows of head_dim f32
// times the scale of the scores, what is past them +0.
void PackQueriesBf16(const float* const* rows, size_t n_rows, size_t head_dim,
                     float scale, uint16_t* q);

// Bytes of scratch for one call, 64-byte aligned.
size_t AttentionBf16ScratchBytes(size_t head_dim);

struct Bf16ChunkArgs {
  const uint16_t* q = nullptr;  // as PackQueriesBf16 leaves it
  size_t n_rows = 0;            // 1..kBf16MaxRows
  size_t head_dim = 0;
  KvRows k;  // F32 or F16
  KvRows v;
  const size_t* n_visible = nullptr;  // [n_rows], 0..256 each
  std::byte* scratch = nullptr;
  // Before the first chunk m = -Inf, l = 0, o = 0, lanes past head_dim too. A
  // row that sees nothing keeps its state.
  SoftmaxStates state;
};
// Only where HasAttentionBf16(). Positions that no row sees are not read; what
// a row does not see does not enter its state, NaN and Inf included.
void AttentionChunkBf16(const Bf16ChunkArgs& args);

}  // namespace etalon::simd

#endif  // ETALON_SIMD_ATTENTION_BF16_H_
