// Comparisons that NaN cannot pass: every gate is `!(err <= tol)`.
#ifndef ETALON_TESTS_UTIL_TOLERANCE_H_
#define ETALON_TESTS_UTIL_TOLERANCE_H_

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>

#include "etalon/simd_tier.h"
#include "tests/util/random.h"
#include "tests/util/ulp.h"

namespace etalon::test {

// What a failure message names beside the numbers.
struct CaseLabel {
  std::string op;     // "gemm Q4_K"
  std::string shape;  // "M=3 N=17 K=256"
  std::string where;  // backend, tier, threads, family
};

// err / bound over everything an op was compared on.
struct RatioStats {
  size_t n = 0;
  double max = 0.0;
  double sum = 0.0;

  void Add(double ratio) {
    ++n;
    max = std::fmax(max, ratio);
    sum += ratio;
  }
  void Merge(const RatioStats& o) {
    n += o.n;
    max = std::fmax(max, o.max);
    sum += o.sum;
  }
  double mean() const { return n == 0 ? 0.0 : sum / static_cast<double>(n); }
};

// Is `actual` an acceptable f32 for the real number `expected`?
//   NaN wants NaN, an infinity wants the same infinity, a finite number wants
//   |actual - expected| <= bound; an infinity is also accepted for a number so
//   near to the largest f32 that the bound reaches past it.
// `ratio` is err / bound (0 / 0 = 0); it is +Inf for every wrong special.
inline bool Acceptable(float actual, double expected, double bound,
                       double* ratio) {
  const double a = static_cast<double>(actual);
  *ratio = std::numeric_limits<double>::infinity();
  if (std::isnan(expected)) {
    if (!std::isnan(a)) return false;
    *ratio = 0.0;
    return true;
  }
  if (std::isinf(expected) || std::isinf(a)) {
    constexpr double kOverflow = 0x1.ffffffp127;  // rounds to infinity
    const bool same_sign = std::signbit(a) == std::signbit(expected);
    if (!same_sign || !std::isinf(a)) return false;
    if (!std::isinf(expected) && !(std::abs(expected) + bound >= kOverflow)) {
      return false;
    }
    *ratio = 0.0;
    return true;
  }
  const double err = std::abs(a - expected);
  if (!(err <= bound)) {
    if (bound > 0.0 && err == err) *ratio = err / bound;
    return false;
  }
  *ratio = err == 0.0 ? 0.0 : err / bound;
  return true;
}

inline std::string Describe(const CaseLabel& c) {
  return c.op + " [" + c.shape + "] " + c.where + " tier " +
         std::string(SimdTierName(ActiveSimdTier()));
}

// Every element of `actual` within its bound of `expected`.
inline ::testing::AssertionResult WithinBound(std::span<const float> actual,
                                              std::span<const double> expected,
                                              std::span<const double> bound,
                                              const CaseLabel& label,
                                              RatioStats* stats = nullptr) {
  if (actual.size() != expected.size() || actual.size() != bound.size()) {
    return ::testing::AssertionFailure()
           << Describe(label) << ": " << actual.size() << " values, "
           << expected.size() << " expected, " << bound.size() << " bounds";
  }
  size_t failures = 0;
  size_t worst = 0;
  double worst_ratio = -1.0;
  for (size_t i = 0; i < actual.size(); ++i) {
    double ratio = 0.0;
    const bool ok = Acceptable(actual[i], expected[i], bound[i], &ratio);
    if (stats != nullptr) stats->Add(ratio);
    if (ok) continue;
    ++failures;
    if (ratio > worst_ratio) {
      worst_ratio = ratio;
      worst = i;
    }
  }
  if (failures == 0) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << Describe(label) << ": " << failures << " of " << actual.size()
         << " elements out of bound; worst at " << worst << ": expected "
         << ::testing::PrintToString(expected[worst]) << ", actual "
         << ::testing::PrintToString(actual[worst]) << ", "
         << UlpError(actual[worst], expected[worst]) << " ulp, bound "
         << bound[worst] << ", err/bound " << worst_ratio << "; " << SeedNote();
}

// Equal as the strict profile means it: bit by bit, any NaN like any other.
inline ::testing::AssertionResult SameBits(std::span<const float> actual,
                                           std::span<const float> expected,
                                           const CaseLabel& label) {
  if (actual.size() != expected.size()) {
    return ::testing::AssertionFailure()
           << Describe(label) << ": " << actual.size() << " values, "
           << expected.size() << " expected";
  }
  for (size_t i = 0; i < actual.size(); ++i) {
    if (SameBits(actual[i], expected[i])) continue;
    return ::testing::AssertionFailure()
           << Describe(label) << ": " << BitDiff(actual, expected) << " of "
           << actual.size() << " elements differ, first at " << i
           << ": expected " << ::testing::PrintToString(expected[i])
           << ", actual " << ::testing::PrintToString(actual[i]) << ", "
           << UlpDistance(actual[i], expected[i]) << " ulp; " << SeedNote();
  }
  return ::testing::AssertionSuccess();
}

}  // namespace etalon::test

#endif  // ETALON_TESTS_UTIL_TOLERANCE_H_
