// Row-wise functions in C-Kernel-Engine's layouts against the fp64 formulas,
// with NaN in every padding lane that comes in.
#include <cmath>

#include "tests/layer/adapter_fixture.h"

namespace etalon::adapters::cke {
namespace {

constexpr size_t kT = 7, kD = 20, kPitch = 24;

TEST_F(LayerAdapters, B10_ResidualAddAndItsGradient) {
  const Padded a = Padded::Random(rng_, kT, kD, kPitch, 0, 1, 0);
  const Padded b = Padded::Random(rng_, kT, kD, kPitch, 0, 1, 0);
  Padded out(kT, kD, kPitch), d_a(kT, kD, kPitch), d_b(kT, kD, kPitch);
  ASSERT_TRUE(
      ResidualAddTokenMajor(a.data(), b.data(), out.data(), kT, kPitch, ctx_));
  ASSERT_TRUE(
      ResidualAddBackward(out.data(), d_a.data(), d_b.data(), kT, kPitch));
  for (size_t i = 0; i < out.v.size(); ++i) {
    EXPECT_EQ(out.v[i], a.v[i] + b.v[i]);
  }
  EXPECT_EQ(d_a.v, out.v);
  EXPECT_EQ(d_b.v, out.v);
  ExpectError(
      ResidualAddTokenMajor(a.data(), nullptr, out.data(), kT, kPitch, ctx_),
      "b is null");
}

TEST_F(LayerAdapters, B11_B12_RmsnormOverTheRealWidthPadsCleared) {
  const Padded x = Padded::Random(rng_, kT, kD, kPitch);
  const Padded gamma = Padded::Random(rng_, 1, kD, kD, 1, 0.4f);
  const Padded d_y = Padded::Random(rng_, kT, kD, kPitch);
  Padded y(kT, kD, kPitch), d_x(kT, kD, kPitch), d_gamma(1, kD, kD);
  std::vector<float> rstd(kT);
  constexpr float kEps = 1e-5f;
  ASSERT_TRUE(RmsnormForward(x.data(), gamma.data(), y.data(), rstd.data(), kT,
                             kD, kPitch, kEps, ctx_));
  const double eps = static_cast<double>(kEps);
  ExpectNear(y.matrix(), reference::RmsNormOf(x.matrix(), gamma.matrix(), eps),
             3, "y");
  EXPECT_TRUE(y.PadsAre0());
  for (size_t t = 0; t < kT; ++t) {
    double sum = 0;
    for (size_t d = 0; d < kD; ++d) {
      sum += static_cast<double>(x.at(t, d)) * static_cast<double>(x.at(t, d));
    }
    const double want = 1 / std::sqrt(sum / kD + eps);
    EXPECT_NEAR(static_cast<double>(rstd[t]), want, want * 0x1p-23);
  }
  const auto want =
      reference::RmsNormBackward(x.matrix(), gamma.matrix(), eps, d_y.matrix());
  ASSERT_TRUE(RmsnormBackward(d_y.data(), x.data(), gamma.data(), rstd.data(),
                              d_x.data(), d_gamma.data(), kT, kD, kPitch,
                              ctx_));
  ExpectNear(d_x.matrix(), want.x, 20, "d_x");
  ExpectNear(d_gamma.matrix(), want.weight, 20, "d_gamma");
  EXPECT_TRUE(d_x.PadsAre0());
  ExpectError(RmsnormForward(x.data(), gamma.data(), y.data(), nullptr, kT,
                             kPitch, kD, kEps, ctx_),
              "aligned_embed_dim 20 is less than d_model 24");
}

TEST_F(LayerAdapters, B13_B14_SwigluOfTheTwoHalves) {
  const Padded in = Padded::Random(rng_, kT, 2 * kD, 2 * kD, 0, 4);
  const Padded d_y = Padded::Random(rng_, kT, kD, kD);
  reference::Matrix gate(kT, kD), up(kT, kD);
  for (size_t t = 0; t < kT; ++t) {
    for (size_t d = 0; d < kD; ++d) {
      gate(t, d) = static_cast<double>(in.at(t, d));
      up(t, d) = static_cast<double>(in.at(t, kD + d));
    }
  }
  Padded y(kT, kD, kD), d_in(kT, 2 * kD, 2 * kD);
  ASSERT_TRUE(SwigluForward(in.data(), y.data(), kT, kD, ctx_));
  ExpectNear(y.matrix(), reference::SwiGluOf(gate, up), 8, "y");
  ASSERT_TRUE(SwigluBackward(in.data(), d_y.data(), d_in.data(), kT, kD, ctx_));
  const auto want = reference::SwiGluBackward(gate, up, d_y.matrix());
  reference::Matrix both(kT, 2 * kD);
  for (size_t t = 0; t < kT; ++t) {
    for (size_t d = 0; d < kD; ++d) {
      both(t, d) = want.gate(t, d);
      both(t, kD + d) = want.up(t, d);
    }
  }
  ExpectNear(d_in.matrix(), both, 16, "d_in");
}

TEST_F(LayerAdapters, B15_B16_B17_RopeInBothPairingsAndBack) {
  constexpr size_t kH = 4, kHkv = 2, kHd = 12, kAd = 16, kSeq = 16;
  constexpr int kOffset = 3;
  Padded cos(kSeq, kHd / 2, kHd / 2), sin(kSeq, kHd / 2, kHd / 2);
  ASSERT_TRUE(RopePrecomputeCache(cos.data(), sin.data(), kSeq, kHd, 10000.0f,
                                  "linear", 2.0f));
  for (size_t p = 0; p < kSeq; ++p) {
    for (size_t i = 0; i < kHd / 2; ++i) {
      const double angle = static_cast<double>(p) / 2 *
                           std::pow(10000.0, -2.0 * static_cast<double>(i) /
                                                 static_cast<double>(kHd));
      // The angle is rounded to f32: up to 16 of it, half an ulp 2^-21.
      EXPECT_NEAR(static_cast<double>(cos.at(p, i)), std::cos(angle), 2e-6);
      EXPECT_NEAR(static_cast<double>(sin.at(p, i)), std::sin(angle), 2e-6);
    }
  }
  for (const char* scaling : {"yarn", "dynamic", "Linear", ""}) {
    ExpectError(RopePrecomputeCache(cos.data(), sin.data(), kSeq, kHd, 10000.0f,
                                    scaling, 2.0f),
                "need none or linear");
  }
  reference::Matrix c(kT, kHd / 2), s(kT, kHd / 2);
  for (size_t t = 0; t < kT; ++t) {
    for (size_t i = 0; i < kHd / 2; ++i) {
      c(t, i) = static_cast<double>(cos.at(kOffset + t, i));
      s(t, i) = static_cast<double>(sin.at(kOffset + t, i));
    }
  }
  const RopeShape shape = {kH, kHkv, kT, kHd, kAd, kOffset};
  for (const bool pairwise : {false, true}) {
    const Padded q0 = Padded::Random(rng_, kH * kT, kHd, kAd);
    const Padded k0 = Padded::Random(rng_, kHkv * kT, kHd, kAd);
    Padded q = q0, k = k0;
    const auto forward = pairwise ? RopeForwardQkPairwise : RopeForwardQk;
    ASSERT_TRUE(
        forward(q.data(), k.data(), cos.data(), sin.data(), shape, ctx_));
    ExpectNear(q.TokenMajor(kH),
               reference::RopeOf(q0.TokenMajor(kH), kHd, c, s, pairwise), 4,
               "q");
    ExpectNear(k.TokenMajor(kHkv),
               reference::RopeOf(k0.TokenMajor(kHkv), kHd, c, s, pairwise), 4,
               "k");
    EXPECT_TRUE(std::isnan(q.at(0, kHd))) << "pads are left alone";
    if (pairwise) continue;
    Padded d_q(kH * kT, kHd, kAd), d_k(kHkv * kT, kHd, kAd);
    ASSERT_TRUE(RopeBackwardQk(q0.data(), k0.data(), d_q.data(), d_k.data(),
                               cos.data(), sin.data(), shape, ctx_));
    ExpectNear(d_q.TokenMajor(kH),
               reference::RopeOf(q0.TokenMajor(kH), kHd, c, s, false, true), 4,
               "d_q");
    EXPECT_TRUE(d_q.PadsAre0());
    EXPECT_TRUE(d_k.PadsAre0());
    // In place, as CKE calls it: the same.
    Padded in_place = q0, in_place_k = k0;
    ASSERT_TRUE(RopeBackwardQk(in_place.data(), in_place_k.data(),
                               in_place.data(), in_place_k.data(), cos.data(),
                               sin.data(), shape, ctx_));
    EXPECT_EQ(in_place.v, d_q.v);
    EXPECT_EQ(in_place_k.v, d_k.v);
  }
  // Partial rotation: lanes from rotary_dim on pass through.
  RopeShape partial = shape;
  partial.rotary_dim = 8;
  const Padded q0 = Padded::Random(rng_, kH * kT, kHd, kAd);
  Padded q = q0, k = Padded::Random(rng_, kHkv * kT, kHd, kAd);
  ASSERT_TRUE(
      RopeForwardQk(q.data(), k.data(), cos.data(), sin.data(), partial, ctx_));
  for (size_t r = 0; r < q.rows; ++r) {
    for (size_t d = 8; d < kHd; ++d) EXPECT_EQ(q.at(r, d), q0.at(r, d));
  }
  partial.rotary_dim = 14;
  ExpectError(
      RopeForwardQk(q.data(), k.data(), cos.data(), sin.data(), partial, ctx_),
      "14 rotated lanes");
}

TEST_F(LayerAdapters, B45_AttentionBackwardHeadMajor) {
  constexpr size_t kH = 4, kHkv = 2, kHd = 12, kAd = 16, kN = 21;
  const Padded q = Padded::Random(rng_, kH * kN, kHd, kAd);
  const Padded k = Padded::Random(rng_, kHkv * kN, kHd, kAd);
  const Padded v = Padded::Random(rng_, kHkv * kN, kHd, kAd);
  const Padded d_o = Padded::Random(rng_, kH * kN, kHd, kAd);
  Padded d_q(kH * kN, kHd, kAd), d_k(kHkv * kN, kHd, kAd),
      d_v(kHkv * kN, kHd, kAd);
  ASSERT_TRUE(AttentionBackwardCausalHeadMajorGqa(
      d_o.data(), q.data(), k.data(), v.data(), d_q.data(), d_k.data(),
      d_v.data(), kH, kHkv, kN, kHd, kAd, ctx_));
  const auto want = reference::AttentionBackward(
      {kH, kHkv, kHd, kN, 1 / std::sqrt(static_cast<double>(kHd))},
      q.TokenMajor(kH), k.TokenMajor(kHkv), v.TokenMajor(kHkv),
      d_o.TokenMajor(kH));
  ExpectNear(d_q.TokenMajor(kH), want.q, 100, "d_q");
  ExpectNear(d_k.TokenMajor(kHkv), want.k, 100, "d_k");
  ExpectNear(d_v.TokenMajor(kHkv), want.v, 100, "d_v");
  EXPECT_TRUE(d_q.PadsAre0() && d_k.PadsAre0() && d_v.PadsAre0());
}

}  // namespace
}  // namespace etalon::adapters::cke
