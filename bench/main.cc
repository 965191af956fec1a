// The program around the benchmarks: google-benchmark's own main, but a filter
// that matches nothing is an error, and the JSON says what was measured on.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "core/cpu_info.h"
#include "core/threads.h"
#include "etalon/simd_tier.h"
#include "etalon/version.h"

int main(int argc, char** argv) {
  benchmark::AddCustomContext("etalon_version", etalon::kVersion);
  benchmark::AddCustomContext("cpu_model", etalon::CpuModelName());
  benchmark::AddCustomContext("cpu_features", etalon::CpuFeatureList());
  benchmark::AddCustomContext("threads", etalon::DefaultThreads().reason);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  if (benchmark::RunSpecifiedBenchmarks() == 0) {
    fmt::print(stderr, "error: no benchmark matches the filter\n");
    return 1;
  }
  benchmark::Shutdown();
  return 0;
}
