// The cases of the suites: shapes round every tile and tail, all families of
// data, special values. A suite is a pure function of its name.
#ifndef ETALON_REFERENCE_GOLDEN_SUITE_H_
#define ETALON_REFERENCE_GOLDEN_SUITE_H_

#include <string>
#include <string_view>
#include <vector>

#include "reference/golden/case.h"

namespace etalon::golden {

// Case number `index` of an op, without data: what a suite is made of, and what
// procedural cases are. Any index is a case. Error: an unknown op.
Expected<Case> DescribeCase(const std::string& op, uint64_t index);
std::vector<std::string> SuiteOps();

// Descriptions, without data. Error: neither "smoke" nor "full".
Expected<std::vector<Case>> DescribeSuite(std::string_view suite);

// Makes the data of all inputs that have a recipe, and their digests.
Status MakeInputs(Case& c);

}  // namespace etalon::golden

#endif  // ETALON_REFERENCE_GOLDEN_SUITE_H_
