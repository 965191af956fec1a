// Ops that are neither rows, products of weights nor attention, per shape and
// tier.
//   kv_write    8 kv heads of 128 lanes into a cache of 4096 positions, by type
//   moe_router  8 of 128 experts (Qwen3 30B-A3B)
//   outer       products of a backward pass of the bundled model's shape, 512
//               tokens: dW [ffn, model] and dX [tokens, model]
//
//   hot   the same memory again and again
//   cold  rotating over 1 GiB of caches, or of logits
//
// GB/s counts what is read and written once; the share is that of the FMA roof,
// measured in between. Results are first compared, bit for bit, with the scalar
// tier, which the test suite holds against the reference.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "bench/roof.h"
#include "bench/threads.h"
#include "etalon/kv_write.h"
#include "etalon/moe.h"
#include "etalon/simd_tier.h"
#include "ops/outer_products.h"
#include "tests/util/random.h"

namespace etalon::bench {
namespace {

constexpr size_t kPool = size_t{1} << 30;

// 1 GiB of small numbers; its pages are there.
std::byte* Filled(std::vector<std::byte>& pool) {
  if (pool.empty()) {
    pool.resize(kPool);
    test::Random random(1, 1);
    const std::vector<float> x = random.Vector(test::Family::kNormal, 1 << 16);
    const size_t bytes = x.size() * sizeof(float);
    for (size_t at = 0; at < kPool; at += bytes) {
      std::memcpy(&pool[at], x.data(), bytes);
    }
  }
  return pool.data();
}

// A call on the turn-th part of the pool; what it wrote; what it costs.
class Op {
 public:
  virtual ~Op() = default;
  virtual Status Run(size_t turn, ExecContext& ctx) = 0;
  virtual std::vector<std::byte> Result() const = 0;
  virtual double bytes() const { return 0; }
  virtual double operations() const { return 0; }
};

class KvWrite : public Op {
 public:
  KvWrite(TensorType type, size_t n_tokens)
      : type_(type), n_tokens_(n_tokens), row_bytes_(RowBytes(type, kDim)) {
    test::Random random(2, 2);
    x_ = random.Vector(test::Family::kNormal, n_tokens * kHeads * kDim);
  }
  Status Run(size_t turn, ExecContext& ctx) override {
    const size_t cache = kHeads * kCapacity * row_bytes_;
    static std::vector<std::byte> caches;
    last_ = Filled(caches) + turn % (kPool / cache) * cache;
    return ops::KvWrite(
        {{x_.data(), n_tokens_, kHeads, kDim, kHeads * kDim, kDim},
         kPos,
         {type_, last_, kHeads, kCapacity, kDim, kCapacity * kDim, kDim}},
        ctx);
  }
  std::vector<std::byte> Result() const override {
    return {last_, last_ + kHeads * kCapacity * row_bytes_};
  }
  double bytes() const override {
    return static_cast<double>(x_.size() * sizeof(float) +
                               n_tokens_ * kHeads * row_bytes_);
  }

 private:
  static constexpr size_t kHeads = 8, kDim = 128, kCapacity = 4096, kPos = 1024;
  TensorType type_;
  size_t n_tokens_, row_bytes_;
  std::vector<float> x_;
  std::byte* last_ = nullptr;
};

class Router : public Op {
 public:
  explicit Router(size_t n_tokens)
      : n_tokens_(n_tokens),
        experts_(n_tokens * kUsed),
        weights_(n_tokens * kUsed) {}
  Status Run(size_t turn, ExecContext& ctx) override {
    const size_t n = n_tokens_ * kExperts;
    static std::vector<std::byte> pool;
    const float* logits = reinterpret_cast<const float*>(Filled(pool)) +
                          turn % (kPool / sizeof(float) / n) * n;
    return ops::MoeRouter({{logits, n_tokens_, kExperts},
                           true,
                           1.0f,
                           {experts_.data(), n_tokens_, kUsed},
                           {weights_.data(), n_tokens_, kUsed}},
                          ctx);
  }
  std::vector<std::byte> Result() const override {
    const auto e = std::as_bytes(std::span(experts_));
    const auto w = std::as_bytes(std::span(weights_));
    std::vector<std::byte> all(e.begin(), e.end());
    all.insert(all.end(), w.begin(), w.end());
    return all;
  }
  double bytes() const override {
    return static_cast<double>(n_tokens_ * (kExperts + 2 * kUsed) * 4);
  }

