// The second oracle against the expected values of a case.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "reference/golden/ops.h"
#include "tests/golden/second_oracle.h"

namespace etalon::test {
namespace {

using golden::Case;

constexpr Real kInf = std::numeric_limits<Real>::infinity();

bool Near(Real a, Real b, Real tolerance) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return a == b || std::abs(a - b) <= tolerance;
}

}  // namespace

std::string Disagreement(const Case& c) {
  const auto profile = golden::FindShippedProfile("cpu-strict");
  if (!profile) return profile.error().message;
  for (const auto& [name, second] : SecondOracleOf(c)) {
    const auto output =
        std::find_if(c.outputs.begin(), c.outputs.end(),
                     [&](const auto& o) { return o.name == name; });
    const golden::Tensor* y = c.expected.Find(name + ".y");
    if (output == c.outputs.end() || y == nullptr ||
        y->n() != second.y.size()) {
      return fmt::format("{}: {} has another size", c.id, name);
    }
    std::vector<double> bound(y->n(), 0.0);
    if (output->judge == golden::Judge::kBound) {
      auto b = golden::Bounds(c, *output, *profile, false);
      if (!b) return b.error().message;
      bound = std::move(*b);
    }
    for (size_t i = 0; i < y->n(); ++i) {
      const Real want = golden::ElementValue(*y, i);
      if (!Near(second.y[i], want, 0x1p-20L * Real(bound[i]))) {
        return fmt::format("{}: {} {} is {:.17g}, second oracle {:.17g}", c.id,
                           name, i, double(want), double(second.y[i]));
      }
    }
    for (size_t j = 0; j < second.c.size(); ++j) {
      if (second.c[j].empty()) continue;
      const auto* t = c.expected.Find(fmt::format("{}.c{}", name, j + 1));
      if (t == nullptr) return fmt::format("{}: no c{}", c.id, j + 1);
      const auto stored = golden::internal::Expand(*t, output->shape, name);
      if (!stored) return stored.error().message;
      for (size_t i = 0; i < stored->size(); ++i) {
        const Real want = (*stored)[i];
        if (!std::isfinite(second.y[i])) continue;  // no bound is asked for
        // Rounded up to f32, and the error of fp64.
        const Real tolerance =
            0x1p-22L * second.c[j][i] + 0x1p-149L +
            (second.c_slack.empty() ? 0 : second.c_slack[j][i]);
        const Real value =
            second.c[j][i] > 0x1.ffffffp127L ? kInf : second.c[j][i];
        if (!Near(value, want, tolerance)) {
          return fmt::format("{}: {} c{} of {} is {:.9g}, second oracle {:.9g}",
                             c.id, name, j + 1, i, double(want),
                             double(second.c[j][i]));
        }
      }
    }
  }
  return "";
}

}  // namespace etalon::test
