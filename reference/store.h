// From fp64 values to an op's f32 output: the one rounding of the reference.
#ifndef ETALON_REFERENCE_STORE_H_
#define ETALON_REFERENCE_STORE_H_

#include <cstddef>
#include <vector>

#include "etalon/tensor.h"

namespace etalon::reference {

inline void Store(const std::vector<double>& value, const Span2D<float>& out) {
  for (size_t r = 0; r < out.rows; ++r) {
    const std::span<float> row = out.row(r);
    for (size_t c = 0; c < out.cols; ++c) {
      row[c] = static_cast<float>(value[r * out.cols + c]);
    }
  }
}

// Copies x, dense, in fp64.
template <class T>
std::vector<double> Widen(const Span2D<T>& x) {
  std::vector<double> v;
  v.reserve(x.rows * x.cols);
  for (size_t r = 0; r < x.rows; ++r) {
    for (const float value : x.row(r)) v.push_back(static_cast<double>(value));
  }
  return v;
}

}  // namespace etalon::reference

#endif  // ETALON_REFERENCE_STORE_H_
