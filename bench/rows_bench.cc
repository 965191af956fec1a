// The kernels that work on rows, one by one: per kernel, type, width and tier,
// on one thread.
//   hot   the same rows again and again
//   cold  rotating over 1 GiB, so that every byte comes from DRAM
// GB/s counts the bytes read and written once. Every kernel is first compared
// with its scalar tier, which evaluates the stated order one element at a time
// and which the test suite holds against the reference: a wrong bit is an
// error, not a figure.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "etalon/simd_tier.h"
#include "simd/activation_rows.h"
#include "simd/backward.h"
#include "simd/dequantize.h"
#include "simd/elementwise.h"
#include "simd/exp.h"
#include "simd/f16.h"
#include "simd/finite_scan.h"
#include "simd/quantize_row.h"
#include "simd/rms_norm.h"
#include "simd/rope.h"
#include "simd/softmax.h"
#include "simd/tanh.h"
#include "tests/util/random.h"
#include "tests/util/random_weights.h"

namespace etalon::bench {
namespace {

// Inputs in the first half, outputs in the second.
constexpr size_t kPool = size_t{1} << 30;
constexpr size_t kLine = 64;

struct Kernel {
  std::string name;  // "rms_norm/F32/1024"
  std::vector<std::byte> input;
  size_t out_bytes = 0;
  std::function<void(const std::byte* in, std::byte* out)> run;
};

const float* F32(const std::byte* p) {
  return reinterpret_cast<const float*>(p);
}
float* F32(std::byte* p) { return reinterpret_cast<float*>(p); }

size_t Padded(size_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

// Null: no memory. Its pages are there before something cold is timed.
std::byte* Pool(bool cold) {
  static auto* const pool =
      static_cast<std::byte*>(std::aligned_alloc(4096, kPool));
  static bool there = false;
  if (pool != nullptr && cold && !there) {
    std::memset(pool, 0, kPool);
    there = true;
  }
  return pool;
}

// Whether the active tier gives the bits of the scalar one.
bool Verified(const Kernel& k, SimdTier tier) {
  std::vector<std::byte> out[2];
  for (const bool scalar : {false, true}) {
    if (!SetActiveSimdTier(scalar ? SimdTier::kScalar : tier)) return false;
    out[scalar].resize(k.out_bytes);
    k.run(k.input.data(), out[scalar].data());
  }
  return SetActiveSimdTier(tier).has_value() && out[0] == out[1];
}

void Measure(benchmark::State& state, const Kernel& k, SimdTier tier,
             bool cold) {
  std::byte* const in = Pool(cold);
  if (in == nullptr) return state.SkipWithError("no memory");
  std::byte* const out = in + kPool / 2;
  if (!Verified(k, tier)) {
    return state.SkipWithError("differs from the scalar tier");
  }
  const size_t in_step = Padded(k.input.size());
  const size_t out_step = Padded(k.out_bytes);
  const size_t n = cold ? kPool / 2 / std::max({in_step, out_step, kLine}) : 1;
  // The tiers follow each other: what one has filled serves the next.
  static const Kernel* filled_for = nullptr;
  static size_t filled = 0;
  if (filled_for != &k || filled != n) filled = 0;
  filled_for = &k;
  for (; filled < n; ++filled) {
    std::memcpy(in + filled * in_step, k.input.data(), k.input.size());
  }
  size_t i = 0;
  for (auto _ : state) {
    k.run(in + i * in_step, out + i * out_step);
    benchmark::ClobberMemory();
    if (++i == n) i = 0;
  }
  state.SetBytesProcessed(state.iterations() *
                          static_cast<int64_t>(k.input.size() + k.out_bytes));
  state.SetLabel(std::string(SimdTierName(tier)));
}

std::vector<std::byte> Normal(size_t n) {
  test::Random random(1, 1);
  const std::vector<float> x = random.Vector(test::Family::kNormal, n);
  std::vector<std::byte> bytes(n * sizeof(float));
  std::memcpy(bytes.data(), x.data(), bytes.size());
  return bytes;
}

// A kernel of `inputs` rows of n floats, one after the other, and `outputs`.
Kernel Floats(std::string_view name, size_t n, size_t inputs, size_t outputs,
              std::function<void(const float* in, float* out)> run) {
  return {
      fmt::format("{}/F32/{}", name, n), Normal(inputs * n),
      outputs * n * sizeof(float),
      [run](const std::byte* in, std::byte* out) { run(F32(in), F32(out)); }};
}

void AddForward(std::vector<Kernel>* all) {
  for (const size_t n : std::initializer_list<size_t>{128, 1024, 4096}) {
    all->push_back(Floats("rms_norm", n, 2, 1, [n](const float* x, float* y) {
      simd::RmsNormRows({x, 1, n}, x + n, 1e-6f, {y, 1, n}, nullptr);
    }));
  }
  for (const size_t n : std::initializer_list<size_t>{512, 8192}) {
    all->push_back(Floats("softmax", n, 1, 1, [n](const float* x, float* y) {
      simd::SoftmaxRows({x, 1, n}, {y, 1, n});
    }));
  }
  for (const size_t n : std::initializer_list<size_t>{1024, 3072, 14336}) {
    all->push_back(Floats(
        "exp", n, 1, 1, [n](const float* x, float* y) { simd::Exp(x, y, n); }));
    all->push_back(Floats("tanh", n, 1, 1, [n](const float* x, float* y) {
      simd::Tanh(x, y, n);
    }));
    all->push_back(Floats("swiglu", n, 2, 1, [n](const float* x, float* y) {
      simd::SwiGlu(x, x + n, y, n);
    }));
    all->push_back(Floats("add", n, 2, 1, [n](const float* x, float* y) {
      simd::Add(x, x + n, y, n);
    }));
    all->push_back(Floats("scale", n, 1, 1, [n](const float* x, float* y) {
      simd::Scale(x, 0.5f, y, n);
    }));
  }
  // One token's heads, copied and rotated in place.
  for (const size_t heads : std::initializer_list<size_t>{8, 16, 32}) {
    for (const bool halves : {true, false}) {
      constexpr size_t kDim = 128, kHalf = kDim / 2;
      all->push_back(Floats(
          halves ? "rope_half_split" : "rope_interleaved", heads * kDim, 1, 1,
          [heads, halves](const float* x, float* y) {
            static const std::vector<float> cos(kHalf, 0.8f), sin(kHalf, 0.6f);
            std::memcpy(y, x, heads * kDim * sizeof(float));
            (halves ? simd::RopeHalfSplit : simd::RopeInterleaved)(
                y, heads, kDim, cos.data(), sin.data(), kHalf);
          }));
    }
  }
}

void AddBackward(std::vector<Kernel>* all) {
  for (const size_t n : std::initializer_list<size_t>{256, 4096}) {
    all->push_back(
        Floats("rms_norm_backward", n, 3, 1, [n](const float* x, float* y) {
          simd::RmsNormBackwardRow(x, x + n, 1.25f, x + 2 * n, y, n);
        }));
    // Sums are copied first: they are added to.
    all->push_back(Floats("rms_norm_backward_weight", n, 3, 1,
                          [n](const float* x, float* y) {
                            std::memcpy(y, x + 2 * n, n * sizeof(float));
                            simd::RmsNormBackwardWeight(x, 1.25f, x + n, y, n);
                          }));
    all->push_back(Floats("add_to", n, 2, 1, [n](const float* x, float* y) {
      std::memcpy(y, x + n, n * sizeof(float));
      simd::AddTo(x, y, n);
    }));
    all->push_back(
        Floats("swiglu_backward", n, 3, 2, [n](const float* x, float* y) {
          simd::SwiGluBackward(x, x + n, x + 2 * n, y, y + n, n);
        }));
    all->push_back(
        Floats("softmax_backward", n, 2, 1, [n](const float* x, float* y) {
          std::memcpy(y, x + n, n * sizeof(float));
          simd::SoftmaxBackwardRow(x, y, n);
        }));
    all->push_back(
        Floats("sum_of_squares", n, 1, 1, [n](const float* x, float* y) {
          const double sum = simd::SumOfSquares(x, n);
          std::memcpy(y, &sum, sizeof sum);
        }));
    // Moments and parameter are copied first: a step changes them.
    all->push_back(Floats("adamw", n, 4, 3, [n](const float* x, float* y) {
      const simd::AdamWStep step{1.0f, 0.9f, 0.999f, 1e-3f, 1.0f, 1e-8f, 1.0f};
      for (size_t i = 0; i < n; ++i) {
        y[i] = x[n + i];
        y[n + i] = x[2 * n + i] * x[2 * n + i];
        y[2 * n + i] = x[3 * n + i];
      }
      simd::AdamW(step, x, y, y + n, y + 2 * n, n);
    }));
  }
}

void AddStoredTypes(std::vector<Kernel>* all) {
  constexpr size_t kRow = 4096;
  for (const TensorType type : test::kWeightTypes) {
    test::Random random(1, 1);
    const std::vector<std::byte> row =
        test::MakeWeights(type, 1, kRow, random).bytes;
    all->push_back({fmt::format("dequantize/{}/{}", TypeName(type), kRow), row,
                    kRow * sizeof(float),
                    [type](const std::byte* in, std::byte* out) {
                      simd::DequantizeRow(type, in, kRow, F32(out));
                    }});
    const size_t blocks = kRow / GetTypeTraits(type).block_size;
    all->push_back(
        {fmt::format("finite_scan/{}/{}", TypeName(type), kRow), row, 1,
         [type, blocks](const std::byte* in, std::byte* out) {
           *out = std::byte{
               simd::FirstNonFiniteBlock(type, in, blocks).has_value()};
         }});
  }
  for (const TensorType type : {TensorType::kQ8_0, TensorType::kQ8_K}) {
    all->push_back({fmt::format("quantize_row/{}/{}", TypeName(type), kRow),
                    Normal(kRow), simd::ActivationRowsBytes(type, 1, kRow),
                    [type](const std::byte* in, std::byte* out) {
                      simd::QuantizeActivationRow(
                          F32(in), 0,
                          simd::PlaceActivationRows(type, 1, kRow, out));
                    }});
  }
  all->push_back(
      {fmt::format("narrow_f16/F32/{}", kRow), Normal(kRow),
       kRow * sizeof(uint16_t), [](const std::byte* in, std::byte* out) {
         simd::NarrowToF16(F32(in), reinterpret_cast<uint16_t*>(out), kRow);
       }});
  test::Random random(1, 1);
  all->push_back(
      {fmt::format("widen_f16/F16/{}", kRow),
       test::MakeWeights(TensorType::kF16, 1, kRow, random).bytes,
       kRow * sizeof(float), [](const std::byte* in, std::byte* out) {
         simd::WidenF16(reinterpret_cast<const uint16_t*>(in), F32(out), kRow);
       }});
}

const bool kRegistered = [] {
  static std::vector<Kernel> all;
  AddForward(&all);
  AddBackward(&all);
  AddStoredTypes(&all);
  for (const Kernel& k : all) {
    for (const bool cold : {false, true}) {
      for (const SimdTier tier : SupportedSimdTiers()) {
        const std::string name = fmt::format(
            "row_{}/{}/{}", cold ? "cold" : "hot", k.name, SimdTierName(tier));
        benchmark::RegisterBenchmark(name.c_str(),
                                     [&k, tier, cold](benchmark::State& state) {
                                       Measure(state, k, tier, cold);
                                     })
            ->Unit(benchmark::kMicrosecond);
      }
    }
  }
  return true;
}();

}  // namespace
}  // namespace etalon::bench
