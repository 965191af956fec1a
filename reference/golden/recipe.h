// How the data of a generated case are made: Philox4x32-10 and a rule, integer
// arithmetic only, so that any language can make the same bytes
// (docs/golden-packs.md, "Recipes").
#ifndef ETALON_REFERENCE_GOLDEN_RECIPE_H_
#define ETALON_REFERENCE_GOLDEN_RECIPE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "etalon/status.h"
#include "etalon/types.h"
#include "reference/golden/tensor.h"

namespace etalon::golden {

using Words = std::array<uint32_t, 4>;
// Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
Words Philox4x32_10(Words counter, std::array<uint32_t, 2> key);

struct Recipe {
  std::string rule = "normal";
  uint32_t stream = 0;
  int times_log2 = 0;
  uint64_t n = 0;                                  // `below`
  int64_t first = 0;                               // `iota`
  std::vector<uint32_t> bits;                      // `values`
  std::string type;                                // `blocks`
  std::string variant;                             // `blocks`
  std::vector<std::pair<size_t, uint32_t>> patch;  // element, its bits
  std::optional<size_t> poison_axis;
  size_t poison_from = 0;
};

inline constexpr uint32_t kPoison = 0x7FC0BEEFu;
inline constexpr uint16_t kPoisonF16 = 0x7E01;
inline constexpr uint16_t kPoisonBF16 = 0x7FC1;

// The NaN of padding and unused positions, in any float dtype.
void PutPoison(DType dtype, std::byte* to);

// Error: a rule that is not known, or does not fit dtype and shape.
Expected<Tensor> Generate(const Recipe& recipe, DType dtype, const Shape& shape,
                          uint64_t seed);

}  // namespace etalon::golden

#endif  // ETALON_REFERENCE_GOLDEN_RECIPE_H_
