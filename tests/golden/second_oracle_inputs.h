// Inputs of the second oracle, decoded by its own loops.
#ifndef ETALON_TESTS_GOLDEN_SECOND_ORACLE_INPUTS_H_
#define ETALON_TESTS_GOLDEN_SECOND_ORACLE_INPUTS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/golden/second_oracle.h"

namespace etalon::test {

// Nearest half, ties to even; the value it has.
Real RoundToHalf(Real x);
// Of a value that is a half.
uint16_t HalfBits(Real x);

std::vector<Real> Read(const golden::Case& c, std::string_view name);
golden::Shape ShapeOf(const golden::Case& c, std::string_view name);
Real Scalar(const golden::Case& c, const std::string& name);

// Weights.
struct Matrix {
  size_t rows = 0, cols = 0, block = 1;
  std::vector<Real> w;
};
Matrix ReadMatrix(const golden::Case& c, std::string_view name);

// Activations: specified in f32, operation by operation.
struct Quants {
  std::vector<Real> d, q, x;  // per block; per element; d q
};
Quants QuantizeRows(const std::vector<Real>& x, size_t block);

}  // namespace etalon::test

#endif  // ETALON_TESTS_GOLDEN_SECOND_ORACLE_INPUTS_H_
