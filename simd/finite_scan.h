// NaN and Inf among stored weights, found before any kernel multiplies by them.
#ifndef ETALON_SIMD_FINITE_SCAN_H_
#define ETALON_SIMD_FINITE_SCAN_H_

#include <cstddef>
#include <optional>

#include "etalon/types.h"

namespace etalon::simd {

// Index of the first of n_blocks consecutive blocks with a NaN or Inf scale (d,
// dmin, m); for F32, F16 and BF16, whose block is one element, of the first
// such element. Subnormals and zeros are finite. `rows` holds n_blocks *
// block_bytes bytes of any alignment; only the scales are looked at.
// Precondition: FindTypeTraits(type) != nullptr.
std::optional<size_t> FirstNonFiniteBlock(TensorType type,
                                          const std::byte* rows,
                                          size_t n_blocks);

}  // namespace etalon::simd

#endif  // ETALON_SIMD_FINITE_SCAN_H_
