// Index periodicity: the shortest true sentence about where the errors are.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "reference/golden/report.h"

namespace etalon::golden {
namespace {

// Which coordinates of one axis have errors. A coordinate with few of them
// beside others with many is noise of cancellation, not the pattern.
std::vector<bool> BadCoordinates(std::span<const size_t> bad, size_t extent,
                                 size_t inner) {
  std::vector<size_t> count(extent, 0);
  for (const size_t i : bad) ++count[i / inner % extent];
  const size_t most = *std::max_element(count.begin(), count.end());
  std::vector<bool> is_bad(extent);
  for (size_t c = 0; c < extent; ++c) {
    is_bad[c] = count[c] > 0 && 20 * count[c] >= most;
  }
  return is_bad;
}

struct Run {
  size_t first = 0, last = 0;
};
// Maximal runs of set entries.
std::vector<Run> Runs(const std::vector<bool>& set) {
  std::vector<Run> runs;
  for (size_t c = 0; c < set.size(); ++c) {
    if (!set[c]) continue;
    if (c > 0 && set[c - 1]) {
      runs.back().last = c;
    } else {
      runs.push_back({c, c});
    }
  }
  return runs;
}

std::string Range(const std::string& axis, const Run& run, size_t extent) {
  if (run.first == run.last) return fmt::format("{} = {}", axis, run.first);
  if (run.last + 1 == extent) return fmt::format("{} >= {}", axis, run.first);
  if (run.first == 0) return fmt::format("{} < {}", axis, run.last + 1);
  return fmt::format("{} = {}..{}", axis, run.first, run.last);
}

// Residues that have errors in (nearly) every period and nowhere else.
std::string Periodic(const std::string& axis, const std::vector<bool>& is_bad) {
  const size_t extent = is_bad.size();
  for (size_t period = 2; period <= 256 && 2 * period <= extent; period *= 2) {
    std::vector<size_t> hits(period, 0), all(period, 0);
    for (size_t c = 0; c < extent; ++c) {
      ++all[c % period];
      hits[c % period] += is_bad[c] ? 1 : 0;
    }
    std::vector<bool> residues(period);
    bool holds = true;
    for (size_t r = 0; r < period; ++r) {
      residues[r] = hits[r] > 0;
      // One period in ten may have been lucky.
      holds = holds && (hits[r] == 0 || 10 * hits[r] >= 9 * all[r]);
    }
    const std::vector<Run> runs = Runs(residues);
    if (!holds || runs.size() != 1 ||
        runs[0].last - runs[0].first + 1 == period)
      continue;
    const std::string where =
        runs[0].first == runs[0].last
            ? fmt::format("{}", runs[0].first)
            : fmt::format("{}..{}", runs[0].first, runs[0].last);
    const bool tail = runs[0].last + 1 == period && runs[0].first > 0;
    return fmt::format(
        "{} = {} mod {}{}", axis, where, period,
        tail && period >= 4 ? fmt::format(" (tail of {} lanes)", period) : "");
  }
  return "";
}

}  // namespace

std::string DescribeIndices(std::span<const size_t> bad,
                            std::span<const size_t> shape,
                            std::span<const std::string> axes) {
  if (bad.empty()) return "";
  std::string text;
  size_t inner = 1;
  for (const size_t extent : shape) inner *= extent;
  for (size_t a = 0; a < shape.size(); ++a) {
    const size_t extent = shape[a];
    if (extent == 0) return "";
    inner /= extent;
    if (extent < 2) continue;
    const std::vector<bool> is_bad = BadCoordinates(bad, extent, inner);
    const std::vector<Run> runs = Runs(is_bad);
    const std::string axis =
        a < axes.size() && !axes[a].empty() ? axes[a] : fmt::format("i{}", a);
    std::string said;
    if (runs.size() == 1) {
      // All of an axis says nothing.
      if (runs[0].last - runs[0].first + 1 < extent) {
        said = Range(axis, runs[0], extent);
      }
    } else {
      said = Periodic(axis, is_bad);
    }
    if (said.empty()) continue;
    text += (text.empty() ? "" : ", ") + said;
  }
  return text;
}

}  // namespace etalon::golden
