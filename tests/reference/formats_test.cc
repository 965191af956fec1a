// Second opinions on the formats: the compiler's _Float16, and decoders written
// as the specification's own loops (over chunks and halves in file order, where
// the reference asks "which bits make element i").
#include "reference/formats.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "quant/block_formats.h"
#include "tests/util/random.h"
#include "tests/util/random_weights.h"

namespace etalon::reference {
namespace {

using test::Random;

template <class Block>
std::vector<double> DecodeOne(TensorType type, const Block& block, size_t n) {
  std::vector<double> row(n);
  DecodeRow(type, reinterpret_cast<const std::byte*>(&block), row);
  return row;
}

double Half(uint16_t bits) {
  return static_cast<double>(std::bit_cast<_Float16>(bits));
}

TEST(F16, WidensAllBitPatterns) {
  for (uint32_t i = 0; i <= 0xFFFF; ++i) {
    const uint16_t bits = static_cast<uint16_t>(i);
    const double ours = F16ToDouble(bits);
    if (std::isnan(Half(bits))) {
      EXPECT_TRUE(std::isnan(ours)) << i;
    } else {
      EXPECT_EQ(std::bit_cast<uint64_t>(ours),
                std::bit_cast<uint64_t>(Half(bits)))
          << i;
    }
  }
}

TEST(F16, NarrowsEveryHalfwayPointToEven) {
  for (uint32_t i = 0; i < 0x7C00; ++i) {  // all finite, not negative
    const uint16_t low = static_cast<uint16_t>(i);
    const uint16_t high = static_cast<uint16_t>(i + 1);
    const double a = F16ToDouble(low);
    const double b = high == 0x7C00 ? 65536.0 : F16ToDouble(high);
    const double middle = (a + b) / 2;
    EXPECT_EQ(DoubleToF16(a), low);
    EXPECT_EQ(DoubleToF16(-a), low | 0x8000);
    EXPECT_EQ(DoubleToF16(middle), i % 2 == 0 ? low : high) << i;
    EXPECT_EQ(DoubleToF16(std::nextafter(middle, 0.0)), low) << i;
    EXPECT_EQ(DoubleToF16(std::nextafter(middle, 1e9)), high) << i;
  }
  EXPECT_EQ(DoubleToF16(1e300), 0x7C00);
  EXPECT_EQ(DoubleToF16(-std::numeric_limits<double>::infinity()), 0xFC00);
  EXPECT_TRUE(std::isnan(F16ToDouble(DoubleToF16(std::nan("")))));
}

TEST(BF16, IsTheUpperHalfOfAFloat) {
  EXPECT_EQ(BF16ToDouble(0x3F80), 1.0);
  EXPECT_EQ(BF16ToDouble(0xC049), -3.140625);
  EXPECT_EQ(BF16ToDouble(0x0001), 0x1p-133);
  EXPECT_TRUE(std::isinf(BF16ToDouble(0x7F80)));
  EXPECT_TRUE(std::isnan(BF16ToDouble(0x7FC0)));
}

TEST(Q4_0, HandDecoded) {
  BlockQ4_0 b{};
  b.d = 0x3800;  // 0.5
  b.qs[0] = 0xF0;
  b.qs[15] = 0x19;
  const auto w = DecodeOne(TensorType::kQ4_0, b, 32);
  EXPECT_EQ(w[0], -4.0);   // low nibble of byte 0: 0 - 8
  EXPECT_EQ(w[16], 3.5);   // high nibble of byte 0: 15 - 8
  EXPECT_EQ(w[15], 0.5);   // low nibble of byte 15: 9 - 8
  EXPECT_EQ(w[31], -3.5);  // high nibble of byte 15: 1 - 8
}

TEST(Q5_1, HandDecodedFifthBit) {
  BlockQ5_1 b{};
  b.d = 0x3C00;    // 1
  b.m = 0xC000;    // -2
  b.qh[0] = 0x01;  // element 0
  b.qh[2] = 0x02;  // element 17
  b.qs[0] = 0x03;
  b.qs[1] = 0x50;
  const auto w = DecodeOne(TensorType::kQ5_1, b, 32);
  EXPECT_EQ(w[0], 16 + 3 - 2);
  EXPECT_EQ(w[16], 0 - 2);
  EXPECT_EQ(w[17], 16 + 5 - 2);
  EXPECT_EQ(w[1], 0 - 2);
}

TEST(Q4_K, HandDecodedScales) {
  BlockQ4_K b{};
  b.d = 0x3C00;     // 1
  b.dmin = 0x3C00;  // 1
  // Sub-block 0: sc 63, m 1. Sub-block 4: sc = 5 | 3 << 4 = 53 (the upper bits
  // of scales[0]), m = 10 | 2 << 4 = 42 (the upper bits of scales[4]).
  b.scales[0] = 63 | 3 << 6;
  b.scales[4] = 1 | 2 << 6;
  b.scales[8] = 5 | 10 << 4;
  b.qs[0] = 0x02;   // element 0, sub-block 0
  b.qs[64] = 0x07;  // element 128, sub-block 4
  b.qs[32] = 0x90;  // element 96, sub-block 3: scale and minimum 0
  const auto w = DecodeOne(TensorType::kQ4_K, b, 256);
  EXPECT_EQ(w[0], 63.0 * 2 - 1);
  EXPECT_EQ(w[128], 53.0 * 7 - 42);
  EXPECT_EQ(w[96], 0.0);
}

// The specification's loops. `put(i, d, w, m)` means element i = d w + m.
std::vector<double> SpecDecode(const BlockQ4_0& b) {
  std::vector<double> w(32);
  for (size_t j = 0; j < 16; ++j) {
    w[j] = Half(b.d) * ((b.qs[j] & 0xF) - 8);
    w[j + 16] = Half(b.d) * ((b.qs[j] >> 4) - 8);
  }
  return w;
}
std::vector<double> SpecDecode(const BlockQ4_1& b) {
  std::vector<double> w(32);
  for (size_t j = 0; j < 16; ++j) {
    w[j] = Half(b.d) * (b.qs[j] & 0xF) + Half(b.m);
    w[j + 16] = Half(b.d) * (b.qs[j] >> 4) + Half(b.m);
  }
  return w;
}
template <class Block>
uint32_t HighBits(const Block& b) {
  uint32_t qh;
  std::memcpy(&qh, b.qh, 4);
  return qh;
}
std::vector<double> SpecDecode(const BlockQ5_0& b) {
  std::vector<double> w(32);
  const uint32_t qh = HighBits(b);
  for (size_t j = 0; j < 16; ++j) {
    const int lo = static_cast<int>((b.qs[j] & 0xFu) | ((qh >> j) & 1u) << 4);
    const int hi =
        static_cast<int>((b.qs[j] >> 4) | ((qh >> (j + 16)) & 1u) << 4);
    w[j] = Half(b.d) * (lo - 16);
    w[j + 16] = Half(b.d) * (hi - 16);
  }
  return w;
}
std::vector<double> SpecDecode(const BlockQ5_1& b) {
  std::vector<double> w(32);
  const uint32_t qh = HighBits(b);
  for (size_t j = 0; j < 16; ++j) {
    const int lo = static_cast<int>((b.qs[j] & 0xFu) | ((qh >> j) & 1u) << 4);
    const int hi =
        static_cast<int>((b.qs[j] >> 4) | ((qh >> (j + 16)) & 1u) << 4);
    w[j] = Half(b.d) * lo + Half(b.m);
    w[j + 16] = Half(b.d) * hi + Half(b.m);
  }
  return w;
}
std::vector<double> SpecDecode(const BlockQ8_0& b) {
  std::vector<double> w;
  for (const int8_t q : b.qs) w.push_back(Half(b.d) * q);
  return w;
}
// 12 bytes hold 8 six-bit scales and 8 six-bit minima.
template <class Block>
void SixBit(const Block& b, int (&sc)[8], int (&m)[8]) {
  for (size_t s = 0; s < 4; ++s) {
    sc[s] = b.scales[s] % 64;
    m[s] = b.scales[s + 4] % 64;
    sc[s + 4] = b.scales[s + 8] % 16 + b.scales[s] / 64 * 16;
    m[s + 4] = b.scales[s + 8] / 16 + b.scales[s + 4] / 64 * 16;
  }
}
template <class Block>
std::vector<double> SpecDecodeChunks(const Block& b) {
  int sc[8];
  int m[8];
  SixBit(b, sc, m);
  std::vector<double> w(256);
  for (size_t c = 0; c < 4; ++c) {
    for (size_t l = 0; l < 32; ++l) {
      int lo = b.qs[32 * c + l] % 16;
      int hi = b.qs[32 * c + l] / 16;
      if constexpr (requires { b.qh; }) {
        if ((b.qh[l] & (1 << (2 * c))) != 0) lo += 16;
        if ((b.qh[l] & (2 << (2 * c))) != 0) hi += 16;
      }
      w[64 * c + l] = Half(b.d) * sc[2 * c] * lo - Half(b.dmin) * m[2 * c];
      w[64 * c + 32 + l] =
          Half(b.d) * sc[2 * c + 1] * hi - Half(b.dmin) * m[2 * c + 1];
    }
  }
  return w;
}
std::vector<double> SpecDecode(const BlockQ4_K& b) {
  return SpecDecodeChunks(b);
}
std::vector<double> SpecDecode(const BlockQ5_K& b) {
  return SpecDecodeChunks(b);
}
std::vector<double> SpecDecode(const BlockQ6_K& b) {
  std::vector<double> w(256);
  const uint8_t* ql = b.ql;
  const uint8_t* qh = b.qh;
  const int8_t* sc = b.scales;
  for (size_t n = 0; n < 256; n += 128) {
    for (size_t l = 0; l < 32; ++l) {
      const size_t is = l / 16;
      const int q[4] = {(ql[l] & 15) | (qh[l] & 3) << 4,
                        (ql[l + 32] & 15) | (qh[l] >> 2 & 3) << 4,
                        (ql[l] >> 4) | (qh[l] >> 4 & 3) << 4,
                        (ql[l + 32] >> 4) | (qh[l] >> 6 & 3) << 4};
      for (size_t j = 0; j < 4; ++j) {
        w[n + l + 32 * j] = Half(b.d) * sc[is + 2 * j] * (q[j] - 32);
      }
    }
    ql += 64;
    qh += 32;
    sc += 8;
  }
  return w;
}

template <class Block>
void ExpectSpec(TensorType type, uint32_t stream) {
  Random rng(stream);
  const size_t n = WeightFormat(type)->block_size;
  ASSERT_EQ(WeightFormat(type)->block_bytes, sizeof(Block));
  for (int trial = 0; trial < 300; ++trial) {
    const auto weights = test::MakeWeights(type, 1, n, rng);
    Block b;
    std::memcpy(&b, weights.bytes.data(), sizeof(b));
    if (trial % 3 == 1) b.d = static_cast<uint16_t>(rng.Bits() & 0x83FF);
    const auto ours = DecodeOne(type, b, n);
    const auto spec = SpecDecode(b);
    for (size_t i = 0; i < n; ++i) {
      ASSERT_EQ(ours[i], spec[i])
          << FormatName(type) << " element " << i << "; " << test::SeedNote();
    }
  }
}

TEST(Formats, DecodersEqualTheSpecificationsLoops) {
  ExpectSpec<BlockQ4_0>(TensorType::kQ4_0, 1);
  ExpectSpec<BlockQ4_1>(TensorType::kQ4_1, 2);
  ExpectSpec<BlockQ5_0>(TensorType::kQ5_0, 3);
  ExpectSpec<BlockQ5_1>(TensorType::kQ5_1, 4);
  ExpectSpec<BlockQ8_0>(TensorType::kQ8_0, 5);
  ExpectSpec<BlockQ4_K>(TensorType::kQ4_K, 6);
  ExpectSpec<BlockQ5_K>(TensorType::kQ5_K, 7);
  ExpectSpec<BlockQ6_K>(TensorType::kQ6_K, 8);
}

// Every element depends on bits of its own: flipping one bit of the quants
// moves exactly one weight, and all bits together reach every weight.
TEST(Formats, EveryQuantBitMovesOneWeight) {
  for (const TensorType type : test::kWeightTypes) {
    if (!IsQuantized(type)) continue;
    const Format format = *WeightFormat(type);
    Random rng(77);
    auto weights = test::MakeWeights(type, 1, format.block_size, rng);
    size_t first = format.block_bytes - format.block_size / 2;  // of qs
    size_t last = format.block_bytes;
    if (type == TensorType::kQ8_0) first = 2;
    if (type == TensorType::kQ6_K) {
      first = 0;
      last = 192;
    }
    std::vector<double> before(format.block_size);
    std::vector<double> after(format.block_size);
    std::vector<int> moved(format.block_size);
    DecodeRow(type, weights.bytes.data(), before);
    for (size_t byte = first; byte < last; ++byte) {
      for (int bit = 0; bit < 8; ++bit) {
        const std::byte mask{static_cast<unsigned char>(1 << bit)};
        weights.bytes[byte] ^= mask;
        DecodeRow(type, weights.bytes.data(), after);
        weights.bytes[byte] ^= mask;
        size_t changed = 0;
        for (size_t i = 0; i < before.size(); ++i) {
          if (before[i] == after[i]) continue;
          ++changed;
          ++moved[i];
        }
        // A scale of 0 hides its weights.
        ASSERT_LE(changed, 1u) << FormatName(type) << " byte " << byte;
      }
    }
    const int bits = type == TensorType::kQ8_0   ? 8
                     : type == TensorType::kQ6_K ? 6
                                                 : 4;
    size_t complete = 0;
    for (const int m : moved) complete += m == bits ? 1 : 0;
    EXPECT_GE(complete, format.block_size * 3 / 4) << FormatName(type);
  }
}

TEST(Formats, NonFiniteScalesPropagate) {
  BlockQ4_K b{};
  b.d = 0x7E00;
  b.scales[0] = 1;
  b.qs[0] = 1;
  EXPECT_TRUE(std::isnan(DecodeOne(TensorType::kQ4_K, b, 256)[0]));
  BlockQ8_0 c{};
  c.d = 0x7C00;
  c.qs[3] = -1;
  EXPECT_EQ(DecodeOne(TensorType::kQ8_0, c, 32)[3],
            -std::numeric_limits<double>::infinity());
}

}  // namespace
}  // namespace etalon::reference
