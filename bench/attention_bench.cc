// Attention at the shapes of a 0.6B to 8B model: 8 kv heads of 128.
//   Decode   one token against kv_len 8192, rotating over caches of 1 GiB in
//            all, so that every byte comes from DRAM; GB/s of keys and values.
//            To be read against ReadRoof in the same run.
//   Prefill  n_tokens behind a depth of earlier positions; GFLOP/s, counting
//            4 * head_dim per visible pair of query and key.
// Results are compared with the fp64 formula once before timing.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "core/parallel.h"
#include "core/threads.h"
#include "etalon/attention.h"
#include "etalon/simd_tier.h"
#include "quant/f16.h"
#include "tests/ops/attention_oracle.h"
#include "tests/util/random.h"

namespace etalon {
namespace {

constexpr size_t kKvHeads = 8;
constexpr size_t kHeadDim = 128;
constexpr size_t kDepth = 8192;
constexpr size_t kCapacity = kDepth + 512;
constexpr size_t kTensor = kKvHeads * kCapacity * kHeadDim;
constexpr size_t kRotation = 32;  // pairs of caches: 1.06 GiB of visible data

// Keys and values of kRotation sequences, f16, the same random data in each.
const std::vector<uint16_t>& Caches() {
  static const std::vector<uint16_t> caches = [] {
    std::vector<uint16_t> x(2 * kRotation * kTensor);
    test::Random random(1, 1);
    for (size_t i = 0; i < 2 * kTensor; i += 8) {
      for (size_t j = 0; j < 8; ++j) {
        x[i + j] =
            j < 2 ? F32ToF16(random.Normal()) : x[(i * 5 + j * 3) % (i + 1)];
      }
    }
    for (size_t c = 1; c < kRotation; ++c) {
      std::memcpy(x.data() + c * 2 * kTensor, x.data(),
                  2 * kTensor * sizeof(uint16_t));
    }
    return x;
  }();
  return caches;
}

KvView View(size_t cache, size_t which) {
  return {TensorType::kF16,
          reinterpret_cast<const std::byte*>(Caches().data() +
                                             (2 * cache + which) * kTensor),
          kKvHeads,
          kCapacity,
          kHeadDim,
          kCapacity * kHeadDim,
          kHeadDim};
}

struct Run {
  std::vector<float> q, out;
  Workspace workspace;
  ExecContext ctx;
  AttentionArgs args;

