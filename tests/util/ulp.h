// Distances between floating-point numbers, defined once (docs/numerics.md).
#ifndef ETALON_TESTS_UTIL_ULP_H_
#define ETALON_TESTS_UTIL_ULP_H_

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

namespace etalon::test {

inline constexpr uint64_t kInfiniteUlp = std::numeric_limits<uint64_t>::max();

// Sign-magnitude bits as a monotone integer; ord(+0) = ord(-0) = 0.
inline int64_t Ord(float x) {
  const uint32_t b = std::bit_cast<uint32_t>(x);
  const int64_t magnitude = b & 0x7FFFFFFFu;
  return (b >> 31) != 0 ? -magnitude : magnitude;
}
// The same for the raw bits of f16 and bf16.
inline int64_t Ord16(uint16_t b) {
  const int64_t magnitude = b & 0x7FFFu;
  return (b >> 15) != 0 ? -magnitude : magnitude;
}

// Representable steps from a to b. NaN-NaN is 0 (payloads ignored), NaN-number
// and Inf-finite are infinite, Inf-same Inf is 0.
inline uint64_t UlpDistance(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) {
    return std::isnan(a) && std::isnan(b) ? 0 : kInfiniteUlp;
  }
  if (std::isinf(a) || std::isinf(b)) return a == b ? 0 : kInfiniteUlp;
  const int64_t d = Ord(a) - Ord(b);
  return static_cast<uint64_t>(d < 0 ? -d : d);
}

// ulp(y) of f32 at a real number: 2^(max(floor(log2 |y|), -126) - 23).
inline double UlpOf(double y) {
  const int e = y == 0.0 || !std::isfinite(y) ? -126 : std::ilogb(y);
  return std::ldexp(1.0, std::max(e, -126) - 23);
}
// |actual - y| / ulp(y), y the exact or fp64 value. NaN where either is NaN
// and the other is not, so that `!(error <= bound)` fails.
inline double UlpError(float actual, double y) {
  if (std::isnan(actual) && std::isnan(y)) return 0.0;
  if (std::isinf(actual) && static_cast<double>(actual) == y) return 0.0;
  return std::abs(static_cast<double>(actual) - y) / UlpOf(y);
}

// Bits with every NaN made the same one: the strict profile's equality. The
// sign of zero counts.
inline uint32_t CanonicalBits(float x) {
  return std::isnan(x) ? 0x7FC00000u : std::bit_cast<uint32_t>(x);
}
inline bool SameBits(float a, float b) {
  return CanonicalBits(a) == CanonicalBits(b);
}
inline size_t BitDiff(std::span<const float> a, std::span<const float> b) {
  size_t n = a.size() == b.size() ? 0 : std::max(a.size(), b.size());
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    n += SameBits(a[i], b[i]) ? 0 : 1;
  }
  return n;
}

}  // namespace etalon::test

#endif  // ETALON_TESTS_UTIL_ULP_H_
