// `etalon profile`.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "etalon/simd_tier.h"
#include "tests/cli/program_fixture.h"

namespace etalon::cli {
namespace {

using ::testing::HasSubstr;

class ProfileCommand : public Program {};

TEST_F(ProfileCommand, TableOnStdoutAndFilesOnRequest) {
  const auto r = test::Etalon({"profile", "-m",
                               model_,    "-p",
                               "16",      "-n",
                               "2",       "-d",
                               "4",       "-t",
                               "2",       "-r",
                               "1",       "--no-roofs",
                               "--html",  dir_.File("p.html"),
                               "--trace", dir_.File("t.json"),
                               "--csv",   dir_.File("p.csv"),
                               "--json",  dir_.File("p.json")});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  EXPECT_EQ(r.err, "");
  EXPECT_THAT(r.out, HasSubstr("prefill, pp16 @ d4"));
  EXPECT_THAT(r.out, HasSubstr("decode, tg2 @ d4"));
  EXPECT_THAT(r.out, HasSubstr("attention"));
  EXPECT_THAT(ReadFile(dir_.File("p.html")), HasSubstr("<svg"));
  EXPECT_EQ(nlohmann::json::parse(ReadFile(dir_.File("p.json")))["n_threads"],
            2);
  EXPECT_FALSE(
      nlohmann::json::parse(ReadFile(dir_.File("t.json")))["traceEvents"]
          .empty());
  EXPECT_THAT(ReadFile(dir_.File("p.csv")), HasSubstr("decode,\"tg2 @ d4\""));
}

TEST_F(ProfileCommand, TiersAreCompared) {
  const auto r = test::Etalon({"profile", "-m", model_, "-p", "4", "-n", "1",
                               "-t", "1", "-r", "1", "--tiers", "--scalar"});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  EXPECT_THAT(r.out, HasSubstr("scalar"));
  EXPECT_THAT(r.out, HasSubstr("same bits"));
}

// The scalar tier is never the fastest, so that advice for it shows.
TEST_F(ProfileCommand, AutoTakesTheTierThatIsRemembered) {
  test::ProcessOptions with_cache;
  with_cache.env = {"XDG_CACHE_HOME=" + dir_.File(""), "ETALON_ISA=auto"};
  const std::string file = dir_.File("etalon/tier.json");
  const auto r = test::Etalon({"profile", "-m", model_, "-p", "4", "-n", "1",
                               "-t", "1", "-r", "1", "--tiers", "--remember"},
                              with_cache);
  ASSERT_EQ(r.exit_code, 0) << r.err;
  EXPECT_THAT(r.out, HasSubstr("--isa auto takes"));
  auto advice = nlohmann::json::parse(ReadFile(file));
  const auto logits = [&](const char* out) {
    const auto run = test::Etalon({"logits", "-m", model_, "--tokens", "1,2,3",
                                   "-o", dir_.File(out), "-v"},
                                  with_cache);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return run.err;
  };
  EXPECT_THAT(logits("a.npy"),
              HasSubstr("kernels: " + advice["tier"].get<std::string>()));
  advice["tier"] = "scalar";
  WriteFile(file, advice.dump());
  EXPECT_THAT(logits("b.npy"), HasSubstr("kernels: scalar"));
  EXPECT_EQ(ReadFile(dir_.File("a.npy")), ReadFile(dir_.File("b.npy")));
  // Another machine's advice, and what is none at all, is not taken.
  advice["machine"] = "another";
  for (const std::string& text : {advice.dump(), std::string("{\"tier\"")}) {
    WriteFile(file, text);
    const std::string best(SimdTierName(SupportedSimdTiers().back()));
    EXPECT_THAT(logits("c.npy"), HasSubstr("kernels: " + best));
  }
}

TEST_F(ProfileCommand, RefusesNoModelAndNoTokens) {
  ExpectRefused({"profile"}, 1, "no model");
  ExpectRefused({"profile", "-m", model_, "-p", "0", "-n", "0"}, 1,
                "-p and -n are both 0");
  ExpectRefused({"profile", "-m", dir_.File("nothing"), "--no-roofs"}, 2,
                "No such file");
}

}  // namespace
}  // namespace etalon::cli
