#include "ops/moe_routing.h"

#include <algorithm>

namespace etalon::ops {

Expected<Routing> GroupByExpert(Span2D<const int32_t> experts, size_t n_experts,
                                Workspace& workspace) {
  Routing r;
  const size_t n_pairs = experts.rows * experts.cols;
  ETALON_ASSIGN_OR_RETURN(r.begin, workspace.Allocate<size_t>(n_experts + 1));
  ETALON_ASSIGN_OR_RETURN(r.token, workspace.Allocate<size_t>(n_pairs));
  ETALON_ASSIGN_OR_RETURN(r.pair, workspace.Allocate<size_t>(n_pairs));
  std::fill(r.begin.begin(), r.begin.end(), 0);
  for (size_t t = 0; t < experts.rows; ++t) {
    for (const int32_t e : experts.row(t))
      ++r.begin[static_cast<size_t>(e) + 1];
  }
  for (size_t e = 0; e < n_experts; ++e) r.begin[e + 1] += r.begin[e];
  // Counting sort: begin[e] runs up to begin[e + 1], then is put back.
  for (size_t t = 0; t < experts.rows; ++t) {
    for (size_t k = 0; k < experts.cols; ++k) {
      const size_t at = r.begin[static_cast<size_t>(experts.row(t)[k])]++;
      r.token[at] = t;
      r.pair[t * experts.cols + k] = at;
    }
  }
  for (size_t e = n_experts; e > 0; --e) r.begin[e] = r.begin[e - 1];
  r.begin[0] = 0;
  return r;
}

size_t RoutingBytes(size_t n_pairs, size_t n_experts) {
  return (n_experts + 1 + 2 * n_pairs) * sizeof(size_t) +
         3 * Workspace::kAlignment;
}

Wave NextWave(const Routing& routing, size_t first, size_t max_pairs) {
  const size_t n_experts = routing.begin.size() - 1;
  Wave w{first, first, routing.begin[first], routing.begin[first]};
  do {
    w.end = routing.begin[++w.last];
  } while (w.last < n_experts &&
           routing.begin[w.last + 1] - w.begin <= max_pairs);
  return w;
}

}  // namespace etalon::ops
