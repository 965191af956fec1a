#include "reference/golden/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

namespace etalon::golden {
namespace {

size_t Bin(double ratio) {
  if (std::isnan(ratio)) return 25;
  if (!(ratio >= 1e-8)) return 0;
  const double k = std::floor(2 * (std::log10(ratio) + 8));
  return k >= 24 ? 25 : static_cast<size_t>(k) + 1;
}

double UlpOf(double y) {
  int e = 0;
  std::frexp(y, &e);
  return std::ldexp(1.0, std::max(e - 1, -126) - 23);
}

// Indices on one axis that hold a bad element.
std::vector<bool> BadOnAxis(const std::vector<size_t>& shape, size_t axis,
                            std::span<const double> ratios) {
  size_t inner = 1;
  for (size_t a = axis + 1; a < shape.size(); ++a) inner *= shape[a];
  std::vector<bool> bad(shape[axis], false);
  for (size_t i = 0; i < ratios.size(); ++i) {
    if (!(ratios[i] <= 1.0)) bad[i / inner % shape[axis]] = true;
  }
  return bad;
}

// The one run of true values, if they are one.
std::optional<std::pair<size_t, size_t>> OneRun(const std::vector<bool>& bad) {
  size_t first = bad.size();
  size_t last = 0;
  size_t count = 0;
  for (size_t i = 0; i < bad.size(); ++i) {
    if (!bad[i]) continue;
    first = std::min(first, i);
    last = i;
    ++count;
  }
  if (count == 0 || last - first + 1 != count) return std::nullopt;
  return std::pair{first, last};
}

std::string Range(size_t first, size_t last) {
  return first == last ? fmt::format("{}", first)
                       : fmt::format("{}..{}", first, last);
}

std::string DescribeAxis(const std::vector<bool>& bad,
                         const std::string& name) {
  const size_t n = bad.size();
  const auto count =
      static_cast<size_t>(std::count(bad.begin(), bad.end(), true));
  if (count == 0 || count == n || n < 2) return "";
  if (const auto run = OneRun(bad)) {
    if (run->second == n - 1) return fmt::format("{} >= {}", name, run->first);
    if (run->first == 0) return fmt::format("{} <= {}", name, run->second);
    return fmt::format("{} = {}", name, Range(run->first, run->second));
  }
  // The smallest period whose residues explain all.
  for (const size_t period : {2u, 4u, 8u, 16u, 32u, 64u, 128u, 256u}) {
    if (2 * period > n) break;
    std::vector<bool> residues(period, false);
    for (size_t i = 0; i < n; ++i) {
      if (bad[i]) residues[i % period] = true;
    }
    bool all = true;
    for (size_t i = 0; i < n; ++i) all &= bad[i] == residues[i % period];
    const auto run = OneRun(residues);
    if (all && run && run->second - run->first + 1 < period) {
      return fmt::format("{} = {} mod {}", name, Range(run->first, run->second),
                         period);
    }
  }
  return "";
}

}  // namespace

void AddStatistics(const Tensor& got, std::span<const double> want,
                   std::span<const double> ratios, OutputResult& result) {
  double error_square = 0.0;
  double want_square = 0.0;
  double got_square = 0.0;
  double product = 0.0;
  double sum = 0.0;
  for (size_t i = 0; i < ratios.size(); ++i) {
    ++result.histogram[Bin(ratios[i])];
    sum += ratios[i];
    const double g = ElementValue(got, i);
    const double w = want[i];
    const double error = std::abs(g - w);
    if (std::isfinite(w)) {
      result.max_ulp = std::fmax(result.max_ulp, error / UlpOf(w));
      error_square += error * error;
      want_square += w * w;
      got_square += g * g;
      product += g * w;
    }
    const bool both_nan = std::isnan(g) && std::isnan(w);
    if (!both_nan && !(g == w) && !(error <= 1e-5 + 1e-3 * std::abs(w))) {
      result.allclose = false;
    }
  }
  if (ratios.empty()) return;
  result.mean_ratio = sum / static_cast<double>(ratios.size());
  std::vector<double> sorted(ratios.begin(), ratios.end());
  for (double& r : sorted) {
    if (std::isnan(r)) r = INFINITY;
  }
  const auto middle =
      sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  result.median_ratio = *middle;
  result.nmse = want_square > 0.0 ? error_square / want_square : error_square;
  const double norm = std::sqrt(got_square) * std::sqrt(want_square);
  result.cosine = norm > 0.0 ? product / norm : 1.0;
}

std::string DescribePattern(const std::vector<size_t>& shape,
                            const std::vector<std::string>& axes,
                            std::span<const double> ratios) {
  std::string text;
  for (size_t a = 0; a < shape.size(); ++a) {
    if (shape[a] == 0) return "";
    const std::string name =
        a < axes.size() ? axes[a] : fmt::format("axis {}", a);
    const std::string part = DescribeAxis(BadOnAxis(shape, a, ratios), name);
    if (part.empty()) continue;
    text += text.empty() ? "all wrong elements have " : ", ";
    text += part;
  }
  return text;
}

std::string_view StatusName(CaseStatus status) {
  constexpr std::string_view kNames[] = {"pass", "warn", "fail", "error",
                                         "skipped"};
  return kNames[static_cast<size_t>(status)];
}

size_t CheckResult::FirstFailure() const {
  for (size_t i = 0; i < cases.size(); ++i) {
    if (cases[i].Failed()) return i;
  }
  return kNoIndex;
}

}  // namespace etalon::golden
