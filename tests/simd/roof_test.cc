#include "simd/roof.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "tests/simd/tier_scope.h"

namespace etalon::simd {
namespace {

// A kernel that skips bytes would report a roof that is not there: the mix is
// the xor of all 64-bit words, so each of them must have been read.
TEST(Roof, ReadsEveryByteOnEveryTier) {
  for (const size_t streams : {1, 3, 16}) {
    for (const size_t lines : {1, 2, 3, 4, 5, 31}) {
      std::vector<uint64_t> words(streams * lines * 8);
      uint64_t mix = 0;
      for (size_t i = 0; i < words.size(); ++i) {
        words[i] = (i + 1) * 0x9E3779B97F4A7C15u;
        mix ^= words[i];
      }
      for (const SimdTier tier : SupportedSimdTiers()) {
        const test::TierScope scope(tier);
        EXPECT_EQ(ReadStreams(reinterpret_cast<std::byte*>(words.data()),
                              streams, lines * 64, 128),
                  mix)
            << SimdTierName(tier) << " " << streams << " x " << lines;
      }
    }
  }
}

TEST(Roof, CountsOperationsOfWhatTheTierHas) {
  for (const SimdTier tier : SupportedSimdTiers()) {
    const test::TierScope scope(tier);
    EXPECT_GT(RunPeak(Peak::kMulAddF32, 1), 0);
    for (int i = 0; i < kNumPeaks; ++i) {
      const auto peak = static_cast<Peak>(i);
      const double one = RunPeak(peak, 1);
      EXPECT_EQ(one > 0, HasPeak(peak)) << PeakName(peak);
      EXPECT_EQ(RunPeak(peak, 10), 10 * one);
    }
    EXPECT_EQ(HasPeak(Peak::kFmaF32), tier >= SimdTier::kAvx2);
    EXPECT_EQ(HasPeak(Peak::kVnniInt8), tier >= SimdTier::kAvx512Vnni);
    EXPECT_EQ(HasPeak(Peak::kAmxInt8), tier == SimdTier::kAmx);
    EXPECT_FALSE(HasPeak(Peak::kVectorBf16) && tier < SimdTier::kAvx512Vnni);
  }
  const test::TierScope scope(SupportedSimdTiers().back());
  if (HasPeak(Peak::kVnniInt8)) {
    EXPECT_EQ(RunPeak(Peak::kVnniInt8, 1), 12 * 128);
  }
  if (HasPeak(Peak::kVectorBf16)) {
    EXPECT_EQ(RunPeak(Peak::kVectorBf16, 1), 12 * 2 * 16 * 2);
  }
  if (HasPeak(Peak::kAmxInt8)) {
    EXPECT_EQ(RunPeak(Peak::kAmxInt8, 1), 4 * 2 * 16 * 16 * 64);
  }
}

}  // namespace
}  // namespace etalon::simd