 private:
  static constexpr size_t kExperts = 128, kUsed = 8;
  size_t n_tokens_;
  std::vector<int32_t> experts_;
  std::vector<float> weights_;
};

// C [m, n] += A [m, k] B [k, n]; for dW both are read along tokens.
class Outer : public Op {
 public:
  Outer(bool d_weight, size_t m, size_t n, size_t k)
      : m_(m), n_(n), k_(k), d_weight_(d_weight), c_(m * n) {
    test::Random random(3, 3);
    a_ = random.Vector(test::Family::kNormal, m * k);
    b_ = random.Vector(test::Family::kNormal, k * n);
  }
  Status Run(size_t, ExecContext& ctx) override {
    simd::OuterProductArgs p{m_,        n_, k_, a_.data(), k_, 1,
                             b_.data(), n_, 1,  c_.data(), n_};
    if (d_weight_) p.a_row = 1, p.a_col = m_;
    return ops::RunOuterProduct(p, ctx);
  }
  std::vector<std::byte> Result() const override {
    const auto c = std::as_bytes(std::span(c_));
    return {c.begin(), c.end()};
  }
  double operations() const override {
    return 2 * static_cast<double>(m_ * n_ * k_);
  }

 private:
  size_t m_, n_, k_;
  bool d_weight_;
  std::vector<float> a_, b_, c_;
};

bool Verified(Op& op, ExecContext& ctx, SimdTier tier) {
  std::vector<std::byte> out[2];
  for (const bool scalar : {false, true}) {
    if (!SetActiveSimdTier(scalar ? SimdTier::kScalar : tier) ||
        !op.Run(0, ctx)) {
      return false;
    }
    out[scalar] = op.Result();
  }
  return SetActiveSimdTier(tier).has_value() && out[0] == out[1];
}

void Measure(benchmark::State& state, Op& op, SimdTier tier, bool cold) {
  Workspace workspace;
  ExecContext ctx{&workspace, nullptr, Threads()};
  if (!Verified(op, ctx, tier)) {
    return state.SkipWithError("refused, or differs from the scalar tier");
  }
  double seconds = 0, roof = 0;
  size_t turn = 0;
  for (auto _ : state) {
    if (op.operations() > 0) roof += FmaRoof(ctx.n_threads);
    const double start = Seconds();
    if (!op.Run(cold ? turn : 0, ctx)) return state.SkipWithError("refused");
    const double time = Seconds() - start;
    state.SetIterationTime(time);
    seconds += time;
    ++turn;
  }
  const auto n = static_cast<double>(turn);
  if (op.bytes() > 0) state.counters["GB/s"] = op.bytes() * n / seconds * 1e-9;
  if (op.operations() > 0) {
    state.counters["TOP/s"] = op.operations() * n / seconds * 1e-12;
    if (roof > 0) {
      state.counters["share"] = op.operations() * n * n / seconds / roof;
    }
  }
  state.SetLabel(std::to_string(ctx.n_threads) + " threads");
}

void Register(std::string_view name, bool cold, std::shared_ptr<Op> op) {
  for (const SimdTier tier : SupportedSimdTiers()) {
    // Without an fma instruction the scalar tier takes seconds.
    if (tier == SimdTier::kScalar && op->operations() > 0) continue;
    benchmark::RegisterBenchmark(
        fmt::format("{}/{}", name, SimdTierName(tier)).c_str(),
        [=](benchmark::State& state) { Measure(state, *op, tier, cold); })
        ->UseManualTime()
        ->Unit(benchmark::kMicrosecond);
  }
}

const bool kRegistered = [] {
  for (const bool cold : {false, true}) {
    const std::string_view at = cold ? "cold" : "hot";
    for (const TensorType type : {TensorType::kF32, TensorType::kF16,
                                  TensorType::kBF16, TensorType::kQ8_0}) {
      for (const size_t n_tokens : std::initializer_list<size_t>{1, 512}) {
        Register(fmt::format("kv_write_{}/{}/{}", at, TypeName(type), n_tokens),
                 cold, std::make_shared<KvWrite>(type, n_tokens));
      }
    }
    for (const size_t n_tokens : std::initializer_list<size_t>{1, 32, 512}) {
      Register(fmt::format("moe_router_{}/F32/{}", at, n_tokens), cold,
               std::make_shared<Router>(n_tokens));
    }
  }
  Register("outer_hot/d_weight/768x256x512", false,
           std::make_shared<Outer>(true, 768, 256, 512));
  Register("outer_hot/d_x/512x256x768", false,
           std::make_shared<Outer>(false, 512, 256, 768));
  return true;
}();

}  // namespace
}  // namespace etalon::bench
