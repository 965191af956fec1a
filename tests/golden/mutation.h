// Running the catalogue of bugs against a suite.
#ifndef ETALON_TESTS_GOLDEN_MUTATION_H_
#define ETALON_TESTS_GOLDEN_MUTATION_H_

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "reference/golden/emulator.h"
#include "reference/golden/fingerprint.h"
#include "reference/golden/judge.h"
#include "reference/golden/suite.h"

namespace etalon::test {

using golden::Case;

using Suite = std::map<std::string, std::vector<Case>>;

// The suite with inputs and expected values, by op; procedural cases are left
// out.
inline Expected<Suite> LoadSuite(std::string_view suite,
                                 bool only_emulated = false) {
  Suite by_op;
  ETALON_ASSIGN_OR_RETURN(std::vector<Case> cases,
                          golden::DescribeSuite(suite));
  for (Case& c : cases) {
    if (c.kind == golden::CaseKind::kProcedural ||
        (only_emulated && !golden::CanEmulate(c))) {
      continue;
    }
    ETALON_RETURN_IF_ERROR(golden::MakeInputs(c));
    ETALON_RETURN_IF_ERROR(golden::Expect(c));
    by_op[c.op].push_back(std::move(c));
  }
  return by_op;
}
// Ops without an emulated kernel are left out too.
inline Expected<Suite> EmulatedSuite(std::string_view suite) {
  return LoadSuite(suite, /*only_emulated=*/true);
}

inline bool SameBytes(const golden::TensorFile& a,
                      const golden::TensorFile& b) {
  for (const auto& [name, t] : a.tensors) {
    if (b.Find(name)->bytes != t.bytes) return false;
  }
  return true;
}

// Which of the metrics of others call an output wrong.
struct Metrics {
  bool nmse = false;      // above 5e-4
  bool cosine = false;    // below 0.9999
  bool allclose = false;  // rtol 1e-3, atol 1e-5
};
inline Metrics OtherMetrics(const golden::CaseResult& result) {
  Metrics m;
  for (const golden::OutputResult& o : result.outputs) {
    // As these checkers are written: a NaN passes.
    m.nmse |= o.nmse > 5e-4;
    m.cosine |= o.cosine < 0.9999;
    m.allclose |= !o.allclose;
  }
  return m;
}

// What a mutant did on the cases of its op.
struct MutantResult {
  size_t n_cases = 0;      // on which it was run
  size_t n_differing = 0;  // whose bits it changed: 0 is an equivalent mutant
  size_t n_killed = 0;
  // What the metrics of others say of the same outputs, on the same cases.
  size_t n_nmse = 0;
  size_t n_cosine = 0;
  size_t n_allclose = 0;
  std::string killer;  // the first case that did

  bool Equivalent() const { return n_differing == 0; }
  bool Killed() const { return n_killed > 0; }
};

// `first_kill`: stop there.
inline MutantResult RunMutant(const golden::Bug& bug,
                              const std::vector<Case>& cases,
                              const golden::Machine& machine,
                              const golden::PortProfile& profile,
                              bool first_kill) {
  MutantResult r;
  for (const Case& c : cases) {
    if (!golden::SkipReason(c, profile).empty()) continue;
    const auto right = golden::Emulate(c, machine);
    const auto wrong = golden::Emulate(c, machine, bug.id);
    if (!right || !wrong) continue;
    ++r.n_cases;
    if (SameBytes(*right, *wrong)) continue;
    ++r.n_differing;
    const golden::CaseResult judged =
        golden::JudgeCase(c, *wrong, profile, nullptr);
    if (judged.Failed()) {
      if (r.n_killed++ == 0) r.killer = c.id;
      if (first_kill) return r;
    }
    const Metrics m = OtherMetrics(judged);
    r.n_nmse += m.nmse;
    r.n_cosine += m.cosine;
    r.n_allclose += m.allclose;
  }
  return r;
}

inline std::vector<const Case*> BySize(const std::vector<Case>& cases) {
  const auto work = [](const Case* c) {
    size_t bytes = 0;
    for (const golden::Input& i : c->inputs) bytes += i.data.bytes.size();
    return bytes;
  };
  std::vector<const Case*> sorted;
  for (const Case& c : cases) sorted.push_back(&c);
  std::stable_sort(
      sorted.begin(), sorted.end(),
      [&](const Case* a, const Case* b) { return work(a) < work(b); });
  return sorted;
}

// A fingerprint names the planted bug, or one that this case cannot tell from
// it: in how many of the bugs that some case convicts.
struct FingerprintScore {
  size_t n = 0;
  size_t first = 0;
};
inline FingerprintScore ScoreFingerprints(const Suite& suite,
                                          const golden::PortProfile& profile) {
  FingerprintScore s;
  for (const golden::Bug& bug : golden::Bugs()) {
    // Rounding bugs have no value of their own to compare with.
    if (bug.bug_class == "precision") continue;
    for (const Case* smallest : BySize(suite.at(std::string(bug.op)))) {
      const Case& c = *smallest;
      if (!golden::SkipReason(c, profile).empty()) continue;
      const auto got = golden::Emulate(c, golden::StrictMachine(), bug.id);
      if (!golden::JudgeCase(c, *got, profile, nullptr).Failed()) continue;
      const auto found = golden::FindFingerprints(c, *got, profile);
      ++s.n;
      bool named = false;
      if (!found.empty()) {
        // What looks the same here is as good an answer.
        const auto a = golden::Emulate(c, golden::NaiveMachine(), found[0].bug);
        const auto b = golden::Emulate(c, golden::NaiveMachine(), bug.id);
        named = found[0].bug == bug.id || SameBytes(*a, *b);
      }
      s.first += named;
      break;  // the first case that shows it
    }
  }
  return s;
}

}  // namespace etalon::test

#endif  // ETALON_TESTS_GOLDEN_MUTATION_H_
