// One super-block of 256 weights: x and the importance of their columns, both
// [256]; importance may be null.
#ifndef ETALON_QUANTIZE_K_BLOCKS_H_
#define ETALON_QUANTIZE_K_BLOCKS_H_

#include "quant/block_formats.h"

namespace etalon::quantize {

void QuantizeBlock(const float* x, const float* importance, BlockQ4_K& out);
void QuantizeBlock(const float* x, const float* importance, BlockQ5_K& out);
void QuantizeBlock(const float* x, const float* importance, BlockQ6_K& out);

}  // namespace etalon::quantize

#endif  // ETALON_QUANTIZE_K_BLOCKS_H_
