#include "core/interrupt.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>

namespace etalon {
namespace {

TEST(InterruptDeathTest, FirstPressAsksSecondEnds) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        InstallInterruptHandler();
        if (Interrupted()) std::exit(1);
        raise(SIGINT);
        if (!Interrupted()) std::exit(2);
        raise(SIGINT);
        std::exit(3);  // not reached
      },
      ::testing::ExitedWithCode(kInterruptedExitStatus), "");
}

TEST(InterruptDeathTest, ClearForgetsThePress) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        InstallInterruptHandler();
        raise(SIGINT);
        ClearInterrupt();
        if (Interrupted()) std::exit(1);
        raise(SIGINT);
        std::exit(Interrupted() ? 0 : 2);
      },
      ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace etalon
