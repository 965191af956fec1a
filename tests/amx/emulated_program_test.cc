// The program on emulated tiles: it says so, and its logits are the others'.
#if defined(__x86_64__)
#include <gmock/gmock.h>

#include "simd/target.h"
#include "tests/cli/program_fixture.h"

namespace etalon::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class EmulatedProgram : public Program {
 protected:
  void SetUp() override {
    const simd::CpuFeatures& f = simd::GetCpuFeatures();
    if (!f.avx512_vnni) GTEST_SKIP() << "no AVX-512 VNNI, which AMX builds on";
    if (f.amx_int8 && !f.amx_emulated) GTEST_SKIP() << "the CPU has AMX";
    Program::SetUp();
  }
  test::ProcessOptions Told(const std::string& value) const {
    test::ProcessOptions options;
    options.env = {"ETALON_EMULATED_AMX=" + value,
                   "LD_PRELOAD=" ETALON_TILE_EMULATOR,
                   // The sanitizer's library wants to be the first.
                   "ASAN_OPTIONS=verify_asan_link_order=0"};
    return options;
  }
};

TEST_F(EmulatedProgram, NamesEmulatedTiles) {
  const test::ProcessResult r = test::Etalon({"info"}, Told("1"));
  ASSERT_EQ(r.exit_code, 0) << r.err;
  EXPECT_THAT(r.out, HasSubstr(" amx-int8-emulated amx-bf16-emulated\n"));
  EXPECT_THAT(r.out, HasSubstr(" avx512-vnni amx\n"));
  EXPECT_THAT(r.out, HasSubstr("kernels: amx\n"));
}

TEST_F(EmulatedProgram, HasTilesOnlyWhenItIsTold) {
  for (const char* value : {"", "0", "yes"}) {
    const test::ProcessResult r = test::Etalon({"info"}, Told(value));
    ASSERT_EQ(r.exit_code, 0) << r.err;
    EXPECT_THAT(r.out, Not(HasSubstr("amx"))) << value;
  }
}

TEST_F(EmulatedProgram, LogitsAreTheSameBitsOnEveryTier) {
  std::string tokens = "0";
  for (int t = 1; t < 40; ++t) tokens += "," + std::to_string(t);
  const auto logits = [&](const std::string& tier) {
    const test::ProcessResult r = test::Etalon(
        {"logits", "-m", model_, "--tokens", tokens, "-o", out_, "--isa", tier},
        Told("1"));
    EXPECT_EQ(r.exit_code, 0) << r.err;
    return ReadFile(out_);
  };
  const std::string want = logits("scalar");
  EXPECT_FALSE(want.empty());
  EXPECT_EQ(logits("amx"), want);
  EXPECT_EQ(logits("avx512-vnni"), want);
}

}  // namespace
}  // namespace etalon::cli
#endif  // __x86_64__
