#include "profile/profile.h"

#include <algorithm>

#include "core/ticks.h"
#include "profile/bench_run.h"
#include "profile/passes.h"

namespace etalon::profile {
namespace {

// The smallest level of memory that holds `bytes`: L1 and L2 are a thread's
// own, L3 is shared.
Level LevelOf(const Machine& m, double bytes, int n_threads) {
  const auto n = static_cast<double>(n_threads);
  if (bytes <= n * static_cast<double>(m.l1d_bytes)) return Level::kL1;
  if (bytes <= n * static_cast<double>(m.l2_bytes)) return Level::kL2;
  // Half of it: a server's L3 is shared with other machines.
  if (bytes <= static_cast<double>(m.l3_bytes) / 2) return Level::kL3;
  return Level::kDram;
}

// What the kernels of the tier compute this call with.
simd::Peak PeakOf(const OpKey& key, SimdTier tier) {
  if (key.integer && tier >= SimdTier::kAvx512Vnni) {
    // One row is a product of vectors: tiles are for many.
    return tier == SimdTier::kAmx && key.many_rows ? simd::Peak::kAmxInt8
                                                   : simd::Peak::kVnniInt8;
  }
  if (key.bf16) {
    return tier == SimdTier::kAmx ? simd::Peak::kAmxBf16
                                  : simd::Peak::kVectorBf16;
  }
  return tier == SimdTier::kScalar ? simd::Peak::kMulAddF32
                                   : simd::Peak::kFmaF32;
}

struct Context {
  const Roofs& roofs;
  const Machine& machine;
  int n_threads;
  SimdTier tier;
  double resident;  // weights and cache: what is read between two uses of them
};

// The time no kernel can beat is the longest of those that the roofs give; the
// share is how much of the time taken that is.
void FindRoof(const Context& c, OpRow* row) {
  const auto time = [](double n, double per_second) {
    return n > 0 && per_second > 0 ? n / per_second : 0;
  };
  const double calls = std::max(row->calls, 1.0);
  const Level far = LevelOf(c.machine, c.resident, c.n_threads);
  const Level near =
      LevelOf(c.machine, row->cost.activations / calls, c.n_threads);
  const double streamed =
      time(row->cost.streamed, c.roofs.Bandwidth(far, c.n_threads));
  const double activations =
      time(row->cost.activations, c.roofs.Bandwidth(near, c.n_threads));
  const simd::Peak peak = PeakOf(row->key, c.tier);
  const double compute =
      time(row->cost.operations, c.roofs.Peak(peak, c.tier, c.n_threads));
  const double memory = streamed + activations;
  if (memory <= 0 && compute <= 0) return;
  row->roof = compute > memory         ? simd::PeakName(peak)
              : streamed > activations ? LevelName(far)
                                       : LevelName(near);
  if (row->seconds > 0) {
    row->roof_share = std::max(memory, compute) / row->seconds;
  }
}

double Seconds(uint64_t ns) { return static_cast<double>(ns) * 1e-9; }
double Ratio(uint64_t a, uint64_t b) {
  return b > 0 ? static_cast<double>(a) / static_cast<double>(b) : 0;
}

std::vector<OpRow> MakeRows(std::span<const Pass> passes,
                            const Context& context) {
  std::vector<OpRow> rows;
  for (const auto& [key, totals] : passes.back().ops) {
    OpRow row;
    row.key = key;
    row.calls = static_cast<double>(totals.calls);
    row.cost = totals.cost;
    row.seconds = UndisturbedSeconds(passes, key);
    row.spread = HalvesDiffer(passes, key);
    std::vector<double> waits, imbalances;
    for (const Pass& pass : passes) {
      const auto it = pass.ops.find(key);
      if (it == pass.ops.end() || !pass.regions) continue;
      const RegionClock& r = it->second.regions;
      waits.push_back(r.thread > 0 ? 1 - Ratio(r.busy, r.thread) : 0);
      // The mean thread was busy for busy / (thread / wall).
      const double team = Ratio(r.thread, r.wall);
      imbalances.push_back(r.busy > 0 ? Ratio(r.longest, r.busy) * team - 1
                                      : 0);
    }
    row.wait_share = std::max(0.0, Median(waits));
    row.imbalance = std::max(0.0, Median(imbalances));
    FindRoof(context, &row);
    rows.push_back(std::move(row));
  }
  std::sort(rows.begin(), rows.end(), [](const OpRow& a, const OpRow& b) {
    return a.seconds > b.seconds;
  });
  return rows;
}

// One phase while it is measured.
struct Running {
  Phase phase;
  BenchCase test;
  std::vector<Pass> passes;
  double least_wall = 0;
};

std::vector<Running> PhasesOf(const BenchCase& c) {
  std::vector<Running> phases;
  for (const bool decode : {false, true}) {
    Running r;
    r.test = c;
    (decode ? r.test.n_prompt : r.test.n_gen) = 0;
    r.phase.name = decode ? "decode" : "prefill";
    r.phase.test = r.test.Name();
    r.phase.n_tokens = r.test.n_prompt + r.test.n_gen;
    if (r.phase.n_tokens > 0) phases.push_back(std::move(r));
  }
  return phases;
}

std::vector<TraceEvent> EventsFrom(Recorder& recorder) {
  std::vector<TraceEvent> events;
  for (const OpEvent& e : recorder.events()) {
    events.push_back({std::string(OpName(e.key->op)) + " " + e.key->TypeText() +
                          " " + e.key->ShapeText(),
                      e.begin_ns * 1e-9, e.ns * 1e-9, e.cost.bytes(),
                      e.cost.operations});
  }
  return events;
}

// Waiting and imbalance come from every third pass.
constexpr size_t kRegionsEvery = 3;

Status RunPass(BenchRunner& runner, Recorder& recorder,
               const Counters& counters, Running* r) {
  // The depth is filled before the clock starts, and before the counting.
  BenchCase fill = r->test;
  fill.n_prompt = fill.n_gen = 0;
  ETALON_ASSIGN_OR_RETURN([[maybe_unused]] const uint64_t filled,
                          runner.RunOnce(fill));
  const bool regions = r->passes.size() % kRegionsEvery == 0;
  recorder.Start(regions);
  const CounterValues before = counters.Read();
  ETALON_ASSIGN_OR_RETURN(const uint64_t ns, runner.RunOnce(r->test));
  const CounterValues counted = counters.Read() - before;
  if (runner.stopped()) return {};
  r->phase.counters = r->passes.empty() ? counted : r->phase.counters + counted;
  r->passes.push_back({Seconds(ns), recorder.totals(), regions});
  if (r->passes.size() == 1 || Seconds(ns) < r->least_wall) {
    r->least_wall = Seconds(ns);
    r->phase.events = EventsFrom(recorder);
  }
  return {};
}

constexpr size_t kLeastRounds = 3, kSettledRounds = 6, kMostRounds = 100;
constexpr double kLeastShare = 0.01, kAgreement = 0.02;

bool Enough(const ProfileSettings& s, std::span<const Running> phases,
            double seconds) {
  const size_t rounds = phases[0].passes.size();
  if (s.repetitions > 0) return rounds >= s.repetitions;
  if (rounds < kLeastRounds) return false;
  if (rounds >= kMostRounds || seconds >= s.budget) return true;
  // The halves of an odd number leave the middle out: look at even ones.
  return rounds >= kSettledRounds && rounds % 2 == 0 &&
         std::all_of(phases.begin(), phases.end(), [](const Running& r) {
           return WorstDifference(r.passes, kLeastShare) <= kAgreement;
         });
}

Phase Finish(Running r, const Context& context) {
  Phase phase = std::move(r.phase);
  phase.passes = r.passes.size();
  std::vector<double> walls, between;
  for (const Pass& p : r.passes) {
    walls.push_back(p.wall);
    between.push_back(p.wall - p.inside());
  }
  phase.measured_wall = Median(walls);
  phase.spread = WorstDifference(r.passes, kLeastShare);
  phase.rows = MakeRows(r.passes, context);
  for (const OpRow& row : phase.rows) phase.accounted += row.seconds;
  phase.wall = phase.accounted + LowerQuartile(between);
  for (OpRow& row : phase.rows) row.share = row.seconds / phase.wall;
  return phase;
}

}  // namespace

Expected<std::vector<Phase>> RunProfile(
    const model::Model& model, const model::SessionOptions& options,
    const ProfileSettings& settings, const Roofs& roofs, const Machine& machine,
    const Counters& counters, const std::function<bool()>& stop) {
  Recorder recorder(*options.backend);
  model::SessionOptions base = options;
  base.backend = &recorder.backend();
  BenchRunner runner(model, base, stop);
  BenchCase c;
  c.n_threads = options.n_threads;
  c.k_type = options.k_type;
  c.v_type = options.v_type;
  c.own_batch = options.n_batch == 0;
  if (!c.own_batch) c.n_batch = c.n_ubatch = options.n_batch;
  c.n_depth = settings.n_depth;
  c.n_prompt = settings.n_prompt;
  c.n_gen = settings.n_gen;
  ETALON_RETURN_IF_ERROR(runner.Prepare(
      c, settings.n_depth + std::max(settings.n_prompt, settings.n_gen)));
  ETALON_RETURN_IF_ERROR(runner.WarmUp([&] {
    BenchCase warm = c;
    warm.n_gen = 0;
    warm.n_prompt = std::max<size_t>(1, c.n_prompt);
    return warm;
  }()));

  const Context context{roofs, machine, options.n_threads, ActiveSimdTier(),
                        static_cast<double>(LabelOf(model).n_bytes)};
  std::vector<Running> running = PhasesOf(c);
  std::vector<Phase> phases;
  const uint64_t begin = SteadyNs();
  do {
    for (Running& r : running) {
      ETALON_RETURN_IF_ERROR(RunPass(runner, recorder, counters, &r));
      if (runner.stopped()) return phases;
    }
  } while (!Enough(settings, running, Seconds(SteadyNs() - begin)));
  for (Running& r : running) phases.push_back(Finish(std::move(r), context));
  return phases;
}

}  // namespace etalon::profile
