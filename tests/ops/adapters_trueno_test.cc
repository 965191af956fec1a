// trueno-gpu's calls: each requirement by name, against plain loops in their
// own layouts.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "core/log.h"
#include "tests/ops/adapters_fixture.h"
#include "tests/util/random.h"
#include "tests/util/ulp.h"

namespace etalon::test {
namespace {

// Whisper's encoder: 1500 frames.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t kWhisper = 300;
#else
constexpr size_t kWhisper = 1500;
#endif

TEST_F(Adapters, C01_C03_C07_C09_BothFormsAgreeWithTheFormula) {
  for (const auto& shape : {std::tuple<size_t, size_t, size_t>{6, 64, 150},
                            {1, 1, 1},
                            {3, 40, 1},
                            {2, 17, 260},
                            {6, 64, kWhisper}}) {
    const size_t heads = std::get<0>(shape);
    const size_t dim = std::get<1>(shape);
    const size_t seq = std::get<2>(shape);
    Random rng(30);
    const size_t n = heads * dim * seq;
    const auto q = rng.Vector(Family::kNormal, n);
    const auto k = rng.Vector(Family::kNormal, n);
    const auto v = rng.Vector(Family::kNormal, n);
    std::vector<float> plain(n), optimized(n);
    ASSERT_TRUE(adapters::trueno::BatchedMultiheadAttention(q, k, v, heads, dim,
                                                            seq, plain, ctx()));
    ASSERT_TRUE(adapters::trueno::BatchedMultiheadAttentionOptimized(
        q, k, v, heads, dim, seq, optimized, ctx()));
    EXPECT_EQ(BitDiff(plain, optimized), 0u);
    for (size_t t = 0; t<seq; t += seq> 1000 ? 211 : 7) {
      for (size_t h = 0; h < heads; ++h) {
        const auto at = [&](const std::vector<float>& x) {
          return [&x, h, heads, dim](size_t p, size_t d) {
            return static_cast<double>(x[(p * heads + h) * dim + d]);
          };
        };
        const auto want = Attend(q.data() + (t * heads + h) * dim, seq, dim,
                                 InverseRoot(dim), at(k), at(v));
        for (size_t d = 0; d < dim; ++d) {
          ASSERT_NEAR(static_cast<double>(plain[(t * heads + h) * dim + d]),
                      want[d], 1e-5);
        }
      }
    }
  }
}

// Small integers, so that every number of the four lines is exact.
TEST_F(Adapters, C06_DebugSwitchDescribesHead0) {
  constexpr size_t kH = 2, kD = 4, kT = 2;
  std::vector<float> q(kH * kD * kT), k(q), v(q), out(q);
  for (size_t i = 0; i < q.size(); ++i) {
    const bool head0 = i / kD % kH == 0;
    q[i] = head0 ? 2.0f : 99.0f;
    k[i] = head0 ? 3.0f : 99.0f;  // equal keys: the mean of V
    v[i] = head0 ? (i < kH * kD ? -1.0f : 7.0f) : 99.0f;
  }
  std::vector<std::string> lines;
  const auto keep = [](LogLevel level, std::string_view text, void* user) {
    EXPECT_EQ(level, LogLevel::kInfo);
    static_cast<std::vector<std::string>*>(user)->emplace_back(text);
  };
  const std::vector<std::string> want = {
      "[DEBUG-ATTN] head 0: Q mean=2.000000 K mean=3.000000 V mean=3.000000",
      "[DEBUG-ATTN] head 0: raw scores mean=24.000000 max=24.000000",
      "[DEBUG-ATTN] head 0: weights of row 0 sum=1.000000 mean=0.500000",
      "[DEBUG-ATTN] head 0: output mean=3.000000 rms=3.000000"};
  SetLogSink(keep, &lines);
  for (const auto& form :
       {adapters::trueno::BatchedMultiheadAttention,
        adapters::trueno::BatchedMultiheadAttentionOptimized}) {
    config_.debug_attn = false;
    EXPECT_TRUE(form(q, k, v, kH, kD, kT, out, ctx()));
    EXPECT_TRUE(lines.empty());
    config_.debug_attn = true;
    EXPECT_TRUE(form(q, k, v, kH, kD, kT, out, ctx()));
    EXPECT_EQ(lines, want);
    lines.clear();
  }
  SetLogSink(nullptr);
}

TEST_F(Adapters, C02_Errors) {
  const std::vector<float> x(24), y(23);
  std::vector<float> out(24, kUntouched);
  const auto run = [&](const std::vector<float>& q,
                       const std::vector<float>& k) {
    return adapters::trueno::BatchedMultiheadAttention(q, k, x, 2, 4, 3, out,
                                                       ctx());
  };
  EXPECT_EQ(run(y, y).error().message,
            "batched_multihead_attention: Q has 23 elements, expected 24 "
            "(seq_len=3, d_model=8)");
  EXPECT_EQ(run(x, y).error().message,
            "batched_multihead_attention: K and V must have same size as Q");
  EXPECT_EQ(std::count(out.begin(), out.end(), kUntouched), 24);
}

TEST_F(Adapters, C04_LayoutMapsAreExactCopiesAndInverse) {
  for (const auto& [heads, dim, seq] :
       {std::tuple<size_t, size_t, size_t>{3, 5, 7},
        {1, 4, 6},
        {4, 1, 3},
        {2, 3, 1},
        {1, 1, 1}}) {
    const size_t n = heads * dim * seq;
    Random rng(31);
    std::vector<float> in = rng.Vector(Family::kWide, n);
    in[n / 2] = -0.0f;
    std::vector<float> batched(n), back(n);
    ASSERT_TRUE(ops::InterleavedToBatched(in, heads, dim, seq, batched));
    ASSERT_TRUE(ops::BatchedToInterleaved(batched, heads, dim, seq, back));
    EXPECT_EQ(BitDiff(back, in), 0u);
    std::vector<float> rebuilt(n);
    for (size_t h = 0; h < heads; ++h) {
      std::vector<float> head(n / heads);
      ASSERT_TRUE(ops::ExtractHead(in, heads, dim, seq, h, head));
      for (size_t s = 0; s < seq; ++s) {
        for (size_t d = 0; d < dim; ++d) {
          EXPECT_EQ(batched[(h * seq + s) * dim + d],
                    in[s * heads * dim + h * dim + d]);
          EXPECT_EQ(head[s * dim + d], in[s * heads * dim + h * dim + d]);
        }
      }
      ASSERT_TRUE(ops::CopyHead(head, heads, dim, seq, h, rebuilt));
    }
    EXPECT_EQ(BitDiff(rebuilt, in), 0u);
    std::vector<float> transposed(n), twice(n);
    ASSERT_TRUE(ops::BatchedTranspose(in, heads, seq, dim, transposed));
    ASSERT_TRUE(ops::BatchedTranspose(transposed, heads, dim, seq, twice));
    EXPECT_EQ(BitDiff(twice, in), 0u);
    EXPECT_EQ(transposed[dim > 1 ? seq : 0], in[dim > 1 ? 1 : 0]);
    EXPECT_FALSE(ops::BatchedTranspose(in, heads + 1, seq, dim, twice));
    EXPECT_FALSE(ops::ExtractHead(in, heads, dim, seq, heads, twice));
  }
}

TEST_F(Adapters, C05_BatchedGemm) {
  constexpr size_t kB = 3, kM = 5, kK = 37, kN = 4;
  Random rng(32);
  const auto x = rng.Vector(Family::kExactInt, kB * kM * kK);
  const auto y = rng.Vector(Family::kExactInt, kB * kK * kN);
  std::vector<float> out(kB * kM * kN);
  ASSERT_TRUE(ops::BatchedGemm(x, y, kB, kM, kK, kN, out, ctx()));
  for (size_t b = 0; b < kB; ++b) {
    for (size_t i = 0; i < kM; ++i) {
      for (size_t j = 0; j < kN; ++j) {
        float want = 0.0f;
        for (size_t l = 0; l < kK; ++l) {
          want += x[(b * kM + i) * kK + l] * y[(b * kK + l) * kN + j];
        }
        EXPECT_EQ(out[(b * kM + i) * kN + j], want);
      }
    }
  }
}

TEST_F(Adapters, C08_IncrementalAttentionAndScatter) {
  constexpr size_t kH = 3, kD = 12, kMax = 40;
  Random rng(33);
  const auto q = rng.Vector(Family::kNormal, kH * kD);
  std::vector<float> k(kH * kMax * kD, std::nanf("")), v(k);
  std::vector<float> out(kH * kD, kUntouched);
  const auto run = [&](size_t n) {
    return adapters::trueno::IncrementalAttention(q, k, v, kH, kD, n, kMax, out,
                                                  ctx());
  };
  ASSERT_TRUE(run(0));
  for (const float x : out) EXPECT_EQ(x, 0.0f);
  for (size_t p = 0; p < 30; ++p) {
    for (std::vector<float>* cache : {&k, &v}) {
      const auto row = rng.Vector(Family::kNormal, kH * kD);
      ASSERT_TRUE(adapters::trueno::KvCacheScatter(row, *cache, kH, kD, kMax, p,
                                                   ctx()));
      for (size_t i = 0; i < row.size(); ++i) {
        EXPECT_EQ((*cache)[(i / kD * kMax + p) * kD + i % kD], row[i]);
      }
    }
  }
  ASSERT_TRUE(run(30));
  for (const float x : out) EXPECT_TRUE(std::isfinite(x));
  EXPECT_FALSE(run(kMax + 1));
  const std::vector<float> row(kH * kD);
  const Status status =
      adapters::trueno::KvCacheScatter(row, k, kH, kD, kMax, kMax, ctx());
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message,
            "kv_cache_scatter: pos 40 is not below max_seq 40");
}

}  // namespace
}  // namespace etalon::test
