// usage: etalon_mutants > docs/mutants.md
// Every catalogued bug, planted in a kernel that is right otherwise, against
// the smoke and the full suite.
#include <fmt/format.h>

#include <cstdio>
#include <set>

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

// Right kernels, one per shipped profile: what each metric accuses.
void PrintFalseAlarms(const std::map<std::string, std::vector<Case>>& suite) {
  fmt::print(
      "\n## False alarms\n\nRight kernels on emulated machines, one per "
      "shipped profile (`reference/golden/machine.cc`),\non the smoke suite: "
      "how many cases each judgement accuses.\n\n"
      "| profile | cases | bounds | NMSE | cosine | allclose |\n"
      "| --- | --- | --- | --- | --- | --- |\n");
  for (const golden::EmulatedProfile& e : golden::EmulatedProfiles()) {
    const auto profile = golden::FindShippedProfile(e.profile);
    if (!profile) continue;
    size_t n = 0, fail = 0, nmse = 0, cosine = 0, allclose = 0;
    for (const auto& [op, cases] : suite) {
      for (const Case& c : cases) {
        const auto got = golden::Emulate(c, e.machine);
        if (!got || !golden::SkipReason(c, *profile).empty()) continue;
        const auto r = golden::JudgeCase(c, *got, *profile, nullptr);
        const Metrics m = OtherMetrics(r);
        ++n;
        fail += r.Failed();
        nmse += m.nmse;
        cosine += m.cosine;
        allclose += m.allclose;
      }
    }
    fmt::print("| {} | {} | {} | {} | {} | {} |\n", e.profile, n, fail, nmse,
               cosine, allclose);
  }
}

int Main() {
  const auto smoke = EmulatedSuite("smoke");
  const auto full = EmulatedSuite("full");
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
      "of the full suite has a different bit. The last three columns\nsay how "
      "many mutants other projects' metrics notice in at least one case of the "
      "smoke\nsuite, against the fp64 value.\n\n",
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
  PrintFalseAlarms(*smoke);
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
  return total.full + total.equivalent == total.n ? 0 : 1;
}

}  // namespace
}  // namespace etalon::test

int main() { return etalon::test::Main(); }
