// Row kernels of backward passes, single-threaded; formulas and order of
// evaluation: include/etalon/backward.h.
#ifndef ETALON_SIMD_BACKWARD_H_
#define ETALON_SIMD_BACKWARD_H_

#include <cstddef>

namespace etalon::simd {

// d_x of one row; weight may be null (ones), d_x may be d_out.
void RmsNormBackwardRow(const float* x, const float* weight, float rstd,
                        const float* d_out, float* d_x, size_t n);
// sum[d] = fma(d_out[d], fl(x[d] * rstd), sum[d]).
void RmsNormBackwardWeight(const float* x, float rstd, const float* d_out,
                           float* sum, size_t n);

void SwiGluBackward(const float* gate, const float* up, const float* d_out,
                    float* d_gate, float* d_up, size_t n);

// Softmax of one row in place, as SoftmaxRows; returns max and the sum.
struct SoftmaxSums {
  float max;
  float sum;
};
SoftmaxSums SoftmaxInPlace(float* x, size_t n);

// ds = p * (dp - sum_j p_j dp_j), the sum in 16 lanes; written over dp.
void SoftmaxBackwardRow(const float* p, float* dp, size_t n);

// to[i] = fl(to[i] + x[i]).
void AddTo(const float* x, float* to, size_t n);

// One step of AdamW on n parameters (train/adamw.h).
struct AdamWStep {
  float grad_factor;  // gradients are multiplied by it first
  float beta1, beta2;
  float step_size;        // learning rate over the bias correction of m
  float inv_correction2;  // 1 / sqrt(1 - beta2^t)
  float eps;
  float decay;  // 1 - learning rate * weight decay
};
void AdamW(const AdamWStep& step, const float* grad, float* m, float* v,
           float* param, size_t n);

// Sum of squares in 16 virtual f64 lanes.
double SumOfSquares(const float* x, size_t n);

}  // namespace etalon::simd

#endif  // ETALON_SIMD_BACKWARD_H_
