// The judge is judged: by bugs it must see and by true ports it must not
// accuse.
#include <gtest/gtest.h>

#include "tests/golden/mutation.h"
#include "tests/golden/second_oracle.h"

namespace etalon::test {
namespace {

using golden::Bug;
using golden::CaseResult;
using golden::CaseStatus;

class Mutants : public ::testing::Test {
 protected:
  static const test::Suite& Suite() {
    static const auto suite = EmulatedSuite("smoke");
    EXPECT_TRUE(suite) << suite.error().message;
    return *suite;
  }
};

// At least 95 % of those that are not equivalent, by the smoke suite alone.
TEST_F(Mutants, TheSmokeSuiteKillsThem) {
  const auto profile = golden::FindShippedProfile("cpu-strict");
  ASSERT_TRUE(profile);
  size_t n = 0;
  size_t n_killed = 0;
  std::map<std::string_view, size_t> per_class;
  for (const Bug& bug : golden::Bugs()) {
    const auto cases = Suite().find(std::string(bug.op));
    ASSERT_NE(cases, Suite().end()) << bug.op;
    ++per_class[bug.bug_class];
    const MutantResult r =
        RunMutant(bug, cases->second, golden::StrictMachine(), *profile, true);
    if (r.Equivalent()) continue;
    ++n;
    n_killed += r.Killed();
    if (!r.Killed()) std::printf("  survives: %s\n", bug.id.data());
  }
  EXPECT_GE(n, 120u);
  EXPECT_EQ(per_class.size(), 12u);
  for (const auto& [name, count] : per_class) EXPECT_GE(count, 10u) << name;
  EXPECT_GE(n_killed * 100, n * 95);
}

// No false alarm: every shipped profile, emulated, on every case.
TEST_F(Mutants, TruePortsOfEveryProfilePass) {
  for (const golden::EmulatedProfile& e : golden::EmulatedProfiles()) {
    const auto profile = golden::FindShippedProfile(e.profile);
    ASSERT_TRUE(profile) << profile.error().message;
    size_t n_judged = 0;
    golden::Fits fits;
    for (const auto& [op, cases] : Suite()) {
      for (const Case& c : cases) {
        const auto got = golden::Emulate(c, e.machine);
        ASSERT_TRUE(got) << got.error().message;
        const CaseResult r = golden::JudgeCase(c, *got, *profile, &fits);
        EXPECT_FALSE(r.Failed())
            << e.profile << " " << c.id << " " << r.message;
        n_judged += r.status != CaseStatus::kSkipped;
      }
    }
    EXPECT_GT(n_judged, 250u) << e.profile;
    for (const golden::Fit& fit : fits.Solve()) {
      EXPECT_FALSE(fit.warns) << e.profile << " " << fit.op << " "
                              << fit.direction << " " << fit.delta;
    }
  }
}

// The second oracle: values within 2^-20 of the bound, magnitudes to their
// storage. ./dev mutants plants faults in the reference that it must see.
TEST_F(Mutants, TheReferenceAgreesWithASecondOracle) {
  size_t n = 0;
  size_t n_seen = 0;
  for (const auto& [op, cases] : Suite()) {
    for (const Case& c : cases) {
      EXPECT_EQ(Disagreement(c), "");
      EXPECT_FALSE(SecondOracleOf(c).empty()) << op;
      ++n;
      // What it would say if the reference were off by 2^-10 of the value.
      Case off = c;
      for (auto& [name, t] : off.expected.tensors) {
        if (!name.ends_with(".y") || t.dtype != golden::DType::kF64) continue;
        for (double& y : t.As<double>()) y *= 1.0 + 0x1p-10;
      }
      n_seen += !Disagreement(off).empty();
    }
  }
  EXPECT_GT(n, 250u);
  EXPECT_GT(n_seen, 150u);
}

// A fingerprint names the planted bug, or one that this case cannot tell from
// it.
TEST_F(Mutants, FingerprintsNameTheBug) {
  const auto profile = golden::FindShippedProfile("cpu-strict");
  ASSERT_TRUE(profile);
  const auto [n, first] = ScoreFingerprints(Suite(), *profile);
  EXPECT_GT(n, 120u);
  EXPECT_GE(first * 100, n * 90) << first << " of " << n;
  std::printf("  fingerprint: %zu of %zu first\n", first, n);
}

// A softmax scale 10 ppm off passes nearly every element; the fit measures and
// names it.
TEST_F(Mutants, FitsMeasureWhatNoElementShows) {
  const auto profile = golden::FindShippedProfile("cpu-strict");
  ASSERT_TRUE(profile);
  for (const double error : {0.0, 5e-6, 1e-5, 5e-5}) {
    golden::Fits fits;
    for (const Case& c : Suite().at("attention")) {
      Case off = c;
      const float scale = *c.Float("scale");
      off.SetFloat("scale", static_cast<float>(scale * (1.0 + error)));
      const auto got = golden::Emulate(off, golden::StrictMachine());
      ASSERT_TRUE(got);
      golden::JudgeCase(c, *got, *profile, &fits);
    }
    size_t n = 0;
    for (const golden::Fit& fit : fits.Solve()) {
      if (fit.direction != "scale") continue;
      ++n;
      EXPECT_NEAR(fit.delta, error, 0.2 * error + 1e-7);
      EXPECT_EQ(fit.warns, error > 0.0) << fit.threshold;
    }
    EXPECT_EQ(n, 1u);
  }
}

}  // namespace
}  // namespace etalon::test
