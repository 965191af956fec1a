// `etalon profile`: what this machine can do, and how near each op of a model
// comes to it.
#include "profile/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "cli/app.h"
#include "cli/engine_options.h"
#include "cli/exit_code.h"
#include "cli/output.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "io/atomic_file.h"
#include "profile/bench_output.h"
#include "profile/tier_advice.h"

namespace etalon::cli {
namespace {

struct ProfileOptions {
  EngineOptions engine;
  profile::ProfileSettings settings;
  std::string html, trace, csv, json;
  bool roofs = false, remeasure = false, no_roofs = false;
  bool tiers = false, scalar = false, remember = false;
};

// Those remembered, or measured now and remembered.
Expected<profile::Roofs> GetRoofs(const profile::Machine& machine,
                                  bool remeasure) {
  const std::string path = profile::RoofCachePath();
  if (!remeasure) {
    if (auto roofs = profile::LoadRoofs(path, machine)) return *roofs;
  }
  fmt::print(stderr, "measuring this machine's roofs, about ten seconds\n");
  ETALON_ASSIGN_OR_RETURN(profile::Roofs roofs,
                          MeasureRoofs(machine, Interrupted, nullptr));
  if (Interrupted()) return roofs;
  if (Status saved = SaveRoofs(path, roofs); !saved) {
    Log(LogLevel::kWarning, "roofs are not remembered: {}",
        saved.error().message);
  }
  return roofs;
}

// A tier below the highest is advised when it takes less than this of its time:
// what lies within the spread of measurements is no advice.
constexpr double kClear = 0.97;
constexpr double kTierBudget = 8;  // seconds on each

// Every op on every tier, and which was fastest.
Expected<int> RunTiers(const ProfileOptions& o, const model::Model& model,
                       const model::SessionOptions& options,
                       const profile::Machine& machine,
                       const profile::Counters& counters) {
  const SimdTier chosen = ActiveSimdTier();
  profile::ProfileSettings settings = o.settings;
  settings.budget = kTierBudget;
  struct Entry {
    std::vector<double> seconds;  // by tier, 0: not run
  };
  std::vector<SimdTier> tiers;
  std::map<std::pair<std::string, profile::OpKey>, Entry> ops;
  std::vector<std::pair<std::string, Entry>> totals;
  for (const SimdTier tier : SupportedSimdTiers()) {
    const bool only = SupportedSimdTiers().size() == 1;
    if (tier == SimdTier::kScalar && !o.scalar && !only) continue;
    fmt::print(stderr, "measuring {}\n", SimdTierName(tier));
    ETALON_RETURN_IF_ERROR(SetActiveSimdTier(tier));
    ETALON_ASSIGN_OR_RETURN(
        const auto phases, profile::RunProfile(model, options, settings, {},
                                               machine, counters, Interrupted));
    if (Interrupted()) return kExitInterrupted;
    for (const profile::Phase& p : phases) {
      for (const profile::OpRow& row : p.rows) {
        auto& seconds = ops[{p.test, row.key}].seconds;
        seconds.resize(tiers.size() + 1);
        seconds.back() = row.seconds;
      }
      auto it = std::find_if(totals.begin(), totals.end(),
                             [&](const auto& t) { return t.first == p.test; });
      if (it == totals.end()) it = totals.insert(totals.end(), {p.test, {}});
      it->second.seconds.push_back(p.wall);
    }
    tiers.push_back(tier);
  }
  ETALON_RETURN_IF_ERROR(SetActiveSimdTier(chosen));
  std::string out = fmt::format("{:22} {:34}", "test", "op");
  for (const SimdTier tier : tiers) {
    out += fmt::format(" {:>11}", SimdTierName(tier));
  }
  out += "  fastest\n";
  const auto line = [&](const std::string& test, const std::string& op,
                        std::vector<double> seconds) {
    seconds.resize(tiers.size());
    out += fmt::format("{:22} {:34}", test, op);
    size_t best = 0;
    for (size_t i = 0; i < tiers.size(); ++i) {
      out += fmt::format(" {:>8.3f} ms", seconds[i] * 1e3);
      if (seconds[i] < seconds[best]) best = i;
    }
    const bool clear = seconds[best] < kClear * seconds.back();
    out += fmt::format("  {}\n", clear ? SimdTierName(tiers[best])
                                       : SimdTierName(tiers.back()));
  };
  for (const auto& [key, entry] : ops) {
    line(key.first,
         fmt::format("{} {} {}", OpName(key.second.op), key.second.TypeText(),
                     key.second.ShapeText()),
         entry.seconds);
  }
  std::vector<double> sums(tiers.size());
  for (const auto& [test, entry] : totals) {
    line(test, "all", entry.seconds);
    for (size_t i = 0; i < tiers.size(); ++i) sums[i] += entry.seconds[i];
  }
  out += "force one with --isa or ETALON_ISA; results are the same bits\n";
  if (o.remember) {
    const auto least = std::min_element(sums.begin(), sums.end());
    const SimdTier best = *least < kClear * sums.back()
                              ? tiers[static_cast<size_t>(least - sums.begin())]
                              : tiers.back();
    const std::string path = profile::TierAdvicePath();
    ETALON_RETURN_IF_ERROR(SaveTierAdvice(path, machine, best));
    out += fmt::format("--isa auto takes {} from now on: {}\n",
                       SimdTierName(best), path);
  }
  ETALON_RETURN_IF_ERROR(WriteStdout(out));
  return kExitOk;
}

Status WriteText(const std::string& path, const std::string& text) {
  if (path.empty()) return {};
  return io::WriteFileAtomically(path,
                                 std::as_bytes(std::span<const char>(text)));
}

Expected<int> RunProfile(const ProfileOptions& o) {
  const profile::Counters counters;  // before the first thread
  ETALON_ENSURE(o.roofs || !o.engine.model_path.empty(),
                "no model: give one with -m FILE, or --roofs for the machine "
                "alone");
  ETALON_ENSURE(o.roofs || o.settings.n_prompt + o.settings.n_gen > 0,
                "-p and -n are both 0: nothing to run");
  ETALON_ASSIGN_OR_RETURN(const Engine engine, SetUpEngine(o.engine));
  const profile::Machine machine = profile::DescribeMachine();
  if (o.roofs) {
    ETALON_ASSIGN_OR_RETURN(const profile::Roofs roofs,
                            GetRoofs(machine, o.remeasure));
    if (Interrupted()) return kExitInterrupted;
    ETALON_RETURN_IF_ERROR(WriteStdout(
        fmt::format("machine: {}\n", MachineText(machine)) + RoofsText(roofs)));
    if (o.engine.model_path.empty()) return kExitOk;
  }
  ETALON_ASSIGN_OR_RETURN(const auto model, LoadModel(o.engine, engine));
  ETALON_ASSIGN_OR_RETURN(const model::SessionOptions options,
                          MakeSessionOptions(o.engine, engine, 1));
  if (o.tiers) return RunTiers(o, *model, options, machine, counters);

  profile::ProfileReport report;
  if (!o.no_roofs) {
    ETALON_ASSIGN_OR_RETURN(report.roofs,
                            GetRoofs(machine, o.remeasure && !o.roofs));
  }
  report.time = profile::UtcTime();
  report.model_path = o.engine.model_path;
  report.model = profile::LabelOf(*model);
  report.machine = MachineText(machine);
  report.tier = SimdTierName(ActiveSimdTier());
  report.n_threads = engine.n_threads;
  const auto clock = profile::ReadCpuClock();
  ETALON_ASSIGN_OR_RETURN(
      report.phases,
      profile::RunProfile(*model, options, o.settings, report.roofs, machine,
                          counters, Interrupted));
  if (Interrupted()) return kExitInterrupted;
  report.disturbance = DisturbanceBetween(clock, profile::ReadCpuClock());
  ETALON_RETURN_IF_ERROR(WriteText(o.html, ToHtml(report)));
  ETALON_RETURN_IF_ERROR(WriteText(o.trace, ToTrace(report)));
  ETALON_RETURN_IF_ERROR(WriteText(o.csv, ToCsv(report)));
  ETALON_RETURN_IF_ERROR(WriteText(o.json, ToJson(report)));
  ETALON_RETURN_IF_ERROR(WriteStdout(ToText(report)));
  return kExitOk;
}

}  // namespace

Action AddProfile(CLI::App& app) {
  auto o = std::make_shared<ProfileOptions>();
  CLI::App* c = app.add_subcommand(
      "profile",
      "how close each op of a model comes to what this machine can do");
  o->engine.AddModel(*c);
  const auto tokens = CLI::Range(size_t{0}, size_t{1} << 24);
  c->add_option("-p,--n-prompt", o->settings.n_prompt,
                "tokens of the prefill (default 512)")
      ->check(tokens)
      ->type_name("N");
  c->add_option("-n,--n-gen", o->settings.n_gen, "tokens decoded (default 32)")
      ->check(tokens)
      ->type_name("N");
  c->add_option("-d,--n-depth", o->settings.n_depth,
                "positions in the cache before (default 0)")
      ->check(tokens)
      ->type_name("N");
  c->add_option("-r,--repetitions", o->settings.repetitions,
                "rounds of both; default: until the figures are steady, 40 s "
                "at most")
      ->check(CLI::Range(size_t{1}, size_t{1000}))
      ->type_name("N");
  c->add_option("--html", o->html, "page with rooflines and the table")
      ->type_name("FILE");
  c->add_option("--trace", o->trace, "time line for Perfetto or Chrome")
      ->type_name("FILE");
  c->add_option("--csv", o->csv, "the table")->type_name("FILE");
  c->add_option("--json", o->json, "everything")->type_name("FILE");
  c->add_flag("--tiers", o->tiers, "which SIMD tier is fastest for which op");
  c->add_flag("--scalar", o->scalar, "--tiers: the scalar tier too");
  c->add_flag("--remember", o->remember,
              "--tiers: --isa auto takes the fastest tier on this machine");
  c->add_flag("--roofs", o->roofs, "print the machine's measured roofs");
  c->add_flag("--remeasure", o->remeasure,
              "measure the roofs again, whatever is remembered");
  c->add_flag("--no-roofs", o->no_roofs, "do without roofs");
  o->engine.AddCompute(*c);
  o->engine.AddCache(*c);
  return [o] { return RunProfile(*o); };
}

}  // namespace etalon::cli
