// moeflux's calls: each requirement by name, against plain loops in their own
// layouts.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tests/ops/adapters_fixture.h"
#include "tests/util/random.h"
#include "tests/util/ulp.h"

namespace etalon::test {
namespace {

struct Moeflux {
  adapters::moeflux::Variant variant;
  int32_t kv_len;
  std::vector<float> q, gate, k, v, out;

  Moeflux(size_t heads, size_t kv_heads, size_t dim, int32_t n, uint32_t seed)
      : variant{heads, kv_heads, dim}, kv_len(n) {
    Random rng(seed);
    const size_t cache = static_cast<size_t>(std::max(n, 0)) * kv_heads * dim;
    q = rng.Vector(Family::kNormal, heads * dim);
    gate = rng.Vector(Family::kNormal, heads * dim);
    k = rng.Vector(Family::kNormal, cache);
    v = rng.Vector(Family::kNormal, cache);
    out.assign(heads * dim, kUntouched);
  }
  Status Run(ExecContext& ctx) {
    return adapters::moeflux::SdpaCpu(variant, kv_len, q, gate, k, v, out, ctx);
  }
  // as loops.
  std::vector<double> Expected(size_t h) const {
    const size_t dim = variant.head_dim, kv = variant.num_kv_heads;
    const size_t kvh = h / (variant.num_attn_heads / kv);
    const auto at = [&](const std::vector<float>& x) {
      return [&x, kvh, dim, kv](size_t p, size_t i) {
        return static_cast<double>(x[(p * kv + kvh) * dim + i]);
      };
    };
    std::vector<double> o =
        Attend(q.data() + h * dim, static_cast<size_t>(kv_len), dim,
               InverseRoot(dim), at(k), at(v));
    for (size_t d = 0; d < dim && !gate.empty(); ++d) {
      o[d] /= 1.0 + std::exp(-static_cast<double>(gate[h * dim + d]));
    }
    return o;
  }
};

TEST_F(Adapters, A01_A02_A03_A04_A05_A06_GatedSdpaOfOneToken) {
  for (const size_t dim : {40, 64, 80, 96, 128}) {
    for (const int32_t n : {1, 8, 64, 512}) {
      for (const bool gated : {true, false}) {
        Moeflux m(8, 2, dim, n, static_cast<uint32_t>(dim));
        if (!gated) m.gate.clear();
        ASSERT_TRUE(m.Run(ctx()));
        // cosine and largest difference, both far below its limits.
        double dot = 0, aa = 0, bb = 0, worst = 0, largest = 0;
        std::vector<double> head;
        for (size_t i = 0; i < m.out.size(); ++i) {
          if (i % dim == 0) head = m.Expected(i / dim);
          const double want = head[i % dim];
          const double got = static_cast<double>(m.out[i]);
          dot += want * got, aa += want * want, bb += got * got;
          worst = std::fmax(worst, std::fabs(want - got));
          largest = std::fmax(largest, std::fabs(want));
        }
        EXPECT_GE(dot / std::sqrt(aa * bb), 0.9999999);
        EXPECT_LE(worst, 1e-5 * largest) << dim << " " << n;
      }
    }
  }
}

TEST_F(Adapters, A07_A08_ErrorsInOrderAndNothingWritten) {
  Moeflux m(4, 2, 16, 5, 3);
  const auto expect = [&](const std::string& text) {
    const Status status = m.Run(ctx());
    ASSERT_FALSE(status) << text;
    EXPECT_EQ(status.error().message, text);
    EXPECT_EQ(std::count(m.out.begin(), m.out.end(), kUntouched),
              static_cast<ptrdiff_t>(m.out.size()));
  };
  // From the last check to the first: each new fault is found earlier.
  m.out.push_back(kUntouched);
  expect("sdpa_cpu: out has 65 elements, expected 64");
  m.v.pop_back();
  expect("sdpa_cpu: v_cache has 159 elements, expected 160");
  m.k.push_back(0.0f);
  expect("sdpa_cpu: k_cache has 161 elements, expected 160");
  m.gate.pop_back();
  expect("sdpa_cpu: q_gate has 63 elements, expected 64");
  m.q.pop_back();
  expect("sdpa_cpu: q has 63 elements, expected 64");
  for (const int32_t n : {0, -3}) {
    m.kv_len = n;
    expect("sdpa_cpu: EmptyCache: kv_len is " + std::to_string(n));
  }
  // no buffer may be the output.
  std::vector<float> q(64, 1.0f), k(160, 1.0f);
  const Status alias =
      adapters::moeflux::SdpaCpu(m.variant, 5, q, q, k, k, q, ctx());
  ASSERT_FALSE(alias);
  EXPECT_EQ(alias.error().message, "attention out overlaps attention q");
}

TEST_F(Adapters, A11_Edges) {
  {  // one position: sigmoid(gate) * v but for a rounding
    Moeflux m(2, 1, 80, 1, 4);
    ASSERT_TRUE(m.Run(ctx()));
    for (size_t i = 0; i < m.out.size(); ++i) {
      const double want = static_cast<double>(m.v[i % 80]) /
                          (1.0 + std::exp(-static_cast<double>(m.gate[i])));
      EXPECT_LE(UlpError(m.out[i], want), 2.5);
    }
  }
  {  // gates of +-Inf and +-100
    Moeflux m(4, 4, 16, 9, 5);
    Moeflux plain = m;
    plain.gate.clear();
    const float gates[] = {kInf, -kInf, 100.0f, -100.0f};
    for (size_t i = 0; i < m.gate.size(); ++i) m.gate[i] = gates[i % 4];
    ASSERT_TRUE(m.Run(ctx()));
    ASSERT_TRUE(plain.Run(ctx()));
    for (size_t i = 0; i < m.out.size(); ++i) {
      EXPECT_EQ(m.out[i], i % 2 == 0 ? plain.out[i] : 0.0f) << i;
    }
  }
  {  // equal keys: the mean of V
    Moeflux m(2, 1, 32, 700, 6);
    std::fill(m.k.begin(), m.k.end(), 0.5f);
    m.gate.clear();
    ASSERT_TRUE(m.Run(ctx()));
    for (size_t d = 0; d < 32; ++d) {
      double mean = 0;
      for (size_t p = 0; p < 700; ++p) {
        mean += static_cast<double>(m.v[p * 32 + d]) / 700.0;
      }
      EXPECT_NEAR(static_cast<double>(m.out[d]), mean, 1e-5);
    }
  }
  {  // one dominating score
    Moeflux m(1, 1, 96, 300, 7);
    std::fill(m.q.begin(), m.q.end(), 1.0f);
    std::fill(m.k.begin(), m.k.end(), 0.0f);
    const float large = 80.0f / std::sqrt(96.0f);
    std::fill_n(m.k.begin() + 260 * 96, 96, large);
    m.gate.clear();
    ASSERT_TRUE(m.Run(ctx()));
    for (size_t d = 0; d < 96; ++d) EXPECT_EQ(m.out[d], m.v[260 * 96 + d]);
  }
  // NaN in any input comes out.
  for (const int which : {0, 1, 2, 3}) {
    Moeflux m(2, 2, 40, 20, 8);
    std::vector<float>* in[] = {&m.q, &m.gate, &m.k, &m.v};
    (*in[which])[5] = std::nanf("");
    ASSERT_TRUE(m.Run(ctx()));
    EXPECT_TRUE(std::isnan(m.out[5])) << which;
    EXPECT_FALSE(std::isnan(m.out[40])) << which;  // the other head
  }
}

}  // namespace
}  // namespace etalon::test
