// Attention over an empty cache (kv_len 0): +0, on every tier, whatever the
// number of threads, the types, the strides and the profile, and without a look
// at the cache.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "etalon/attention.h"
#include "etalon/config.h"
#include "etalon/sdpa.h"
#include "reference/oracle.h"
#include "tests/ops/attention_fixture.h"

namespace etalon {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kUntouched = -77.0f;

// Memory that nobody may read or write: whoever looks is killed.
class Forbidden {
 public:
  Forbidden()
      : data_(mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                   0)) {}
  ~Forbidden() {
    if (data_ != MAP_FAILED) munmap(data_, kBytes);
  }
  Forbidden(const Forbidden&) = delete;
  Forbidden& operator=(const Forbidden&) = delete;
  bool ok() const { return data_ != MAP_FAILED; }
  const std::byte* data() const { return static_cast<std::byte*>(data_); }

 private:
  static constexpr size_t kBytes = size_t{1} << 22;
  void* data_;
};

class EmptyCache : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(memory_.ok()); }

  // Output rows with gaps; 2 kv heads, a capacity of 5.
  AttentionArgs Args(size_t n_tokens, size_t q_per_kv, TensorType type,
                     size_t dim, size_t dim_v) {
    const size_t n_heads = 2 * q_per_kv;
    const auto cache = [&](size_t n) {
      const size_t row = (n + 31) / 32 * 32;
      return KvView{type, memory_.data(), 2, 5, n, 5 * row, row};
    };
    head_stride_ = dim_v + 3;
    token_stride_ = n_heads * head_stride_ + 5;
    q_ = test::Random(11).Vector(test::Family::kNormal,
                                 n_tokens * n_heads * dim);
    out_.assign(n_tokens * token_stride_, kUntouched);
    AttentionArgs a;
    a.q = {q_.data(), n_tokens, n_heads, dim, n_heads * dim, dim};
    a.k = cache(dim);
    a.v = cache(dim_v);
    a.kv_len = 0;
    a.scale = 0.5f;
    a.causal = false;
    a.out = {out_.data(), n_tokens,      n_heads,
             dim_v,       token_stride_, head_stride_};
    return a;
  }
  // Every element of `a.out` is `want` to the bit, and nothing else is written.
  void ExpectOut(const AttentionArgs& a, float want,
                 const std::string& where) const {
    for (size_t i = 0; i < out_.size(); ++i) {
      const size_t at = i % token_stride_;
      const bool element = at / head_stride_ < a.out.n_heads &&
                           at % head_stride_ < a.out.head_dim;
      ASSERT_EQ(std::bit_cast<uint32_t>(out_[i]),
                std::bit_cast<uint32_t>(element ? want : kUntouched))
          << where << " at " << i;
    }
  }

  Forbidden memory_;
  std::vector<float> q_, out_;
  size_t head_stride_ = 0, token_stride_ = 0;
  Workspace workspace_;
};

TEST_F(EmptyCache, GivesPlusZeroAndIsNotRead) {
  std::vector<Config> configs(3);
  configs[1].strict_parity = true;
  configs[2].profile = Profile::kFast;
  test::ForEachTier([&](SimdTier tier) {
    for (const TensorType type : {TensorType::kF32, TensorType::kF16,
                                  TensorType::kBF16, TensorType::kQ8_0}) {
      for (const size_t n_tokens : {1u, 3u, 40u}) {
        for (const size_t dim : {1u, 20u, 64u}) {
          for (const int n_threads : {1, 2, 4}) {
            for (const Config& config : configs) {
              const AttentionArgs a = Args(n_tokens, n_tokens == 3 ? 4 : 1,
                                           type, dim, dim == 20 ? 33 : dim);
              ExecContext ctx{&workspace_, &config, n_threads};
              const Status status = ops::Attention(a, ctx);
              ASSERT_TRUE(status.has_value()) << status.error().message;
              ExpectOut(a, 0.0f,
                        std::string(SimdTierName(tier)) + " tokens " +
                            std::to_string(n_tokens) + " dim " +
                            std::to_string(dim));
            }
          }
        }
      }
    }
  });
}

