// Products in C-Kernel-Engine's layouts: every weight type against the format's
// definition, Q4_K x Q8_K against the exact block integers, the projections
// head by head.
#include <cmath>

#include "quant/quantize_row.h"
#include "tests/layer/adapter_fixture.h"
#include "tests/util/block_oracle.h"
#include "tests/util/random_blocks.h"

namespace etalon::adapters::cke {
namespace {

template <class Block>
double ElementAt(const std::byte* row, size_t k, size_t block_size) {
  Block block;
  std::memcpy(&block, row + k / block_size * sizeof(Block), sizeof(Block));
  return test::Element(block, k % block_size);
}

// W[n, k] by the definition of the format (requirements B-23 to B-25).
double WeightAt(TensorType type, const std::byte* row, size_t k) {
  switch (type) {
    case TensorType::kF32: {
      float x;
      std::memcpy(&x, row + 4 * k, 4);
      return static_cast<double>(x);
    }
    case TensorType::kQ4_0:
      return ElementAt<BlockQ4_0>(row, k, 32);
    case TensorType::kQ4_1:
      return ElementAt<BlockQ4_1>(row, k, 32);
    case TensorType::kQ5_0:
      return ElementAt<BlockQ5_0>(row, k, 32);
    case TensorType::kQ5_1:
      return ElementAt<BlockQ5_1>(row, k, 32);
    case TensorType::kQ8_0:
      return ElementAt<BlockQ8_0>(row, k, 32);
    case TensorType::kQ4_K:
      return ElementAt<BlockQ4_K>(row, k, 256);
    case TensorType::kQ5_K:
      return ElementAt<BlockQ5_K>(row, k, 256);
    case TensorType::kQ6_K:
      return ElementAt<BlockQ6_K>(row, k, 256);
    default:
      return NAN;
  }
}

constexpr size_t kM = 3, kN = 9, kK = 512;

TEST_F(LayerAdapters, B20_B21_B22_B23_B24_B25_B28_EveryTypeWithF32Activations) {
  const Padded a = Padded::Random(rng_, kM, kK, kK);
  const Padded bias = Padded::Random(rng_, 1, kN, kN);
  for (const TensorType type :
       {TensorType::kF32, TensorType::kQ4_0, TensorType::kQ4_1,
        TensorType::kQ5_0, TensorType::kQ5_1, TensorType::kQ8_0,
        TensorType::kQ4_K, TensorType::kQ5_K, TensorType::kQ6_K}) {
    const auto bytes = test::RandomWeightBytes(type, kN * kK, 0.1f, rng_);
    const size_t row_bytes = RowBytes(type, kK);
    EXPECT_EQ(row_bytes * kN, bytes.size());
    Padded c(kM, kN, kN), plain(kM, kN, kN);
    ASSERT_TRUE(GemmNtQuant(a.data(), bytes.data(), bias.data(), c.data(), kM,
                            kN, kK, type, ctx_));
    ASSERT_TRUE(GemmNtQuant(a.data(), bytes.data(), nullptr, plain.data(), kM,
                            kN, kK, type, ctx_));
    for (size_t m = 0; m < kM; ++m) {
      for (size_t n = 0; n < kN; ++n) {
        double sum = 0, magnitude = 0;
        for (size_t k = 0; k < kK; ++k) {
          const double w = static_cast<double>(static_cast<float>(
              WeightAt(type, bytes.data() + n * row_bytes, k)));
          const double term = static_cast<double>(a.at(m, k)) * w;
          sum += term;
          magnitude += std::abs(term);
        }
        const double got = static_cast<double>(plain.at(m, n));
        // gamma_{K / 16 + 5}.
        ASSERT_TRUE(std::abs(got - sum) <= (kK / 16 + 6) * 0x1p-24 * magnitude)
            << TypeName(type) << " [" << m << ", " << n << "]";
        EXPECT_EQ(c.at(m, n), plain.at(m, n) + bias.at(0, n));
      }
    }
    if (type == TensorType::kF32) {
      Padded same(kM, kN, kN);
      ASSERT_TRUE(GemmNt(a.data(), reinterpret_cast<const float*>(bytes.data()),
                         bias.data(), same.data(), kM, kN, kK, ctx_));
      EXPECT_EQ(same.v, c.v);
    }
  }
  Padded c(kM, kN, kN);
  c.v.assign(c.v.size(), 7.0f);
  const std::vector<float> before = c.v;
  ExpectError(GemmNtQuant(a.data(), a.data(), nullptr, c.data(), kM, kN, 300,
                          TensorType::kQ4_K, ctx_),
              "needs a multiple of 256");
  ExpectError(GemmNtQuant(a.data(), a.data(), nullptr, c.data(), kM, kN, kK,
                          static_cast<TensorType>(99), ctx_),
              "type 99");
  ExpectError(GemmNtQuant(a.data(), a.data(), nullptr, c.data(), kM, kN, kK,
                          TensorType::kQ8_K, ctx_),
              "weights of type 15 are not supported");
  EXPECT_EQ(c.v, before);
}

TEST_F(LayerAdapters, B26_B27_Q4KTimesQ8KFromTheExactBlockIntegers) {
  const Padded a = Padded::Random(rng_, kM, kK, kK, 0, 3);
  std::vector<BlockQ8_K> q8(kM * kK / kQkK);
  for (size_t m = 0; m < kM; ++m) {
    QuantizeRowQ8K(a.data() + m * kK, kK, &q8[m * kK / kQkK]);
  }
  const auto bytes =
      test::RandomWeightBytes(TensorType::kQ4_K, kN * kK, 0.1f, rng_);
  std::vector<BlockQ4_K> w(kN * kK / kQkK);
  std::memcpy(w.data(), bytes.data(), bytes.size());
  const Padded bias = Padded::Random(rng_, 1, kN, kN);
  Padded c(kM, kN, kN);
  ASSERT_TRUE(GemmNtQ4KQ8K(q8.data(), w.data(), bias.data(), c.data(), kM, kN,
                           kK, ctx_));
  for (size_t m = 0; m < kM; ++m) {
    for (size_t n = 0; n < kN; ++n) {
      float acc = 0;
      for (size_t b = 0; b < kK / kQkK; ++b) {
        const BlockQ8_K& x = q8[m * (kK / kQkK) + b];
        const BlockQ4_K& y = w[n * (kK / kQkK) + b];
        int sum = 0, mins = 0;
        for (size_t s = 0; s < 8; ++s) {
          int scale, min;
          test::SubScales(y.scales, s, scale, min);
          int dot = 0;
          for (size_t l = 0; l < 32; ++l) {
            dot += test::NibbleK(y.qs, 32 * s + l) * x.qs[32 * s + l];
          }
          sum += scale * dot;
          mins += min * (x.bsums[2 * s] + x.bsums[2 * s + 1]);
        }
        const auto half = [](uint16_t h) {
          return static_cast<float>(test::HalfValue(h));
        };
        acc = std::fma(half(y.d) * x.d, static_cast<float>(sum), acc);
        acc = std::fma(-(half(y.dmin) * x.d), static_cast<float>(mins), acc);
      }
      EXPECT_EQ(c.at(m, n), acc + bias.at(0, n)) << m << ", " << n;
    }
  }
  // Kernels take sums from bsums: false ones would differ from tier to tier.
  q8[1].bsums[3] = static_cast<int16_t>(q8[1].bsums[3] + 1);
  ExpectError(
      GemmNtQ4KQ8K(q8.data(), w.data(), nullptr, c.data(), kM, kN, kK, ctx_),
      "a_q8 row 0 block 1 bsums[3] is ");
  q8[1].qs[5] = -128;
  ExpectError(
      GemmNtQ4KQ8K(q8.data(), w.data(), nullptr, c.data(), kM, kN, kK, ctx_),
      "a_q8 row 0 element 261 is -128");
}

// H * ad = 512 differs from aD = 256; two pads, all NaN where CKE reads them.
constexpr size_t kT = 5, kH = 8, kHkv = 2, kHd = 56, kAd = 64, kD = 200;
constexpr size_t kAD = 256, kStride = 7;

TEST_F(LayerAdapters, B30_QkvProjectionHeadByHeadInEveryMixOfTypes) {
  const Padded x = Padded::Random(rng_, kT, kD, kAD, 0, 1, /*pad=*/0);
  const Padded bq = Padded::Random(rng_, kH, kHd, kAd);
  for (const TensorType type :
       {TensorType::kF32, TensorType::kQ4_K, TensorType::kQ8_0}) {
    const auto wq = test::RandomWeightBytes(type, kH * kAd * kAD, 0.1f, rng_);
    const auto wk = test::RandomWeightBytes(TensorType::kQ6_K, kHkv * kAd * kAD,
                                            0.1f, rng_);
    const auto wv = test::RandomWeightBytes(TensorType::kQ4_K, kHkv * kAd * kAD,
                                            0.1f, rng_);
    Padded q(kH * kT, kHd, kAd), k(kHkv * kStride, kHd, kAd),
        v(kHkv * kStride, kHd, kAd);
    k.v.assign(k.v.size(), 7.0f);
    QkvProjection p;
    p.input = x.data();
    p.wq = {wq.data(), type};
    p.wk = {wk.data(), TensorType::kQ6_K};
    p.wv = {wv.data(), TensorType::kQ4_K};
    p.bq = bq.data();
    p.q = q.data(), p.k = k.data(), p.v = v.data();
    p.tokens = kT, p.kv_stride_tokens = kStride, p.aligned_embed_dim = kAD;
    p.num_heads = kH, p.num_kv_heads = kHkv;
    p.head_dim = kHd, p.aligned_head_dim = kAd;
    ASSERT_TRUE(QkvProjectHeadMajor(p, CpuBackend(), ctx_));
    EXPECT_TRUE(q.PadsAre0());
    // The same as one product over all heads, token by token.
    Padded flat(1, kH * kAd, kH * kAd), flat_k(1, kHkv * kAd, kHkv * kAd);
    for (size_t t = 0; t < kT; ++t) {
      const GemmPart parts[] = {
          {{type, wq.data(), kH * kAd, kAD, RowBytes(type, kAD)},
           {},
           {flat.data(), 1, kH * kAd}},
          {{TensorType::kQ6_K, wk.data(), kHkv * kAd, kAD,
            RowBytes(TensorType::kQ6_K, kAD)},
           {},
           {flat_k.data(), 1, kHkv * kAd}}};
      ASSERT_TRUE(ops::Gemm({{x.data() + t * kAD, 1, kAD}, parts}, ctx_));
      for (size_t h = 0; h < kH; ++h) {
        for (size_t d = 0; d < kHd; ++d) {
          ASSERT_EQ(q.at(h * kT + t, d), flat.at(0, h * kAd + d) + bq.at(h, d));
        }
      }
      for (size_t h = 0; h < kHkv; ++h) {
        EXPECT_TRUE(
            SameBits(&k.at(h * kStride + t, 0), &flat_k.at(0, h * kAd), kHd));
        EXPECT_EQ(k.at(h * kStride + t, kHd), 0);
        EXPECT_EQ(k.at(h * kStride + kT, 0), 7.0f) << "beyond the tokens";
      }
    }
    p.kv_stride_tokens = kT - 1;
    ExpectError(QkvProjectHeadMajor(p, CpuBackend(), ctx_),
                "kv_stride_tokens 4 is less than tokens 5");
  }
}

TEST_F(LayerAdapters, B31_B32_B33_OutputProjectionOfSlabsAndOfBlocks) {
  const Padded attn = Padded::Random(rng_, kH * kT, kHd, kAd);
  const Padded bo = Padded::Random(rng_, 1, kD, kD);
  // f32: slabs [H][aD][ad], with NaN in every pad.
  const Padded slabs = Padded::Random(rng_, kH * kAD, kHd, kAd);
  Padded out(kT, kD, kAD);
  OutputProjection p;
  p.attn_out = attn.data();
  p.wo = {slabs.data(), TensorType::kF32};
  p.bo = bo.data();
  p.out = out.data();
  p.tokens = kT, p.embed_dim = kD, p.aligned_embed_dim = kAD;
  p.num_heads = kH, p.head_dim = kHd, p.aligned_head_dim = kAd;
  ASSERT_TRUE(AttentionProjectHeadMajor(p, CpuBackend(), ctx_));
  EXPECT_TRUE(out.PadsAre0());
  reference::Matrix want(kT, kD);
  double magnitude = 0;
  for (size_t t = 0; t < kT; ++t) {
    for (size_t j = 0; j < kD; ++j) {
      double sum = static_cast<double>(bo.at(0, j)), terms = std::abs(sum);
      for (size_t h = 0; h < kH; ++h) {
        for (size_t d = 0; d < kHd; ++d) {
          const double term = static_cast<double>(attn.at(h * kT + t, d)) *
                              static_cast<double>(slabs.at(h * kAD + j, d));
          sum += term;
          terms += std::abs(term);
        }
      }
      want(t, j) = sum;
      magnitude = std::max(magnitude, terms);
    }
  }
  // gamma_{512 / 16 + 5} and the bias, of the terms' magnitude.
  ExpectNear(out.matrix(), want, kH * kAd / 16 + 7, "f32", magnitude);
  // One token of the same: the same bits (B-33).
  Padded one_attn(kH, kHd, kAd), one(1, kD, kAD);
  for (size_t h = 0; h < kH; ++h) {
    std::memcpy(&one_attn.at(h, 0), &attn.at(h * kT + 3, 0),
                kHd * sizeof(float));
  }
  p.tokens = 1;
  p.attn_out = one_attn.data();
  p.out = one.data();
  ASSERT_TRUE(AttentionProjectHeadMajor(p, CpuBackend(), ctx_));
  EXPECT_TRUE(SameBits(one.data(), out.data() + 3 * kAD, kAD));

  // Blocks: [aD][H * ad] with f32 activations.
  const auto wo =
      test::RandomWeightBytes(TensorType::kQ4_K, kAD * kH * kAd, 0.1f, rng_);
  config_.q8k_activations = false;
  p.wo = {wo.data(), TensorType::kQ4_K};
  ASSERT_TRUE(AttentionProjectHeadMajor(p, CpuBackend(), ctx_));
  EXPECT_TRUE(one.PadsAre0());
  const size_t row_bytes = RowBytes(TensorType::kQ4_K, kH * kAd);
  for (size_t j = 0; j < kD; ++j) {
    double sum = static_cast<double>(bo.at(0, j)), terms = std::abs(sum);
    for (size_t h = 0; h < kH; ++h) {
      for (size_t d = 0; d < kHd; ++d) {
        const double term =
            static_cast<double>(one_attn.at(h, d)) *
            static_cast<double>(static_cast<float>(WeightAt(
                TensorType::kQ4_K, wo.data() + j * row_bytes, h * kAd + d)));
        sum += term;
        terms += std::abs(term);
      }
    }
    ASSERT_TRUE(std::abs(static_cast<double>(one.at(0, j)) - sum) <=
                (kH * kAd / 16 + 7) * 0x1p-24 * terms)
        << j;
  }
}

}  // namespace
}  // namespace etalon::adapters::cke
