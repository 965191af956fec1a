// Quantisation of activation rows, scalar: what simd/quantize_row.h must equal
// bit for bit.
//
// Q8_K, per 256 values:
//   max    = x[i] of the first i with the largest |x[i]| (strict >: on a tie of
//            +a and -a the earlier one decides the sign of d)
//   iscale = fl(-127 / max)
//   q[i]   = RNE(fl(iscale * x[i])), at most 127. |q| <= 127 always, since
//            fl(iscale * max) is within 2 ulp of -127; int8 products therefore
//            never see -128.
//   d      = fl(1 / iscale): negative when max > 0
//   bsums[j] = q[16 j] + ... + q[16 j + 15]
//   max |x| < 2^-120 (iscale would overflow near 2^-121): d = +0, q = bsums =
//   0.
// Q8_0, per 32 values:
//   amax = max |x|; d = f16(fl(amax / 127)), id = fl(127 / amax),
//   q[i] = RNE(fl(id * x[i])), |q| <= 127.
//   amax < 2^-120: d = +0, q = 0. From there to about 3.8e-6 d rounds to +0 in
//   f16 while q does not: the block still stands for zeros.
// RNE: round half to even (2.5 -> 2, 3.5 -> 4). -0.0 quantises to 0.
// Non-finite: a block with any NaN or Inf, or (Q8_0) whose d overflows f16
// (amax / 127 >= 65520), gets d = the quiet NaN with zero payload and q = bsums
// = 0, so that every product with it is NaN and nothing fails silently.
#ifndef ETALON_QUANT_QUANTIZE_ROW_H_
#define ETALON_QUANT_QUANTIZE_ROW_H_

#include <cstddef>

#include "quant/block_formats.h"

namespace etalon {

// Below this magnitude a block is all zeros.
inline constexpr float kQuantizeZeroBelow = 0x1p-120f;

// x [n] to out [n / 256]. Precondition: n % 256 == 0.
void QuantizeRowQ8K(const float* x, size_t n, BlockQ8_K* out);
// x [n] to out [n / 32]. Precondition: n % 32 == 0.
void QuantizeRowQ80(const float* x, size_t n, BlockQ8_0* out);

}  // namespace etalon

#endif  // ETALON_QUANT_QUANTIZE_ROW_H_