// Neither sinks nor gates of numbers change it, as they do not change the 0 of
// a row whose keys are all hidden beside a sink; what is no number shows.
TEST_F(EmptyCache, GatesAndSinksActAsOnARowOfZeros) {
  const float finite[2] = {-3.0f, 40.0f};
  struct {
    float sink, gate, want;
  } const cases[] = {
      {0.0f, 0.0f, 0.0f},  {-kInf, 1.0f, 0.0f}, {-1e38f, -200.0f, 0.0f},
      {1e38f, kInf, 0.0f}, {2.0f, -kInf, 0.0f}, {NAN, 1.0f, NAN},
      {kInf, 1.0f, NAN},   {1.0f, NAN, NAN},    {-kInf, NAN, NAN}};
  test::ForEachTier([&](SimdTier) {
    for (const auto& c : cases) {
      for (const bool gated : {false, true}) {
        for (const bool sinks : {false, true}) {
          AttentionArgs a = Args(9, 1, TensorType::kF32, 20, 20);
          const std::vector<float> gate(9 * 2 * 20, c.gate);
          const std::vector<float> sink(2, c.sink);
          if (gated) a.gate = {gate.data(), 9, 2, 20, 40, 20};
          if (sinks) a.variant.sinks = sink;
          ExecContext ctx{&workspace_, nullptr, 2};
          ASSERT_TRUE(ops::Attention(a, ctx));
          const bool shows =
              (gated && std::isnan(c.gate)) || (sinks && !(c.sink < kInf));
          const float nan = std::bit_cast<float>(0x7fc00000u);
          ExpectOut(a, shows ? nan : 0.0f,
                    "sink " + std::to_string(c.sink) + " gate " +
                        std::to_string(c.gate));
          const auto oracle = reference::AttentionOracle(a);
          ASSERT_TRUE(oracle);
          EXPECT_EQ(std::isnan(oracle->value[0]), shows);
          EXPECT_TRUE(shows || oracle->value[0] == 0.0);
          // Hidden by a mask, with finite sinks: the same.
          if (!sinks || !std::isfinite(c.sink)) continue;
          const std::vector<float> kv(2 * 5 * 32, 1.0f), mask(5, -kInf);
          AttentionArgs masked = a;
          masked.k.data = reinterpret_cast<const std::byte*>(kv.data());
          masked.v.data = masked.k.data;
          masked.kv_len = 5;
          masked.variant.mask = {mask.data(), 0, 0};
          ASSERT_TRUE(ops::Attention(masked, ctx));
          ExpectOut(a, shows ? nan : 0.0f, "masked");
        }
      }
    }
  });
  // Per head: one sink that is no number leaves the other head alone.
  AttentionArgs a = Args(1, 1, TensorType::kF32, 8, 8);
  const float one_bad[2] = {NAN, finite[1]};
  a.variant.sinks = one_bad;
  ExecContext ctx{&workspace_, nullptr, 1};
  ASSERT_TRUE(ops::Attention(a, ctx));
  EXPECT_TRUE(std::isnan(a.out.at(0, 0)[7]));
  EXPECT_EQ(a.out.at(0, 1)[0], 0.0f);
}

TEST_F(EmptyCache, EveryEntryOfAttentionTakesIt) {
  const AttentionArgs a = Args(2, 3, TensorType::kF16, 40, 40);
  ExecContext ctx{&workspace_, nullptr, 2};
  const auto again = [&] { std::fill(out_.begin(), out_.end(), kUntouched); };
  ASSERT_TRUE(ops::FlashDecode(a, ctx));
  ExpectOut(a, 0.0f, "FlashDecode");
  again();
  const std::vector<float> gate(2 * 6 * 40, 1.5f);
  AttentionArgs gated = a;
  gated.gate = {gate.data(), 2, 6, 40, 240, 40};
  ASSERT_TRUE(ops::GatedSdpa(gated, ctx));
  ExpectOut(a, 0.0f, "GatedSdpa");
  again();
  ASSERT_TRUE(ops::AttentionGgmlF16(a, ctx));
  ExpectOut(a, 0.0f, "AttentionGgmlF16");
  again();
  std::vector<float> probs(2 * 6, kUntouched);
  ASSERT_TRUE(ops::AttentionWithProbs({a, probs.data(), 6, 1}, ctx));
  ExpectOut(a, 0.0f, "AttentionWithProbs");
  EXPECT_EQ(std::count(probs.begin(), probs.end(), kUntouched), 12);
  again();
  ASSERT_TRUE(ops::AttentionWithProbs({a, nullptr, 0, 0}, ctx));
  ExpectOut(a, 0.0f, "AttentionWithProbs without memory");
}

