// Profile fast: attention of prompts on bf16 products, against the fp64 formula
// and the bound of its own profile. Tiers without them must give the bits
// of profile strict.
#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "etalon/attention.h"
#include "quant/f16.h"
#include "simd/attention_bf16.h"
#include "tests/parity/parity.h"

namespace etalon::test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

struct Shape {
  size_t n_tokens, n_kv_heads, q_per_kv, kv_len, head_dim;
  bool causal;
};

// Rows around tiles of 16, 32 and 256; positions around 32 and 256; head_dim
// around 16 and 32.
constexpr Shape kShapes[] = {
    {9, 1, 4, 9, 64, true},     {32, 1, 1, 33, 1, true},
    {33, 2, 1, 255, 8, true},   {31, 1, 2, 256, 33, true},
    {40, 1, 1, 257, 40, true},  {48, 1, 7, 300, 80, true},
    {64, 2, 4, 512, 128, true}, {260, 1, 1, 520, 16, true},
    {270, 1, 4, 300, 32, true}, {36, 1, 1, 1030, 192, true},
    {33, 1, 1, 270, 256, true}, {17, 1, 2, 40, 576, true},
    {40, 1, 1, 300, 48, false}, {300, 1, 1, 600, 24, false},
};

// q, k and v dense; caches [n_kv_heads, kv_len + 3, head_dim], the spare
// positions NaN.
struct Problem {
  Shape s;
  TensorType type;
  float scale;
  std::vector<float> q, k, v, out;
  std::vector<uint16_t> k_half, v_half;

  Problem(const Shape& shape, TensorType t, Family family, Random& rng)
      : s(shape),
        type(t),
        scale(1.0f / std::sqrt(static_cast<float>(shape.head_dim))) {
    q = rng.Vector(family, s.n_tokens * n_heads() * s.head_dim);
    k = rng.Vector(family, n_cache());
    v = rng.Vector(Family::kNormal, n_cache());
    out.resize(q.size());
    const float nan = std::nanf("");
    for (size_t h = 0; h < s.n_kv_heads; ++h) {
      for (size_t i = s.kv_len * s.head_dim; i < capacity() * s.head_dim; ++i) {
        k[h * capacity() * s.head_dim + i] = nan;
        v[h * capacity() * s.head_dim + i] = nan;
      }
    }
  }
  size_t n_heads() const { return s.n_kv_heads * s.q_per_kv; }
  size_t capacity() const { return s.kv_len + 3; }
  size_t n_cache() const { return s.n_kv_heads * capacity() * s.head_dim; }

  KvView View(const std::vector<float>& x, std::vector<uint16_t>& half) const {
    const auto* data = reinterpret_cast<const std::byte*>(x.data());
    if (type == TensorType::kF16) {
      half.resize(x.size());
      for (size_t i = 0; i < x.size(); ++i) half[i] = F32ToF16(x[i]);
      data = reinterpret_cast<const std::byte*>(half.data());
    }
    return {type,       data,       s.n_kv_heads,
            capacity(), s.head_dim, capacity() * s.head_dim,
            s.head_dim};
  }
  AttentionArgs Args() {
    const size_t row = n_heads() * s.head_dim;
    return {{q.data(), s.n_tokens, n_heads(), s.head_dim, row, s.head_dim},
            View(k, k_half),
            View(v, v_half),
            s.kv_len,
            scale,
            s.causal,
            {out.data(), s.n_tokens, n_heads(), s.head_dim, row, s.head_dim}};
  }
  std::vector<float> Run(Profile profile, int n_threads) {
    Workspace workspace;
    Config config;
    config.profile = profile;
    ExecContext ctx{&workspace, &config, n_threads};
    out.assign(out.size(), -77.0f);
    EXPECT_TRUE(Succeeded(ops::Attention(Args(), ctx)));
    EXPECT_LE(workspace.capacity(),
              Workspace::kAlignment +
                  ops::AttentionWorkspaceBytes(s.n_tokens, n_heads(),
                                               s.head_dim, s.kv_len, n_threads))
        << "more workspace than announced";
    return out;
  }
  std::string Text() const {
    return fmt::format("T={} Hkv={} q_per_kv={} kv_len={} hd={}{} {}",
                       s.n_tokens, s.n_kv_heads, s.q_per_kv, s.kv_len,
                       s.head_dim, s.causal ? " causal" : "",
                       type == TensorType::kF16 ? "F16" : "F32");
  }
};

