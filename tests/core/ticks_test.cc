#include "core/ticks.h"

#include <gtest/gtest.h>

namespace etalon {
namespace {

TEST(Ticks, TurnIntoTheTimeOfTheSteadyClock) {
  const TickMark start = TickMark::Now();
  const uint64_t begin_ns = SteadyNs(), begin = Ticks();
  while (SteadyNs() - begin_ns < 20'000'000) continue;
  const uint64_t end = Ticks(), ns = SteadyNs() - begin_ns;
  const double rate = NsPerTick(start, TickMark::Now());
  // Both took at least the loop; an interrupt may lie between their ends.
  const double measured = rate * static_cast<double>(end - begin);
  EXPECT_GE(measured, 19.98e6);
  EXPECT_LE(measured, static_cast<double>(ns) * 1.001);
}

TEST(Ticks, NoTimeBetweenTheSameMoments) {
  const TickMark a = TickMark::Now();
  EXPECT_EQ(NsPerTick(a, a), 0);
  EXPECT_EQ(NsPerTick({100, 0}, {50, 10}), 0);  // counters of two sockets
  EXPECT_EQ(NsPerTick({100, 0}, {300, 50}), 0.25);
}

}  // namespace
}  // namespace etalon