// A mask of no column and caches of no position have no memory.
TEST_F(EmptyCache, NeedsNoMemoryBehindIt) {
  AttentionArgs a = Args(3, 1, TensorType::kF32, 16, 16);
  a.k = {TensorType::kF32, nullptr, 2, 0, 16, 0, 0};
  a.v = a.k;
  a.variant.mask = {a.out.data, 0, 0};
  ExecContext ctx{&workspace_, nullptr, 1};
  const Status status = ops::Attention(a, ctx);
  ASSERT_TRUE(status.has_value()) << status.error().message;
  ExpectOut(a, 0.0f, "no capacity");
  EXPECT_TRUE(reference::AttentionOracle(a));
}

TEST_F(EmptyCache, GivesPlusZeroInEveryItemOfABatch) {
  for (const bool memory : {true, false}) {
    std::vector<uint16_t> q(2 * 3 * 2 * 16, 0x3c00), out(q.size(), 0x4242);
    SdpaArgs a;
    a.q = {TensorType::kF16,
           reinterpret_cast<const std::byte*>(q.data()),
           2,
           3,
           2,
           16,
           96,
           32,
           16};
    a.out = {TensorType::kF16,
             reinterpret_cast<std::byte*>(out.data()),
             2,
             3,
             2,
             16,
             96,
             32,
             16};
    a.k = {TensorType::kF32,
           memory ? memory_.data() : nullptr,
           2,
           memory ? size_t{4} : size_t{0},
           16,
           64,
           16};
    a.v = a.k;
    a.k_batch_stride = a.v_batch_stride = 128;
    a.scale = 1.0f;
    a.causal = false;
    ExecContext ctx{&workspace_, nullptr, 2};
    const Status status = ops::Sdpa(a, ctx);
    ASSERT_TRUE(status.has_value()) << status.error().message;
    EXPECT_EQ(std::count(out.begin(), out.end(), 0),
              static_cast<ptrdiff_t>(out.size()));
  }
}

// 0 by definition: every magnitude and every tolerance is 0.
TEST_F(EmptyCache, LeavesNoRoomForErrors) {
  const std::vector<float> gate(2 * 2 * 16, 3.0f);
  const float sinks[2] = {1.0f, -2.0f};
  for (int variant = 0; variant < 3; ++variant) {
    AttentionArgs a = Args(2, 1, TensorType::kF32, 16, 16);
    if (variant > 0) a.variant.sinks = sinks;
    if (variant > 1) a.gate = {gate.data(), 2, 2, 16, 32, 16};
    const auto oracle = reference::AttentionOracle(a);
    ASSERT_TRUE(oracle);
    EXPECT_EQ(oracle->value, std::vector<double>(64, 0.0));
    ASSERT_EQ(oracle->c.size(), variant == 0 ? 9u : variant == 1 ? 15u : 18u);
    for (const auto& c : oracle->c) {
      EXPECT_EQ(c, std::vector<double>(64, 0.0));
    }
    for (const reference::Profile& p :
         {reference::CpuStrictProfile(), reference::CpuFastProfile(),
          reference::AnyOrderF32Profile()}) {
      EXPECT_EQ(reference::AttentionTolerance(*oracle, p, 16, 0),
                std::vector<double>(64, 0.0));
    }
  }
}

}  // namespace
}  // namespace etalon
