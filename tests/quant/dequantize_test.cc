#include "quant/dequantize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <initializer_list>

#include "quant/f16.h"
#include "tests/util/block_oracle.h"
#include "tests/util/random.h"
#include "tests/util/ulp.h"

namespace etalon {
namespace {

using test::CanonicalBits;
using test::Random;
using test::SeedNote;

template <class T>
class DequantizeFormat : public testing::Test {};
using Formats = testing::Types<BlockQ4_0, BlockQ4_1, BlockQ5_0, BlockQ5_1,
                               BlockQ8_0, BlockQ4_K, BlockQ5_K, BlockQ6_K>;
TYPED_TEST_SUITE(DequantizeFormat, Formats);

template <class Block>
constexpr size_t kElements = sizeof(Block) > 34 ? kQkK : kQk;

template <class Block>
void ExpectExact(const Block& block) {
  std::array<float, kElements<Block>> out;
  DequantizeBlock(block, out.data());
  for (size_t j = 0; j < out.size(); ++j) {
    // One rounding of the exact value: 0 ULP means these very bits.
    const float expected = static_cast<float>(test::Element(block, j));
    ASSERT_EQ(CanonicalBits(out[j]), CanonicalBits(expected))
        << "element " << j << ": " << out[j] << " instead of " << expected
        << ", " << SeedNote();
  }
}

// Every f16 scale, Inf and NaN included, against random quants and sub-block
// scales: each block shows 256 (32) of them.
TYPED_TEST(DequantizeFormat, IsCorrectlyRoundedForEveryScaleCode) {
  Random rng(1);
  std::array<uint8_t, sizeof(TypeParam) + 16> bytes;
  for (uint32_t code = 0; code < 0x10000; ++code) {
    for (size_t i = 0; i < bytes.size(); i += 16) {
      const test::Philox4 words = rng.Words();
      std::memcpy(&bytes[i], words.data(),
                  std::min<size_t>(16, bytes.size() - i));
    }
    TypeParam block;
    std::memcpy(&block, bytes.data(), sizeof(block));
    block.d = static_cast<uint16_t>(code);
    ASSERT_NO_FATAL_FAILURE(ExpectExact(block)) << "d code " << code;
  }
}

// All 2^12 pairs of sub-block scale and minimum, all q, extreme scales.
TEST(Dequantize, KQuantsAreExactForEverySubBlockScaleAndMinimum) {
  for (const uint16_t d : std::initializer_list<uint16_t>{
           0x0001, 0x03ff, 0x0400, 0x2e66, 0x7bff, 0xfbff}) {
    for (const uint16_t dmin : std::initializer_list<uint16_t>{
             0x0000, 0x0001, 0x2bcd, 0x7bff, 0x8001}) {
      for (int pair = 0; pair < 64 * 64; pair += 8) {
        BlockQ5_K block = {};
        block.d = d;
        block.dmin = dmin;
        KScales scales;
        for (int s = 0; s < 8; ++s) {
          scales.sc[s] = static_cast<uint8_t>((pair + s) / 64);
          scales.m[s] = static_cast<uint8_t>((pair + s) % 64);
        }
        PackKScales(scales, block.scales);
        for (size_t l = 0; l < 32; ++l) {  // element l of every sub-block: l
          for (size_t c = 0; c < 4; ++c) {
            block.qs[32 * c + l] = static_cast<uint8_t>(l % 16 * 17);
          }
          block.qh[l] = l < 16 ? 0 : 0xff;
        }
        ASSERT_NO_FATAL_FAILURE(ExpectExact(block));
        BlockQ4_K block4;
        block4.d = d;
        block4.dmin = dmin;
        std::memcpy(block4.scales, block.scales, sizeof(block.scales));
        std::memcpy(block4.qs, block.qs, sizeof(block.qs));
        ASSERT_NO_FATAL_FAILURE(ExpectExact(block4));
      }
    }
  }
}

TEST(Dequantize, Q6KIsExactForEveryScaleAndQuant) {
  for (const uint16_t d : std::initializer_list<uint16_t>{
           0x0001, 0x03ff, 0x2e66, 0x7bff, 0xfbff}) {
    for (int first = -128; first < 128; first += 16) {
      BlockQ6_K block;
      block.d = d;
      for (int s = 0; s < 16; ++s) {
        block.scales[s] = static_cast<int8_t>(first + s);
      }
      for (size_t shift = 0; shift < 64; ++shift) {
        for (size_t i = 0; i < sizeof(block.ql); ++i) {
          block.ql[i] = static_cast<uint8_t>(i * 17 + shift * 5);
        }
        for (size_t i = 0; i < sizeof(block.qh); ++i) {
          block.qh[i] = static_cast<uint8_t>(i * 37 + shift * 11);
        }
        ASSERT_NO_FATAL_FAILURE(ExpectExact(block));
      }
    }
  }
}

TEST(Dequantize, PackedScalesUnpackToThemselves) {
  Random rng(2);
  for (int round = 0; round < 4096; ++round) {
    KScales scales;
    for (size_t s = 0; s < 8; ++s) {
      scales.sc[s] = static_cast<uint8_t>(rng.Below(64));
      scales.m[s] = static_cast<uint8_t>(rng.Below(64));
    }
    uint8_t packed[12];
    PackKScales(scales, packed);
    const KScales again = UnpackKScales(packed);
    for (size_t s = 0; s < 8; ++s) {
      ASSERT_EQ(again.sc[s], scales.sc[s]);
      ASSERT_EQ(again.m[s], scales.m[s]);
    }
  }
}

// Golden bytes, worked out by hand from the format description.
TEST(Dequantize, GoldenBytes) {
  BlockQ4_0 q40 = {0x3800, {}};  // d = 0.5
  q40.qs[0] = 0xf1;              // element 0: 1 - 8, element 16: 15 - 8
  float out[kQkK];
  DequantizeBlock(q40, out);
  EXPECT_EQ(out[0], -3.5f);
  EXPECT_EQ(out[16], 3.5f);
  EXPECT_EQ(out[1], -4.0f);

  BlockQ5_1 q51 = {0x3c00, 0xc000, {0x01, 0, 0, 0x80}, {}};  // d 1, m -2
  q51.qs[0] = 0x02;
  q51.qs[15] = 0x30;
  DequantizeBlock(q51, out);
  EXPECT_EQ(out[0], 18.0f - 2.0f);   // fifth bit 0 set
  EXPECT_EQ(out[31], 19.0f - 2.0f);  // fifth bit 31 set
  EXPECT_EQ(out[15], -2.0f);

  BlockQ4_K q4k = {};
  q4k.d = 0x3c00;     // 1
  q4k.dmin = 0x3800;  // 0.5
  // Sub-block 5: sc = 2 + 16 * 3 = 50, m = 1 + 16 * 2 = 33.
  q4k.scales[9] = 0x12;
  q4k.scales[1] = 3 << 6;
  q4k.scales[5] = 2 << 6;
  q4k.qs[64 + 7] = 0x90;  // chunk 2, high nibble: element 128 + 32 + 7
  DequantizeBlock(q4k, out);
  EXPECT_EQ(out[167], 50.0f * 9.0f - 16.5f);
  EXPECT_EQ(out[166], -16.5f);
  EXPECT_EQ(out[135], 0.0f);

  BlockQ6_K q6k = {};
  q6k.d = 0x3c00;
  q6k.scales[8 + 1 + 6] = -3;  // second half, is = 1, fourth quarter
  q6k.ql[64 + 32 + 20] = 0x50;
  q6k.qh[32 + 20] = 0x80;
  DequantizeBlock(q6k, out);
  EXPECT_EQ(out[128 + 96 + 20], -3.0f * (5 + 32 - 32));
}

TEST(Dequantize, FloatRowsWiden) {
  const uint16_t f16[3] = {0x3c00, 0xc000, 0x0001};
  const uint16_t bf16[3] = {0x3f80, 0xc000, 0x0001};
  const float f32[3] = {1.5f, -0.0f, 3e-42f};
  float out[3];
  DequantizeRow(TensorType::kF16, reinterpret_cast<const std::byte*>(f16), 3,
                out);
  EXPECT_EQ(out[0], 1.0f);
  EXPECT_EQ(out[1], -2.0f);
  EXPECT_EQ(out[2], 0x1p-24f);
  DequantizeRow(TensorType::kBF16, reinterpret_cast<const std::byte*>(bf16), 3,
                out);
  EXPECT_EQ(out[0], 1.0f);
  EXPECT_EQ(out[2], 0x1p-133f);
  DequantizeRow(TensorType::kF32, reinterpret_cast<const std::byte*>(f32), 3,
                out);
  EXPECT_EQ(std::memcmp(out, f32, sizeof(f32)), 0);
}

TEST(Dequantize, Q8KRoundsOnce) {
  BlockQ8_K block = {};
  block.d = 0x1.fffffep-1f;
  for (int i = 0; i < 256; ++i) block.qs[i] = static_cast<int8_t>(i - 128);
  float out[kQkK];
  DequantizeBlock(block, out);
  for (size_t j = 0; j < kQkK; ++j) {
    EXPECT_EQ(out[j], static_cast<float>(test::Element(block, j)));
  }
}

}  // namespace
}  // namespace etalon
