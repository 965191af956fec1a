// Unevaluated sums hi + lo of two f64, |lo| <= ulp(hi) / 2: about 106 bits.
// Error-free transformations by Dekker and Knuth; relative errors as in
// Joldes, Muller, Popescu, "Tight and rigorous error bounds for basic building
// blocks of double-word arithmetic" (2017): every operation below stays under
// 2^-100. Needs round to nearest and no contraction.
#ifndef ETALON_OPS_DOUBLE_DOUBLE_H_
#define ETALON_OPS_DOUBLE_DOUBLE_H_

#include <cmath>

namespace etalon::ops {

struct DoubleDouble {
  double hi = 0.0;
  double lo = 0.0;
};

// a + b exactly, |a| >= |b|.
inline DoubleDouble FastTwoSum(double a, double b) {
  const double s = a + b;
  return {s, b - (s - a)};
}
// a + b exactly.
inline DoubleDouble TwoSum(double a, double b) {
  const double s = a + b;
  const double b_part = s - a;
  return {s, (a - (s - b_part)) + (b - b_part)};
}
// a * b exactly, unless it underflows.
inline DoubleDouble TwoProduct(double a, double b) {
  const double p = a * b;
  return {p, std::fma(a, b, -p)};
}

inline DoubleDouble operator-(DoubleDouble a) { return {-a.hi, -a.lo}; }
inline DoubleDouble operator+(DoubleDouble a, DoubleDouble b) {
  const DoubleDouble s = TwoSum(a.hi, b.hi);
  const DoubleDouble t = TwoSum(a.lo, b.lo);
  const DoubleDouble v = FastTwoSum(s.hi, s.lo + t.hi);
  return FastTwoSum(v.hi, v.lo + t.lo);
}
inline DoubleDouble operator-(DoubleDouble a, DoubleDouble b) { return a + -b; }
inline DoubleDouble operator*(DoubleDouble a, DoubleDouble b) {
  const DoubleDouble p = TwoProduct(a.hi, b.hi);
  const double cross = std::fma(a.lo, b.hi, std::fma(a.hi, b.lo, a.lo * b.lo));
  return FastTwoSum(p.hi, p.lo + cross);
}
inline DoubleDouble operator*(DoubleDouble a, double b) {
  const DoubleDouble p = TwoProduct(a.hi, b);
  return FastTwoSum(p.hi, std::fma(a.lo, b, p.lo));
}
inline DoubleDouble operator/(DoubleDouble a, DoubleDouble b) {
  const double q1 = a.hi / b.hi;
  const DoubleDouble r1 = a - b * q1;
  const double q2 = r1.hi / b.hi;
  const DoubleDouble r2 = r1 - b * q2;
  const double q3 = r2.hi / b.hi;
  return FastTwoSum(q1, q2) + DoubleDouble{q3, 0.0};
}
inline DoubleDouble operator/(DoubleDouble a, double b) {
  return a / DoubleDouble{b, 0.0};
}

}  // namespace etalon::ops

#endif  // ETALON_OPS_DOUBLE_DOUBLE_H_
