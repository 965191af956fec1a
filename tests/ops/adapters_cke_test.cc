// C-Kernel-Engine's calls: each requirement by name, against plain loops in
// their own layouts.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "quant/f16.h"
#include "tests/ops/adapters_fixture.h"
#include "tests/util/random.h"
#include "tests/util/ulp.h"

namespace etalon::test {
namespace {

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
  EXPECT_EQ(BitDiff(out, flash), 0u);
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
  EXPECT_GT(BitDiff(two_pass, main), 0u);
  config_.flash_attn_strict = false;
  config_.strict_parity = true;  // B-83
  EXPECT_EQ(BitDiff(run(), two_pass), 0u);
  config_.strict_parity = false;  // B-84, not cached anywhere
  EXPECT_EQ(BitDiff(run(), main), 0u);
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

}  // namespace
}  // namespace etalon::test
