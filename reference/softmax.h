// Softmax of one row in fp64, shared by the ops that contain one.
#ifndef ETALON_REFERENCE_SOFTMAX_H_
#define ETALON_REFERENCE_SOFTMAX_H_

#include <span>

namespace etalon::reference {

// row = exp(row - max) / sum; returns max. NaN anywhere, a maximum of +Inf and
// a row of -Inf only make every element NaN.
double SoftmaxInPlace(std::span<double> row);

}  // namespace etalon::reference

#endif  // ETALON_REFERENCE_SOFTMAX_H_
