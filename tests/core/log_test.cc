#include "core/log.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace etalon {
namespace {

struct Lines {
  std::vector<std::pair<LogLevel, std::string>> all;
  static void Sink(LogLevel level, std::string_view message, void* user) {
    static_cast<Lines*>(user)->all.emplace_back(level, message);
  }
};

TEST(Log, SilentWithoutASink) {
  ::testing::internal::CaptureStderr();
  ::testing::internal::CaptureStdout();
  EXPECT_FALSE(LogEnabled(LogLevel::kError));
  Log(LogLevel::kError, "nobody listens");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "");
}

TEST(Log, PassesLevelAndTextUpToTheChosenVerbosity) {
  Lines lines;
  SetLogSink(Lines::Sink, &lines, LogLevel::kWarning);
  Log(LogLevel::kError, "field {} is {}", "x", 3);
  Log(LogLevel::kWarning, "hm");
  Log(LogLevel::kInfo, "too chatty");
  SetLogSink(nullptr);
  Log(LogLevel::kError, "after");
  ASSERT_EQ(lines.all.size(), 2u);
  EXPECT_EQ(lines.all[0],
            std::pair(LogLevel::kError, std::string("field x is 3")));
  EXPECT_EQ(lines.all[1].first, LogLevel::kWarning);
}

TEST(Log, AMessageIsOneLineOnStderr) {
  ::testing::internal::CaptureStderr();
  SetLogSink(StderrSink);
  Log(LogLevel::kWarning, "two\nlines");
  SetLogSink(nullptr);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "warning: two lines\n");
}

}  // namespace
}  // namespace etalon
