// A backend that times every op of another one: it is handed to a session in
// the other's place, so that nothing is spent when nobody profiles.
#ifndef ETALON_PROFILE_RECORDER_H_
#define ETALON_PROFILE_RECORDER_H_

#include <cstdint>
#include <map>
#include <vector>

#include "core/parallel.h"
#include "core/ticks.h"
#include "profile/op_cost.h"

namespace etalon::profile {

struct OpTotals {
  uint64_t calls = 0;
  double ns = 0;
  OpCost cost;
  RegionClock regions;         // in ticks: their ratios count
  std::vector<float> call_ns;  // of each call, in order
};

struct OpEvent {
  const OpKey* key = nullptr;  // lives as long as the recorder
  double begin_ns = 0;         // from Start
  double ns = 0;
  OpCost cost;
};

// One at a time per thread: the table's functions have no object, they find the
// recorder of the thread that calls them.
class Recorder {
 public:
  explicit Recorder(const Backend& inner);
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  const Backend& backend() const { return backend_; }

  // Forgets what was counted. `regions`: with the clock of parallel regions,
  // which costs more than the rest.
  void Start(bool regions);

  // To be asked when the work is done: counting takes time too.
  const std::map<OpKey, OpTotals>& totals() {
    Count();
    return totals_;
  }
  const std::vector<OpEvent>& events() {
    Count();
    return events_;
  }

 private:
  template <class Args, Status (*Backend::*Entry)(const Args&, ExecContext&)>
  static Status Timed(const Args& args, ExecContext& ctx);
  // One copy for all ops: what every call runs stays in the caches.
  void Add(const OpCall& op, uint64_t begin, uint64_t end);
  // Moves the calls into the totals.
  void Count();

  struct Call {
    OpCall op;
    uint64_t begin, end;  // ticks
  };
  struct Regions {
    RegionClock before, after;
  };

  Backend inner_;
  bool with_regions_ = false;
  RegionClock clock_, before_;
  // Not looked up in the map while the model runs: its weights have pushed the
  // map's nodes out of the caches.
  std::vector<Call> calls_;
  std::vector<Regions> regions_;  // of each call, or empty
  TickMark start_;
  std::map<OpKey, OpTotals> totals_;
  std::vector<OpEvent> events_;
  Backend backend_;
};

}  // namespace etalon::profile

#endif  // ETALON_PROFILE_RECORDER_H_
