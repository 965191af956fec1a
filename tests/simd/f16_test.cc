#include "simd/f16.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "etalon/simd_tier.h"
#include "tests/util/random.h"

namespace etalon {
namespace {

// Both directions once more, from the definition of the format and libm's
// scaling, so that neither the kernels nor quant/f16.h judge themselves.
float WidenByDefinition(uint16_t h) {
  const int exponent = h >> 10 & 31;
  const int mantissa = h & 1023;
  if (exponent == 31 && mantissa != 0) {
    return std::bit_cast<float>((h & 0x8000u) << 16 | 0x7fc00000u |
                                static_cast<uint32_t>(mantissa) << 13);
  }
  double v = exponent == 31  ? HUGE_VAL
             : exponent == 0 ? std::ldexp(mantissa, -24)
                             : std::ldexp(1024 + mantissa, exponent - 25);
  return static_cast<float>((h & 0x8000) != 0 ? -v : v);
}

uint16_t NarrowByDefinition(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint32_t sign = bits >> 16 & 0x8000u;
  if (std::isnan(x)) {
    return static_cast<uint16_t>(sign | 0x7e00u | (bits >> 13 & 0x1ffu));
  }
  const double a = std::fabs(static_cast<double>(x));
  if (a >= 65520.0) return static_cast<uint16_t>(sign | 0x7c00u);
  // The step of f16 at a, 2^-24 among subnormals; rint ties to even, and the
  // code of k steps above a power of two is that power's code plus k.
  const int e = a < 0x1p-14 ? -14 : std::ilogb(a);
  const double steps = std::rint(std::ldexp(a, 10 - e));
  const int code = static_cast<int>(steps) + (e + 14) * 1024;
  return static_cast<uint16_t>(sign | static_cast<uint32_t>(code));
}

class F16 : public ::testing::TestWithParam<SimdTier> {
 protected:
  void SetUp() override {
    before_ = ActiveSimdTier();
    ASSERT_TRUE(SetActiveSimdTier(GetParam()).has_value());
  }
  void TearDown() override {
    ASSERT_TRUE(SetActiveSimdTier(before_).has_value());
  }

 private:
  SimdTier before_ = SimdTier::kScalar;
};

TEST_P(F16, WideningIsExactForEveryCode) {
  std::vector<uint16_t> codes(65536);
  std::iota(codes.begin(), codes.end(), uint16_t{0});
  std::vector<float> wide(codes.size());
  simd::WidenF16(codes.data(), wide.data(), codes.size());
  for (size_t i = 0; i < codes.size(); ++i) {
    ASSERT_EQ(std::bit_cast<uint32_t>(wide[i]),
              std::bit_cast<uint32_t>(WidenByDefinition(codes[i])))
        << "code " << i;
  }
}

TEST_P(F16, NarrowingUndoesWidening) {
  std::vector<uint16_t> codes(65536), back(65536);
  std::iota(codes.begin(), codes.end(), uint16_t{0});
  std::vector<float> wide(codes.size());
  simd::WidenF16(codes.data(), wide.data(), codes.size());
  simd::NarrowToF16(wide.data(), back.data(), codes.size());
  for (size_t i = 0; i < codes.size(); ++i) {
    const bool nan = (i & 0x7fff) > 0x7c00;
    ASSERT_EQ(back[i], nan ? codes[i] | 0x200 : codes[i]) << "code " << i;
  }
}

// All midpoints between neighbours, a bit below and above them, NaN payloads,
// and random patterns: every rounding decision of the format.
TEST_P(F16, NarrowingRoundsToNearestEven) {
  std::vector<float> x;
  for (uint32_t h = 0; h < 0x8000; ++h) {
    const float v = WidenByDefinition(static_cast<uint16_t>(h));
    const float mid = h < 0x400 ? v + 0x1p-25f
                      : h < 0x7c00
                          ? v + 0.5f * std::ldexp(1.0f, std::ilogb(v) - 10)
                          : v;
    for (const uint32_t sign : {0u, 0x80000000u}) {
      const uint32_t b = std::bit_cast<uint32_t>(mid) | sign;
      for (const uint32_t near : {b - 1, b, b + 1}) {
        x.push_back(std::bit_cast<float>(near));
      }
    }
  }
  test::Random random(16);
  for (int i = 0; i < 200000; ++i) {
    x.push_back(std::bit_cast<float>(random.Bits()));
  }
  std::vector<uint16_t> half(x.size());
  simd::NarrowToF16(x.data(), half.data(), x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(half[i], NarrowByDefinition(x[i]))
        << std::hex << std::bit_cast<uint32_t>(x[i]) << "; "
        << test::SeedNote();
  }
}

TEST_P(F16, TailsTouchNothingElse) {
  for (size_t n = 0; n <= 40; ++n) {
    std::vector<uint16_t> half(n, 0x3c00), narrow(n + 1, 0xdead);
    std::vector<float> ones(n, 1.0f), wide(n + 1, 7.0f);
    simd::WidenF16(half.data(), wide.data(), n);
    simd::NarrowToF16(ones.data(), narrow.data(), n);
    for (size_t i = 0; i < n; ++i) {
      ASSERT_EQ(wide[i], 1.0f);
      ASSERT_EQ(narrow[i], 0x3c00);
    }
    EXPECT_EQ(wide[n], 7.0f);
    EXPECT_EQ(narrow[n], 0xdead);
  }
}

INSTANTIATE_TEST_SUITE_P(Tiers, F16, ::testing::ValuesIn(SupportedSimdTiers()),
                         [](const auto& tier_info) {
                           std::string name(SimdTierName(tier_info.param));
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace etalon
