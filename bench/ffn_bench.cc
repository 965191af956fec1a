// Feed-forward ops per stored type, number of tokens and tier, on the machine's
// default number of threads (or ETALON_NUM_THREADS).
//   gemm_swiglu  gate and up of Qwen3 0.6B, 3072 x 1024
//   moe_ffn      8 of 128 experts, 768 x 2048 each (Qwen3 30B-A3B)
//   hot   the same layer and experts again and again
//   cold  gemm_swiglu rotates over 1 GiB of layers; moe_ffn takes other experts
//         each time
// GB/s counts stored weights. The first rows are first compared with the scalar
// tier, which evaluates the stated order one element at a time and which the
// test suite holds against the reference.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "bench/threads.h"
#include "etalon/gemm.h"
#include "etalon/moe.h"
#include "etalon/simd_tier.h"
#include "tests/util/random.h"
#include "tests/util/random_weights.h"

namespace etalon::bench {
namespace {

constexpr size_t kPool = size_t{1} << 30;
constexpr size_t kPatternRows = 64;

// Copies of kPatternRows random rows of `bytes` bytes each, 1 GiB in all.
struct Pool {
  std::vector<std::byte> bytes;
  TensorType type = TensorType::kF32;
  size_t cols = 0;
};
const std::byte* Weights(TensorType type, size_t cols) {
  static Pool pool;
  if (pool.bytes.empty()) pool.bytes.resize(kPool);
  if (pool.type != type || pool.cols != cols) {
    test::Random random(1, 1);
    const auto w = test::MakeWeights(type, kPatternRows, cols, random).bytes;
    for (size_t at = 0; at < kPool; at += w.size()) {
      std::memcpy(&pool.bytes[at], w.data(), std::min(w.size(), kPool - at));
    }
    pool.type = type;
    pool.cols = cols;
  }
  return pool.bytes.data();
}

struct Case {
  bool moe = false;
  TensorType type = TensorType::kF32;
  size_t m = 1;
  bool cold = false;
  SimdTier tier = SimdTier::kScalar;
};

// An op on m tokens, whose `turn` chooses the weights; bytes of weights a call.
class Ffn {
 public:
  Ffn(const Case& c, ExecContext& ctx) : c_(c), ctx_(ctx) {
    test::Random random(2, 2);
    x_ = random.Vector(test::Family::kNormal, c.m * dim());
    out_.resize(c.m * (c.moe ? dim() : kFfn));
    if (!c.moe) return;
    gates_ = std::vector<float>(c.m * kUsed, 0.125f);
    experts_.resize(c.m * kUsed);
  }
  bool Run(size_t turn, size_t m) {
    return c_.moe ? RunMoe(turn, m) : RunSwiGlu(turn, m);
  }
  // Of m tokens: those that are distinct.
  double bytes() const {
    if (!c_.moe) return static_cast<double>(2 * Matrix());
    const size_t n = std::min(kExperts, c_.m * kUsed);
    return static_cast<double>(n * 3 * ExpertBytes());
  }
  std::vector<float> Rows(size_t m) const {
    return {out_.begin(),
            out_.begin() + static_cast<std::ptrdiff_t>(out_.size() / c_.m * m)};
  }

 private:
  static constexpr size_t kFfn = 3072, kDim = 1024;
  static constexpr size_t kExperts = 128, kUsed = 8, kExpertFfn = 768,
                          kMoeDim = 2048;
  size_t dim() const { return c_.moe ? kMoeDim : kDim; }
  size_t Matrix() const { return kFfn * RowBytes(c_.type, kDim); }
  size_t ExpertBytes() const { return kExpertFfn * RowBytes(c_.type, kMoeDim); }

  bool RunSwiGlu(size_t turn, size_t m) {
    const std::byte* layer =
        Weights(c_.type, kDim) + turn % (kPool / (2 * Matrix())) * 2 * Matrix();
    const auto part = [&](size_t i) {
      return GemmPart{
          {c_.type, layer + i * Matrix(), kFfn, kDim, RowBytes(c_.type, kDim)},
          {},
          {}};
    };
    return ops::GemmSwiGlu(
               {{x_.data(), m, kDim}, part(0), part(1), {out_.data(), m, kFfn}},
               ctx_)
        .has_value();
  }
  // Gate and up have rows of kMoeDim and down of kExpertFfn; any bytes of
  // blocks will do for either.
  bool RunMoe(size_t turn, size_t m) {
    for (size_t i = 0; i < m * kUsed; ++i) {
      experts_[i] = static_cast<int32_t>((turn * kUsed + i) % kExperts);
    }
    const std::byte* pool = Weights(c_.type, kMoeDim);
    const size_t all = kExperts * ExpertBytes();
    const ExpertWeights wide{
        {c_.type, pool, kExpertFfn, kMoeDim, RowBytes(c_.type, kMoeDim)},
        kExperts,
        ExpertBytes(),
        {}};
    ExpertWeights up = wide;
    // Of f32, three times 128 experts are more than the pool.
    if (2 * all <= kPool) up.first.data = pool + all;
    ExpertWeights down = wide;
    down.first = {c_.type, 3 * all <= kPool ? pool + 2 * all : pool, kMoeDim,
                  kExpertFfn, RowBytes(c_.type, kExpertFfn)};
    return ops::MoeFfn({{x_.data(), m, kMoeDim},
                        {experts_.data(), m, kUsed},
                        {gates_.data(), m, kUsed},
                        wide,
                        up,
                        down,
                        {out_.data(), m, kMoeDim}},
                       ctx_)
        .has_value();
  }

  const Case c_;
  ExecContext& ctx_;
  std::vector<float> x_, out_, gates_;
  std::vector<int32_t> experts_;
};

void Measure(benchmark::State& state, const Case& c) {
  Workspace workspace;
  ExecContext ctx{&workspace, nullptr, Threads()};
  Ffn ffn(c, ctx);
  if (!SetActiveSimdTier(SimdTier::kScalar) || !ffn.Run(0, 1)) {
    return state.SkipWithError("refused");
  }
  const std::vector<float> want = ffn.Rows(1);
  if (!SetActiveSimdTier(c.tier) || !ffn.Run(0, c.m)) {
    return state.SkipWithError("refused");
  }
  if (std::memcmp(want.data(), ffn.Rows(1).data(),
                  want.size() * sizeof(float)) != 0) {
    return state.SkipWithError("differs from the scalar tier");
  }
  size_t turn = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(ffn.Run(c.cold ? turn++ : 0, c.m));
  }
  state.counters["GB/s"] = benchmark::Counter(
      ffn.bytes() * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
  state.SetLabel(std::to_string(ctx.n_threads) + " threads");
}

const bool kRegistered = [] {
  for (const bool moe : {false, true}) {
    for (const TensorType type : test::kWeightTypes) {
      for (const size_t m : std::initializer_list<size_t>{1, 32}) {
        for (const bool cold : {false, true}) {
          for (const SimdTier tier : SupportedSimdTiers()) {
            if (tier == SimdTier::kScalar && (m > 1 || cold)) continue;
            const std::string name = fmt::format(
                "{}_{}/{}/{}/{}", moe ? "moe_ffn" : "gemm_swiglu",
                cold ? "cold" : "hot", TypeName(type), m, SimdTierName(tier));
            const Case c{moe, type, m, cold, tier};
            benchmark::RegisterBenchmark(
                name.c_str(),
                [c](benchmark::State& state) { Measure(state, c); })
                ->UseRealTime()
                ->Unit(benchmark::kMicrosecond);
          }
        }
      }
    }
  }
  return true;
}();

}  // namespace
}  // namespace etalon::bench
