// Generated models and the built program.
#ifndef ETALON_TESTS_CLI_PROGRAM_FIXTURE_H_
#define ETALON_TESTS_CLI_PROGRAM_FIXTURE_H_

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/util/model_builder.h"
#include "tests/util/process.h"
#include "tests/util/temp_dir.h"

namespace etalon::cli {

inline std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline void WriteFile(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

class Program : public testing::Test {
 protected:
  void SetUp() override {
    test::ModelSpec spec = test::Quantised(
        {}, {TensorType::kQ4_K, TensorType::kQ8_0, TensorType::kF32});
    spec.n_ctx = 200000;
    test::MakeModel(spec).Write(model_);
  }

  // A refusal: its status, and one line on stderr; nothing on stdout.
  void ExpectRefused(const std::vector<std::string>& args, int exit_code,
                     const std::string& part = "",
                     const test::ProcessOptions& options = {}) {
    const test::ProcessResult r = test::Etalon(args, options);
    std::string shown;
    for (const std::string& a : args) shown += " " + a;
    EXPECT_EQ(r.exit_code, exit_code) << shown << "\n" << r.err;
    EXPECT_EQ(r.ErrLines(), 1) << shown << "\n" << r.err;
    EXPECT_TRUE(r.err.starts_with("error: ")) << shown << "\n" << r.err;
    EXPECT_NE(r.err.find(part), std::string::npos) << shown << "\n" << r.err;
    EXPECT_EQ(r.out, "") << shown;
  }

  test::TempDir dir_;
  std::string model_ = dir_.File("model.gguf");
  std::string out_ = dir_.File("out.npy");
};

}  // namespace etalon::cli

#endif  // ETALON_TESTS_CLI_PROGRAM_FIXTURE_H_
