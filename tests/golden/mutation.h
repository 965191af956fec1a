// Running the catalogue of bugs against a suite.
#ifndef ETALON_TESTS_GOLDEN_MUTATION_H_
#define ETALON_TESTS_GOLDEN_MUTATION_H_

#include <map>
#include <string>
#include <vector>

#include "reference/golden/emulator.h"
#include "reference/golden/judge.h"
#include "reference/golden/suite.h"

namespace etalon::test {

using golden::Case;

// The suite with inputs and expected values, by op; ops without an emulated
// kernel are left out, procedural cases too.
inline Expected<std::map<std::string, std::vector<Case>>> EmulatedSuite(
    std::string_view suite) {
  std::map<std::string, std::vector<Case>> by_op;
  ETALON_ASSIGN_OR_RETURN(std::vector<Case> cases,
                          golden::DescribeSuite(suite));
  for (Case& c : cases) {
    if (c.kind == golden::CaseKind::kProcedural || !golden::CanEmulate(c)) {
      continue;
    }
    ETALON_RETURN_IF_ERROR(golden::MakeInputs(c));
    ETALON_RETURN_IF_ERROR(golden::Expect(c));
    by_op[c.op].push_back(std::move(c));
  }
  return by_op;
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

}  // namespace etalon::test

#endif  // ETALON_TESTS_GOLDEN_MUTATION_H_
