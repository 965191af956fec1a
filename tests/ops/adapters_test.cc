// The four systems' calls: each requirement by name, against plain loops in
// their own layouts.
#include "etalon/adapters.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "core/log.h"
#include "etalon/config.h"
#include "quant/f16.h"
#include "tests/util/random.h"
#include "tests/util/ulp.h"

namespace etalon {
namespace {

using test::Family;
using test::Random;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kUntouched = -77.0f;

// o[d] of one query against n keys: k(p, d), v(p, d), fp64, two passes.
std::vector<double> Attend(const float* q, size_t n, size_t dim, double scale,
                           const std::function<double(size_t, size_t)>& k,
                           const std::function<double(size_t, size_t)>& v) {
  std::vector<double> s(n), o(dim, 0.0);
  double max = -INFINITY, sum = 0.0;
  for (size_t p = 0; p < n; ++p) {
    for (size_t d = 0; d < dim; ++d)
      s[p] += static_cast<double>(q[d]) * k(p, d);
    s[p] *= scale;
    max = std::fmax(max, s[p]);
  }
  for (double& x : s) sum += x = std::exp(x - max);
  for (size_t p = 0; p < n; ++p) {
    for (size_t d = 0; d < dim; ++d) o[d] += s[p] / sum * v(p, d);
  }
  return o;
}
double InverseRoot(size_t dim) {
  return 1.0 / std::sqrt(static_cast<double>(dim));
}

class Adapters : public ::testing::Test {
 protected:
  ExecContext& ctx() { return ctx_; }
  Config config_;