  Run(size_t n_tokens, size_t q_per_kv, size_t kv_len, int n_threads)
      : ctx{&workspace, nullptr, n_threads} {
    const size_t n_heads = kKvHeads * q_per_kv;
    q = test::Random(1, 2).Vector(test::Family::kNormal,
                                  n_tokens * n_heads * kHeadDim);
    out.resize(q.size());
    args.q = {q.data(), n_tokens,           n_heads,
              kHeadDim, n_heads * kHeadDim, kHeadDim};
    args.out = {out.data(), n_tokens,           n_heads,
                kHeadDim,   n_heads * kHeadDim, kHeadDim};
    args.kv_len = kv_len;
    args.scale = 1.0f / std::sqrt(static_cast<float>(kHeadDim));
    Use(0);
  }
  void Use(size_t cache) {
    args.k = View(cache, 0);
    args.v = View(cache, 1);
  }
  // The first and last rows within the bound of the fp64 formula.
  std::string Verify() {
    const Status status = ops::Attention(args, ctx);
    if (!status) return status.error().message;
    for (const auto& [t, h] : {std::pair<size_t, size_t>{0, 0},
                               {args.q.n_tokens - 1, args.q.n_heads - 1}}) {
      const size_t n = args.kv_len - args.q.n_tokens + t + 1;
      const size_t at = h / (args.q.n_heads / kKvHeads) * kCapacity * kHeadDim;
      std::vector<float> k(n * kHeadDim), v(n * kHeadDim);
      for (size_t i = 0; i < k.size(); ++i) {
        k[i] = F16ToF32(Caches()[at + i]);
        v[i] = F16ToF32(Caches()[kTensor + at + i]);
      }
      double value[kHeadDim], bound[kHeadDim];
      test::AttentionBound(
          {args.q.at(t, h), k.data(), v.data(), n, kHeadDim, args.scale},
          test::StrictChains(kHeadDim, n), value, bound);
      for (size_t d = 0; d < kHeadDim; ++d) {
        const double error = std::fabs(args.out.at(t, h)[d] - value[d]);
        if (!(error <= bound[d])) {
          return "element " + std::to_string(d) + " of token " +
                 std::to_string(t) + " is out of its bound";
        }
      }
    }
    return "";
  }
};

int Threads(const benchmark::State& state) {
  const int wanted = static_cast<int>(state.range(0));
  return wanted == 0 ? DefaultThreads().n_threads : wanted;
}

void DecodeCold(benchmark::State& state) {
  Run run(1, static_cast<size_t>(state.range(1)), kDepth, Threads(state));
  if (const std::string error = run.Verify(); !error.empty()) {
    state.SkipWithError(error.c_str());
    return;
  }
  size_t cache = 0;
  for (auto _ : state) {
    run.Use(cache++ % kRotation);
    benchmark::DoNotOptimize(ops::Attention(run.args, run.ctx));
  }
  const size_t bytes = 2 * kKvHeads * kDepth * kHeadDim * sizeof(uint16_t);
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes));
  state.SetLabel(std::string(SimdTierName(ActiveSimdTier())));
}
BENCHMARK(DecodeCold)
    ->ArgNames({"threads", "q_per_kv"})
    ->ArgsProduct({{1, 0}, {1, 2, 4, 8}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

// The same bytes, only read: 16 streams per thread, prefetched like decode.
void ReadRoof(benchmark::State& state) {
  const int n_threads = Threads(state);
  constexpr size_t kStreams = 16;
  constexpr size_t kAhead = 2048 / 8;
  constexpr size_t kTasks = 64;
  constexpr size_t kWords = 2 * kTensor / 4;  // uint64 per pair of caches
  constexpr size_t kPerStream = kWords / kTasks / kStreams;
  std::vector<uint64_t> sums(kTasks * 8);
  size_t cache = 0;
  for (auto _ : state) {
    const auto* words = reinterpret_cast<const uint64_t*>(
        Caches().data() + cache++ % kRotation * 2 * kTensor);
    ParallelFor(
        kTasks, n_threads,
        [&](size_t task, int) {
          const uint64_t* x = words + task * kStreams * kPerStream;
          uint64_t sum = 0;
          for (size_t i = 0; i < kPerStream; i += 8) {
            for (size_t s = 0; s < kStreams; ++s) {
              __builtin_prefetch(x + s * kPerStream + i + kAhead);
              for (size_t j = 0; j < 8; ++j) sum += x[s * kPerStream + i + j];
            }
          }
          sums[task * 8] = sum;
        },
        Schedule::kStatic);
    benchmark::DoNotOptimize(sums.data());
  }
  state.SetBytesProcessed(
      state.iterations() *
      static_cast<int64_t>(kTasks * kStreams * kPerStream * 8));
}
BENCHMARK(ReadRoof)
    ->ArgNames({"threads"})
    ->Args({1})
    ->Args({0})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

void Prefill(benchmark::State& state) {
  const size_t n_tokens = static_cast<size_t>(state.range(2));
  const size_t depth = static_cast<size_t>(state.range(3));
  Run run(n_tokens, static_cast<size_t>(state.range(1)), depth + n_tokens,
          Threads(state));
  if (const std::string error = run.Verify(); !error.empty()) {
    state.SkipWithError(error.c_str());
    return;
  }
  for (auto _ : state) {
    benchmark::DoNotOptimize(ops::Attention(run.args, run.ctx));
  }
  double pairs = 0;
  for (size_t t = 0; t < n_tokens; ++t) {
    pairs += static_cast<double>(depth + t + 1);
  }
  state.counters["FLOP/s"] = benchmark::Counter(
      pairs * static_cast<double>(run.args.q.n_heads) * 4.0 * kHeadDim,
      benchmark::Counter::kIsIterationInvariantRate);
  state.SetLabel(std::string(SimdTierName(ActiveSimdTier())));
}
BENCHMARK(Prefill)
    ->ArgNames({"threads", "q_per_kv", "n_tokens", "depth"})
    ->Args({1, 2, 512, 0})
    ->Args({1, 2, 512, 7680})
    ->Args({0, 2, 512, 0})
    ->Args({0, 2, 512, 7680})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace etalon
