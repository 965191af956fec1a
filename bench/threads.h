// Threads of the benches that use more than one: the machine's default, or
// ETALON_NUM_THREADS.
#ifndef ETALON_BENCH_THREADS_H_
#define ETALON_BENCH_THREADS_H_

#include <algorithm>
#include <cstdlib>

#include "core/threads.h"

namespace etalon::bench {

inline int Threads() {
  if (const char* env = std::getenv("ETALON_NUM_THREADS")) {
    return std::max(1, std::atoi(env));
  }
  return DefaultThreads().n_threads;
}

}  // namespace etalon::bench

#endif  // ETALON_BENCH_THREADS_H_
