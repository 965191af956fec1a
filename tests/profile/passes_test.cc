// The time of an op from several passes.
#include "profile/passes.h"

#include <gtest/gtest.h>

namespace etalon::profile {
namespace {

OpKey Key(Op op) {
  OpKey key;
  key.op = op;
  return key;
}

// Calls in nanoseconds; 1000 between them.
Pass MakePass(std::map<Op, std::vector<float>> calls) {
  Pass pass;
  double ns = 1000;
  for (auto& [op, times] : calls) {
    OpTotals& t = pass.ops[Key(op)];
    t.calls = times.size();
    for (const float x : times) t.ns += static_cast<double>(x);
    ns += t.ns;
    t.call_ns = std::move(times);
  }
  pass.wall = ns * 1e-9;
  return pass;
}

TEST(Passes, QuartileAndMedianAreValuesThatWereMeasured) {
  EXPECT_EQ(LowerQuartile({}), 0);
  EXPECT_EQ(LowerQuartile({7}), 7);
  EXPECT_EQ(LowerQuartile({4, 3, 9, 5}), 3);
  EXPECT_EQ(LowerQuartile({5, 3, 9, 4, 8}), 4);
  EXPECT_EQ(LowerQuartile({9, 8, 7, 6, 5, 4, 3, 2, 1}), 3);
  EXPECT_EQ(Median({5, 3, 9}), 5);
  EXPECT_EQ(Median({5, 3, 9, 4}), 4);
}

// Every pass is disturbed, by far, at another call.
TEST(Passes, ADisturbanceOfACallIsNotSeen) {
  const std::vector<Pass> passes = {
      MakePass({{Op::kAdd, {1000000, 200, 300, 400, 500}}}),
      MakePass({{Op::kAdd, {100, 2000000, 300, 400, 500}}}),
      MakePass({{Op::kAdd, {100, 200, 3000000, 400, 500}}}),
      MakePass({{Op::kAdd, {100, 200, 300, 4000000, 500}}}),
      MakePass({{Op::kAdd, {100, 200, 300, 400, 5000000}}})};
  EXPECT_DOUBLE_EQ(UndisturbedSeconds(passes, Key(Op::kAdd)), 1500e-9);
  EXPECT_EQ(UndisturbedSeconds(passes, Key(Op::kGemm)), 0);
}

TEST(Passes, WhatIsSlowInEveryPassCounts) {
  const std::vector<Pass> passes(6, MakePass({{Op::kAdd, {100, 90000}}}));
  EXPECT_DOUBLE_EQ(UndisturbedSeconds(passes, Key(Op::kAdd)), 90100e-9);
  EXPECT_EQ(HalvesDiffer(passes, Key(Op::kAdd)), 0);
}

// Calls that do not correspond are compared as sums.
TEST(Passes, DifferentNumbersOfCalls) {
  const std::vector<Pass> passes = {MakePass({{Op::kAdd, {100, 200}}}),
                                    MakePass({{Op::kAdd, {700}}})};
  EXPECT_DOUBLE_EQ(UndisturbedSeconds(passes, Key(Op::kAdd)), 300e-9);
}

TEST(Passes, TheHalvesTellADrift) {
  const auto pass = [](float add, float gemm) {
    return MakePass({{Op::kAdd, {add}}, {Op::kGemm, {gemm}}});
  };
  // The middle of an odd number is in neither half.
  const std::vector<Pass> passes = {pass(100, 10000), pass(100, 10000),
                                    pass(999, 99999), pass(120, 10300),
                                    pass(120, 10300)};
  EXPECT_NEAR(HalvesDiffer(passes, Key(Op::kAdd)), 0.2, 1e-9);
  EXPECT_NEAR(HalvesDiffer(passes, Key(Op::kGemm)), 0.03, 1e-9);
  EXPECT_NEAR(WorstDifference(passes, 0.005), 0.2, 1e-9);
  // Of about 11100 ns the addition takes less than a fiftieth.
  EXPECT_NEAR(WorstDifference(passes, 0.02), 0.03, 1e-9);
  EXPECT_EQ(HalvesDiffer({passes.data(), 1}, Key(Op::kAdd)), 0);
}

}  // namespace
}  // namespace etalon::profile
