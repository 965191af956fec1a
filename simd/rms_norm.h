// RMSNorm of rows, single-threaded; mathematics, order of evaluation and error
// bound are those of etalon/norm.h.
#ifndef ETALON_SIMD_RMS_NORM_H_
#define ETALON_SIMD_RMS_NORM_H_

#include "etalon/tensor.h"

namespace etalon::simd {

// out[t, d] = x[t, d] * rstd[t] * weight[d]; rstd[t] = 1 / sqrt(mean + eps).
//   x, out [rows, cols], row strides free; out may be x itself.
//   weight [cols] or null (all ones); rstd [rows] or null (not wanted).
void RmsNormRows(Span2D<const float> x, const float* weight, float eps,
                 Span2D<float> out, float* rstd);

}  // namespace etalon::simd

#endif  // ETALON_SIMD_RMS_NORM_H_
