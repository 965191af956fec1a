// Matrix products with stored weights, per type, shape and tier.
//   gemv_cold  one token, rotating over at least 1 GiB of weights so that every
//              byte comes from DRAM; GB/s of weights and the share of the DRAM
//              read bandwidth measured between the products
//   gemv_hot   one token, the same matrix again and again (scalar tier too)
//   gemm       32 and 512 tokens; TOP/s counted as 2 M N K, and the share of
//              the integer roof of the tier (AMX, VNNI; f32 FMA below)
// Threads: the machine's default, or ETALON_NUM_THREADS. Every kernel is first
// compared with the stated order, one element at a time; a wrong bit is an
// error, not a figure.
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <hwy/aligned_allocator.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/model_shapes.h"
#include "bench/roof.h"
#include "bench/threads.h"
#include "etalon/gemm.h"
#include "etalon/simd_tier.h"
#include "tests/simd/gemm_oracle.h"
#include "tests/util/random.h"
#include "tests/util/random_weights.h"
#include "tests/util/ulp.h"

namespace etalon::bench {
namespace {

constexpr size_t kRotation = size_t{1} << 30;
constexpr size_t kPatternRows = 64;

// At least 1 GiB of weights, made of one random pattern of kPatternRows rows.
struct Memory {
  std::vector<std::byte> bytes;
  TensorType type = TensorType::kF32;
  size_t k = 0;
};
std::span<const std::byte> Weights(TensorType type, size_t k) {
  static Memory memory;
  if (memory.bytes.empty()) memory.bytes.resize(kRotation + (kRotation >> 3));
  if (memory.type != type || memory.k != k) {
    test::Random random(1, 1);
    const test::RandomWeights w =
        test::MakeWeights(type, kPatternRows, k, random);
    const size_t n = w.bytes.size();
    for (size_t at = 0; at < memory.bytes.size(); at += n) {
      std::memcpy(&memory.bytes[at], w.bytes.data(),
                  std::min(n, memory.bytes.size() - at));
    }
    memory.type = type;
    memory.k = k;
  }
  return memory.bytes;
}

struct Case {
  SimdTier tier;
  TensorType type;
  MatrixShape shape;
  size_t m;
  bool cold;
};

// Whether the first rows have the stated bits.
bool Verified(const Case& c, const WeightMatrix& w, ExecContext& ctx) {
  WeightMatrix few = w;
  few.rows = std::min<size_t>(w.rows, 33);
  const size_t m = std::min<size_t>(c.m, 35);
  test::Random random(2, 2);
  const std::vector<float> x =
      random.Vector(test::Family::kOutlier, m * w.cols);
  std::vector<float> out(m * few.rows);
  const GemmPart part{few, {}, {out.data(), m, few.rows}};
  const Span2D<const float> in(x.data(), m, w.cols);
  if (!ops::Gemm({in, {&part, 1}}, ctx)) return false;
  return test::BitDiff(out, test::OracleGemm(few, in, false, nullptr, 1)) == 0;
}

void Run(benchmark::State& state, const Case& c) {
  if (!SetActiveSimdTier(c.tier)) return state.SkipWithError("no such tier");
  const int n_threads = Threads();
  const std::span<const std::byte> memory = Weights(c.type, c.shape.k);
  const size_t stride = RowBytes(c.type, c.shape.k);
  const size_t bytes = stride * c.shape.n;
  // Matrices start at pattern boundaries; one larger than the pool repeats.
  const size_t step = (bytes + stride * kPatternRows - 1) /
                      (stride * kPatternRows) * (stride * kPatternRows);
  const size_t n_matrices = std::max<size_t>(1, memory.size() / step);
  if (bytes > memory.size()) return state.SkipWithError("larger than the pool");

  Workspace workspace;
  ExecContext ctx{&workspace, nullptr, n_threads};
  test::Random random(3, 3);
  // Aligned as the engine's own arena is.
  const std::vector<float> values =
      random.Vector(test::Family::kNormal, c.m * c.shape.k);
  const auto x = hwy::AllocateAligned<float>(values.size());
  std::copy(values.begin(), values.end(), x.get());
  const auto out = hwy::AllocateAligned<float>(c.m * c.shape.n);
  const auto matrix = [&](size_t i) {
    return WeightMatrix{c.type, memory.data() + i % n_matrices * step,
                        c.shape.n, c.shape.k, stride};
  };
  if (!Verified(c, matrix(0), ctx)) {
    return state.SkipWithError("differs from the stated order");
  }
  const auto integer_roof = [&] {
    if (c.m > 1 && IsQuantized(c.type)) {
      if (c.tier == SimdTier::kAmx) return AmxRoof(n_threads);
      if (c.tier == SimdTier::kAvx512Vnni) return VnniRoof(n_threads);
    }
    return FmaRoof(n_threads);
  };

  size_t next = 0;
  double kernel_seconds = 0, roof_sum = 0;
  size_t n_roofs = 0, n_products = 0, since_roof = 0;
  for (auto _ : state) {
    const GemmPart part{
        matrix(c.cold ? next++ : 0), {}, {out.get(), c.m, c.shape.n}};
    const double start = Seconds();
    if (!ops::Gemm({{x.get(), c.m, c.shape.k}, {&part, 1}}, ctx)) {
      return state.SkipWithError("refused");
    }
    const double seconds = Seconds() - start;
    state.SetIterationTime(seconds);
    kernel_seconds += seconds;
    ++n_products;
    since_roof += c.m == 1 ? bytes : 2 * memory.size();
    if (since_roof < (size_t{256} << 20) && n_roofs > 0) continue;
    since_roof = 0;
    ++n_roofs;
    if (c.m == 1) {
      const size_t part_bytes = memory.size() / 4;
      roof_sum += DramReadRoof(
          memory.subspan(n_roofs % 4 * part_bytes, part_bytes), n_threads);
    } else {
      roof_sum += integer_roof();
    }
  }
  const double per_second = static_cast<double>(n_products) / kernel_seconds;
  const double roof = roof_sum / static_cast<double>(n_roofs);
  const double gb = static_cast<double>(bytes) * per_second * 1e-9;
  const double tops = 2e-12 * static_cast<double>(c.m * c.shape.n) *
                      static_cast<double>(c.shape.k) * per_second;
  state.counters["GB/s"] = gb;
  state.counters["TOP/s"] = tops;
  if (c.m == 1) {
    state.counters["roof_GB/s"] = roof * 1e-9;
    state.counters["share"] = gb * 1e9 / roof;
  } else if (roof > 0) {
    state.counters["roof_TOP/s"] = roof * 1e-12;
    state.counters["share"] = tops * 1e12 / roof;
  }
  state.SetLabel(std::to_string(n_threads) + " threads");
}

void Register(const Case& c) {
  const std::string kind = c.m > 1  ? fmt::format("gemm_{}", c.m)
                           : c.cold ? "gemv_cold"
                                    : "gemv_hot";
  const std::string name =
      fmt::format("{}/{}/{}/{}x{}/{}", kind, TypeName(c.type), c.shape.name,
                  c.shape.n, c.shape.k, SimdTierName(c.tier));
  benchmark::RegisterBenchmark(name.c_str(),
                               [c](benchmark::State& state) { Run(state, c); })
      ->UseManualTime()
      ->Unit(benchmark::kMicrosecond);
}

const bool kRegistered = [] {
  for (const TensorType type : test::kWeightTypes) {
    for (const MatrixShape& shape : kMatrixShapes) {
      if (shape.k % GetTypeTraits(type).block_size != 0) continue;
      for (const SimdTier tier : SupportedSimdTiers()) {
        Register({tier, type, shape, 1, false});
        if (tier == SimdTier::kScalar) continue;  // minutes
        Register({tier, type, shape, 1, true});
        Register({tier, type, shape, 32, true});
        Register({tier, type, shape, 512, true});
      }
    }
  }
  return true;
}();

}  // namespace
}  // namespace etalon::bench
