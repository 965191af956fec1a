// What `etalon bench` measures: every combination of its lists, in the order of
// llama-bench, so that tables of both can be laid side by side.
#ifndef ETALON_PROFILE_BENCH_PLAN_H_
#define ETALON_PROFILE_BENCH_PLAN_H_

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "etalon/types.h"

namespace etalon::profile {

struct BenchCase {
  size_t n_prompt = 0;
  size_t n_gen = 0;
  size_t n_depth = 0;  // positions in the cache before the clock starts
  size_t n_batch = 2048;
  size_t n_ubatch = 512;
  // Neither was asked for: the engine chooses its chunks.
  bool own_batch = true;
  int n_threads = 1;
  TensorType k_type = TensorType::kF16;
  TensorType v_type = TensorType::kF16;

  // "pp512", "tg128", "pp512+tg128", each with " @ d8192" at a depth.
  std::string Name() const;
  size_t Positions() const { return n_depth + n_prompt + n_gen; }
  // Whether one session serves both cases.
  bool SameSession(const BenchCase& other) const;
};

struct BenchLists {
  std::vector<size_t> n_prompt, n_gen, n_depth, n_batch, n_ubatch, n_threads;
  bool own_batch = true;
  std::vector<std::pair<size_t, size_t>> n_prompt_gen;
  std::vector<TensorType> k_type, v_type;
};
// Batch, types, threads, depth, then the tests; zeros in n_prompt and n_gen are
// no test.
std::vector<BenchCase> MakePlan(const BenchLists& lists);

}  // namespace etalon::profile

#endif  // ETALON_PROFILE_BENCH_PLAN_H_
