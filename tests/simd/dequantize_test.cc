#include "simd/dequantize.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <vector>

#include "etalon/simd_tier.h"
#include "quant/dequantize.h"
#include "quant/f16.h"
#include "tests/util/random.h"
#include "tests/util/random_weights.h"
#include "tests/util/ulp.h"

namespace etalon {
namespace {

using test::Random;

class TierScope {
 public:
  explicit TierScope(SimdTier tier) : saved_(ActiveSimdTier()) {
    EXPECT_TRUE(SetActiveSimdTier(tier));
  }
  ~TierScope() { EXPECT_TRUE(SetActiveSimdTier(saved_)); }
  TierScope(const TierScope&) = delete;
  TierScope& operator=(const TierScope&) = delete;

 private:
  SimdTier saved_;
};

std::vector<std::byte> RandomBytes(size_t n, Random& rng) {
  std::vector<std::byte> bytes(n + 16);
  for (size_t i = 0; i < n; i += 16) {
    const test::Philox4 words = rng.Words();
    std::memcpy(&bytes[i], words.data(), 16);
  }
  bytes.resize(n);
  bytes.shrink_to_fit();  // reading past the row is seen by ASan
  return bytes;
}

void ExpectEqualToScalar(TensorType type, const std::vector<std::byte>& row,
                         size_t n) {
  std::vector<float> expected(n);
  std::vector<float> actual(n + 1, -77.0f);
  DequantizeRow(type, row.data(), n, expected.data());
  simd::DequantizeRow(type, row.data(), n, actual.data());
  ASSERT_EQ(actual[n], -77.0f) << "wrote past the row";
  for (size_t i = 0; i < n; ++i) {
    ASSERT_TRUE(test::SameBits(actual[i], expected[i]))
        << TypeName(type) << " on " << SimdTierName(ActiveSimdTier())
        << ", element " << i << ": " << actual[i] << " instead of "
        << expected[i] << ", " << test::SeedNote();
  }
}

constexpr TensorType kAllTypes[] = {
    TensorType::kF32,  TensorType::kF16,  TensorType::kBF16, TensorType::kQ4_0,
    TensorType::kQ4_1, TensorType::kQ5_0, TensorType::kQ5_1, TensorType::kQ8_0,
    TensorType::kQ4_K, TensorType::kQ5_K, TensorType::kQ6_K, TensorType::kQ8_K};

// Random bytes: scales of every exponent, subnormal, Inf and NaN included.
TEST(SimdDequantize, EqualsScalarOnRandomBytesOfEveryType) {
  for (const SimdTier tier : SupportedSimdTiers()) {
    const TierScope scope(tier);
    Random rng(6);
    for (const TensorType type : kAllTypes) {
      const size_t block = GetTypeTraits(type).block_size;
      for (const size_t n_blocks : {0u, 1u, 2u, 3u, 15u, 16u, 17u, 33u, 257u}) {
        const size_t n = n_blocks * block;
        const auto row = RandomBytes(RowBytes(type, n), rng);
        ASSERT_NO_FATAL_FAILURE(ExpectEqualToScalar(type, row, n));
      }
    }
  }
}

template <class Block>
void CheckEveryScaleCode(TensorType type, Random& rng) {
  const size_t block_size = GetTypeTraits(type).block_size;
  constexpr size_t kBlocks = 0x1000;
  for (uint32_t code = 0; code < 0x10000; code += kBlocks) {
    auto row = RandomBytes(kBlocks * sizeof(Block), rng);
    for (uint32_t i = 0; i < kBlocks; ++i) {
      Block block;
      std::memcpy(&block, &row[i * sizeof(Block)], sizeof(block));
      block.d = static_cast<uint16_t>(code + i);
      std::memcpy(&row[i * sizeof(Block)], &block, sizeof(block));
    }
    ASSERT_NO_FATAL_FAILURE(
        ExpectEqualToScalar(type, row, kBlocks * block_size));
  }
}

TEST(SimdDequantize, EqualsScalarForEveryScaleCode) {
  for (const SimdTier tier : SupportedSimdTiers()) {
    const TierScope scope(tier);
    Random rng(7);
    CheckEveryScaleCode<BlockQ4_0>(TensorType::kQ4_0, rng);
    CheckEveryScaleCode<BlockQ4_1>(TensorType::kQ4_1, rng);
    CheckEveryScaleCode<BlockQ5_0>(TensorType::kQ5_0, rng);
    CheckEveryScaleCode<BlockQ5_1>(TensorType::kQ5_1, rng);
    CheckEveryScaleCode<BlockQ8_0>(TensorType::kQ8_0, rng);
    CheckEveryScaleCode<BlockQ4_K>(TensorType::kQ4_K, rng);
    CheckEveryScaleCode<BlockQ5_K>(TensorType::kQ5_K, rng);
    CheckEveryScaleCode<BlockQ6_K>(TensorType::kQ6_K, rng);
    if (HasFatalFailure()) return;
  }
}

// Q4_K: every finite d, every sub-block scale, every q, against the real value.
// dmin is d, so that d (sc q - m) is exact in double. All 2^16 d x 2^12 (sc, m)
// x 16 q; under sanitizers every 61st d and one m per (d, sc).
TEST(SimdDequantize, Q4KIsExactForEveryScaleSubScaleAndQuant) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    !defined(NDEBUG)
  constexpr uint32_t kStep = 61;
#else
  constexpr uint32_t kStep = 1;
#endif
  constexpr uint32_t kRounds = kStep == 1 ? 64 : 1;
  std::vector<BlockQ4_K> blocks(8);
  std::vector<float> actual(8 * kQkK);
  for (BlockQ4_K& b : blocks) {
    for (size_t i = 0; i < sizeof b.qs; ++i) {
      b.qs[i] = static_cast<uint8_t>(i % 16 * 17);  // element l has q = l % 16
    }
  }
  size_t n_wrong = 0;
  size_t n_compared = 0;
  for (uint32_t round = 0; round < kRounds; ++round) {
    for (uint32_t code = 0; code < 0x10000; code += kStep) {
      if ((code & 0x7C00) == 0x7C00) continue;
      const auto m_of = [&](uint32_t sc) { return (sc + code + round) % 64; };
      for (uint32_t sc = 0; sc < 64; sc += 8) {
        KScales scales;
        for (uint32_t s = 0; s < 8; ++s) {
          scales.sc[s] = static_cast<uint8_t>(sc + s);
          scales.m[s] = static_cast<uint8_t>(m_of(sc + s));
        }
        BlockQ4_K& b = blocks[sc / 8];
        b.d = b.dmin = static_cast<uint16_t>(code);
        PackKScales(scales, b.scales);
      }
      simd::DequantizeRow(TensorType::kQ4_K,
                          reinterpret_cast<const std::byte*>(blocks.data()),
                          actual.size(), actual.data());
      const double d =
          static_cast<double>(F16ToF32(static_cast<uint16_t>(code)));
      for (uint32_t sc = 0; sc < 64; ++sc) {
        const int m = static_cast<int>(m_of(sc));
        for (int q = 0; q < 16; ++q) {
          const float want =
              static_cast<float>(d * (static_cast<int>(sc) * q - m));
          n_wrong += !(actual[sc * 32 + static_cast<size_t>(q)] == want);
          ++n_compared;
        }
      }
    }
  }
  EXPECT_EQ(n_wrong, 0u) << "of " << n_compared;
  EXPECT_GE(n_compared, 1000000u);
}

TEST(SimdDequantize, EveryHalfAndBfloat16Code) {
  for (const SimdTier tier : SupportedSimdTiers()) {
    const TierScope scope(tier);
    std::vector<std::byte> row(0x10000 * 2);
    for (uint32_t code = 0; code < 0x10000; ++code) {
      const uint16_t h = static_cast<uint16_t>(code);
      std::memcpy(&row[code * 2], &h, 2);
    }
    for (const TensorType type : {TensorType::kF16, TensorType::kBF16}) {
      ASSERT_NO_FATAL_FAILURE(ExpectEqualToScalar(type, row, 0x10000));
    }
  }
}

}  // namespace
}  // namespace etalon
