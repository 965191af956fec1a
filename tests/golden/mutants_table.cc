// usage: etalon_mutants > docs/mutants.md
// Every catalogued bug, planted in a kernel that is right otherwise, against
// the smoke and the full suite, and right kernels against the full one.
#include <fmt/format.h>

#include <cstdio>
#include <set>

#include "cli/golden.h"
#include "tests/golden/mutation.h"

namespace etalon::test {
namespace {

using golden::Bug;
using golden::Machine;

struct Row {
  const Bug* bug;
  MutantResult smoke;
  MutantResult full;
  bool KilledBySmoke() const { return smoke.Killed(); }
  bool Killed() const { return smoke.Killed() || full.Killed(); }
  bool Equivalent() const { return smoke.Equivalent() && full.Equivalent(); }
};

struct Sum {
  size_t n = 0, equivalent = 0, smoke = 0, full = 0;
  size_t nmse = 0, cosine = 0, allclose = 0;

  void Add(const Row& r) {
    ++n;
    equivalent += r.Equivalent();
    smoke += r.KilledBySmoke();
    full += r.Killed();
    nmse += r.smoke.n_nmse > 0;
    cosine += r.smoke.n_cosine > 0;
    allclose += r.smoke.n_allclose > 0;
  }
  void Print(std::string_view name) const {
    fmt::print("| {} | {} | {} | {} | {} | {} | {} | {} |\n", name, n,
               equivalent, smoke, full, nmse, cosine, allclose);
  }
};

// What each judgement accuses of a right kernel.
struct Alarms {
  size_t n = 0, fail = 0, nmse = 0, cosine = 0, allclose = 0;
  std::string first;  // case and message

