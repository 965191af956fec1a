#include "etalon/workspace.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

namespace etalon {
namespace {

TEST(Workspace, MemoryIsAlignedAndDistinct) {
  Workspace w;
  std::vector<std::span<float>> all;
  for (size_t n : {0, 1, 15, 16, 17, 1000}) {
    auto s = w.Allocate<float>(n);
    ASSERT_TRUE(s);
    ASSERT_EQ(s->size(), n);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(s->data()) % Workspace::kAlignment,
              0u);
    std::fill(s->begin(), s->end(), static_cast<float>(n));
    all.push_back(*s);
  }
  for (const auto& s : all) {
    for (float x : s) ASSERT_EQ(x, static_cast<float>(s.size()));
  }
}

TEST(Workspace, ScopeGivesMemoryBack) {
  Workspace w;
  ASSERT_TRUE(w.Reserve(1 << 16));
  const size_t capacity = w.capacity();
  void* first = nullptr;
  for (int i = 0; i < 1000; ++i) {
    const Workspace::Scope scope(w);
    auto s = w.Allocate<double>(8000);
    ASSERT_TRUE(s);
    if (i == 0) first = s->data();
    EXPECT_EQ(s->data(), first);
  }
  EXPECT_EQ(w.capacity(), capacity);
  EXPECT_EQ(w.growths(), 0u);
}

TEST(Workspace, ReserveCoversManySmallBuffers) {
  Workspace w;
  ASSERT_TRUE(w.Reserve(50 * 100));
  const size_t capacity = w.capacity();
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(w.Allocate<std::byte>(100));
  EXPECT_EQ(w.capacity(), capacity);
  EXPECT_EQ(w.growths(), 0u);
}

TEST(Workspace, GrowthKeepsWhatIsInUse) {
  Workspace w;
  auto kept = w.Allocate<uint8_t>(1000);
  ASSERT_TRUE(kept);
  std::memset(kept->data(), 0x5A, kept->size());
  const uint8_t* where = kept->data();
  for (size_t n = 1; n < 1 << 22; n *= 3) {
    const Workspace::Scope scope(w);
    auto s = w.Allocate<uint8_t>(n);
    ASSERT_TRUE(s);
    std::memset(s->data(), 0xFF, n);
  }
  EXPECT_EQ(kept->data(), where);
  for (uint8_t x : *kept) ASSERT_EQ(x, 0x5A);
}

TEST(Workspace, StopsGrowingWhenTheWorkRepeats) {
  Workspace w;
  const auto work = [&w] {
    const Workspace::Scope outer(w);
    ASSERT_TRUE(w.Allocate<float>(100));
    for (size_t n : {1000, 50000, 20000}) {
      const Workspace::Scope inner(w);
      ASSERT_TRUE(w.Allocate<float>(n));
      ASSERT_TRUE(w.Allocate<float>(n / 2));
    }
  };
  for (int i = 0; i < 3; ++i) work();
  const size_t growths = w.growths(), capacity = w.capacity();
  EXPECT_GT(growths, 0u);
  for (int i = 0; i < 100; ++i) work();
  EXPECT_EQ(w.growths(), growths);
  EXPECT_EQ(w.capacity(), capacity);
}

TEST(Workspace, ImpossibleSizesAreErrorsAndChangeNothing) {
  Workspace w;
  constexpr size_t kMax = std::numeric_limits<size_t>::max();
  ASSERT_TRUE(w.Reserve(1000));
  const size_t capacity = w.capacity();
  for (size_t n : {kMax, kMax / 2, kMax / 4 + 1, kMax / 8}) {
    const auto s = w.Allocate<double>(n);
    ASSERT_FALSE(s) << n;
    EXPECT_EQ(s.error().code, ErrorCode::kLimit);
  }
  const Status r = w.Reserve(kMax - 10);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, ErrorCode::kLimit);
  EXPECT_NE(r.error().message.find(std::to_string(kMax - 10)),
            std::string::npos);
  EXPECT_EQ(w.capacity(), capacity);
  EXPECT_TRUE(w.Allocate<double>(100));
}

}  // namespace
}  // namespace etalon
