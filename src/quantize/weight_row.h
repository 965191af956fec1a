// Rows of f32 weights to any stored type, with the search that makes few bits
// go far. All of it is deterministic: the same row gives the same bytes on
// every machine and thread.
//   F32, F16, BF16: rounded to nearest even.
//   Q4_0, Q4_1, Q5_0, Q5_1, Q8_0: the plain rule of the format, blocks_32.h;
//   with an importance, scale_fit.h per block (not Q8_0).
//   Q4_K, Q5_K, Q6_K: scale_fit.h per sub-block; then the sub-block scales (and
//   minimums) are put on their 6- or 8-bit grid and q is rounded anew.
// Decisions and roundings are those of the formats' established quantisers, so
// that a model quantised here is the model everybody else measured: searches
// that lose less in every sum of squares tried moved the perplexity of small
// models by up to 2 % in either direction, and weighing all elements the same
// costs rows with heavy tails what matters most, their large values.
// Importance is the mean square of the activation a column meets: sum_i
// importance_i * error_i^2 is the expected squared error of the product,
// activations taken as uncorrelated. Q6_K minimises just that; the others
// multiply by sqrt(c * mean x^2 + x_i^2), which minds large weights more.
#ifndef ETALON_QUANTIZE_WEIGHT_ROW_H_
#define ETALON_QUANTIZE_WEIGHT_ROW_H_

#include <cstddef>

#include "etalon/types.h"

namespace etalon::quantize {

// Largest |x| that every field of `type` can represent: what is beyond would
// become Inf.
float LargestWeight(TensorType type);

// x [n] -> out, RowBytes(type, n) bytes aligned to 4. importance [n] or null,
// finite and >= 0. Preconditions: type is a weight type, n a multiple of its
// block, |x| <= LargestWeight(type).
void QuantizeWeightRow(TensorType type, const float* x, size_t n,
                       const float* importance, std::byte* out);

}  // namespace etalon::quantize

#endif  // ETALON_QUANTIZE_WEIGHT_ROW_H_
