#include "core/progress.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace etalon {
namespace {

TEST(FormatProgress, ShowsShareSpeedAndTimeLeft) {
  EXPECT_EQ(FormatProgress("Loading", 500'000'000, 2'000'000'000, 1.0,
                           ProgressUnit::kBytes, 80),
            "Loading  [#####---------------]  25%  500 MB/s  3 s left");
  EXPECT_EQ(FormatProgress("Prompt", 50, 1000, 4.0, ProgressUnit::kTokens, 80),
            "Prompt  [#-------------------]   5%  12.5 tok/s  1:16 min left");
}

TEST(FormatProgress, KnowsNothingBeforeTheStart) {
  EXPECT_EQ(FormatProgress("X", 0, 10, 0.0, ProgressUnit::kTokens, 80),
            "X  [--------------------]   0%");
}

TEST(FormatProgress, EndsAtHundredAndNeverBeyond) {
  for (size_t done : {10, 11, 1000}) {
    const std::string line =
        FormatProgress("X", done, 10, 1.0, ProgressUnit::kTokens, 80);
    EXPECT_NE(line.find("[####################] 100%"), std::string::npos);
    EXPECT_EQ(line.find("left"), std::string::npos);
  }
  // 999 of 1000 is not yet done.
  EXPECT_NE(
      FormatProgress("X", 999, 1000, 1, ProgressUnit::kTokens, 80).find(" 99%"),
      std::string::npos);
}

TEST(FormatProgress, FitsTheTerminal) {
  for (size_t width = 0; width < 70; ++width) {
    EXPECT_LE(FormatProgress("Loading", 5, 10, 1, ProgressUnit::kTokens, width)
                  .size(),
              width);
  }
}

TEST(Progress, WritesNothingWhenNotATerminal) {
  std::FILE* file = std::tmpfile();
  ASSERT_NE(file, nullptr);
  {
    ProgressOptions options;
    options.stream = file;
    Progress progress("Loading", 100, ProgressUnit::kTokens, options);
    EXPECT_FALSE(progress.visible());
    for (size_t i = 0; i <= 100; ++i) progress.Update(i);
  }
  std::fflush(file);
  EXPECT_EQ(std::ftell(file), 0);
  std::fclose(file);
}

}  // namespace
}  // namespace etalon
