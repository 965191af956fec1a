// Quantised activations in the order in which the matrix kernels walk them:
// chunks of 256 columns outermost, so that all tokens of a chunk lie together
// and meet a weight panel while it is in the first-level cache.
//   qs    [n_chunks, stride_rows, 256]            int8
//   d     [n_chunks, stride_rows, 256 / block]    f32
//   sums  [n_chunks, stride_rows, 8]              Q8_0: int32 sums of 32;
//         Q8_K: the 16 int16 sums of 16, two to a word, ascending
//   pairs [n_chunks, stride_rows, 4]              Q8_K: int16 sums of 32, words
//         (0, 2), (1, 3), (4, 6), (5, 7), low half first
//   starts [n_chunks, stride_rows, 8] Q8_K: int32 sums of 32 times -8, which
//         centre quants of 0 .. 15
// block is 256 (Q8_K) or 32 (Q8_0). The order of `pairs` is that in which 6-bit
// mins fall out of their bytes. Where cols is not a multiple of 256 the last
// chunk is only partly filled.
#ifndef ETALON_SIMD_GEMM_ACTIVATIONS_H_
#define ETALON_SIMD_GEMM_ACTIVATIONS_H_

#include <cstddef>
#include <cstdint>

#include "etalon/types.h"
#include "simd/activation_rows.h"

namespace etalon::simd {

inline constexpr size_t kChunk = 256;

struct GemmActivations {
  size_t rows = 0;
  size_t cols = 0;
  size_t block = 0;
  size_t stride_rows = 0;  // rows of the buffer this is a part of
  int8_t* qs = nullptr;
  float* d = nullptr;
  int32_t* sums = nullptr;
  int32_t* pairs = nullptr;
  int32_t* starts = nullptr;

  size_t n_chunks() const { return (cols + kChunk - 1) / kChunk; }
  size_t blocks_per_chunk() const { return block == kChunk ? 1 : 8; }

  const int8_t* QsAt(size_t chunk, size_t row) const {
    return qs + (chunk * stride_rows + row) * kChunk;
  }
  const float* DAt(size_t chunk, size_t row) const {
    return d + (chunk * stride_rows + row) * blocks_per_chunk();
  }
  const int32_t* SumsAt(size_t chunk, size_t row) const {
    return sums + (chunk * stride_rows + row) * 8;
  }
  const int32_t* PairsAt(size_t chunk, size_t row) const {
    return pairs + (chunk * stride_rows + row) * 4;
  }
  const int32_t* StartsAt(size_t chunk, size_t row) const {
    return starts + (chunk * stride_rows + row) * 8;
  }
  // Rows begin .. end - 1.
  GemmActivations Slice(size_t begin, size_t end) const {
    GemmActivations s = *this;
    s.rows = end - begin;
    s.qs += begin * kChunk;
    s.d += begin * blocks_per_chunk();
    s.sums += begin * 8;
    if (pairs != nullptr) s.pairs += begin * 4;
    if (starts != nullptr) s.starts += begin * 8;
    return s;
  }
};

// Bytes for `rows` x `cols` activations of type Q8_K or Q8_0, and their layout
// in 64-byte aligned memory. A kernel may read, and ignore, up to a tile of
// rows past the last one: they are part of the buffer.
size_t GemmActivationsBytes(TensorType type, size_t rows, size_t cols);
GemmActivations PlaceGemmActivations(TensorType type, size_t rows, size_t cols,
                                     void* memory);

// Row `to` of out from row `from` of x. Rows are independent.
void PackActivationRow(const ActivationRows& x, size_t from, size_t to,
                       const GemmActivations& out);

}  // namespace etalon::simd

#endif  // ETALON_SIMD_GEMM_ACTIVATIONS_H_
