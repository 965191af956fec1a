// ETALON_DEBUG_ATTN: what head 0 of a multi-head attention looks like
// (requirement C-06).
#ifndef ETALON_OPS_ATTENTION_DEBUG_H_
#define ETALON_OPS_ATTENTION_DEBUG_H_

#include <array>
#include <string>

#include "etalon/tensor.h"

namespace etalon::ops {

// Four lines "[DEBUG-ATTN] head 0: ...", numbers with 6 decimals: means of the
// queries, keys and values; mean and maximum of the scores before the scale;
// sum and mean of the first query's weights; mean and root mean square of the
// output (the system that this follows prints the latter as "std"). Plain fp64
// loops over all pairs of positions, without a score matrix.
std::array<std::string, 4> DescribeHead0(const HeadsView<const float>& q,
                                         const HeadsView<const float>& k,
                                         const HeadsView<const float>& v,
                                         float scale,
                                         const HeadsView<const float>& out);

}  // namespace etalon::ops

#endif  // ETALON_OPS_ATTENTION_DEBUG_H_
