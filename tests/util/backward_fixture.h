// Matrices in f32 and the same in fp64, for tests of backward passes.
#ifndef ETALON_TESTS_UTIL_BACKWARD_FIXTURE_H_
#define ETALON_TESTS_UTIL_BACKWARD_FIXTURE_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "etalon/tensor.h"
#include "reference/backward.h"
#include "tests/util/random.h"

namespace etalon::test {

// Rows of f32 with NaN between them, so that reading the gaps shows.
class Rows {
 public:
  Rows(size_t rows, size_t cols, size_t gap = 3)
      : rows_(rows),
        cols_(cols),
        stride_(cols + gap),
        data_(rows * stride_, std::numeric_limits<float>::quiet_NaN()) {
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < cols; ++c) at(r, c) = 0.0f;
    }
  }
  static Rows Random(test::Random& rng, size_t rows, size_t cols,
                     float mean = 0, float spread = 1, size_t gap = 3) {
    Rows m(rows, cols, gap);
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < cols; ++c) {
        m.at(r, c) = mean + spread * rng.Uniform();
      }
    }
    return m;
  }

  float& at(size_t r, size_t c) { return data_[r * stride_ + c]; }
  float at(size_t r, size_t c) const { return data_[r * stride_ + c]; }
  Span2D<float> span() { return {data_.data(), rows_, cols_, stride_}; }
  Span2D<const float> span() const {
    return {data_.data(), rows_, cols_, stride_};
  }
  // One row as a vector.
  std::span<float> vector() { return {data_.data(), cols_}; }
  WeightMatrix weights() const {
    return {TensorType::kF32, reinterpret_cast<const std::byte*>(data_.data()),
            rows_, cols_, stride_ * sizeof(float)};
  }
  HeadsView<float> heads(size_t head_dim) {
    return {data_.data(), rows_, cols_ / head_dim, head_dim, stride_, head_dim};
  }
  HeadsView<const float> const_heads(size_t head_dim) const {
    return {data_.data(), rows_, cols_ / head_dim, head_dim, stride_, head_dim};
  }
  reference::Matrix matrix() const {
    reference::Matrix m(rows_, cols_);
    for (size_t r = 0; r < rows_; ++r) {
      for (size_t c = 0; c < cols_; ++c) {
        m(r, c) = static_cast<double>(at(r, c));
      }
    }
    return m;
  }
  size_t rows() const { return rows_; }
  size_t cols() const { return cols_; }
  const std::vector<float>& data() const { return data_; }

 private:
  size_t rows_, cols_, stride_;
  std::vector<float> data_;
};

// Every element within its bound; returns the largest share of a bound used.
inline double ExpectWithin(const Rows& got, const reference::Matrix& want,
                           const reference::Matrix& bound,
                           const std::string& what) {
  EXPECT_EQ(got.rows() * got.cols(), want.v.size()) << what;
  EXPECT_EQ(want.v.size(), bound.v.size()) << what;
  if (::testing::Test::HasFailure()) return 0;
  double largest = 0;
  for (size_t r = 0; r < got.rows(); ++r) {
    for (size_t c = 0; c < got.cols(); ++c) {
      const double error =
          std::abs(static_cast<double>(got.at(r, c)) - want(r, c));
      EXPECT_TRUE(error <= bound(r, c))
          << what << "[" << r << ", " << c << "]: got " << got.at(r, c)
          << ", want " << want(r, c) << ", bound " << bound(r, c);
      if (!(error <= bound(r, c))) return largest;
      if (error > 0) largest = std::max(largest, error / bound(r, c));
    }
  }
  return largest;
}

}  // namespace etalon::test

#endif  // ETALON_TESTS_UTIL_BACKWARD_FIXTURE_H_
