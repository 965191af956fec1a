// The program on real models and on hostile files, where they are.
#include <nlohmann/json.hpp>
#include <set>

#include "tests/cli/program_fixture.h"
#include "tests/util/external_data.h"
#include "tests/util/malformed_files.h"

namespace etalon::cli {
namespace {

using Args = std::vector<std::string>;

class ExternalProgram : public testing::Test {
 protected:
  void SetUp() override {
    const auto data = test::ExternalData();
    if (!data) GTEST_SKIP() << test::kNoExternalData;
    data_ = *data;
    expected_ = nlohmann::json::parse(ReadFile(data_ / "expected.json"));
  }

  std::filesystem::path data_;
  nlohmann::json expected_;
};

std::string Trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(" \n\t");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \n\t") - first + 1);
}

// With an f16 cache, with which the texts were made: at one token of the second
// text f16 and f32 decide differently (logits 14.28972 and 14.28912).
TEST_F(ExternalProgram, GreedyTexts) {
  for (const auto& e : expected_["text"]) {
    const auto r = test::Etalon(
        {"run", "-m", data_ / e["model"].get<std::string>(), "-p", e["prompt"],
         "-n", std::to_string(e["max_tokens"].get<int>()), "--temp", "0",
         "-ctk", "f16", "-ctv", "f16"});
    EXPECT_EQ(r.exit_code, 0) << r.err;
    EXPECT_EQ(Trimmed(r.out), Trimmed(e["text"])) << e["model"];
  }
}

// Instrumented programs are many times slower, whatever they do.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kInstrumented = true;
#else
constexpr bool kInstrumented = false;
#endif

TEST_F(ExternalProgram, Perplexities) {
  if (kInstrumented) GTEST_SKIP() << "a figure, and minutes of instrumentation";
  const test::TempDir dir;
  const std::string text = dir.File("text.txt");
  WriteFile(text,
            ReadFile(data_ / "text" / "tinyshakespeare.txt").substr(0, 65536));
  for (const auto& e : expected_["perplexity"]) {
    ASSERT_EQ(e["text"], "first 65536 bytes of text/tinyshakespeare.txt");
    const auto r = test::Etalon(
        {"perplexity", "-m", data_ / e["model"].get<std::string>(), "-f", text,
         "-c", std::to_string(e["context"].get<int>())});
    EXPECT_EQ(r.exit_code, 0) << r.err;
    const size_t at = r.out.find("PPL = ");
    ASSERT_NE(at, std::string::npos) << r.out;
    const double want = e["ppl"].get<double>();
    EXPECT_NEAR(std::stod(r.out.substr(at + 6)), want, want * 1e-3)
        << e["model"];
  }
}

TEST_F(ExternalProgram, MalformedFilesAreRefused) {
  // C00, C01 and D08 load, V14 may; J01 to J03 wait for chat templates.
  const std::set<std::string> loads = {"C00", "C01", "D08"};
  const std::set<std::string> either = {"V14", "J01", "J02", "J03"};
  const test::TempDir dir;
  size_t n_refused = 0;
  for (const auto& file : test::MalformedFiles(data_ / "malformed")) {
    SCOPED_TRACE(file.id + ": " + file.what + ", want: " + file.expected);
    const std::string path = dir.File(file.id + ".gguf");
    WriteFile(path, file.bytes);
    const auto r = test::Etalon(
        {"run", "-m", path, "-p", "a", "-n", "1", "-c", "64", "-q"});
    EXPECT_LT(r.seconds, kInstrumented ? 20.0 : 1.0);
    std::filesystem::remove(path);
    if (either.contains(file.id)) {
      EXPECT_TRUE(r.exit_code == 0 || r.exit_code == 2) << r.err;
    } else if (loads.contains(file.id)) {
      EXPECT_EQ(r.exit_code, 0) << r.err;
      EXPECT_EQ(r.ErrLines(), file.id == "C01" ? 1 : 0) << r.err;
    } else {
      EXPECT_EQ(r.exit_code, 2) << r.err;
      EXPECT_EQ(r.ErrLines(), 1) << r.err;
      EXPECT_EQ(r.out, "");
      ++n_refused;
    }
  }
  EXPECT_EQ(n_refused, 76u);
}

}  // namespace
}  // namespace etalon::cli
