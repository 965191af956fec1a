#include "profile/bench_plan.h"

#include <fmt/format.h>

namespace etalon::profile {

std::string BenchCase::Name() const {
  std::string name = n_gen == 0 ? fmt::format("pp{}", n_prompt)
                     : n_prompt == 0
                         ? fmt::format("tg{}", n_gen)
                         : fmt::format("pp{}+tg{}", n_prompt, n_gen);
  if (n_depth > 0) name += fmt::format(" @ d{}", n_depth);
  return name;
}

bool BenchCase::SameSession(const BenchCase& o) const {
  return n_batch == o.n_batch && n_ubatch == o.n_ubatch &&
         own_batch == o.own_batch && n_threads == o.n_threads &&
         k_type == o.k_type && v_type == o.v_type;
}

std::vector<BenchCase> MakePlan(const BenchLists& lists) {
  std::vector<BenchCase> plan;
  const auto add_tests = [&](BenchCase c) {
    for (const size_t n : lists.n_prompt) {
      if (n == 0) continue;
      c.n_prompt = n;
      plan.push_back(c);
    }
    c.n_prompt = 0;
    for (const size_t n : lists.n_gen) {
      if (n == 0) continue;
      c.n_gen = n;
      plan.push_back(c);
    }
    for (const auto& [prompt, gen] : lists.n_prompt_gen) {
      if (prompt == 0 && gen == 0) continue;
      c.n_prompt = prompt;
      c.n_gen = gen;
      plan.push_back(c);
    }
  };
  BenchCase c;
  c.own_batch = lists.own_batch;
  for (const size_t batch : lists.n_batch) {
    c.n_batch = batch;
    for (const size_t ubatch : lists.n_ubatch) {
      c.n_ubatch = ubatch;
      for (const TensorType k : lists.k_type) {
        c.k_type = k;
        for (const TensorType v : lists.v_type) {
          c.v_type = v;
          for (const size_t threads : lists.n_threads) {
            c.n_threads = static_cast<int>(threads);
            for (const size_t depth : lists.n_depth) {
              c.n_depth = depth;
              add_tests(c);
            }
          }
        }
      }
    }
  }
  return plan;
}

}  // namespace etalon::profile
