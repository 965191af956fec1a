// Strided, non-owning views. They are cheap to copy and own nothing. T is
// const for inputs. Strides count elements unless the name says bytes.
#ifndef ETALON_TENSOR_H_
#define ETALON_TENSOR_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "etalon/status.h"
#include "etalon/types.h"

namespace etalon {

// Rank 2: [rows, cols], row r starts at data + r * stride, stride >= cols.
template <class T>
struct Span2D {
  T* data = nullptr;
  size_t rows = 0;
  size_t cols = 0;
  size_t stride = 0;

  Span2D() = default;
  Span2D(T* d, size_t r, size_t c, size_t s)
      : data(d), rows(r), cols(c), stride(s) {}
  Span2D(T* d, size_t r, size_t c) : Span2D(d, r, c, c) {}
  // Span2D<float> -> Span2D<const float>.
  template <class U>
  requires(std::is_same_v<const U, T> && !std::is_same_v<U, T>)
      Span2D(const Span2D<U>& o)  // NOLINT(google-explicit-constructor)
      : data(o.data), rows(o.rows), cols(o.cols), stride(o.stride) {}

  std::span<T> row(size_t r) const {
    ETALON_DCHECK(r < rows);
    return {data + r * stride, cols};
  }
  Span2D Rows(size_t begin, size_t end) const {
    ETALON_DCHECK(begin <= end && end <= rows);
    return {data + begin * stride, end - begin, cols, stride};
  }
  bool empty() const { return rows == 0 || cols == 0; }
};

// A weight matrix as stored: W [rows = out features N, cols = in features K],
// row r starts at data + r * stride_bytes. Blocks run along a row.
struct WeightMatrix {
  TensorType type = TensorType::kF32;
  const std::byte* data = nullptr;
  size_t rows = 0;
  size_t cols = 0;
  size_t stride_bytes = 0;

  const std::byte* row(size_t r) const {
    ETALON_DCHECK(r < rows);
    return data + r * stride_bytes;
  }
};

// A stack of expert matrices: [n_experts, rows, cols].
struct ExpertWeights {
  WeightMatrix first;  // expert 0
  size_t n_experts = 0;
  size_t expert_stride_bytes = 0;
  std::span<const float> scales;  // [n_experts] or empty: factor of each

  WeightMatrix expert(size_t e) const {
    ETALON_DCHECK(e < n_experts);
    WeightMatrix m = first;
    m.data += e * expert_stride_bytes;
    return m;
  }
};

// Keys or values of one sequence: element (kv_head h, position p, lane d) is
// at data[h * head_stride + p * pos_stride + d]. Head-major caches, token-major
// caches and interleaved [T][H*hd] buffers differ in the strides only. Q8_0
// rows are whole blocks of 32 lanes, the last one padded: strides still count
// elements, as multiples of 32.
template <class Byte>
struct BasicKvView {
  TensorType type = TensorType::kF32;  // F32, F16, BF16 or Q8_0
  Byte* data = nullptr;
  size_t n_kv_heads = 0;
  size_t kv_capacity = 0;  // positions allocated per head
  size_t head_dim = 0;
  size_t head_stride = 0;  // elements
  size_t pos_stride = 0;   // elements
};
using KvView = BasicKvView<const std::byte>;
using MutableKvView = BasicKvView<std::byte>;

// Queries or attention output: element (token t, head h, lane d) is at
// data[t * token_stride + h * head_stride + d].
template <class T>
struct HeadsView {
  T* data = nullptr;
  size_t n_tokens = 0;
  size_t n_heads = 0;
  size_t head_dim = 0;
  size_t token_stride = 0;
  size_t head_stride = 0;

  T* at(size_t t, size_t h) const {
    ETALON_DCHECK(t < n_tokens && h < n_heads);
    return data + t * token_stride + h * head_stride;
  }
};

}  // namespace etalon

#endif  // ETALON_TENSOR_H_
