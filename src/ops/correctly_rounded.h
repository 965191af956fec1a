// sin, cos, log and rational powers rounded correctly to f32, in our own
// arithmetic: a libm that differs between systems cannot show in a result.
//
// Why the results are correctly rounded. The value is first computed with a
// known error (Ziv's strategy); if every real number within that error rounds
// to one f32, that f32 is the answer. Otherwise the value lies close to the
// midpoint of two f32, and double-double arithmetic with a relative error
// below 2^-90 decides. Its verdict is certain unless the value is within 2^-80
// of a midpoint:
//   - sin, cos, log of a non-zero f32 (1 for log) are transcendental, so never
//     a midpoint; for sin and cos all f32 in [0, 2^22] were run: 54 need the
//     second step, and none of them is that close; the functions are odd and
//     even;
//   - base^(p / q) with base = B 2^b, B odd: if B > 1 a negative power is not
//     even a dyadic number, if B = 1 it is a power of two or irrational.
//     Positive powers may be exact; midpoints need a 25-bit result and are
//     rounded to even by the same comparison.
#ifndef ETALON_OPS_CORRECTLY_ROUNDED_H_
#define ETALON_OPS_CORRECTLY_ROUNDED_H_

#include <cstdint>

#include "ops/double_double.h"

namespace etalon::ops {

struct SinCos {
  float sin = 0.0f;
  float cos = 0.0f;
};

// |x| <= kMaxAngle; about 15 ns up to kMaxFastAngle, microseconds beyond.
inline constexpr float kMaxFastAngle = 0x1p22f;
inline constexpr float kMaxAngle = 0x1p40f;
SinCos SinCosOf(float x);

// base^(numerator / denominator): base > 0 and normal, denominator > 0,
// |numerator| <= 16 * denominator, and the result within the range of f32.
float PowerOf(float base, int32_t numerator, int32_t denominator);

// ln x for finite x > 0, error below 2^-90 relative before it is rounded to
// the nearest f64: the same on every machine.
double LogOf(double x);

// The pieces, for the tests.
DoubleDouble ExactLog(double x);
DoubleDouble ExactExp(DoubleDouble x);  // |x| <= 700
struct ExactSinCos {
  DoubleDouble sin;
  DoubleDouble cos;
};
ExactSinCos ExactSinCosOf(double x);  // x an f32, 0 <= x <= kMaxAngle
// The f32 nearest to v, ties to even; *certain is false if a midpoint lies
// within relative distance `relative_error` of v.
float RoundToFloat(DoubleDouble v, double relative_error, bool* certain);

}  // namespace etalon::ops

#endif  // ETALON_OPS_CORRECTLY_ROUNDED_H_
