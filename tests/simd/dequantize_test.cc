#include "simd/dequantize.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <vector>

#include "etalon/simd_tier.h"
#include "quant/dequantize.h"
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
