// The bundled model is found from the program's own place, built or installed,
// whatever the working directory is.
#include "cli/bundled_model.h"

#include <gtest/gtest.h>

#include <filesystem>

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

}  // namespace
}  // namespace etalon::cli
