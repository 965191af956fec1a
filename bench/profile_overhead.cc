// What profiling costs: the same prefill and the same decoding with the
// recorder and without it, in turns in one session, by wall time; with ops
// alone, with parallel regions, and with these in every third pass, as a
// profile does it.
//   profile_overhead MODEL.gguf [PAIRS] [PROMPT] [TOKENS] [THREADS]
// PROMPT 0 leaves the prefill out, TOKENS 0 the decoding.
// Prints the median of time with over time without, pair by pair, and its 95 %
// interval from order statistics, which single disturbances do not move.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "core/threads.h"
#include "model/model.h"
#include "profile/bench_run.h"
#include "profile/recorder.h"

namespace etalon::bench {
namespace {

// The session holds on to one table; what is in it changes between runs.
Expected<double> Ratio(profile::BenchRunner& runner,
                       profile::Recorder& recorder, Backend& table,
                       const profile::BenchCase& test, bool regions,
                       bool recorded_first) {
  double seconds[2] = {};
  for (const bool second : {false, true}) {
    const bool recorded = second != recorded_first;
    recorder.Start(recorded && regions);
    table = recorded ? recorder.backend() : CpuBackend();
    ETALON_ASSIGN_OR_RETURN(const uint64_t ns, runner.RunOnce(test));
    seconds[recorded ? 1 : 0] = static_cast<double>(ns);
  }
  return seconds[1] / seconds[0];
}

Status Run(const char* path, size_t pairs, size_t n_prompt, size_t n_gen,
           int n_threads) {
  ETALON_ASSIGN_OR_RETURN(const auto model, model::Model::Load(path, {}));
  Backend table = CpuBackend();
  profile::Recorder recorder(table);
  model::SessionOptions options;
  options.backend = &table;
  profile::BenchRunner runner(*model, options, nullptr);
  // The recorder's clock of regions runs in pairs whose number divides.
  struct Kind {
    const char* name;
    size_t regions_every;
  };
  constexpr size_t kNever = ~size_t{0};
  constexpr Kind kKinds[] = {
      {"ops alone", kNever}, {"with regions", 1}, {"as a profile does it", 3}};
  for (const int run : {0, 1, 2, 3, 4, 5}) {
    const bool decode = run / 3 != 0;
    const Kind& kind = kKinds[run % 3];
    if ((decode ? n_gen : n_prompt) == 0) continue;
    profile::BenchCase test;
    test.n_threads = n_threads;
    test.k_type = test.v_type = TensorType::kF32;
    (decode ? test.n_gen : test.n_prompt) = decode ? n_gen : n_prompt;
    ETALON_RETURN_IF_ERROR(runner.Prepare(test, std::max(n_prompt, n_gen) + 1));
    std::vector<double> ratios;
    for (size_t i = 0; i <= pairs; ++i) {
      ETALON_ASSIGN_OR_RETURN(
          const double ratio,
          Ratio(runner, recorder, table, test,
                i > 0 && i % kind.regions_every == 0, i % 2 == 1));
      if (i > 0) ratios.push_back(ratio);  // the first pair warms up
    }
    std::sort(ratios.begin(), ratios.end());
    // Ranks between which the median lies with 95 %: n/2 -+ 0.98 sqrt(n).
    const auto n = static_cast<double>(pairs);
    const auto low = static_cast<size_t>(
        std::max(0.0, std::floor(n / 2 - 0.98 * std::sqrt(n))));
    fmt::print(
        "{:6} {}: {:.2f} % more, 95 % interval [{:.2f}, {:.2f}] %, {} pairs\n",
        test.Name(), kind.name, 100 * (ratios[pairs / 2] - 1),
        100 * (ratios[low] - 1), 100 * (ratios[pairs - 1 - low] - 1), pairs);
  }
  return {};
}

}  // namespace
}  // namespace etalon::bench

int main(int argc, char** argv) {
  const auto number = [&](int i, size_t otherwise) {
    return argc > i ? std::strtoul(argv[i], nullptr, 10) : otherwise;
  };
  if (argc < 2 || number(2, 1) < 1) {
    fmt::print(stderr,
               "usage: profile_overhead MODEL.gguf [PAIRS] [PROMPT] [TOKENS] "
               "[THREADS]\n");
    return 1;
  }
  const etalon::Status status = etalon::bench::Run(
      argv[1], number(2, 40), number(3, 128), number(4, 8),
      static_cast<int>(
          number(5, static_cast<size_t>(etalon::DefaultThreads().n_threads))));
  if (!status) fmt::print(stderr, "error: {}\n", status.error().message);
  return status ? 0 : 2;
}
