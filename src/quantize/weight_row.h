// Rows of f32 weights to any stored type, with the search that makes few bits
// go far. All of it is deterministic: the same row gives the same bytes on
// every machine and thread.
//   F32, F16, BF16: rounded to nearest even.
//   Q8_0: the rule of quant/quantize_row.h.
//   Q4_0, Q5_0, Q4_1, Q5_1: scale_fit.h per block of 32.
//   Q4_K, Q5_K, Q6_K: scale_fit.h per sub-block; then the sub-block scales (and
//   minimums) are put on their 6- or 8-bit grid, and grid and q are improved
//   in turn: each sub-block tries the neighbours of its scale and minimum, the
//   block's d and dmin are solved by least squares.
// Errors are weighed by the importance of their column, the mean square of the
// activation it meets: sum_i importance_i * error_i^2 is then the expected
// squared error of the product, activations taken as uncorrelated. Without it
// all weigh the same. Weights that grow with |x_i|, which other quantisers use,
// were measured and lost: on a trained model in Q4_0, Q4_K_S and Q5_K_M the
// divergence from the original's predictions was 13, 6 and 4 % higher.
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
