#include "ops/correctly_rounded.h"

#include <bit>
#include <cmath>
#include <limits>

namespace etalon::ops {
namespace {

constexpr DoubleDouble kLn2 = {0x1.62e42fefa39efp-1, 0x1.abc9e3b39803fp-56};
constexpr double kInvLn2 = 0x1.71547652b82fep+0;
constexpr double kTwoOverPi = 0x1.45f306dc9c883p-1;

// pi / 2 as 53 + 53 + 53 bits, and as 31 + 31 + 53 bits: k * kPio2A and
// k * kPio2B are exact for integers k < 2^22.
constexpr double kPio2Hi = 0x1.921fb54442d18p+0;
constexpr double kPio2Mid = 0x1.1a62633145c07p-54;
constexpr double kPio2Lo = -0x1.f1976b7ed8fbcp-110;
constexpr double kPio2A = 0x1.921fb544p+0;
constexpr double kPio2B = 0x1.0b4611a4p-34;
constexpr double kPio2C = 0x1.13198a2e03707p-65;

// The nearest integer of |x| < 2^51, by an addition that drops the fraction.
double RoundToInteger(double x) {
  constexpr double kMagic = 0x1.8p+52;
  return (x + kMagic) - kMagic;
}

// 1 / n! for the fast path, correctly rounded to f64.
constexpr double kSinTerms[] = {-0x1.5555555555555p-3,  0x1.1111111111111p-7,
                                -0x1.a01a01a01a01ap-13, 0x1.71de3a556c734p-19,
                                -0x1.ae64567f544e4p-26, 0x1.6124613a86d09p-33,
                                -0x1.ae7f3e733b81fp-41, 0x1.952c77030ad4ap-49};
constexpr double kCosTerms[] = {0x1.5555555555555p-5,  -0x1.6c16c16c16c17p-10,
                                0x1.a01a01a01a01ap-16, -0x1.27e4fb7789f5cp-22,
                                0x1.1eed8eff8d898p-29, -0x1.93974a8c07c9dp-37,
                                0x1.ae7f3e733b81fp-45};

template <int N>
double Horner(const double (&terms)[N], double z) {
  double p = terms[N - 1];
  for (int i = N - 2; i >= 0; --i) p = p * z + terms[i];
  return p;
}

struct FastSinCos {
  double sin;
  double cos;
};

// For an f32 x in [0, 2^22], relative error below 2^-51 each: k * A and k * B
// are exact, x - k * A is (both are multiples of 2^-30), so the reduced
// argument hi + lo is within 2^-96, and no f32 in range is nearer to a
// multiple of pi / 2 than 2^-28 (all were run). The Taylor terms left out are
// below 2^-58.
FastSinCos FastSinCosOf(double x) {
  const double k = RoundToInteger(x * kTwoOverPi);
  const DoubleDouble d = TwoSum(x - k * kPio2A, -(k * kPio2B));
  const DoubleDouble r = FastTwoSum(d.hi, d.lo - k * kPio2C);
  const double z = r.hi * r.hi;
  const double s = r.hi + (r.hi * (z * Horner(kSinTerms, z)) + r.lo);
  const double c =
      1.0 - (0.5 * z - (z * z * Horner(kCosTerms, z) - r.hi * r.lo));
  switch (static_cast<int64_t>(k) & 3) {
    case 0:
      return {s, c};
    case 1:
      return {c, -s};
    case 2:
      return {-s, -c};
    default:
      return {-c, s};
  }
}

// True and *y if all of v (1 +- 2^-48) round to *y.
bool RoundsSafely(double v, float* y) {
  const float a = static_cast<float>(v * (1.0 - 0x1p-48));
  const float b = static_cast<float>(v * (1.0 + 0x1p-48));
  *y = a;
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}

constexpr double kUncertain = 0x1p-80;

}  // namespace

float RoundToFloat(DoubleDouble v, double relative_error, bool* certain) {
  if (v.hi < 0.0) return -RoundToFloat(-v, relative_error, certain);
  const float f = static_cast<float>(v.hi);
  *certain = true;
  if (v.hi == 0.0 || std::isinf(f)) return f;
  // v - f, exact in its first part, against half the gap on that side.
  const double rest = v.hi - static_cast<double>(f);
  const bool up = rest > 0.0 || (rest == 0.0 && v.lo > 0.0);
  const float toward =
      std::nextafterf(f, up ? std::numeric_limits<float>::infinity() : 0.0f);
  const double half_gap =
      0.5 * (static_cast<double>(toward) - static_cast<double>(f));
  const double beyond = up ? (rest - half_gap) + v.lo  // > 0: past the middle
                           : (half_gap - rest) - v.lo;
  *certain = std::fabs(beyond) > relative_error * v.hi;
  if (beyond == 0.0) return f;  // a tie; the conversion chose the even one
  return beyond > 0.0 ? toward : f;
}

// sin and cos of hi + lo by Taylor in double-double; pi/4 ^ 28 / 28! < 2^-107.
ExactSinCos ExactSinCosOf(double x) {
  const double k = RoundToInteger(x * kTwoOverPi);
  // x - k * pi/2 by exact sums, |k| < 2^40; what is dropped is below 2^-120.
  const DoubleDouble p0 = TwoProduct(k, kPio2Hi);
  const DoubleDouble p1 = TwoProduct(k, kPio2Mid);
  const DoubleDouble a = TwoSum(x - p0.hi, -p0.lo);  // x - p0.hi is exact
  const DoubleDouble b = TwoSum(a.hi, -p1.hi);
  const DoubleDouble c = TwoSum(a.lo, b.lo);
  const double tail = c.lo - p1.lo - k * kPio2Lo;
  DoubleDouble r = TwoSum(b.hi, c.hi);
  r = FastTwoSum(r.hi, r.lo + tail);

  const DoubleDouble z = r * r;
  DoubleDouble s = r, s_term = r;
  DoubleDouble c_sum = {1.0, 0.0}, c_term = {1.0, 0.0};
  for (int n = 1; n <= 14; ++n) {
    c_term = -(c_term * z) / static_cast<double>((2 * n - 1) * (2 * n));
    c_sum = c_sum + c_term;
    s_term = -(s_term * z) / static_cast<double>((2 * n) * (2 * n + 1));
    s = s + s_term;
  }
  switch (static_cast<int64_t>(k) & 3) {
    case 0:
      return {s, c_sum};
    case 1:
      return {c_sum, -s};
    case 2:
      return {-s, -c_sum};
    default:
      return {-c_sum, s};
  }
}

SinCos SinCosOf(float x) {
  const double magnitude = std::fabs(static_cast<double>(x));
  SinCos r;
  bool safe = false;
  if (magnitude <= static_cast<double>(kMaxFastAngle)) {
    const FastSinCos fast = FastSinCosOf(magnitude);
    const bool sin_safe = RoundsSafely(fast.sin, &r.sin);
    safe = RoundsSafely(fast.cos, &r.cos) && sin_safe;
  }
  if (!safe) {
    const ExactSinCos exact = ExactSinCosOf(magnitude);
    bool certain;
    r.sin = RoundToFloat(exact.sin, kUncertain, &certain);
    r.cos = RoundToFloat(exact.cos, kUncertain, &certain);
  }
  if (std::signbit(x)) r.sin = -r.sin;
  return r;
}

// x = m 2^e, m in [sqrt(1/2), sqrt(2)); ln m = 2 atanh(s), s = (m-1)/(m+1),
// |s| < 0.1716, so the first term left out is below 2^-117 of the sum.
DoubleDouble ExactLog(double x) {
  int e;
  double m = std::frexp(x, &e);
  if (m < 0x1.6a09e667f3bcdp-1) {
    m *= 2.0;
    --e;
  }
  const DoubleDouble s = DoubleDouble{m - 1.0, 0.0} / TwoSum(m, 1.0);
  const DoubleDouble z = s * s;
  constexpr int kTerms = 23;
  DoubleDouble sum = {0.0, 0.0};
  for (int n = kTerms - 1; n >= 0; --n) {
    sum = sum * z + DoubleDouble{1.0, 0.0} / static_cast<double>(2 * n + 1);
  }
  return kLn2 * static_cast<double>(e) + s * sum * 2.0;
}

double LogOf(double x) { return ExactLog(x).hi; }

// exp(x) = 2^k exp(r), Taylor on |r| < 0.347: r^30 / 30! < 2^-153.
DoubleDouble ExactExp(DoubleDouble x) {
  const double k = RoundToInteger(x.hi * kInvLn2);
  const DoubleDouble r = x - kLn2 * k;
  DoubleDouble sum = {1.0, 0.0};
  DoubleDouble term = {1.0, 0.0};
  for (int n = 1; n < 30; ++n) {
    term = term * r / static_cast<double>(n);
    sum = sum + term;
  }
  const int e = static_cast<int>(k);
  return {std::ldexp(sum.hi, e), std::ldexp(sum.lo, e)};
}

float PowerOf(float base, int32_t numerator, int32_t denominator) {
  const DoubleDouble y = ExactLog(static_cast<double>(base)) *
                         static_cast<double>(numerator) /
                         static_cast<double>(denominator);
  bool certain;
  return RoundToFloat(ExactExp(y), kUncertain, &certain);
}

}  // namespace etalon::ops
