#include "reference/exp.h"

#include <cmath>
#include <limits>

namespace etalon::reference {

// exp(x) = 2^n exp(r), n = rint(x / ln 2), |r| <= 0.347: the Taylor series to
// r^15 / 15! leaves 0.347^16 / 16! < 2^-68. ln 2 is split so that n * kLn2Hi is
// exact for |n| < 2^11.
double Exp(double x) {
  constexpr double kLn2Hi = 0x1.62e42fee00000p-1;
  constexpr double kLn2Lo = 0x1.a39ef35793c76p-33;
  constexpr double kLog2e = 0x1.71547652b82fep+0;
  if (std::isnan(x)) return x;
  if (x > 710.0) return std::numeric_limits<double>::infinity();
  if (x < -746.0) return 0.0;
  const double n = std::nearbyint(x * kLog2e);
  const double r = (x - n * kLn2Hi) - n * kLn2Lo;
  double sum = 1.0;
  for (int k = 15; k >= 1; --k) sum = 1.0 + sum * r / k;
  return std::ldexp(sum, static_cast<int>(n));
}

}  // namespace etalon::reference
