// One block of 32 weights. w [32]: what an error of each element costs, or null
// for the plain rule of the format:
//   Q4_0, Q5_0: d = (the value of largest magnitude) / -8 or / -16,
//               q = floor(x / d + 8.5) or floor(x / d + 16.5)
//   Q4_1, Q5_1: m = min, d = (max - min) / 15 or / 31,
//               q = floor((x - m) / d + 0.5)
//   Q8_0:       d = max |x| / 127, q = x / d to the nearest, halves away from 0
// q is of the f32 d, and x / d stands for x * fl(1 / d): what the established
// quantisers compute, to the bit. With w, scale_fit.h.
#ifndef ETALON_QUANTIZE_BLOCKS_32_H_
#define ETALON_QUANTIZE_BLOCKS_32_H_

#include "quant/block_formats.h"

namespace etalon::quantize {

void QuantizeBlock(const float* x, const float* w, BlockQ4_0& out);
void QuantizeBlock(const float* x, const float* w, BlockQ4_1& out);
void QuantizeBlock(const float* x, const float* w, BlockQ5_0& out);
void QuantizeBlock(const float* x, const float* w, BlockQ5_1& out);
// So fine a grid has nothing to search: w is ignored.
void QuantizeBlock(const float* x, const float* w, BlockQ8_0& out);

}  // namespace etalon::quantize

#endif  // ETALON_QUANTIZE_BLOCKS_32_H_
