// Softmax of rows, single-threaded; semantics of etalon/elementwise.h.
#ifndef ETALON_SIMD_SOFTMAX_H_
#define ETALON_SIMD_SOFTMAX_H_

#include "etalon/tensor.h"

namespace etalon::simd {

// out[t, i] = exp(x[t, i] - m) * fl(1 / l), m = max_i x[t, i], l = the sum of
// the exps in 16 virtual lanes. x, out [rows, cols]; out may be x itself.
void SoftmaxRows(Span2D<const float> x, Span2D<float> out);

}  // namespace etalon::simd

#endif  // ETALON_SIMD_SOFTMAX_H_
