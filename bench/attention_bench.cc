// Attention at the shapes of a 0.6B to 8B model: 8 kv heads of 128.
//   Decode   one token against kv_len 8192, rotating over caches of 1 GiB in
//            all, so that every byte comes from DRAM; GB/s of keys and values,
//            and the share of the roof (bench/roof.h).
//   DecodeHot  kv_len 512, the same cache again and again: f16 and f32, every
//            tier, one thread.
//   Prefill  n_tokens behind a depth of earlier positions, profile strict or
//            fast; FLOP/s, counting 4 * head_dim per visible pair of query and
//            key.
// Results are compared with the fp64 formula once before timing.
#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "bench/roof.h"
#include "core/threads.h"
#include "etalon/attention.h"
#include "etalon/config.h"
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

// Keys and values of kRotation sequences, f16, the same random data in each; in
// huge pages where there are some, like the engine's caches.
std::span<const uint16_t> Caches() {
  static const std::span<const uint16_t> caches = [] {
    constexpr size_t kHugePage = size_t{2} << 20;
    constexpr size_t kSize = 2 * kRotation * kTensor;
    constexpr size_t kPages =
        (kSize * sizeof(uint16_t) + kHugePage - 1) / kHugePage;
    void* p = std::aligned_alloc(kHugePage, kPages * kHugePage);
    if (p == nullptr) std::abort();
    madvise(p, kPages * kHugePage, MADV_HUGEPAGE);
    const std::span<uint16_t> x(static_cast<uint16_t*>(p), kSize);
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

// The first cache in f32.
KvView ViewF32(size_t which) {
  static const std::vector<float> cache = [] {
    std::vector<float> x(2 * kTensor);
    for (size_t i = 0; i < x.size(); ++i) x[i] = F16ToF32(Caches()[i]);
    return x;
  }();
  KvView view = View(0, which);
  view.type = TensorType::kF32;
  view.data = reinterpret_cast<const std::byte*>(&cache[which * kTensor]);
  return view;
}

// Indices of the tiers that can run here, from `first` on; else the scalar one.
std::vector<int64_t> Tiers(SimdTier first) {
  std::vector<int64_t> tiers;
  for (const SimdTier tier : SupportedSimdTiers()) {
    if (tier >= first) tiers.push_back(static_cast<int64_t>(tier));
  }
  if (tiers.empty()) tiers.push_back(0);
  return tiers;
}

// Takes the tier of the range; its name is the figure's label.
void UseTier(benchmark::State& state, int64_t tier) {
  if (!SetActiveSimdTier(static_cast<SimdTier>(tier))) {
    state.SkipWithError("no such tier");
  }
  state.SetLabel(std::string(SimdTierName(ActiveSimdTier())));
}

struct Run {
  std::vector<float> q, out;
  Workspace workspace;
  Config config;
  ExecContext ctx;
  AttentionArgs args;

  Run(size_t n_tokens, size_t q_per_kv, size_t kv_len, int n_threads)
      : ctx{&workspace, &config, n_threads} {
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

// Kernel and roof take turns, 16 rotations of caches to one reading of them:
// what memory gives drifts by the second.
void DecodeCold(benchmark::State& state) {
  const int n_threads = Threads(state);
  UseTier(state, state.range(2));
  Run run(1, static_cast<size_t>(state.range(1)), kDepth, n_threads);
  if (const std::string error = run.Verify(); !error.empty()) {
    state.SkipWithError(error.c_str());
    return;
  }
  constexpr size_t kBytes = 2 * kKvHeads * kDepth * kHeadDim * sizeof(uint16_t);
  const std::span<const std::byte> memory = std::as_bytes(Caches());
  const size_t quarter = memory.size() / 4;
  size_t n_decoded = 0, n_roofs = 0;
  double seconds = 0, roof_sum = 0;
  for (auto _ : state) {
    if (n_decoded % 8 == 0) {
      // What the last decodes have left in the caches is far behind.
      const size_t part = (n_decoded / 8 + 2) % 4;
      roof_sum += bench::DramReadRoof(memory.subspan(part * quarter, quarter),
                                      n_threads);
      ++n_roofs;
    }
    run.Use(n_decoded++ % kRotation);
    const double start = bench::Seconds();
    benchmark::DoNotOptimize(ops::Attention(run.args, run.ctx));
    const double time = bench::Seconds() - start;
    state.SetIterationTime(time);
    seconds += time;
  }
  const double rate = static_cast<double>(n_decoded * kBytes) / seconds;
  const double roof = roof_sum / static_cast<double>(n_roofs);
  state.counters["GB/s"] = rate * 1e-9;
  state.counters["roof_GB/s"] = roof * 1e-9;
  state.counters["share"] = rate / roof;
}
BENCHMARK(DecodeCold)
    ->ArgNames({"threads", "q_per_kv", "tier"})
    ->ArgsProduct({{1, 0}, {1, 2, 4, 8}, Tiers(SimdTier::kAvx2)})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

void DecodeHot(benchmark::State& state) {
  constexpr size_t kLen = 512;
  UseTier(state, state.range(2));
  const bool f32 = state.range(0) != 0;
  Run run(1, static_cast<size_t>(state.range(1)), kLen, 1);
  if (f32) {
    run.args.k = ViewF32(0);
    run.args.v = ViewF32(1);
  }
  if (const std::string error = run.Verify(); !error.empty()) {
    state.SkipWithError(error.c_str());
    return;
  }
  for (auto _ : state) {
    benchmark::DoNotOptimize(ops::Attention(run.args, run.ctx));
  }
  state.SetBytesProcessed(
      state.iterations() *
      static_cast<int64_t>(2 * kKvHeads * kLen * kHeadDim * (f32 ? 4 : 2)));
}
BENCHMARK(DecodeHot)
    ->ArgNames({"f32", "q_per_kv", "tier"})
    ->ArgsProduct({{0, 1}, {1, 2, 4, 8}, Tiers(SimdTier::kScalar)})
    ->Unit(benchmark::kMicrosecond);

void Prefill(benchmark::State& state) {
  const size_t n_tokens = static_cast<size_t>(state.range(2));
  const size_t depth = static_cast<size_t>(state.range(3));
  UseTier(state, state.range(5));
  Run run(n_tokens, static_cast<size_t>(state.range(1)), depth + n_tokens,
          Threads(state));
  if (const std::string error = run.Verify(); !error.empty()) {
    state.SkipWithError(error.c_str());
    return;
  }
  // Fast is judged by its own bound, in the parity suite.
  if (state.range(4) != 0) run.config.profile = Profile::kFast;
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
}
BENCHMARK(Prefill)
    ->ArgNames({"threads", "q_per_kv", "n_tokens", "depth", "fast", "tier"})
    ->ArgsProduct(
        {{1, 0}, {2}, {512}, {0, 7680}, {0, 1}, Tiers(SimdTier::kAvx2)})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace etalon
