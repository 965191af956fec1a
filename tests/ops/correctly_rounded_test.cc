// sin, cos, log and powers are correctly rounded. Oracles: 64-bit long double
// (undecided within 2^-58 of a midpoint, which is counted), MPFR where the
// build found it, and stored hard cases.
#include "ops/correctly_rounded.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "tests/util/random.h"
#include "tests/util/ulp.h"

#ifdef ETALON_HAVE_MPFR
#include <mpfr.h>
#endif

namespace etalon::ops {
namespace {

constexpr bool kHasExtendedDouble =
    std::numeric_limits<long double>::digits >= 64;

enum class Verdict { kRight, kWrong, kUndecided };

// Is y the f32 nearest to the real number that `value` approximates?
Verdict Judge(float y, long double value) {
  const long double slack = std::fabs(value) * 0x1p-58L;
  const float a = static_cast<float>(value - slack);
  const float b = static_cast<float>(value + slack);
  if (!test::SameBits(a, b)) return Verdict::kUndecided;
  return test::SameBits(a, y) ? Verdict::kRight : Verdict::kWrong;
}

struct Tally {
  size_t wrong = 0;
  size_t undecided = 0;

  void Add(float y, long double value) {
    const Verdict v = Judge(y, value);
    wrong += v == Verdict::kWrong ? 1 : 0;
    undecided += v == Verdict::kUndecided ? 1 : 0;
  }
};

// Any f32 in [2^-140, 2^22], and products of a position and a frequency.
float DrawAngle(test::Random& rng, size_t i) {
  if (i % 2 == 0) return std::fabs(rng.WithExponent(-60, 21));
  return static_cast<float>(rng.Below(131072)) * rng.Uniform01();
}

TEST(CorrectlyRounded, SinAndCosAgreeWithLongDouble) {
  if (!kHasExtendedDouble) GTEST_SKIP() << "long double is no wider than f64";
  test::Random rng(431);
  Tally tally;
  constexpr size_t kSamples = 1000000;
  for (size_t i = 0; i < kSamples; ++i) {
    const float x = DrawAngle(rng, i);
    const SinCos v = SinCosOf(x);
    tally.Add(v.sin, std::sin(static_cast<long double>(x)));
    tally.Add(v.cos, std::cos(static_cast<long double>(x)));
  }
  EXPECT_EQ(tally.wrong, 0u) << test::SeedNote();
  EXPECT_LT(tally.undecided, kSamples / 100000);
}

TEST(CorrectlyRounded, PowersAgreeWithLongDouble) {
  if (!kHasExtendedDouble) GTEST_SKIP() << "long double is no wider than f64";
  test::Random rng(432);
  Tally tally;
  size_t n = 0;
  for (int b = 0; b < 40; ++b) {
    constexpr float kBases[] = {10000.0f, 500000.0f, 1e6f, 1e7f, 8e6f, 1.5f};
    const float base = b < 6 ? kBases[b] : std::fabs(rng.WithExponent(0, 40));
    for (const int d : {2, 40, 64, 96, 128, 256}) {
      for (int i = 1; i < d / 2; ++i) {
        // Error of powl below 2^-62, of the quotient |ln y| 2^-64 < 2^-59.
        const long double exponent = -2.0L * i / d;
        tally.Add(PowerOf(base, -2 * i, d),
                  std::pow(static_cast<long double>(base), exponent));
        ++n;
      }
    }
  }
  EXPECT_EQ(tally.wrong, 0u) << test::SeedNote();
  EXPECT_LT(tally.undecided, n / 1000);
}

#ifdef ETALON_HAVE_MPFR
class Mpfr {
 public:
  explicit Mpfr(mpfr_prec_t bits) { mpfr_init2(v_, bits); }
  ~Mpfr() { mpfr_clear(v_); }
  Mpfr(const Mpfr&) = delete;
  Mpfr& operator=(const Mpfr&) = delete;
  mpfr_ptr get() { return v_; }
  float ToFloat() { return mpfr_get_flt(v_, MPFR_RNDN); }

