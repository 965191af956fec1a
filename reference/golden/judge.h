// Judging one case: what came out against what the case says, by a profile.
#ifndef ETALON_REFERENCE_GOLDEN_JUDGE_H_
#define ETALON_REFERENCE_GOLDEN_JUDGE_H_

#include <map>
#include <utility>

#include "reference/golden/ops.h"
#include "reference/golden/result.h"

namespace etalon::golden {

// Sums of directional fits over the cases of an op (docs/golden-packs.md).
class Fits {
 public:
  // g and bound have one value per element, rows of `row` elements.
  void Add(const std::string& op, const std::string& direction,
           std::span<const double> error, std::span<const double> g,
           std::span<const double> bound, size_t row);
  std::vector<Fit> Solve() const;

 private:
  struct Sums {
    double error_g = 0.0;
    double g_g = 0.0;
    // Over rows: (sum error g / B^2)^2, that times sum g^2 / B^2, its square.
    double error_error = 0.0;
    double error_fit = 0.0;
    double fit_fit = 0.0;
    size_t n = 0;
  };
  std::map<std::pair<std::string, std::string>, Sums> sums_;
};

// Why the profile says nothing about the case; empty: it does.
std::string SkipReason(const Case& c, const PortProfile& profile);

// `got` holds the outputs. Never throws, never passes what it cannot read.
CaseResult JudgeCase(const Case& c, const TensorFile& got,
                     const PortProfile& profile, Fits* fits);

// A result that says only why there is none.
CaseResult Unjudged(const Case& c, CaseStatus status, std::string message);

}  // namespace etalon::golden

#endif  // ETALON_REFERENCE_GOLDEN_JUDGE_H_
