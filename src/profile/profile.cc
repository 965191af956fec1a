#include "profile/profile.h"

#include <algorithm>
#include <chrono>

#include "profile/bench_run.h"

namespace etalon::profile {
namespace {

double Median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

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

// Medians over the runs of one phase.
std::vector<OpRow> MakeRows(const std::vector<std::map<OpKey, OpTotals>>& runs,
                            const Context& context, double wall) {
  std::vector<OpRow> rows;
  for (const auto& [key, totals] : runs.back()) {
    OpRow row;
    row.key = key;
    row.calls = static_cast<double>(totals.calls);
    row.cost = totals.cost;
    std::vector<double> seconds, waits, imbalances;
    for (const auto& run : runs) {
      const auto it = run.find(key);
      if (it == run.end()) continue;
      const RegionClock& r = it->second.regions;
      seconds.push_back(Seconds(it->second.ns));
      waits.push_back(r.thread > 0 ? 1 - Ratio(r.busy, r.thread) : 0);
      // The mean thread was busy for busy / (thread / wall).
      const double team = Ratio(r.thread, r.wall);
      imbalances.push_back(r.busy > 0 ? Ratio(r.longest, r.busy) * team - 1
                                      : 0);
    }
    row.seconds = Median(seconds);
    row.wait_share = std::max(0.0, Median(waits));
    row.imbalance = std::max(0.0, Median(imbalances));
    row.share = wall > 0 ? row.seconds / wall : 0;
    FindRoof(context, &row);
    rows.push_back(std::move(row));
  }
  std::sort(rows.begin(), rows.end(), [](const OpRow& a, const OpRow& b) {
    return a.seconds > b.seconds;
  });
  return rows;
}

uint64_t SteadyNs() {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(
          std::chrono::steady_clock::now().time_since_epoch())
          .count());
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
  if (options.n_batch > 0) c.n_batch = c.n_ubatch = options.n_batch;
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
  std::vector<Phase> phases;
  for (const bool decode : {false, true}) {
    BenchCase test = c;
    (decode ? test.n_prompt : test.n_gen) = 0;
    if (test.n_prompt + test.n_gen == 0) continue;
    Phase phase;
    phase.name = decode ? "decode" : "prefill";
    phase.test = test.Name();
    phase.n_tokens = test.n_prompt + test.n_gen;
    phase.repetitions = settings.repetitions;
    std::vector<double> walls, accounted;
    std::vector<std::map<OpKey, OpTotals>> runs;
    const CounterValues before = counters.Read();
    for (size_t r = 0; r < settings.repetitions; ++r) {
      // The depth is filled before the clock starts, and before the counting.
      BenchCase fill = test;
      fill.n_prompt = fill.n_gen = 0;
      ETALON_ASSIGN_OR_RETURN(const uint64_t unused, runner.RunOnce(fill));
      static_cast<void>(unused);
      const bool last = r + 1 == settings.repetitions;
      recorder.Start(last);
      const uint64_t begin = SteadyNs();
      ETALON_ASSIGN_OR_RETURN(const uint64_t ns, runner.RunOnce(test));
      if (runner.stopped()) return phases;
      walls.push_back(Seconds(ns));
      double inside = 0;
      for (const auto& [key, totals] : recorder.totals()) {
        inside += Seconds(totals.ns);
      }
      accounted.push_back(inside);
      runs.push_back(recorder.totals());
      if (!last) continue;
      for (const OpEvent& e : recorder.events()) {
        phase.events.push_back({std::string(OpName(e.key->op)) + " " +
                                    e.key->TypeText() + " " +
                                    e.key->ShapeText(),
                                Seconds(e.begin_ns - begin), Seconds(e.ns),
                                e.cost.bytes(), e.cost.operations});
      }
    }
    phase.counters = counters.Read() - before;
    phase.wall = Median(walls);
    std::vector<double> shares;
    for (size_t i = 0; i < walls.size(); ++i) {
      shares.push_back(accounted[i] / walls[i]);
    }
    phase.accounted = Median(shares) * phase.wall;
    phase.rows = MakeRows(runs, context, phase.wall);
    phases.push_back(std::move(phase));
  }
  return phases;
}

}  // namespace etalon::profile
