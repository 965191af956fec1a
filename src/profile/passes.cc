#include "profile/passes.h"

#include <algorithm>

namespace etalon::profile {
namespace {

// The value that `share` of the others are below.
double Quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  const auto at = static_cast<std::ptrdiff_t>(
      share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<size_t>(at)];
}

}  // namespace

double Pass::inside() const {
  double ns = 0;
  for (const auto& [key, totals] : ops) ns += totals.ns;
  return ns * 1e-9;
}

double LowerQuartile(std::vector<double> values) {
  return Quantile(std::move(values), 0.25);
}

double Median(std::vector<double> values) {
  return Quantile(std::move(values), 0.5);
}

double UndisturbedSeconds(std::span<const Pass> passes, const OpKey& key) {
  std::vector<const OpTotals*> runs;
  bool alike = true;
  for (const Pass& p : passes) {
    const auto it = p.ops.find(key);
    if (it == p.ops.end()) continue;
    runs.push_back(&it->second);
    alike &= runs[0]->call_ns.size() == it->second.call_ns.size();
  }
  if (runs.empty()) return 0;
  std::vector<double> values(runs.size());
  double ns = 0;
  if (alike) {
    for (size_t i = 0; i < runs[0]->call_ns.size(); ++i) {
      for (size_t r = 0; r < runs.size(); ++r) {
        values[r] = static_cast<double>(runs[r]->call_ns[i]);
      }
      ns += LowerQuartile(values);
    }
  } else {
    for (size_t r = 0; r < runs.size(); ++r) {
      values[r] = runs[r]->ns;
    }
    ns = LowerQuartile(values);
  }
  return ns * 1e-9;
}

double HalvesDiffer(std::span<const Pass> passes, const OpKey& key) {
  if (passes.size() < 2) return 0;
  const size_t half = passes.size() / 2;
  const double a = UndisturbedSeconds(passes.first(half), key);
  const double b = UndisturbedSeconds(passes.last(half), key);
  const auto [least, most] = std::minmax(a, b);
  return least > 0 ? most / least - 1 : 0;
}

double WorstDifference(std::span<const Pass> passes, double least_share) {
  if (passes.empty()) return 0;
  std::vector<double> walls;
  for (const Pass& p : passes) walls.push_back(p.wall);
  const double wall = LowerQuartile(walls);
  double worst = 0;
  for (const auto& [key, totals] : passes.back().ops) {
    if (UndisturbedSeconds(passes, key) < least_share * wall) continue;
    worst = std::max(worst, HalvesDiffer(passes, key));
  }
  return worst;
}

}  // namespace etalon::profile
