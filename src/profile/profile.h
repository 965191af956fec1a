// Runs a model's prefill and decode with a recorder and relates every op to the
// roof that binds it.
#ifndef ETALON_PROFILE_PROFILE_H_
#define ETALON_PROFILE_PROFILE_H_

#include <functional>
#include <string>
#include <vector>

#include "model/session.h"
#include "profile/counters.h"
#include "profile/machine.h"
#include "profile/model_label.h"
#include "profile/recorder.h"
#include "profile/roofs.h"

namespace etalon::profile {

struct ProfileSettings {
  size_t n_prompt = 512;
  size_t n_gen = 32;
  size_t n_depth = 0;
  // Rounds of one prefill and one decode each. 0: until no op with at least 1 %
  // of its phase differs by more than 2 % between the first half of the rounds
  // and the second, from 6 on; but no more than `budget` seconds, from 3 on.
  size_t repetitions = 0;
  double budget = 40;
};

// One kind of calls in one phase.
struct OpRow {
  OpKey key;
  double calls = 0;    // of one pass, like all that follows
  double seconds = 0;  // undisturbed, see passes.h
  double share = 0;    // of the phase's wall time
  double spread = 0;   // between the halves of the passes, see passes.h
  OpCost cost;
  std::string roof;       // the one that binds: "DRAM", "amx int8", ...
  double roof_share = 0;  // of it; 0: not measured
  // Of the threads' time in parallel regions: not busy, waiting for work or
  // for each other.
  double wait_share = 0;
  double imbalance = 0;  // longest busy thread over the mean, minus 1

  double BytesPerSecond() const { return Rate(cost.bytes()); }
  double OperationsPerSecond() const { return Rate(cost.operations); }
  double Intensity() const {
    return cost.bytes() > 0 ? cost.operations / cost.bytes() : 0;
  }

 private:
  double Rate(double n) const { return seconds > 0 ? n / seconds : 0; }
};

struct TraceEvent {
  std::string name;
  double begin = 0;  // seconds from the phase's start
  double seconds = 0;
  double bytes = 0;
  double operations = 0;
};

struct Phase {
  std::string name;  // "prefill", "decode"
  std::string test;  // "pp512 @ d0"
  size_t n_tokens = 0;
  // Seconds of one undisturbed pass: the ops' and, at the lower quartile, what
  // is between them.
  double wall = 0;
  double accounted = 0;      // of them, the ops'
  double measured_wall = 0;  // the median of the passes, as they were
  double spread = 0;         // the worst of ops with at least 1 % of it
  CounterValues counters;    // of all passes together
  size_t passes = 0;
  std::vector<OpRow> rows;         // by time, descending
  std::vector<TraceEvent> events;  // of the fastest pass

  double TokensPerSecond() const {
    return measured_wall > 0 ? static_cast<double>(n_tokens) / measured_wall
                             : 0;
  }
};

struct ProfileReport {
  std::string time;
  std::string model_path;
  ModelLabel model;
  std::string machine;
  Disturbance disturbance;
  std::string tier;
  int n_threads = 1;
  Roofs roofs;  // empty: none measured
  std::vector<Phase> phases;
};

// `options` as for a session; `stop` is asked between tokens. The phases with
// no tokens are left out.
Expected<std::vector<Phase>> RunProfile(
    const model::Model& model, const model::SessionOptions& options,
    const ProfileSettings& settings, const Roofs& roofs, const Machine& machine,
    const Counters& counters, const std::function<bool()>& stop);

std::string ToText(const ProfileReport& report);
std::string ToCsv(const ProfileReport& report);
std::string ToJson(const ProfileReport& report);
// The trace event format that Chrome and Perfetto read.
std::string ToTrace(const ProfileReport& report);
// Roofline plots and the table, in one page.
std::string ToHtml(const ProfileReport& report);

}  // namespace etalon::profile

#endif  // ETALON_PROFILE_PROFILE_H_
