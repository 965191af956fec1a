#include "reference/golden/fingerprint.h"

#include <algorithm>
#include <cmath>

#include "reference/golden/emulator.h"

namespace etalon::golden {
namespace {

// Shares of elements: how many the bug explains, of those that were wrong.
struct Match {
  double ratio = 0.0;
  double explained = 0.0;
  double sharpness = 0.0;  // mean of ratios, capped: the tie breaker
};

// Both outputs are within a bound of the bug's real value, each by its own
// rounding; conditioning is that of the right value, so allow some more.
constexpr double kSlack = 8.0;

double Distance(double a, double b, double bound) {
  if (std::isnan(a) || std::isnan(b)) {
    return std::isnan(a) && std::isnan(b) ? 0.0 : INFINITY;
  }
  if (a == b) return 0.0;
  const double tolerance = kSlack * bound + 0x1p-21 * std::abs(a);
  const double r = std::abs(a - b) / tolerance;
  return std::isnan(r) ? INFINITY : r;
}

Expected<std::vector<std::vector<double>>> AllBounds(
    const Case& c, const PortProfile& profile) {
  std::vector<std::vector<double>> bounds;
  for (const Output& out : c.outputs) {
    if (out.judge == Judge::kBound || out.judge == Judge::kScales) {
      ETALON_ASSIGN_OR_RETURN(auto b, Bounds(c, out, profile, false));
      bounds.push_back(std::move(b));
    } else {
      bounds.emplace_back(Elements(out.shape), 0.0);
    }
  }
  return bounds;
}

Match Compare(const Case& c, const TensorFile& got, const TensorFile& bug,
              const std::vector<std::vector<double>>& bounds) {
  Match m;
  size_t n = 0;
  size_t n_within = 0;
  double sum = 0.0;
  for (size_t o = 0; o < c.outputs.size(); ++o) {
    const Tensor* a = got.Find(c.outputs[o].name);
    const Tensor* b = bug.Find(c.outputs[o].name);
    for (size_t i = 0; i < bounds[o].size(); ++i) {
      const double d =
          Distance(ElementValue(*a, i), ElementValue(*b, i), bounds[o][i]);
      m.ratio = std::max(m.ratio, d);
      n_within += d <= 1.0 ? 1 : 0;
      sum += std::min(d, 10.0);
      ++n;
    }
  }
  m.explained =
      n == 0 ? 0.0 : static_cast<double>(n_within) / static_cast<double>(n);
  m.sharpness = n == 0 ? 0.0 : sum / static_cast<double>(n);
  return m;
}

bool SameOutput(const Case& c, const TensorFile& a, const TensorFile& b) {
  for (const Output& out : c.outputs) {
    if (a.Find(out.name)->bytes != b.Find(out.name)->bytes) return false;
  }
  return true;
}

}  // namespace

std::vector<Fingerprint> FindFingerprints(const Case& c, const TensorFile& got,
                                          const PortProfile& profile) {
  for (const Output& out : c.outputs) {
    const Tensor* t = got.Find(out.name);
    if (t == nullptr || t->dtype != out.dtype || t->shape != out.shape) {
      return {};
    }
  }
  const auto bounds = AllBounds(c, profile);
  const auto right = Emulate(c, NaiveMachine());
  if (!bounds || !right) return {};
  struct Candidate {
    const Bug* bug;
    Match match;
  };
  std::vector<Candidate> candidates;
  for (const Bug& bug : Bugs()) {
    if (bug.op != c.op) continue;
    const auto value = Emulate(c, NaiveMachine(), bug.id);
    // A bug that this case cannot show explains nothing.
    if (!value || SameOutput(c, *value, *right)) continue;
    const Match m = Compare(c, got, *value, *bounds);
    if (m.explained >= 0.9) candidates.push_back({&bug, m});
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) {
                     if (a.match.explained != b.match.explained) {
                       return a.match.explained > b.match.explained;
                     }
                     return a.match.sharpness < b.match.sharpness;
                   });
  std::vector<Fingerprint> found;
  for (size_t i = 0; i < std::min<size_t>(3, candidates.size()); ++i) {
    const Candidate& best = candidates[i];
    found.push_back({std::string(best.bug->id),
                     std::string(best.bug->description), best.match.ratio,
                     best.match.explained});
  }
  return found;
}

}  // namespace etalon::golden
