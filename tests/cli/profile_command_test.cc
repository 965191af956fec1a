// `etalon profile`.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

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

TEST_F(ProfileCommand, RefusesNoModelAndNoTokens) {
  ExpectRefused({"profile"}, 1, "no model");
  ExpectRefused({"profile", "-m", model_, "-p", "0", "-n", "0"}, 1,
                "-p and -n are both 0");
  ExpectRefused({"profile", "-m", dir_.File("nothing"), "--no-roofs"}, 2,
                "No such file");
}

}  // namespace
}  // namespace etalon::cli