 private:
  Workspace workspace_;
  ExecContext ctx_{&workspace_, &config_, 2};
};

// ---- moeflux

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
      EXPECT_LE(test::UlpError(m.out[i], want), 2.5);
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

// ---- C-Kernel-Engine

TEST_F(Adapters, B40_FlashDecodeIsTokenMajor) {
  constexpr size_t kH = 3, kD = 20, kTq = 4, kTk = 270;
  Random rng(20);
  const auto q = rng.Vector(Family::kNormal, kTq * kH * kD);
  const auto k = rng.Vector(Family::kNormal, kTk * kH * kD);
  const auto v = rng.Vector(Family::kNormal, kTk * kH * kD);
  std::vector<float> out(q.size());
  ASSERT_TRUE(adapters::cke::AttentionFlashDecode(
      out.data(), q.data(), k.data(), v.data(), kTq, kTk, kH, kD, 0.3f, ctx()));
  for (size_t t = 0; t < kTq; ++t) {
    for (size_t h = 0; h < kH; ++h) {
      const auto at = [&](const std::vector<float>& x) {
        return [&x, h](size_t p, size_t d) {
          return static_cast<double>(x[(p * kH + h) * kD + d]);
        };
      };
      const auto want = Attend(q.data() + (t * kH + h) * kD, kTk - kTq + t + 1,
                               kD, static_cast<double>(0.3f), at(k), at(v));
      for (size_t d = 0; d < kD; ++d) {
        EXPECT_NEAR(static_cast<double>(out[(t * kH + h) * kD + d]), want[d],
                    1e-5);
      }
    }
  }
}

// One token, head-major caches with padded rows; pads hold NaN.
struct Cke {
  static constexpr int kH = 6, kHkv = 2, kN = 300, kCap = 320, kHd = 40,
                       kAd = 48;
  std::vector<float> q, k, v, out;
  explicit Cke(float pad = std::nanf("")) {
    Random rng(21);
    q = rng.Vector(Family::kNormal, kH * kAd);
    k = rng.Vector(Family::kNormal, kHkv * kCap * kAd);
    v = rng.Vector(Family::kNormal, kHkv * kCap * kAd);
    out.assign(kH * kAd, kUntouched);
    for (std::vector<float>* x : {&q, &k, &v}) {
      for (size_t i = 0; i < x->size(); ++i) {
        if (i % kAd >= kHd) (*x)[i] = pad;
      }
    }
  }
  double Expected(size_t h, size_t d) const {
    const size_t kvh = h * kHkv / kH;  // B-41's form of the map
    const auto at = [&](const std::vector<float>& x) {
      return [&x, kvh](size_t p, size_t i) {
        return static_cast<double>(x[(kvh * kCap + p) * kAd + i]);
      };
    };
    return Attend(q.data() + h * kAd, kN, kHd, InverseRoot(kHd), at(k),
                  at(v))[d];
  }
};

TEST_F(Adapters, B41_WrapperReadsNoPadsAndWritesThemZero) {
  Cke c;
  ASSERT_TRUE(adapters::cke::AttentionFlashDecodeWrapper(
      c.q.data(), c.k.data(), c.v.data(), c.out.data(), Cke::kH, Cke::kHkv,
      Cke::kN, Cke::kCap, Cke::kHd, Cke::kAd, ctx()));
  for (size_t i = 0; i < c.out.size(); ++i) {
    const size_t h = i / Cke::kAd, d = i % Cke::kAd;
    if (d < Cke::kHd) {
      EXPECT_NEAR(static_cast<double>(c.out[i]), c.Expected(h, d), 1e-5);
    } else {
      EXPECT_EQ(c.out[i], 0.0f);
    }
  }
}

TEST_F(Adapters, GqaMapsOfBothSystemsAgree) {
  for (size_t kv = 1; kv <= 16; ++kv) {
    for (size_t group = 1; group <= 16; ++group) {
      const size_t heads = kv * group;
      for (size_t h = 0; h < heads; ++h) {
        ASSERT_EQ(h / (heads / kv), h * kv / heads);
      }
    }
  }
}

TEST_F(Adapters, B42_ErrorsInsteadOfSilentReturns) {
  Cke c;
  const auto run = [&](const float* q, int h, int hkv, int n, int cap, int hd,
                       int ad) {
    return adapters::cke::AttentionFlashDecodeWrapper(
        q, c.k.data(), c.v.data(), c.out.data(), h, hkv, n, cap, hd, ad, ctx());
  };
  const auto refused = [&](const Status& status, const std::string& text) {
    ASSERT_FALSE(status) << text;
    EXPECT_EQ(status.error().message, text);
    EXPECT_EQ(std::count(c.out.begin(), c.out.end(), kUntouched),
              static_cast<ptrdiff_t>(c.out.size()));
  };
  const float* q = c.q.data();
  const std::string op = "attention_flash_decode_wrapper: ";
  refused(run(nullptr, 6, 2, 3, 320, 40, 48), op + "a pointer is null");
  refused(run(q, 0, 2, 3, 320, 40, 48), op + "num_heads is 0");
  refused(run(q, 6, -2, 3, 320, 40, 48), op + "num_kv_heads is -2");
  refused(run(q, 6, 2, 0, 320, 40, 48), op + "kv_tokens is 0");
  refused(run(q, 6, 2, 321, 320, 40, 48),
          op + "kv_tokens 321 exceeds cache_capacity 320");
  refused(run(q, 6, 2, 3, 320, 0, 48), op + "head_dim is 0");
  refused(run(q, 6, 2, 3, 320, 49, 48),
          op + "aligned_head_dim 48 is below head_dim 49");
  refused(run(q, 5, 2, 3, 320, 40, 48),
          "attention: n_heads 5 is not a multiple of n_kv_heads 2");
}

TEST_F(Adapters, B43_ScoresPathGivesProbabilitiesAndTheSameOutput) {
  constexpr int kH = 4, kHkv = 2, kT = 270, kHd = 24, kAd = 32, kAw = 300;
  Random rng(22);
  const auto q = rng.Vector(Family::kNormal, kH * kT * kAd);
  const auto k = rng.Vector(Family::kNormal, kHkv * kT * kAd);
  const auto v = rng.Vector(Family::kNormal, kHkv * kT * kAd);
  std::vector<float> scores(size_t{kH} * kAw * kAw, kUntouched);
  std::vector<float> out(q.size(), kUntouched), flash(out);
  const auto run = [&](float* s, float* o) {
    return adapters::cke::AttentionForwardCausalHeadMajorGqa(
        q.data(), k.data(), v.data(), s, o, kH, kHkv, kT, kHd, kAd, kAw, ctx());
  };
  ASSERT_TRUE(run(scores.data(), out.data()));
  ASSERT_TRUE(run(nullptr, flash.data()));
  EXPECT_EQ(test::BitDiff(out, flash), 0u);
  for (size_t h = 0; h < kH; ++h) {
    for (size_t i = 0; i < kAw; ++i) {
      const float* row = scores.data() + (h * kAw + i) * kAw;
      double sum = 0;
      std::vector<double> o(kHd, 0.0);
      for (size_t j = 0; j < kAw; ++j) {
        if (i >= kT || j >= kT) {
          ASSERT_EQ(row[j], kUntouched);
        } else if (j > i) {
          ASSERT_EQ(row[j], 0.0f);
        } else {
          ASSERT_GT(row[j], 0.0f);
          sum += static_cast<double>(row[j]);
          for (size_t d = 0; d < kHd; ++d) {
            o[d] += static_cast<double>(row[j]) *
                    static_cast<double>(v[(h / 2 * kT + j) * kAd + d]);
          }
        }
      }
      if (i >= kT) continue;
      ASSERT_NEAR(sum, 1.0, 1e-5);
      for (size_t d = 0; d < kAd; ++d) {
        const double got = static_cast<double>(out[(h * kT + i) * kAd + d]);
        ASSERT_NEAR(got, d < kHd ? o[d] : 0.0, 1e-5);
      }
    }
  }
}

// The definition once more: f16 everywhere but the dot and the sum.
TEST_F(Adapters, B44_F16EmulationIsANamedMode) {
  Cke c;
  const auto regular = [&] {
    return adapters::cke::AttentionForwardDecodeHeadMajorGqaRegular(
        c.q.data(), c.k.data(), c.v.data(), c.out.data(), Cke::kH, Cke::kHkv,
        Cke::kN, Cke::kCap, Cke::kHd, Cke::kAd, ctx());
  };
  const auto worst = [&] {
    double error = 0;
    for (size_t i = 0; i < c.out.size(); ++i) {
      const size_t d = i % Cke::kAd;
      if (d >= Cke::kHd) {
        EXPECT_EQ(c.out[i], 0.0f);
        continue;
      }
      error = std::fmax(error, std::fabs(static_cast<double>(c.out[i]) -
                                         c.Expected(i / Cke::kAd, d)));
    }
    return error;
  };
  ASSERT_TRUE(regular());
  EXPECT_LT(worst(), 1e-5);
  const std::vector<float> naive = c.out;
  config_.strict_parity = true;
  ASSERT_TRUE(regular());
  // f16 shows, and no more than f16 does.
  EXPECT_GT(worst(), 1e-5);
  EXPECT_LT(worst(), 2e-2);
  // Before the last division every output is an f16, so that outputs times one
  // and the same sum are.
  const auto half = [](float x) { return F16ToF32(F32ToF16(x)); };
  float m = -kInf, sum = 0.0f;
  std::vector<float> o(Cke::kHd, 0.0f);
  for (size_t p = 0; p < Cke::kN; ++p) {
    float dot = 0.0f;
    for (size_t d = 0; d < Cke::kHd; ++d) {
      dot += half(c.q[d]) * half(c.k[p * Cke::kAd + d]);
    }
    const float s = dot * AttentionScale(Cke::kHd);
    const float keep = s > m ? std::exp(m - s) : 1.0f;
    const float w = s > m ? 1.0f : std::exp(s - m);
    m = std::fmax(m, s);
    for (size_t d = 0; d < Cke::kHd; ++d) {
      if (keep != 1.0f) o[d] = half(o[d] * keep);
      o[d] = half(o[d] + w * half(c.v[p * Cke::kAd + d]));
    }
    sum = sum * keep + w;
  }
  for (size_t d = 0; d < Cke::kHd; ++d) {
    // exp of another libm may round an f16 the other way now and then.
    EXPECT_NEAR(c.out[d], o[d] / sum, 2e-3f) << d;
  }
}

TEST_F(Adapters, B80_B83_SwitchesTakeEffectOnTheNextCall) {
  Cke c;
  const auto run = [&] {
    EXPECT_TRUE(adapters::cke::AttentionFlashDecodeWrapper(
        c.q.data(), c.k.data(), c.v.data(), c.out.data(), Cke::kH, Cke::kHkv,
        Cke::kN, Cke::kCap, Cke::kHd, Cke::kAd, ctx()));
    return c.out;
  };
  const auto main = run();
  config_.flash_attn_strict = true;  // B-80
  const auto two_pass = run();
  EXPECT_GT(test::BitDiff(two_pass, main), 0u);
  config_.flash_attn_strict = false;
  config_.strict_parity = true;  // B-83
  EXPECT_EQ(test::BitDiff(run(), two_pass), 0u);
  config_.strict_parity = false;  // B-84, not cached anywhere
  EXPECT_EQ(test::BitDiff(run(), main), 0u);
}

TEST_F(Adapters, B18_B19_CacheWriteAndRepack) {
  constexpr int kHkv = 3, kCap = 7, kHd = 5, kAd = 8;
  std::vector<float> k(kHkv * kAd), v(kHkv * kAd);
  for (size_t i = 0; i < k.size(); ++i) {
    k[i] = i % kAd < kHd ? static_cast<float>(i) : std::nanf("");
    v[i] = -k[i];
  }
  std::vector<float> kc(kHkv * kCap * kAd, kUntouched), vc(kc);
  ASSERT_TRUE(adapters::cke::KvCacheWriteHeadMajor(k.data(), v.data(),
                                                   kc.data(), vc.data(), kHkv,
                                                   4, kCap, kHd, kAd, ctx()));
  for (size_t i = 0; i < kc.size(); ++i) {
    const size_t h = i / kAd / kCap, p = i / kAd % kCap, d = i % kAd;
    const float want = p != 4 ? kUntouched : d < kHd ? k[h * kAd + d] : 0.0f;
    EXPECT_EQ(kc[i], want) << i;
    if (p == 4) {
      EXPECT_EQ(vc[i], d < kHd ? -want : 0.0f);
    }
  }
  EXPECT_FALSE(adapters::cke::KvCacheWriteHeadMajor(
      k.data(), v.data(), kc.data(), vc.data(), kHkv, kCap, kCap, kHd, kAd,
      ctx()));

  std::vector<float> buf(kHkv * kCap * kAd, kUntouched);
  constexpr int kT = 5;
  for (size_t i = 0; i < kHkv * kT * kAd; ++i) buf[i] = static_cast<float>(i);
  ASSERT_TRUE(adapters::cke::KvCacheRepackHeadMajorInplace(buf.data(), kHkv, kT,
                                                           kCap, kAd));
  for (size_t h = 0; h < kHkv; ++h) {
    for (size_t i = 0; i < kT * kAd; ++i) {
      EXPECT_EQ(buf[h * kCap * kAd + i], static_cast<float>(h * kT * kAd + i));
    }
  }
  const Status status = adapters::cke::KvCacheRepackHeadMajorInplace(
      buf.data(), kHkv, 8, kCap, kAd);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "kv_repack: n_tokens 8 exceeds capacity 7");
}

// ---- trueno-gpu

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
    EXPECT_EQ(test::BitDiff(plain, optimized), 0u);
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
    EXPECT_EQ(test::BitDiff(back, in), 0u);
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
    EXPECT_EQ(test::BitDiff(rebuilt, in), 0u);
    std::vector<float> transposed(n), twice(n);
    ASSERT_TRUE(ops::BatchedTranspose(in, heads, seq, dim, transposed));
    ASSERT_TRUE(ops::BatchedTranspose(transposed, heads, dim, seq, twice));
    EXPECT_EQ(test::BitDiff(twice, in), 0u);
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

// ---- mlx-native

struct Mlx {
  adapters::mlx::SdpaParams p{4, 2, 16, 5, 50, 0.25f, 60, 1};
  uint32_t batch = 2;
  TensorType type = TensorType::kF32;
  std::vector<float> q, k, v;  // as stored
  std::vector<std::byte> qb, kb, vb, ob;

