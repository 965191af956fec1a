// What an op takes, from several passes over the same work on a machine that
// others use too.
//
// What disturbs a pass (an interrupt, another process, a neighbour on the
// memory bus) makes calls longer, never shorter, and hits some of them. The
// i-th call of an op does the same work in every pass, so each call is taken at
// the lower quartile of its times over the passes, and an op's time is the sum
// over its calls: three passes of four may be disturbed at any one call. The
// least time would be as steady, but nothing ever takes it as a whole.
#ifndef ETALON_PROFILE_PASSES_H_
#define ETALON_PROFILE_PASSES_H_

#include <map>
#include <span>
#include <vector>

#include "profile/op_cost.h"
#include "profile/recorder.h"

namespace etalon::profile {

struct Pass {
  double wall = 0;  // seconds
  std::map<OpKey, OpTotals> ops;
  bool regions = false;  // with the clock of parallel regions

  double inside() const;  // ops' seconds
};

// Of values >= 0; the least of up to four. 0 for none.
double LowerQuartile(std::vector<double> values);
double Median(std::vector<double> values);

// Seconds of one pass's calls of the op, as above. 0 where no pass has it.
double UndisturbedSeconds(std::span<const Pass> passes, const OpKey& key);

// How far the first half of the passes and the second are apart, as a share of
// the smaller: what two runs of half the length would have differed by. 0 for
// one pass.
double HalvesDiffer(std::span<const Pass> passes, const OpKey& key);

// The largest of it over the ops with at least `least_share` of the time.
double WorstDifference(std::span<const Pass> passes, double least_share);

}  // namespace etalon::profile

#endif  // ETALON_PROFILE_PASSES_H_
