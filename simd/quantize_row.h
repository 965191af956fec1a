// Quantises one f32 row into a structure-of-arrays activation buffer: the rules
// and the bits of quant/quantize_row.h on every tier, without the trip through
// blocks. The type follows out.block: 256 is Q8_K, 32 is Q8_0.
//   x [out.cols]; writes row `row` of out.qs, out.d and out.bsums.
// Rows are independent: different rows may be written by different threads.
#ifndef ETALON_SIMD_QUANTIZE_ROW_H_
#define ETALON_SIMD_QUANTIZE_ROW_H_

#include <cstddef>

#include "simd/activation_rows.h"

namespace etalon::simd {

void QuantizeActivationRow(const float* x, size_t row,
                           const MutableActivationRows& out);

}  // namespace etalon::simd

#endif  // ETALON_SIMD_QUANTIZE_ROW_H_
