#include "etalon/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace etalon {
namespace {

using ::testing::HasSubstr;

Expected<Config> From(std::map<std::string, std::string> environment) {
  return ConfigFromEnvironment(
      [&](const char* name) -> std::optional<std::string> {
        const auto it = environment.find(name);
        if (it == environment.end()) return std::nullopt;
        return it->second;
      });
}

TEST(Config, EmptyEnvironmentGivesTheDefaults) {
  const auto c = From({});
  ASSERT_TRUE(c);
  EXPECT_FALSE(c->isa);
  EXPECT_FALSE(c->n_threads);
  EXPECT_EQ(c->profile, Profile::kStrict);
  EXPECT_FALSE(c->flash_attn_strict);
  EXPECT_FALSE(c->q8k_activations);
  EXPECT_TRUE(c->UseQ8Activations());
  EXPECT_FALSE(c->layer_debug);
  EXPECT_FALSE(c->strict_parity);
}

TEST(Config, EveryIsaNameIsRead) {
  for (int i = 0; i < kNumSimdTiers; ++i) {
    const auto tier = static_cast<SimdTier>(i);
    const auto c = From({{"ETALON_ISA", std::string(SimdTierName(tier))}});
    ASSERT_TRUE(c);
    EXPECT_EQ(c->isa, tier);
  }
  for (const char* automatic : {"auto", ""}) {
    const auto c = From({{"ETALON_ISA", automatic}});
    ASSERT_TRUE(c);
    EXPECT_FALSE(c->isa);
  }
}

TEST(Config, UnknownIsaIsAnErrorThatListsTheNames) {
  const auto c = From({{"ETALON_ISA", "sse9"}});
  ASSERT_FALSE(c);
  EXPECT_EQ(c.error().code, ErrorCode::kInvalidArgument);
  for (const char* word : {"ETALON_ISA", "sse9", "avx512-vnni", "auto"}) {
    EXPECT_THAT(c.error().message, HasSubstr(word));
  }
}

TEST(Config, OwnThreadVariableWinsOverOpenMps) {
  EXPECT_EQ(
      From({{"ETALON_NUM_THREADS", "3"}, {"OMP_NUM_THREADS", "5"}})->n_threads,
      3);
  EXPECT_EQ(From({{"OMP_NUM_THREADS", "5"}})->n_threads, 5);
  EXPECT_EQ(From({{"OMP_NUM_THREADS", "5,2"}})->n_threads, 5);
  EXPECT_EQ(
      From({{"ETALON_NUM_THREADS", ""}, {"OMP_NUM_THREADS", "5"}})->n_threads,
      5);
}

TEST(Config, ThreadCountsOutsideTheRangeAreErrors) {
  for (const char* bad :
       {"0", "-1", "4097", "x", "2x", "1e3", "2,4", "99999999999999999999"}) {
    const auto c = From({{"ETALON_NUM_THREADS", bad}});
    ASSERT_FALSE(c) << bad;
    EXPECT_THAT(c.error().message, HasSubstr("ETALON_NUM_THREADS"));
    EXPECT_THAT(c.error().message, HasSubstr(bad));
  }
  EXPECT_EQ(From({{"ETALON_NUM_THREADS", "4096"}})->n_threads, 4096);
}

TEST(Config, FlashAttnStrictFollowsRequirementB80) {
  for (const char* on : {"1", "yes", "n", "x"}) {
    EXPECT_TRUE(From({{"ETALON_FLASH_ATTN_STRICT", on}})->flash_attn_strict);
  }
  for (const char* off : {"", "0", "01"}) {
    EXPECT_FALSE(From({{"ETALON_FLASH_ATTN_STRICT", off}})->flash_attn_strict);
  }
}

TEST(Config, Q8KActivationsFollowRequirementB81) {
  for (const char* off : {"0", "n", "No", "f", "FALSE"}) {
    EXPECT_FALSE(From({{"ETALON_Q8K_ACTIVATIONS", off}})->UseQ8Activations());
  }
  for (const char* on : {"1", "yes", "", "x"}) {
    EXPECT_TRUE(From({{"ETALON_Q8K_ACTIVATIONS", on}})->UseQ8Activations());
  }
  // Strict parity turns them off unless they are asked for.
  EXPECT_FALSE(From({{"ETALON_STRICT_PARITY", "1"}})->UseQ8Activations());
  EXPECT_FALSE(
      From({{"ETALON_STRICT_PARITY", "1"}, {"ETALON_Q8K_ACTIVATIONS", ""}})
          ->UseQ8Activations());
  EXPECT_TRUE(
      From({{"ETALON_STRICT_PARITY", "1"}, {"ETALON_Q8K_ACTIVATIONS", "1"}})
          ->UseQ8Activations());
}

TEST(Config, LayerDebugFollowsRequirementB82) {
  for (const char* on : {"1", "y", "Yes"}) {
    EXPECT_TRUE(From({{"ETALON_LAYER_DEBUG", on}})->layer_debug);
  }
  for (const char* off : {"", "0", "on", "2"}) {
    EXPECT_FALSE(From({{"ETALON_LAYER_DEBUG", off}})->layer_debug);
  }
}

TEST(Config, DebugAttnFollowsRequirementC06) {
  EXPECT_FALSE(From({})->debug_attn);
  for (const char* on : {"", "0", "1"}) {
    EXPECT_TRUE(From({{"ETALON_DEBUG_ATTN", on}})->debug_attn);
  }
}

TEST(Config, StrictParityIsSequential) {
  const auto c =
      From({{"ETALON_STRICT_PARITY", "1"}, {"ETALON_NUM_THREADS", "8"}});
  ASSERT_TRUE(c);
  EXPECT_TRUE(c->strict_parity);
  EXPECT_EQ(c->n_threads, 1);
}

TEST(Config, ReadsTheProcessEnvironment) {
  ASSERT_EQ(setenv("ETALON_NUM_THREADS", "7", 1), 0);
  const auto c = ConfigFromEnvironment();
  unsetenv("ETALON_NUM_THREADS");
  ASSERT_TRUE(c);
  EXPECT_EQ(c->n_threads, 7);
}

}  // namespace
}  // namespace etalon
