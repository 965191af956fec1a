// Which tokens go to which expert, and how experts go in waves: what
// ops::MoeFfn plans before it multiplies.
#ifndef ETALON_OPS_MOE_ROUTING_H_
#define ETALON_OPS_MOE_ROUTING_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "etalon/status.h"
#include "etalon/tensor.h"
#include "etalon/workspace.h"

namespace etalon::ops {

// Every (token, slot) pair, grouped by expert; tokens ascend inside a group.
struct Routing {
  std::span<size_t> begin;  // [n_experts + 1]: first pair of each expert
  std::span<size_t> token;  // [n_pairs]
  std::span<size_t> pair;   // [n_tokens * n_used]: where a slot's pair is
};

// Memory is the workspace's. Precondition: every index is below n_experts.
Expected<Routing> GroupByExpert(Span2D<const int32_t> experts, size_t n_experts,
                                Workspace& workspace);
size_t RoutingBytes(size_t n_pairs, size_t n_experts);

// Experts [first, last) and their pairs [begin, end).
struct Wave {
  size_t first = 0, last = 0;
  size_t begin = 0, end = 0;
  size_t n_pairs() const { return end - begin; }
};

// Pairs of one wave at most: enough that every thread has work, few enough that
// their rows take some MiB, whatever the routing. An expert that a token takes
// once has no more than n_tokens.
inline size_t MaxWavePairs(size_t n_tokens) {
  constexpr size_t kWavePairs = 1024;
  return n_tokens > kWavePairs ? n_tokens : kWavePairs;
}

// As many experts from `first` on as have max_pairs between them, at least one.
Wave NextWave(const Routing& routing, size_t first, size_t max_pairs);

}  // namespace etalon::ops

#endif  // ETALON_OPS_MOE_ROUTING_H_
