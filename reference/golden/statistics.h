// What reports say of an output beside pass or fail.
#ifndef ETALON_REFERENCE_GOLDEN_STATISTICS_H_
#define ETALON_REFERENCE_GOLDEN_STATISTICS_H_

#include <span>
#include <string>
#include <vector>

#include "reference/golden/result.h"
#include "reference/golden/tensor.h"

namespace etalon::golden {

// Mean, median and histogram of the ratios, ulp, NMSE, cosine, allclose.
void AddStatistics(const Tensor& got, std::span<const double> want,
                   std::span<const double> ratios, OutputResult& result);

// What the bad elements' indices have in common: "d = 13..15 mod 16",
// "head >= 8"; empty when nothing stands out, or everything is bad.
std::string DescribePattern(const std::vector<size_t>& shape,
                            const std::vector<std::string>& axes,
                            std::span<const double> ratios);

}  // namespace etalon::golden

#endif  // ETALON_REFERENCE_GOLDEN_STATISTICS_H_