  void Fill(uint32_t seed) {
    Random rng(seed);
    q = rng.Vector(Family::kNormal,
                   size_t{batch} * p.n_heads * p.seq_len * p.head_dim);
    const size_t cache =
        size_t{batch} * p.n_kv_heads * p.kv_capacity * p.head_dim;
    k = rng.Vector(Family::kNormal, cache);
    v = rng.Vector(Family::kNormal, cache);
    for (size_t i = 0; i < cache; ++i) {
      if (i / p.head_dim % p.kv_capacity < p.kv_seq_len) continue;
      k[i] = v[i] = std::nanf("");  // the tail of the capacity
    }
    Store(q, qb), Store(k, kb), Store(v, vb);
    ob.assign(qb.size(), std::byte{0x55});
  }
  void Store(std::vector<float>& x, std::vector<std::byte>& bytes) const {
    const bool wide = type == TensorType::kF32;
    bytes.resize(x.size() * (wide ? 4 : 2));
    for (size_t i = 0; i < x.size(); ++i) {
      if (wide) {
        std::memcpy(&bytes[4 * i], &x[i], 4);
      } else {
        const uint16_t bits = F32ToBF16(x[i]);
        std::memcpy(&bytes[2 * i], &bits, 2);
        x[i] = BF16ToF32(bits);
      }
    }
  }
  Status Run(ExecContext& ctx) {
    return adapters::mlx::Sdpa(p, batch, {type, qb}, {type, kb}, {type, vb},
                               {type, ob}, ctx);
  }
  float Out(size_t i) const {
    if (type == TensorType::kF32) {
      float x;
      std::memcpy(&x, &ob[4 * i], 4);
      return x;
    }
    uint16_t bits;
    std::memcpy(&bits, &ob[2 * i], 2);
    return BF16ToF32(bits);
  }
};

TEST_F(Adapters, D01_D08_ParameterBlock) {
  EXPECT_EQ(sizeof(adapters::mlx::SdpaParams), 32u);
  const adapters::mlx::SdpaParams p;
  EXPECT_EQ(p.n_heads + p.head_dim + p.seq_len + p.kv_capacity, 0u);
  EXPECT_EQ(p.scale, 1.0f);
  EXPECT_EQ(p.do_causal, 1u);
}

TEST_F(Adapters, D02_D03_D05_D07_D09_BatchedSdpa) {
  for (const TensorType type : {TensorType::kF32, TensorType::kBF16}) {
    for (const uint32_t causal : {0u, 1u}) {
      Mlx m;
      m.type = type;
      m.p.do_causal = causal;
      m.p.seq_len = 35;  // no multiple of a tile
      m.Fill(40);
      ASSERT_TRUE(m.Run(ctx()));
      const size_t dim = m.p.head_dim, cap = m.p.kv_capacity;
      for (size_t b = 0; b < m.batch; ++b) {
        for (size_t h = 0; h < m.p.n_heads; ++h) {
          const size_t head = b * m.p.n_kv_heads + h / 2;
          const auto at = [&](const std::vector<float>& x) {
            return [&x, head, cap, dim](size_t p, size_t d) {
              return static_cast<double>(x[(head * cap + p) * dim + d]);
            };
          };
          for (size_t t = 0; t < m.p.seq_len; ++t) {
            const size_t row = (b * m.p.n_heads + h) * m.p.seq_len + t;
            const size_t n = causal != 0 ? m.p.kv_seq_len - m.p.seq_len + t + 1
                                         : m.p.kv_seq_len;
            const auto want =
                Attend(m.q.data() + row * dim, n, dim, 0.25, at(m.k), at(m.v));
            for (size_t d = 0; d < dim; ++d) {
              const double tolerance = type == TensorType::kF32
                                           ? 1e-5
                                           : 1e-5 + 0x1p-8 * std::fabs(want[d]);
              ASSERT_NEAR(static_cast<double>(m.Out(row * dim + d)), want[d],
                          tolerance);
            }
          }
        }
      }
    }
  }
}

// A plan is checked when it is made and runs when it is told to, on what the
// buffers hold then.
TEST_F(Adapters, D06_PlanIsCheckedFirstAndRunLater) {
  Mlx m;
  m.Fill(43);
  const auto plan = [&] {
    return adapters::mlx::PlanSdpa(m.p, m.batch, {m.type, m.qb}, {m.type, m.kb},
                                   {m.type, m.vb}, {m.type, m.ob});
  };
  const auto made = plan();
  ASSERT_TRUE(made);
  const std::vector<std::byte> untouched = m.ob;
  m.Store(m.k = m.v, m.kb);  // the buffers' contents change, not their place
  EXPECT_EQ(m.ob, untouched);
  ASSERT_TRUE(adapters::mlx::Execute(*made, ctx()));
  const std::vector<std::byte> later = m.ob;
  EXPECT_NE(later, untouched);
  m.ob = untouched;
  ASSERT_TRUE(adapters::mlx::Execute(*made, ctx()));
  EXPECT_EQ(m.ob, later);
  m.ob = untouched;
  ASSERT_TRUE(m.Run(ctx()));
  EXPECT_EQ(m.ob, later);
  m.p.seq_len = 0;
  EXPECT_EQ(plan().error().message, "sdpa: seq_len is 0");
}

TEST_F(Adapters, D04_D05_D09_ErrorsInOrderAndNothingWritten) {
  Mlx m;
  m.Fill(41);
  const auto expect = [&](const std::string& text) {
    const Status status = m.Run(ctx());
    ASSERT_FALSE(status) << text;
    EXPECT_EQ(status.error().message, text);
    EXPECT_EQ(std::count(m.ob.begin(), m.ob.end(), std::byte{0x55}),
              static_cast<ptrdiff_t>(m.ob.size()));
  };
  m.ob.pop_back();
  expect("sdpa: output buffer too small: expected 2560 bytes, got 2559");
  m.vb.pop_back();
  expect("sdpa: V buffer too small: expected 15360 bytes, got 15359");
  m.kb.pop_back();
  expect("sdpa: K buffer too small: expected 15360 bytes, got 15359");
  m.qb.pop_back();
  expect("sdpa: Q buffer too small: expected 2560 bytes, got 2559");
  m.p.scale = kInf;
  expect("sdpa: scale inf is not finite");
  m.p.head_dim = 577;
  expect("sdpa: head_dim 577 exceeds 576");
  m.p.seq_len = 51;
  expect("sdpa: causal with kv_seq_len 50 below seq_len 51");
  m.p.kv_capacity = 49;
  expect("sdpa: kv_capacity 49 is below kv_seq_len 50");
  m.batch = 0;
  expect("sdpa: batch is 0");
  m.type = TensorType::kF16;  // all four agree, and no kernel has it (W-X3)
  expect("sdpa: dtype 1 is not F32 or BF16");
  const auto dtypes = [&](TensorType k, TensorType v, TensorType o) {
    return adapters::mlx::Sdpa(m.p, 1, {TensorType::kF32, m.qb}, {k, m.kb},
                               {v, m.vb}, {o, m.ob}, ctx())
        .error()
        .message;
  };
  const TensorType f = TensorType::kF32, b = TensorType::kBF16;
  EXPECT_EQ(dtypes(b, b, b), "sdpa: K has dtype 30, Q has 0");
  EXPECT_EQ(dtypes(f, b, b), "sdpa: V has dtype 30, Q has 0");
  EXPECT_EQ(dtypes(f, f, b), "sdpa: output has dtype 30, Q has 0");
  m.p.kv_seq_len = 0;
  expect("sdpa: kv_seq_len is 0");
  m.p.seq_len = 0;
  expect("sdpa: seq_len is 0");
  m.p.n_heads = 16, m.p.n_kv_heads = 7;
  expect("sdpa: n_heads 16 is not a multiple of n_kv_heads 7");
  m.p.n_kv_heads = 0;
  expect("sdpa: n_kv_heads is 0");
  m.p.n_heads = 0;
  expect("sdpa: n_heads is 0");
  m.p.head_dim = 0;
  expect("sdpa: head_dim is 0");
}

}  // namespace
}  // namespace etalon
