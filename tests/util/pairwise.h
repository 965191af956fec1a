// Combinations of factors in which every pair of values of two factors occurs.
// Greedy (as AETG, Cohen et al., 1997): the next combination is the best of a
// few seeded candidates, each grown from a pair that is still missing, and as
// cheap as the pair allows. Deterministic for a seed.
#ifndef ETALON_TESTS_UTIL_PAIRWISE_H_
#define ETALON_TESTS_UTIL_PAIRWISE_H_

#include <cstddef>
#include <functional>
#include <vector>

#include "tests/util/random.h"

namespace etalon::test {

using Combination = std::vector<size_t>;  // an index per factor

class Pairwise {
 public:
  // sizes[f]: how many values factor f has, the cheapest first. `cost` judges
  // whole combinations; a pair is looked for within each budget in turn.
  Pairwise(std::vector<size_t> sizes,
           std::function<size_t(const Combination&)> cost,
           std::vector<size_t> budgets, uint32_t stream)
      : sizes_(std::move(sizes)),
        cost_(std::move(cost)),
        budgets_(std::move(budgets)),
        rng_(stream) {
    for (size_t f = 0; f < sizes_.size(); ++f) {
      first_.push_back(n_values_);
      n_values_ += sizes_[f];
    }
    covered_.assign(n_values_ * n_values_, false);
  }

  std::vector<Combination> All() {
    std::vector<Combination> out;
    for (size_t f = 0; f < sizes_.size(); ++f) {
      for (size_t g = f + 1; g < sizes_.size(); ++g) {
        for (size_t i = 0; i < sizes_[f]; ++i) {
          for (size_t j = 0; j < sizes_[g]; ++j) {
            if (Covered(f, i, g, j)) continue;
            Combination best;
            bool found = false;
            for (size_t b = 0; b < budgets_.size() && !found; ++b) {
              found = Best(f, i, g, j, budgets_[b], &best);
            }
            if (found) {
              Cover(best);
              out.push_back(best);
            } else {
              ++impossible_;
            }
          }
        }
      }
    }
    return out;
  }
  // Pairs for which no combination within the last budget was found.
  size_t impossible() const { return impossible_; }

 private:
  static constexpr int kCandidates = 40;

  bool Covered(size_t f, size_t i, size_t g, size_t j) const {
    return covered_[(first_[f] + i) * n_values_ + first_[g] + j];
  }
  void Cover(const Combination& c) {
    for (size_t f = 0; f < c.size(); ++f) {
      for (size_t g = f + 1; g < c.size(); ++g) {
        covered_[(first_[f] + c[f]) * n_values_ + first_[g] + c[g]] = true;
      }
    }
  }
  size_t Gain(const Combination& c) const {
    size_t gain = 0;
    for (size_t f = 0; f < c.size(); ++f) {
      for (size_t g = f + 1; g < c.size(); ++g) {
        gain += Covered(f, c[f], g, c[g]) ? 0 : 1;
      }
    }
    return gain;
  }
  bool Best(size_t f, size_t i, size_t g, size_t j, size_t budget,
            Combination* best) {
    const auto allowed = [&](const Combination& c) {
      return cost_(c) <= budget;
    };
    size_t best_gain = 0;
    for (int n = 0; n < 10 * kCandidates; ++n) {
      if (n >= kCandidates && best_gain > 0) break;
      Combination c(sizes_.size());
      for (size_t k = 0; k < c.size(); ++k) c[k] = rng_.Below(sizes_[k]);
      c[f] = i;
      c[g] = j;
      // The first values of every factor are its cheapest: fall back to them.
      for (size_t k = 0; k < c.size() && !allowed(c); ++k) {
        if (k != f && k != g) c[k] = rng_.Below(1 + c[k]);
      }
      for (size_t k = 0; k < c.size() && !allowed(c); ++k) {
        if (k != f && k != g) c[k] = 0;
      }
      if (!allowed(c)) continue;
      if (const size_t gain = Gain(c); gain > best_gain) {
        best_gain = gain;
        *best = c;
      }
    }
    return best_gain > 0;
  }

  std::vector<size_t> sizes_;
  std::function<size_t(const Combination&)> cost_;
  std::vector<size_t> budgets_;
  Random rng_;
  std::vector<size_t> first_;
  size_t n_values_ = 0;
  std::vector<bool> covered_;
  size_t impossible_ = 0;
};

}  // namespace etalon::test

#endif  // ETALON_TESTS_UTIL_PAIRWISE_H_
