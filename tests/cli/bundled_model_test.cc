// The bundled model is found from the program's own place, built or installed,
// whatever the working directory is, and continues texts in its data's style.
#include "cli/bundled_model.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/types.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "cli/exit_code.h"
#include "tests/cli/program_fixture.h"

namespace etalon::cli {
namespace {

namespace fs = std::filesystem;

class BundledModel : public testing::Test {
 protected:
  std::string Put(const std::string& folder) {
    const fs::path at = fs::path(dir_.File("root")) / folder;
    fs::create_directories(at);
    WriteFile((at / kBundledModel).string(), "x");
    return (at / kBundledModel).string();
  }
  fs::path Root() { return dir_.File("root"); }

  test::TempDir dir_;
};

TEST_F(BundledModel, IsFoundBesideABuildFolder) {
  const std::string model = Put("models");
  EXPECT_EQ(FindBundledModel(Root() / "build/etalon"), model);
  EXPECT_EQ(FindBundledModel(Root() / "build/asan/bin/etalon"), model);
}

TEST_F(BundledModel, IsFoundUnderAPrefix) {
  const std::string model = Put("share/etalon/models");
  EXPECT_EQ(FindBundledModel(Root() / "bin/etalon"), model);
}

TEST_F(BundledModel, IsNotInvented) {
  fs::create_directories(Root() / "models");
  EXPECT_EQ(FindBundledModel(Root() / "build/etalon"), "");
  EXPECT_EQ(FindBundledModel(""), "");
}

// `program run ARGS` with another working directory.
test::ProcessResult RunIn(const std::string& folder, const std::string& program,
                          std::vector<std::string> args) {
  args.insert(args.begin(), {"/bin/sh", "-c",
                             "cd \"$0\" && program=$1 && shift && "
                             "exec \"$program\" run --quiet \"$@\"",
                             folder, program});
  return test::RunProcess(args);
}

// The strict profile: these words on every machine.
constexpr char kBible[] = "And it came to pass in those days";
constexpr char kBibleGoesOn[] =
    ", that the people were come to pass, that the people of the land of Egypt";
constexpr char kAusten[] = "Elizabeth was";
constexpr char kAustenGoesOn[] =
    " very much pleased with her, and she was not so much pleased with her";

TEST_F(BundledModel, ContinuesInTheStyleOfItsDataFromAnyWorkingDirectory) {
  for (const auto& [prompt, text] :
       {std::pair(kBible, kBibleGoesOn), std::pair(kAusten, kAustenGoesOn)}) {
    const auto r =
        RunIn("/", ETALON_PROGRAM, {"-p", prompt, "-n", "20", "--temp", "0"});
    EXPECT_EQ(r.exit_code, 0) << r.err;
    EXPECT_TRUE(r.out.starts_with(text)) << r.out;
  }
}

// Without -n it would go on to the end of the context: interrupted once there
// is text.
TEST_F(BundledModel, NeedsNoFlagsAtAll) {
  test::ProcessOptions options;
  options.on_stdout = [](pid_t pid, const std::string& out) {
    if (out.size() >= 20) kill(pid, SIGINT);
  };
  const auto r = test::Etalon({"run"}, options);
  EXPECT_TRUE(r.exit_code == kExitInterrupted || r.exit_code == kExitOk)
      << r.exit_code << r.err;
  EXPECT_GE(r.out.size(), 20u);
  EXPECT_NE(r.err.find(kBundledModel), std::string::npos) << r.err;
}

TEST_F(BundledModel, RunsWhereItIsInstalled) {
  fs::create_directories(Root() / "bin");
  fs::create_directories(Root() / "share/etalon/models");
  fs::create_directories(Root() / "elsewhere");
  const std::string program = (Root() / "bin/etalon").string();
  fs::copy_file(ETALON_PROGRAM, program);
  const auto run = [&] {
    return RunIn((Root() / "elsewhere").string(), program,
                 {"-p", kAusten, "-n", "20", "--temp", "0"});
  };
  const auto without = run();
  EXPECT_EQ(without.exit_code, kExitUsage);
  EXPECT_NE(without.err.find("no model"), std::string::npos) << without.err;
  fs::copy_file(FindBundledModel(ETALON_PROGRAM),
                Root() / "share/etalon/models" / kBundledModel);
  const auto with = run();
  EXPECT_EQ(with.exit_code, 0) << with.err;
  EXPECT_TRUE(with.out.starts_with(kAustenGoesOn)) << with.out;
}

TEST_F(BundledModel, IsAtMostEightMegabytes) {
  const std::string model = FindBundledModel(ETALON_PROGRAM);
  ASSERT_NE(model, "");
  EXPECT_LE(fs::file_size(model), 8000000u);
}

}  // namespace
}  // namespace etalon::cli
