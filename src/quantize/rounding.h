// Small exact helpers of the weight quantisers.
#ifndef ETALON_QUANTIZE_ROUNDING_H_
#define ETALON_QUANTIZE_ROUNDING_H_

#include <algorithm>

namespace etalon::quantize {

// Groups whose values, or whose range, are no larger than this count as
// constant: no f16 scale could tell (the smallest is 2^-24), and every inverse
// below is finite.
inline constexpr float kZeroBelow = 1e-15f;

// numerator / x, 0 where x counts as zero.
inline float InverseOrZero(float x, float numerator = 1.0f) {
  return x > kZeroBelow || x < -kZeroBelow ? numerator / x : 0.0f;
}

// Nearest integer, ties to even, |x| < 2^22: adding 1.5 * 2^23 pushes the
// fraction out of the mantissa. Vectorises where nearbyint is a call.
inline float RoundSmall(float x) {
  constexpr float kMagic = 0x1.8p23f;
  return (x + kMagic) - kMagic;
}

// The integer of lo..hi nearest to x.
inline float RoundInto(float x, float lo, float hi) {
  return RoundSmall(std::min(std::max(x, lo), hi));
}

}  // namespace etalon::quantize

#endif  // ETALON_QUANTIZE_ROUNDING_H_
