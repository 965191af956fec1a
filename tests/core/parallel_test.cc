#include "core/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <thread>
#include <vector>

#include "core/fp_environment.h"

namespace etalon {
namespace {

constexpr Schedule kSchedules[] = {Schedule::kDynamic, Schedule::kStatic,
                                   Schedule::kOwnFirst};

TEST(ParallelFor, EveryTaskRunsOnce) {
  for (Schedule schedule : kSchedules) {
    for (size_t n_tasks : {0, 1, 2, 3, 7, 64, 1000, 1001}) {
      for (int n_threads : {-1, 0, 1, 2, 3, 4, 8}) {
        std::vector<std::atomic<int>> runs(n_tasks);
        ParallelFor(
            n_tasks, n_threads, [&](size_t task, int) { runs[task]++; },
            schedule);
        for (size_t i = 0; i < n_tasks; ++i) {
          ASSERT_EQ(runs[i], 1) << i << " of " << n_tasks << ", " << n_threads;
        }
      }
    }
  }
  // More threads than the stack has room for.
  std::vector<std::atomic<int>> runs(100);
  ParallelFor(
      runs.size(), 70, [&](size_t task, int) { runs[task]++; },
      Schedule::kOwnFirst);
  for (const auto& n : runs) ASSERT_EQ(n, 1);
}

TEST(ParallelFor, NoTwoTasksAtOnceShareAThreadNumber) {
  for (Schedule schedule : kSchedules) {
    constexpr int kThreads = 4;
    std::atomic<int> inside[kThreads] = {};
    std::atomic<int> violations{0};
    ParallelFor(
        500, kThreads,
        [&](size_t, int thread) {
          if (thread < 0 || thread >= kThreads) {
            violations++;
            return;
          }
          if (inside[thread].fetch_add(1) != 0) violations++;
          if (inside[thread].fetch_sub(1) != 1) violations++;
        },
        schedule);
    EXPECT_EQ(violations, 0);
  }
}

// Plain data written by the workers is visible afterwards: what a thread
// sanitizer checks here.
TEST(ParallelFor, ResultsAreVisibleAfterwards) {
  for (Schedule schedule : kSchedules) {
    std::vector<size_t> squares(777);
    for (int repeat = 0; repeat < 50; ++repeat) {
      ParallelFor(
          squares.size(), 4,
          [&](size_t task, int) { squares[task] += task * task; }, schedule);
    }
    for (size_t i = 0; i < squares.size(); ++i) {
      ASSERT_EQ(squares[i], 50 * i * i);
    }
  }
}

TEST(ParallelFor, OneThreadRunsInOrderOnTheCaller) {
  const auto self = std::this_thread::get_id();
  std::vector<size_t> order;
  ParallelFor(100, 1, [&](size_t task, int thread) {
    EXPECT_EQ(std::this_thread::get_id(), self);
    EXPECT_EQ(thread, 0);
    order.push_back(task);
  });
  ASSERT_EQ(order.size(), 100u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

// Waits for `done`, but not for ever.
template <class F>
bool WaitFor(const F& done) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

TEST(ParallelFor, OwnFirstBeginsWithTheSameTasksOnTheSameThread) {
  std::atomic<int> begun{0}, late{0};
  std::vector<int> threads(9, -1);
  ParallelFor(
      threads.size(), 2,
      [&](size_t task, int thread) {
        threads[task] = thread;
        if (task != 0 && task != 5) return;
        ++begun;
        if (!WaitFor([&] { return begun == 2; })) ++late;
      },
      Schedule::kOwnFirst);
  EXPECT_EQ(late, 0);
  EXPECT_EQ(threads[0], 0);
  EXPECT_EQ(threads[5], 1);
}

TEST(ParallelFor, OwnFirstHelpsAThreadThatIsHeldUp) {
  for (const size_t slow : {0, 5}) {
    std::atomic<int> done{0}, late{0};
    ParallelFor(
        9, 2,
        [&](size_t task, int) {
          if (task == slow && !WaitFor([&] { return done == 8; })) ++late;
          ++done;
        },
        Schedule::kOwnFirst);
    EXPECT_EQ(done, 9);
    EXPECT_EQ(late, 0) << slow;
  }
}

TEST(ParallelFor, WorksFromAnotherThreadAndNested) {
  std::atomic<int> runs{0};
  std::thread([&] {
    ParallelFor(8, 2, [&](size_t, int) {
      ParallelFor(8, 2, [&](size_t, int) { runs++; });
    });
  }).join();
  EXPECT_EQ(runs, 64);
}

#if defined(__SSE2__)
TEST(ParallelFor, HostsFloatingPointModeDoesNotReachTheWork) {
  constexpr unsigned kFlushAndRoundUp = 0x1F80 | 0x8040 | 0x4000;
  for (int n_threads : {1, 4}) {
    for (Schedule schedule : kSchedules) {
      std::vector<unsigned> seen(64);
      std::vector<float> tiny(64);
      const unsigned before = __builtin_ia32_stmxcsr();
      __builtin_ia32_ldmxcsr(kFlushAndRoundUp);
      ParallelFor(
          seen.size(), n_threads,
          [&](size_t task, int) {
            seen[task] = __builtin_ia32_stmxcsr() & ~0x3Fu;
            volatile float x = std::numeric_limits<float>::min();
            tiny[task] = x * 0.5f;
          },
          schedule);
      const unsigned after = __builtin_ia32_stmxcsr();
      __builtin_ia32_ldmxcsr(before);
      EXPECT_EQ(after & ~0x3Fu, kFlushAndRoundUp);  // the caller's again
      for (unsigned mode : seen) EXPECT_EQ(mode, 0x1F80u);
      for (float x : tiny) {
        EXPECT_EQ(x, std::numeric_limits<float>::min() / 2);
      }
    }
  }
}
#endif

TEST(FunctionRef, CallsConstAndMutableCallables) {
  int calls = 0;
  auto count = [&calls](int n) { return calls += n; };
  const auto twice = [](int n) { return 2 * n; };
  EXPECT_EQ(FunctionRef<int(int)>(count)(3), 3);
  EXPECT_EQ(FunctionRef<int(int)>(count)(4), 7);
  EXPECT_EQ(FunctionRef<int(int)>(twice)(4), 8);
  EXPECT_EQ(calls, 7);
}

}  // namespace
}  // namespace etalon