 private:
  mpfr_t v_;
};

TEST(CorrectlyRounded, SinAndCosAgreeWithMpfr) {
  test::Random rng(433);
  Mpfr x(24), y(24);
  for (size_t i = 0; i < 100000; ++i) {
    const float f = DrawAngle(rng, i);
    const SinCos v = SinCosOf(f);
    mpfr_set_flt(x.get(), f, MPFR_RNDN);
    mpfr_sin(y.get(), x.get(), MPFR_RNDN);
    ASSERT_EQ(v.sin, y.ToFloat()) << "sin " << f;
    mpfr_cos(y.get(), x.get(), MPFR_RNDN);
    ASSERT_EQ(v.cos, y.ToFloat()) << "cos " << f;
  }
}

// The second step on its own: relative error below 2^-90.
TEST(CorrectlyRounded, DoubleDoubleFunctionsAreWithinTheirBound) {
  test::Random rng(434);
  Mpfr x(300), y(300);
  const auto error = [&y](DoubleDouble v) {
    Mpfr e(300);
    mpfr_sub_d(e.get(), y.get(), v.hi, MPFR_RNDN);
    mpfr_sub_d(e.get(), e.get(), v.lo, MPFR_RNDN);
    mpfr_div(e.get(), e.get(), y.get(), MPFR_RNDN);
    return std::fabs(mpfr_get_d(e.get(), MPFR_RNDN));
  };
  for (size_t i = 0; i < 20000; ++i) {
    const double angle =
        static_cast<double>(std::fabs(rng.WithExponent(-20, 39)));
    const ExactSinCos v = ExactSinCosOf(angle);
    mpfr_set_d(x.get(), angle, MPFR_RNDN);
    mpfr_sin(y.get(), x.get(), MPFR_RNDN);
    ASSERT_LT(error(v.sin), 0x1p-90) << angle;
    mpfr_cos(y.get(), x.get(), MPFR_RNDN);
    ASSERT_LT(error(v.cos), 0x1p-90) << angle;

    mpfr_log(y.get(), x.get(), MPFR_RNDN);
    ASSERT_LT(error(ExactLog(angle)), 0x1p-90) << angle;
    const double exponent = 100.0 * static_cast<double>(rng.Uniform());
    mpfr_set_d(x.get(), exponent, MPFR_RNDN);
    mpfr_exp(y.get(), x.get(), MPFR_RNDN);
    ASSERT_LT(error(ExactExp({exponent, 0.0})), 0x1p-90) << exponent;
  }
}
#endif

// Of all f32 in [0, 2^22] those whose sine or cosine (named) lies closest to a
// midpoint, relative 2^-48 and less; answers by MPFR.
TEST(CorrectlyRounded, HardestSinesAndCosines) {
  struct Case {
    float x, sin, cos;
  };
  constexpr Case kCases[] = {
      {0x1.33333p+13f, -0x1.63f4bap-2f, -0x1.e01216p-1f},  // sin
      {0x1.20ffccp-7f, 0x1.20fed6p-7f, 0x1.fffae8p-1f},    // cos
      {0x1.e35bc6p+7f, 0x1.c5b4acp-3f, -0x1.f34726p-1f},   // sin
      {0x1.a8872ap-11f, 0x1.a88726p-11f, 0x1.fffff6p-1f},  // cos
      {0x1.8f219cp+5f, -0x1.762da6p-2f, 0x1.dc9802p-1f},   // cos
      {0x1.e7061ep-2f, 0x1.d4de8ap-2f, 0x1.c72cd4p-1f},    // sin
      {0x1.515766p+12f, 0x1.a35bc4p-3f, 0x1.f526bep-1f},   // sin
      {0x1.9eab2ep-4f, 0x1.9df5f2p-4f, 0x1.fd60e4p-1f},    // sin
      {0x1.cf9736p+19f, 0x1.93bf0ap-2f, 0x1.d685b6p-1f},   // sin
      {0x1.41c47p+16f, -0x1.f1f948p-4f, 0x1.fc33bap-1f},   // cos
      {0x1.03b948p+21f, 0x1.727a0ep-1f, 0x1.61663p-1f},    // cos
      {0x1.6f1b7p+5f, 0x1.e37ca8p-1f, -0x1.50f40ep-2f},    // cos
      {0x1.1e377ap-11f, 0x1.1e377ap-11f, 0x1.fffffap-1f},  // cos
      {0x1.a88a5p+6f, -0x1.41934ep-1f, 0x1.8e69d6p-1f},    // sin
  };
  for (const Case& c : kCases) {
    const SinCos v = SinCosOf(c.x);
    EXPECT_EQ(v.sin, c.sin) << c.x;
    EXPECT_EQ(v.cos, c.cos) << c.x;
  }
}

TEST(CorrectlyRounded, ExactAndExtremeValues) {
  EXPECT_EQ(SinCosOf(0.0f).cos, 1.0f);
  EXPECT_TRUE(test::SameBits(SinCosOf(0.0f).sin, 0.0f));
  EXPECT_TRUE(test::SameBits(SinCosOf(-0.0f).sin, -0.0f));
  EXPECT_EQ(SinCosOf(0x1p-149f).sin, 0x1p-149f);
  EXPECT_EQ(SinCosOf(-2.0f).sin, -SinCosOf(2.0f).sin);
  EXPECT_EQ(SinCosOf(-2.0f).cos, SinCosOf(2.0f).cos);
  // Beyond the fast range: sin(2^30) and cos(2^30) to 24 bits.
  EXPECT_EQ(SinCosOf(0x1p30f).sin, static_cast<float>(std::sin(1073741824.0)));
  EXPECT_EQ(SinCosOf(0x1p30f).cos, static_cast<float>(std::cos(1073741824.0)));
  EXPECT_EQ(PowerOf(10000.0f, 0, 128), 1.0f);
  EXPECT_EQ(PowerOf(65536.0f, -64, 128), 0x1p-8f);
  EXPECT_EQ(PowerOf(2.0f, -100, 100), 0.5f);
  EXPECT_EQ(PowerOf(10000.0f, -32, 64), 0.01f);
  EXPECT_EQ(PowerOf(3.0f, 10, 1), 59049.0f);
  EXPECT_EQ(LogOf(1.0), 0.0);
  EXPECT_EQ(LogOf(2.0), 0x1.62e42fefa39efp-1);
}

TEST(CorrectlyRounded, RoundToFloatSeesWhatTheFirstPartCannot) {
  bool certain;
  // Exactly between 1 and 1 + 2^-23, and a breath to either side.
  const double middle = 1.0 + 0x1p-24;
  EXPECT_EQ(RoundToFloat({middle, 0.0}, 0x1p-80, &certain), 1.0f);
  EXPECT_FALSE(certain);
  EXPECT_EQ(RoundToFloat({middle, 0x1p-78}, 0x1p-80, &certain),
            1.0f + 0x1p-23f);
  EXPECT_TRUE(certain);
  EXPECT_EQ(RoundToFloat({middle, -0x1p-78}, 0x1p-80, &certain), 1.0f);
  EXPECT_TRUE(certain);
  // Between 1 + 2^-23 and 1 + 2^-22, where the tie goes up.
  const double odd = 1.0 + 0x1.8p-23;
  EXPECT_EQ(RoundToFloat({odd, 0.0}, 0x1p-80, &certain), 1.0f + 0x1p-22f);
  EXPECT_EQ(RoundToFloat({odd, -0x1p-78}, 0x1p-80, &certain), 1.0f + 0x1p-23f);
  EXPECT_EQ(RoundToFloat({-odd, 0x1p-78}, 0x1p-80, &certain),
            -(1.0f + 0x1p-23f));
  // Below a power of two the gap is half as wide.
  EXPECT_EQ(RoundToFloat({1.0 - 0x1p-25, -0x1p-80}, 0x1p-90, &certain),
            1.0f - 0x1p-24f);
  EXPECT_EQ(RoundToFloat({1.0 - 0x1p-25, 0x1p-80}, 0x1p-90, &certain), 1.0f);
  // Subnormal results.
  EXPECT_EQ(RoundToFloat({0x1.8p-149, -0x1p-210}, 0x1p-80, &certain),
            0x1p-149f);
}

}  // namespace
}  // namespace etalon::ops
