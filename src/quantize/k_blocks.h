// One super-block of 256 weights: x and error weights w, both [256].
#ifndef ETALON_QUANTIZE_K_BLOCKS_H_
#define ETALON_QUANTIZE_K_BLOCKS_H_

#include "quant/block_formats.h"

namespace etalon::quantize {

void QuantizeKBlock(const float* x, const float* w, BlockQ4_K& out);
void QuantizeKBlock(const float* x, const float* w, BlockQ5_K& out);
void QuantizeKBlock(const float* x, const float* w, BlockQ6_K& out);

}  // namespace etalon::quantize

#endif  // ETALON_QUANTIZE_K_BLOCKS_H_
