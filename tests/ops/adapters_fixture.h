// What the tests of the four systems' calls share.
#ifndef ETALON_TESTS_OPS_ADAPTERS_FIXTURE_H_
#define ETALON_TESTS_OPS_ADAPTERS_FIXTURE_H_

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "etalon/adapters.h"
#include "etalon/config.h"

namespace etalon::test {

inline constexpr float kInf = std::numeric_limits<float>::infinity();
inline constexpr float kUntouched = -77.0f;

// o[d] of one query against n keys: k(p, d), v(p, d), fp64, two passes.
inline std::vector<double> Attend(
    const float* q, size_t n, size_t dim, double scale,
    const std::function<double(size_t, size_t)>& k,
    const std::function<double(size_t, size_t)>& v) {
  std::vector<double> s(n), o(dim, 0.0);
  double max = -INFINITY, sum = 0.0;
  for (size_t p = 0; p < n; ++p) {
    for (size_t d = 0; d < dim; ++d)
      s[p] += static_cast<double>(q[d]) * k(p, d);
    s[p] *= scale;
    max = std::fmax(max, s[p]);
  }
  for (double& x : s) sum += x = std::exp(x - max);
  for (size_t p = 0; p < n; ++p) {
    for (size_t d = 0; d < dim; ++d) o[d] += s[p] / sum * v(p, d);
  }
  return o;
}
inline double InverseRoot(size_t dim) {
  return 1.0 / std::sqrt(static_cast<double>(dim));
}

class Adapters : public ::testing::Test {
 protected:
  ExecContext& ctx() { return ctx_; }
  Config config_;

 private:
  Workspace workspace_;
  ExecContext ctx_{&workspace_, &config_, 2};
};

}  // namespace etalon::test

#endif  // ETALON_TESTS_OPS_ADAPTERS_FIXTURE_H_