class AttentionFast : public ::testing::Test {
 protected:
  // On every tier: within the bound, and the same bits for all thread counts.
  void Check(Problem& problem, const std::string& family) {
    const TierGuard guard;
    const AttentionArgs args = problem.Args();
    const auto oracle = reference::AttentionOracle(args);
    ASSERT_TRUE(oracle) << oracle.error().message;
    const auto bound =
        reference::AttentionTolerance(*oracle, reference::CpuFastProfile(),
                                      problem.s.head_dim, problem.s.kv_len);
    const CaseLabel label = {"attention fast", problem.Text(), family};
    for (const SimdTier tier : SupportedSimdTiers()) {
      ASSERT_TRUE(SetActiveSimdTier(tier));
      const std::vector<float> got = problem.Run(Profile::kFast, 1);
      if (!simd::HasAttentionBf16()) {
        ASSERT_TRUE(SameBits(got, problem.Run(Profile::kStrict, 1), label))
            << SimdTierName(tier);
        continue;
      }
      ASSERT_TRUE(WithinBound(got, oracle->value, bound, label, &stats_));
      for (const int n_threads : {2, 3}) {
        ASSERT_TRUE(
            SameBits(problem.Run(Profile::kFast, n_threads), got, label))
            << n_threads << " threads";
      }
    }
  }
  void TearDown() override {
    std::printf("  %9zu elements  err/bound max %.3f mean %.4f\n  %s\n",
                stats_.n, stats_.max, stats_.mean(), SeedNote().c_str());
  }
  RatioStats stats_;
};

TEST_F(AttentionFast, EveryElementWithinTheBoundOfItsProfile) {
  Random rng(311);
  size_t i = 0;
  for (const Family family :
       {Family::kNormal, Family::kLarge, Family::kOffset, Family::kOutlier,
        Family::kCancel, Family::kConstant, Family::kTiny, Family::kZero}) {
    for (const Shape& s : kShapes) {
      // Each family meets every third shape; the others follow.
      if (++i % 3 != 0) continue;
      Problem problem(s,
                      rng.Below(2) == 0 ? TensorType::kF32 : TensorType::kF16,
                      family, rng);
      ASSERT_NO_FATAL_FAILURE(Check(problem, std::string(FamilyName(family))));
    }
  }
}

// NaN and Inf in a position reach exactly the rows that see it: also within a
// tile of which other rows do not.
TEST_F(AttentionFast, SpecialValuesReachOnlyRowsThatSeeThem) {
  Random rng(312);
  const Shape s = {40, 2, 2, 300, 33, true};
  for (const float special : {std::nanf(""), kInf, -kInf}) {
    for (const bool in_values : {false, true}) {
      for (const size_t pos :
           {size_t{3}, size_t{260}, size_t{281}, size_t{299}}) {
        Problem problem(s, TensorType::kF32, Family::kUniform, rng);
        auto& x = in_values ? problem.v : problem.k;
        x[(problem.capacity() + pos) * s.head_dim + 5] = special;
        ASSERT_NO_FATAL_FAILURE(
            Check(problem, fmt::format("{} in {} at {}", special,
                                       in_values ? "v" : "k", pos)));
      }
    }
  }
}

// Which kernels run depends on the profile and the number of tokens alone.
TEST_F(AttentionFast, ShortCallsAreStrict) {
  Random rng(313);
  Problem problem({8, 1, 8, 300, 64, true}, TensorType::kF16, Family::kNormal,
                  rng);
  EXPECT_TRUE(SameBits(problem.Run(Profile::kFast, 2),
                       problem.Run(Profile::kStrict, 2),
                       {"attention fast", problem.Text(), ""}));
}

TEST_F(AttentionFast, LongCallsUseBf16ProductsWhereThereAreSome) {
  if (!simd::HasAttentionBf16())
    GTEST_SKIP() << "no AMX or AVX512_BF16 here: every call is strict";
  Random rng(314);
  Problem problem({64, 1, 1, 300, 64, true}, TensorType::kF16, Family::kNormal,
                  rng);
  EXPECT_FALSE(SameBits(problem.Run(Profile::kFast, 1),
                        problem.Run(Profile::kStrict, 1),
                        {"attention fast", problem.Text(), ""}));
}

}  // namespace
}  // namespace etalon::test