  void Add(const golden::Case& c, const golden::TensorFile& got,
           const golden::PortProfile& profile) {
    const auto r = golden::JudgeCase(c, got, profile, nullptr);
    const Metrics m = OtherMetrics(r);
    ++n;
    fail += r.Failed();
    nmse += m.nmse;
    cosine += m.cosine;
    allclose += m.allclose;
    if (r.Failed() && first.empty()) first = c.id + " " + r.message;
  }
  void Print(std::string_view profile, std::string_view kernels) const {
    fmt::print("| {} | {} | {} | {} | {} | {} | {} |\n", profile, kernels, n,
               fail, nmse, cosine, allclose);
    if (fail > 0) {
      fmt::print(stderr, "false alarm: {} {}: {}\n", profile, kernels, first);
    }
  }
};

Expected<Alarms> OfMachine(const Suite& suite, const Machine& machine,
                           const golden::PortProfile& profile) {
  Alarms alarms;
  for (const auto& [op, cases] : suite) {
    for (const Case& c : cases) {
      if (!golden::CanEmulate(c) || !golden::SkipReason(c, profile).empty()) {
        continue;
      }
      ETALON_ASSIGN_OR_RETURN(const auto got, golden::Emulate(c, machine));
      alarms.Add(c, got, profile);
    }
  }
  return alarms;
}

// The engine's own kernels; profile fast has some of its own.
Expected<Alarms> OfEngine(const Suite& suite, const std::string& kernels,
                          const golden::PortProfile& profile) {
  cli::EngineOptions options;
  options.profile = kernels;
  ETALON_ASSIGN_OR_RETURN(const cli::Engine engine, cli::SetUpEngine(options));
  Workspace workspace;
  ExecContext ctx{&workspace, &engine.config, engine.n_threads};
  const golden::Subject subject = cli::CpuSubject(engine, &ctx);
  Alarms alarms;
  for (const auto& [op, cases] : suite) {
    for (const Case& c : cases) {
      if (!golden::SkipReason(c, profile).empty()) continue;
      ETALON_ASSIGN_OR_RETURN(const auto got, golden::Run(c, subject));
      alarms.Add(c, got, profile);
    }
  }
  return alarms;
}

// Returns how many bounds accused.
Expected<size_t> PrintFalseAlarms(const Suite& suite) {
  fmt::print(
      "\n## False alarms\n\nRight kernels on the full suite: how many cases "
      "each judgement accuses. The engine's own\nkernels (those of this "
      "machine), naive loops in f32, and an emulated machine for each "
      "shipped\nprofile (`reference/golden/machine.cc`: TF32, accumulators "
      "that "
      "truncate, f16 and bf16 operands,\nexp and division as loose as the "
      "profile allows, flushed subnormals). What a profile says\nnothing about "
      "is not counted.\n\n"
      "| profile | kernels | cases | bounds | NMSE | cosine | allclose |\n"
      "| --- | --- | --- | --- | --- | --- | --- |\n");
  size_t n_fail = 0;
  for (const auto& [name, kernels] :
       {std::pair{"cpu-strict", "strict"}, std::pair{"cpu-fast", "fast"}}) {
    ETALON_ASSIGN_OR_RETURN(const auto profile,
                            golden::FindShippedProfile(name));
    ETALON_ASSIGN_OR_RETURN(const Alarms alarms,
                            OfEngine(suite, kernels, profile));
    alarms.Print(name, fmt::format("the engine's, {}", kernels));
    n_fail += alarms.fail;
  }
  std::vector<golden::EmulatedProfile> machines = golden::EmulatedProfiles();
  machines.insert(machines.begin(), {"cuda-f32", golden::NaiveMachine()});
  for (const golden::EmulatedProfile& e : machines) {
    ETALON_ASSIGN_OR_RETURN(const auto profile,
                            golden::FindShippedProfile(e.profile));
    ETALON_ASSIGN_OR_RETURN(const Alarms alarms,
                            OfMachine(suite, e.machine, profile));
    const bool naive = e.machine.name == golden::NaiveMachine().name;
    alarms.Print(e.profile, naive ? "naive f32" : "emulated");
    n_fail += alarms.fail;
  }
  return n_fail;
}

void PrintFingerprints(const Suite& smoke, const golden::PortProfile& profile) {
  const FingerprintScore s = ScoreFingerprints(smoke, profile);
  fmt::print(
      "\n## Fingerprints\n\nThe first case that convicts a mutant, looked up "
      "in "
      "the catalogue: {} of {} mutants (all\nclasses but precision) are named "
      "first, or a bug that this case cannot tell from them: {:.1f} %.\n",
      s.first, s.n,
      100.0 * static_cast<double>(s.first) /
          static_cast<double>(std::max<size_t>(s.n, 1)));
}

int Main() {
  const auto smoke = LoadSuite("smoke");
  const auto full = LoadSuite("full");
  const auto profile = golden::FindShippedProfile("cpu-strict");
  if (!smoke || !full || !profile) {
    std::fputs("etalon_mutants: no suite\n", stderr);
    return 1;
  }
  std::vector<Row> rows;
  for (const Bug& bug : golden::Bugs()) {
    const std::string op(bug.op);
    Row row{&bug,
            RunMutant(bug, smoke->at(op), golden::StrictMachine(), *profile,
                      /*first_kill=*/false),
            {}};
    // The full suite is asked where the smoke suite has no answer.
    if (!row.KilledBySmoke()) {
      row.full = RunMutant(bug, full->at(op), golden::StrictMachine(), *profile,
                           /*first_kill=*/true);
    }
    rows.push_back(std::move(row));
  }
  fmt::print(
      "# Mutants\n\nMade by `./dev mutants`: {} bugs planted in kernels that "
      "are right otherwise, run on\nthe golden suites and judged as profile "
      "cpu-strict by the FAIL tier alone. A mutant is\nequivalent when no case "
      "of the full suite has a different bit; the smoke suite is part of the\n"
      "full one. The last three columns say how many mutants other projects' "
      "metrics notice in\nat least one case of the smoke suite, against the "
      "fp64 "
      "value.\n\n",
      rows.size());
  fmt::print(
      "| class | mutants | equivalent | killed by smoke | killed by full | "
      "NMSE 5e-4 | cosine 0.9999 | allclose 1e-3 |\n"
      "| --- | --- | --- | --- | --- | --- | --- | --- |\n");
  std::set<std::string_view> classes;
  Sum total;
  for (const Row& r : rows) {
    total.Add(r);
    if (!classes.insert(r.bug->bug_class).second) continue;
    Sum sum;
    for (const Row& other : rows) {
      if (other.bug->bug_class == r.bug->bug_class) sum.Add(other);
    }
    sum.Print(r.bug->bug_class);
  }
  total.Print("all");
  PrintFingerprints(*smoke, *profile);
  const auto alarms = PrintFalseAlarms(*full);
  if (!alarms) {
    fmt::print(stderr, "etalon_mutants: {}\n", alarms.error().message);
    return 1;
  }
  fmt::print(
      "\n## Every mutant\n\n| op | mutant | what is wrong | smoke: killed / "
      "differing cases | "
      "NMSE | cosine | allclose | full |\n"
      "| --- | --- | --- | --- | --- | --- | --- | --- |\n");
  for (const Row& r : rows) {
    fmt::print("| {} | {} | {} | {} / {} | {} | {} | {} | {} |\n", r.bug->op,
               r.bug->id, r.bug->description, r.smoke.n_killed,
               r.smoke.n_differing, r.smoke.n_nmse, r.smoke.n_cosine,
               r.smoke.n_allclose,
               r.Killed()       ? "killed"
               : r.Equivalent() ? "equivalent"
                                : "survives");
  }
  return total.full + total.equivalent == total.n && *alarms == 0 ? 0 : 1;
}

}  // namespace
}  // namespace etalon::test

int main() { return etalon::test::Main(); }
