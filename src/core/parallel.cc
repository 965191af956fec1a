#include "core/parallel.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "core/fp_environment.h"

namespace etalon {
namespace {

// How long idle workers spin before they sleep. Regions follow each other
// within microseconds while a token is computed, so they find the workers
// awake; between tokens of an idle server the CPU is given back.
constexpr int kBlocktimeMs = 2;

// libomp keeps this setting per thread that opens regions. What the user says
// in the environment wins.
void SetBlocktimeOnce() {
  thread_local const bool done = [] {
    for (const char* name :
         {"KMP_BLOCKTIME", "KMP_LIBRARY", "OMP_WAIT_POLICY"}) {
      if (std::getenv(name) != nullptr) return true;
    }
    kmp_set_blocktime(kBlocktimeMs);
    return true;
  }();
  static_cast<void>(done);
}

// About this many turns per thread: enough to even out a thread that stalls,
// few enough that the shared counter is not noticed.
constexpr size_t kTurnsPerThread = 16;

}  // namespace

void ParallelFor(size_t n_tasks, int n_threads,
                 FunctionRef<void(size_t task, int thread)> fn,
                 Schedule schedule) {
  if (n_tasks == 0) return;
  const size_t wanted = static_cast<size_t>(std::max(n_threads, 1));
  const int team = static_cast<int>(std::min(n_tasks, wanted));
  if (team == 1) {
    const ScopedFpEnvironment fp;
    for (size_t task = 0; task < n_tasks; ++task) fn(task, 0);
    return;
  }
  SetBlocktimeOnce();
  if (schedule == Schedule::kStatic) {
#pragma omp parallel num_threads(team)
    {
      const ScopedFpEnvironment fp;
      const int thread = omp_get_thread_num();
      // The team may be smaller than asked for (OMP_THREAD_LIMIT, nesting).
      const size_t size = static_cast<size_t>(omp_get_num_threads());
      const size_t t = static_cast<size_t>(thread);
      const size_t quotient = n_tasks / size, rest = n_tasks % size;
      const size_t begin = t * quotient + std::min(t, rest);
      const size_t end = begin + quotient + (t < rest ? 1 : 0);
      for (size_t task = begin; task < end; ++task) fn(task, thread);
    }
    return;
  }
  const size_t chunk = std::max<size_t>(
      1, n_tasks / (static_cast<size_t>(team) * kTurnsPerThread));
  std::atomic<size_t> next{0};
#pragma omp parallel num_threads(team)
  {
    const ScopedFpEnvironment fp;
    const int thread = omp_get_thread_num();
    for (;;) {
      const size_t begin = next.fetch_add(chunk, std::memory_order_relaxed);
      if (begin >= n_tasks) break;
      const size_t end = std::min(begin + chunk, n_tasks);
      for (size_t task = begin; task < end; ++task) fn(task, thread);
    }
  }
}

}  // namespace etalon
