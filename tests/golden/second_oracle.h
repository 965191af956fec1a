// A second oracle of the reference: plain loops in long double (64 bits of
// mantissa on x86), written from the definitions in docs/numerics.md. It shares
// nothing with reference/ but the container of the inputs, not even the
// decoders of number formats.
#ifndef ETALON_TESTS_GOLDEN_SECOND_ORACLE_H_
#define ETALON_TESTS_GOLDEN_SECOND_ORACLE_H_

#include <map>
#include <string>
#include <vector>

#include "reference/golden/case.h"

namespace etalon::test {

using Real = long double;

// One output: its values and, as far as they are computed here, the magnitudes
// c1, c2, ... beside it.
struct SecondOutput {
  std::vector<Real> y;
  std::vector<std::vector<Real>> c;
  // What fp64 itself may leave of c where v - o cancels; may be empty.
  std::vector<std::vector<Real>> c_slack;
};
using SecondOracle = std::map<std::string, SecondOutput>;

// Empty: the op is not known here.
SecondOracle SecondOracleOf(const golden::Case& c);

// Where the case's expected values differ from the second oracle's by more than
// 2^-20 of profile cpu-strict's bound, or its magnitudes by more than the
// rounding of their storage; empty: nowhere.
std::string Disagreement(const golden::Case& c);

}  // namespace etalon::test

#endif  // ETALON_TESTS_GOLDEN_SECOND_ORACLE_H_
