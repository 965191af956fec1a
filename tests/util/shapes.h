// Edges around tiles, and strided matrices whose padding is poisoned.
#ifndef ETALON_TESTS_UTIL_SHAPES_H_
#define ETALON_TESTS_UTIL_SHAPES_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <set>
#include <span>
#include <vector>

#include "etalon/tensor.h"

namespace etalon::test {

// 1, t - 1, t, t + 1, 2 t + 1 for every tile t: ascending, without 0.
inline std::vector<size_t> EdgesAround(std::initializer_list<size_t> tiles) {
  std::set<size_t> edges = {1};
  for (const size_t t : tiles) {
    for (const size_t e : {t - 1, t, t + 1, 2 * t + 1}) {
      if (e > 0) edges.insert(e);
    }
  }
  return {edges.begin(), edges.end()};
}

// [rows, cols] at a stride wider than a row, starting `offset` elements after
// the allocation. Everything outside the elements is NaN with a payload of its
// own: reading it shows in the result, and PaddingIntact() tells a write.
class PaddedMatrix {
 public:
  PaddedMatrix(size_t rows, size_t cols, size_t padding = 3, size_t offset = 1)
      : rows_(rows),
        cols_(cols),
        stride_(cols + padding),
        offset_(offset),
        data_(offset + rows * (cols + padding), Poison()) {
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < cols; ++c) at(r, c) = 0.0f;
    }
  }
  PaddedMatrix(std::span<const float> values, size_t rows, size_t cols,
               size_t padding = 3, size_t offset = 1)
      : PaddedMatrix(rows, cols, padding, offset) {
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < cols; ++c) at(r, c) = values[r * cols + c];
    }
  }

  static float Poison() { return std::bit_cast<float>(0x7FC0BEEFu); }

  float& at(size_t r, size_t c) { return data_[offset_ + r * stride_ + c]; }
  float at(size_t r, size_t c) const {
    return data_[offset_ + r * stride_ + c];
  }
  Span2D<float> view() {
    return {data_.data() + offset_, rows_, cols_, stride_};
  }
  Span2D<const float> view() const {
    return {data_.data() + offset_, rows_, cols_, stride_};
  }
  size_t stride() const { return stride_; }

  // The elements, row by row, without padding.
  std::vector<float> Dense() const {
    std::vector<float> out;
    out.reserve(rows_ * cols_);
    for (size_t r = 0; r < rows_; ++r) {
      for (size_t c = 0; c < cols_; ++c) out.push_back(at(r, c));
    }
    return out;
  }
  bool PaddingIntact() const {
    for (size_t i = 0; i < data_.size(); ++i) {
      const bool is_element = i >= offset_ && (i - offset_) % stride_ < cols_;
      if (!is_element && std::bit_cast<uint32_t>(data_[i]) !=
                             std::bit_cast<uint32_t>(Poison())) {
        return false;
      }
    }
    return true;
  }

 private:
  size_t rows_;
  size_t cols_;
  size_t stride_;
  size_t offset_;
  std::vector<float> data_;
};

}  // namespace etalon::test

#endif  // ETALON_TESTS_UTIL_SHAPES_H_
