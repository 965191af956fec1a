// What other ways of writing a kernel give: the same five kernels by this
// engine (Highway, strict order, one bit pattern on every tier), xsimd, Eigen
// and plain loops left to the compiler. One thread, everything in cache, all
// compiled for the same instruction set: this file once with AVX2 and once with
// AVX-512 flags (bench_libraries_avx2, _avx512), the engine by its tier.
//   dot      64 dot products of 4096 floats
//   rms_norm 16 rows of 4096;  softmax likewise;  exp of 4096
//   gemm     [64, 512] x [256, 512]^T
// Plain loops may reassociate (-ffast-math without -ffinite-math-only): without
// that a compiler cannot vectorise a sum at all. Each result is first compared
// with a loop in double.
#include <benchmark/benchmark.h>

#include <Eigen/Core>
#include <cmath>
#include <functional>
#include <string>
#include <vector>
#include <xsimd/xsimd.hpp>

#include "etalon/elementwise.h"
#include "etalon/gemm.h"
#include "etalon/norm.h"
#include "etalon/simd_tier.h"
#include "simd/exp.h"
#include "tests/util/random.h"

namespace etalon::bench {
namespace {

using Batch = xsimd::batch<float>;
constexpr size_t kLanes = Batch::size;
constexpr float kEps = 1e-5f;

#if defined(__AVX512F__)
constexpr SimdTier kTier = SimdTier::kAvx512;
#else
constexpr SimdTier kTier = SimdTier::kAvx2;
#endif

using Matrix =
    Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using ConstMap = Eigen::Map<const Matrix>;
using Map = Eigen::Map<Matrix>;
using RowMap = Eigen::Map<Eigen::Array<float, 1, Eigen::Dynamic>>;
using ConstRowMap = Eigen::Map<const Eigen::Array<float, 1, Eigen::Dynamic>>;
Eigen::Index I(size_t n) { return static_cast<Eigen::Index>(n); }

// [m, k] x [n, k]^T -> [m, n]; or rows x -> y, m of them, of n.
struct Problem {
  size_t m, n, k;
  std::vector<float> x, w;
  std::vector<float> y;
};

namespace plain {
float Dot(const float* a, const float* b, size_t n) {
  float sum = 0;
  for (size_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}
void Gemm(Problem& p) {
  for (size_t i = 0; i < p.m; ++i) {
    for (size_t j = 0; j < p.n; ++j) {
      p.y[i * p.n + j] = Dot(&p.x[i * p.k], &p.w[j * p.k], p.k);
    }
  }
}
void RmsNorm(Problem& p) {
  for (size_t r = 0; r < p.m; ++r) {
    const float* x = &p.x[r * p.n];
    const float scale =
        1 / std::sqrt(Dot(x, x, p.n) / static_cast<float>(p.n) + kEps);
    for (size_t i = 0; i < p.n; ++i) p.y[r * p.n + i] = x[i] * scale;
  }
}
void Exp(Problem& p) {
  for (size_t i = 0; i < p.n; ++i) p.y[i] = std::exp(p.x[i]);
}
void Softmax(Problem& p) {
  for (size_t r = 0; r < p.m; ++r) {
    const float* x = &p.x[r * p.n];
    float* y = &p.y[r * p.n];
    float max = x[0], sum = 0;
    for (size_t i = 1; i < p.n; ++i) max = x[i] > max ? x[i] : max;
    for (size_t i = 0; i < p.n; ++i) {
      y[i] = std::exp(x[i] - max);
      sum += y[i];
    }
    for (size_t i = 0; i < p.n; ++i) y[i] /= sum;
  }
}
}  // namespace plain

namespace with_xsimd {
float Dot(const float* a, const float* b, size_t n) {
  Batch s0(0.0f), s1(0.0f), s2(0.0f), s3(0.0f);
  for (size_t i = 0; i < n; i += 4 * kLanes) {
    const auto at = [&](const float* p, size_t j) {
      return Batch::load_unaligned(p + i + j * kLanes);
    };
    s0 = xsimd::fma(at(a, 0), at(b, 0), s0);
    s1 = xsimd::fma(at(a, 1), at(b, 1), s1);
    s2 = xsimd::fma(at(a, 2), at(b, 2), s2);
    s3 = xsimd::fma(at(a, 3), at(b, 3), s3);
  }
  return xsimd::hadd((s0 + s1) + (s2 + s3));
}
void Gemm(Problem& p) {
  for (size_t i = 0; i < p.m; ++i) {
    for (size_t j = 0; j < p.n; ++j) {
      p.y[i * p.n + j] = Dot(&p.x[i * p.k], &p.w[j * p.k], p.k);
    }
  }
}
void RmsNorm(Problem& p) {
  for (size_t r = 0; r < p.m; ++r) {
    const float* x = &p.x[r * p.n];
    const Batch scale(
        1 / std::sqrt(Dot(x, x, p.n) / static_cast<float>(p.n) + kEps));
    for (size_t i = 0; i < p.n; i += kLanes) {
      (Batch::load_unaligned(x + i) * scale).store_unaligned(&p.y[r * p.n + i]);
    }
  }
}
void Exp(Problem& p) {
  for (size_t i = 0; i < p.n; i += kLanes) {
    xsimd::exp(Batch::load_unaligned(&p.x[i])).store_unaligned(&p.y[i]);
  }
}
void Softmax(Problem& p) {
  for (size_t r = 0; r < p.m; ++r) {
    const float* x = &p.x[r * p.n];
    float* y = &p.y[r * p.n];
    float max = x[0];
    for (size_t i = 1; i < p.n; ++i) max = std::max(max, x[i]);
    Batch sum(0.0f);
    for (size_t i = 0; i < p.n; i += kLanes) {
      const Batch e = xsimd::exp(Batch::load_unaligned(x + i) - Batch(max));
      sum += e;
      e.store_unaligned(y + i);
    }
    const Batch scale(1 / xsimd::hadd(sum));
    for (size_t i = 0; i < p.n; i += kLanes) {
      (Batch::load_unaligned(y + i) * scale).store_unaligned(y + i);
    }
  }
}
}  // namespace with_xsimd

namespace with_eigen {
void Gemm(Problem& p) {
  Map(p.y.data(), I(p.m), I(p.n)).noalias() =
      ConstMap(p.x.data(), I(p.m), I(p.k)) *
      ConstMap(p.w.data(), I(p.n), I(p.k)).transpose();
}
void RmsNorm(Problem& p) {
  for (size_t r = 0; r < p.m; ++r) {
    const ConstRowMap x(&p.x[r * p.n], I(p.n));
    RowMap(&p.y[r * p.n], I(p.n)) = x / std::sqrt(x.square().mean() + kEps);
  }
}
void Exp(Problem& p) {
  RowMap(p.y.data(), I(p.n)) = ConstRowMap(p.x.data(), I(p.n)).exp();
}
void Softmax(Problem& p) {
  for (size_t r = 0; r < p.m; ++r) {
    const ConstRowMap x(&p.x[r * p.n], I(p.n));
    RowMap y(&p.y[r * p.n], I(p.n));
    y = (x - x.maxCoeff()).exp();
    y /= y.sum();
  }
}
}  // namespace with_eigen

namespace engine {
Workspace workspace;
ExecContext ctx{&workspace, nullptr, 1};

void Gemm(Problem& p) {
  const GemmPart part{
      {TensorType::kF32, reinterpret_cast<const std::byte*>(p.w.data()), p.n,
       p.k, p.k * sizeof(float)},
      {},
      {p.y.data(), p.m, p.n}};
  static_cast<void>(ops::Gemm({{p.x.data(), p.m, p.k}, {&part, 1}}, ctx));
}
void RmsNorm(Problem& p) {
  static_cast<void>(ops::RmsNorm(
      {{p.x.data(), p.m, p.n}, {}, kEps, {p.y.data(), p.m, p.n}, {}}, ctx));
}
void Exp(Problem& p) { simd::Exp(p.x.data(), p.y.data(), p.n); }
void Softmax(Problem& p) {
  static_cast<void>(
      ops::Softmax({{p.x.data(), p.m, p.n}, {p.y.data(), p.m, p.n}}, ctx));
}
}  // namespace engine

// In double, element by element; row r, column i of y.
double WantProduct(const Problem& p, size_t r, size_t i) {
  double sum = 0;
  for (size_t k = 0; k < p.k; ++k) {
    sum += static_cast<double>(p.x[r * p.k + k]) *
           static_cast<double>(p.w[i * p.k + k]);
  }
  return sum;
}
double WantNorm(const Problem& p, size_t r, size_t i) {
  double sum = 0;
  for (size_t j = 0; j < p.n; ++j) {
    sum += std::pow(static_cast<double>(p.x[r * p.n + j]), 2);
  }
  return static_cast<double>(p.x[r * p.n + i]) /
         std::sqrt(sum / static_cast<double>(p.n) + 1e-5);
}
double WantExp(const Problem& p, size_t, size_t i) {
  return std::exp(static_cast<double>(p.x[i]));
}
double WantSoftmax(const Problem& p, size_t r, size_t i) {
  double sum = 0;
  for (size_t j = 0; j < p.n; ++j) {
    sum += std::exp(static_cast<double>(p.x[r * p.n + j] - p.x[r * p.n + i]));
  }
  return 1 / sum;
}

struct Kernel {
  const char* name;
  size_t m, n, k;  // k 0: rows
  double (*want)(const Problem&, size_t, size_t);
  void (*run[4])(Problem&);  // engine, xsimd, Eigen, plain
};
const Kernel kKernels[] = {
    {"dot",
     1,
     64,
     4096,
     WantProduct,
     {engine::Gemm, with_xsimd::Gemm, with_eigen::Gemm, plain::Gemm}},
    {"gemm",
     64,
     256,
     512,
     WantProduct,
     {engine::Gemm, with_xsimd::Gemm, with_eigen::Gemm, plain::Gemm}},
    {"rms_norm",
     16,
     4096,
     0,
     WantNorm,
     {engine::RmsNorm, with_xsimd::RmsNorm, with_eigen::RmsNorm,
      plain::RmsNorm}},
    {"softmax",
     16,
     4096,
     0,
     WantSoftmax,
     {engine::Softmax, with_xsimd::Softmax, with_eigen::Softmax,
      plain::Softmax}},
    {"exp",
     1,
     4096,
     0,
     WantExp,
     {engine::Exp, with_xsimd::Exp, with_eigen::Exp, plain::Exp}},
};
constexpr const char* kLibraries[] = {"etalon", "xsimd", "eigen", "plain"};

void Measure(benchmark::State& state, const Kernel& kernel, size_t library) {
  if (!SetActiveSimdTier(kTier)) return state.SkipWithError("no such tier");
  test::Random rng(1, 1);
  Problem p{kernel.m, kernel.n, kernel.k, {}, {}, {}};
  const size_t row = p.k > 0 ? p.k : p.n;
  p.x = rng.Vector(test::Family::kNormal, p.m * row);
  p.w = rng.Vector(test::Family::kNormal, p.k > 0 ? p.n * p.k : 0);
  p.y.resize(p.m * p.n);
  const auto run = kernel.run[library];
  run(p);
  for (size_t i = 0; i < p.y.size(); i += 37) {
    const double want = kernel.want(p, i / p.n, i % p.n);
    // Sums of numbers of size one: their terms set the scale.
    const double scale =
        p.k > 0 ? static_cast<double>(p.k) : std::fabs(want) + 1e-6;
    if (!(std::fabs(static_cast<double>(p.y[i]) - want) <= 1e-5 * scale)) {
      return state.SkipWithError("differs from the loop in double");
    }
  }
  for (auto _ : state) {
    run(p);
    benchmark::DoNotOptimize(p.y.data());
    benchmark::ClobberMemory();
  }
  const double work = static_cast<double>(p.m * p.n) *
                      static_cast<double>(p.k > 0 ? 2 * p.k : 1);
  state.counters[p.k > 0 ? "GFLOP/s" : "Gelements/s"] = benchmark::Counter(
      work * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

const bool kRegistered = [] {
  for (const Kernel& kernel : kKernels) {
    for (size_t i = 0; i < 4; ++i) {
      const std::string name = std::string(kernel.name) + "/" + kLibraries[i];
      benchmark::RegisterBenchmark(name.c_str(), [&kernel,
                                                  i](benchmark::State& state) {
        Measure(state, kernel, i);
      })->Unit(benchmark::kMicrosecond);
    }
  }
  return true;
}();

}  // namespace
}  // namespace etalon::bench
