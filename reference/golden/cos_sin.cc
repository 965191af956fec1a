// cos and sin of an f32 for the tables of RoPE cases: reduction by a three-part
// pi / 2 and Taylor series in double, which is right to far below half an ulp
// of f32 except next to a tie. The tables are inputs of a case: all that counts
// is that every machine makes the same ones.
#include <cmath>

#include "reference/golden/suite_builder.h"

namespace etalon::golden::internal {

std::pair<float, float> CosSin(float angle) {
  constexpr double kTwoOverPi = 0x1.45f306dc9c883p-1;
  constexpr double kHalfPi[] = {0x1.921fb544p+0, 0x1.0b4611a6p-34,
                                0x1.3198a2e037073p-69};
  const double x = static_cast<double>(angle);
  const double n = std::nearbyint(x * kTwoOverPi);
  const double r = ((x - n * kHalfPi[0]) - n * kHalfPi[1]) - n * kHalfPi[2];
  double cos = 1.0;
  double sin = 1.0;
  for (int k = 20; k >= 2; k -= 2) {
    cos = 1.0 - cos * r * r / (k * (k - 1));
    sin = 1.0 - sin * r * r / (k * (k + 1));
  }
  sin *= r;
  const auto quadrant = static_cast<int64_t>(n) & 3;
  double c = quadrant % 2 == 0 ? cos : sin;
  double s = quadrant % 2 == 0 ? sin : cos;
  if (quadrant == 1 || quadrant == 2) c = -c;
  if (quadrant >= 2) s = -s;
  return {static_cast<float>(c), static_cast<float>(s)};
}

}  // namespace etalon::golden::internal
