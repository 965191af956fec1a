#include "simd/finite_scan.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "quant/block_formats.h"

namespace etalon::simd {
namespace {

struct Scale {
  TensorType type;
  size_t block_bytes;
  size_t offset;  // of the scale in its block
  int exponent_bits;
  int mantissa_bits;
  const char* name;
};
constexpr Scale kScales[] = {
    {TensorType::kF32, 4, 0, 8, 23, "F32"},
    {TensorType::kF16, 2, 0, 5, 10, "F16"},
    {TensorType::kBF16, 2, 0, 8, 7, "BF16"},
    {TensorType::kQ4_0, 18, 0, 5, 10, "Q4_0.d"},
    {TensorType::kQ4_1, 20, 0, 5, 10, "Q4_1.d"},
    {TensorType::kQ4_1, 20, 2, 5, 10, "Q4_1.m"},
    {TensorType::kQ5_0, 22, 0, 5, 10, "Q5_0.d"},
    {TensorType::kQ5_1, 24, 0, 5, 10, "Q5_1.d"},
    {TensorType::kQ5_1, 24, 2, 5, 10, "Q5_1.m"},
    {TensorType::kQ8_0, 34, 0, 5, 10, "Q8_0.d"},
    {TensorType::kQ4_K, 144, 0, 5, 10, "Q4_K.d"},
    {TensorType::kQ4_K, 144, 2, 5, 10, "Q4_K.dmin"},
    {TensorType::kQ5_K, 176, 0, 5, 10, "Q5_K.d"},
    {TensorType::kQ5_K, 176, 2, 5, 10, "Q5_K.dmin"},
    {TensorType::kQ6_K, 210, 208, 5, 10, "Q6_K.d"},
    {TensorType::kQ8_K, 292, 0, 8, 23, "Q8_K.d"},
};

bool IsFloat(const Scale& s) { return s.block_bytes <= 4; }

void Put(std::vector<std::byte>& rows, const Scale& s, size_t block,
         uint32_t bits) {
  const size_t n =
      static_cast<size_t>(1 + s.exponent_bits + s.mantissa_bits) / 8;
  std::memcpy(rows.data() + block * s.block_bytes + s.offset, &bits, n);
}

// Blocks whose scales are 0 and whose every other byte is 0xFF.
std::vector<std::byte> Rows(const Scale& s, size_t n_blocks) {
  std::vector<std::byte> rows(n_blocks * s.block_bytes, std::byte{0xFF});
  for (size_t b = 0; b < n_blocks; ++b) {
    for (const Scale& other : kScales) {
      if (other.type == s.type) Put(rows, other, b, 0);
    }
  }
  return rows;
}

class FiniteScan : public testing::TestWithParam<Scale> {};

TEST_P(FiniteScan, QuantsDoNotMatter) {
  const Scale& s = GetParam();
  const auto rows = Rows(s, 1500);
  EXPECT_EQ(FirstNonFiniteBlock(s.type, rows.data(), 1500), std::nullopt);
  EXPECT_EQ(FirstNonFiniteBlock(s.type, rows.data(), 0), std::nullopt);
}

TEST_P(FiniteScan, EveryPositionIsFound) {
  const Scale& s = GetParam();
  const uint32_t inf = ((1u << s.exponent_bits) - 1) << s.mantissa_bits;
  constexpr size_t kBlocks = 1100;
  auto rows = Rows(s, kBlocks);
  for (size_t b = 0; b < kBlocks; ++b) {
    Put(rows, s, b, inf);
    EXPECT_EQ(FirstNonFiniteBlock(s.type, rows.data(), kBlocks), b);
    // Not past the end.
    EXPECT_EQ(FirstNonFiniteBlock(s.type, rows.data(), b), std::nullopt);
    Put(rows, s, b, 0);
  }
}

TEST_P(FiniteScan, TheFirstOfSeveralIsReported) {
  const Scale& s = GetParam();
  const uint32_t inf = ((1u << s.exponent_bits) - 1) << s.mantissa_bits;
  auto rows = Rows(s, 700);
  for (const size_t b : {699u, 600u, 599u, 3u}) {
    Put(rows, s, b, inf);
    EXPECT_EQ(FirstNonFiniteBlock(s.type, rows.data(), 700), b);
  }
}

// All patterns of 16-bit scales, and for f32 all of the upper 16 bits with the
// lower ones empty or full.
TEST_P(FiniteScan, AgreesWithTheDefinition) {
  const Scale& s = GetParam();
  const bool wide = s.exponent_bits + s.mantissa_bits > 15;
  auto rows = Rows(s, 1);
  for (uint32_t upper = 0; upper < 65536; ++upper) {
    for (const uint32_t lower : {0u, 0xFFFFu}) {
      const uint32_t bits = wide ? upper << 16 | lower : upper;
      Put(rows, s, 0, bits);
      const uint32_t ones = (1u << s.exponent_bits) - 1;
      const bool bad = (bits >> s.mantissa_bits & ones) == ones;
      if (wide) {
        float f;
        std::memcpy(&f, &bits, sizeof(f));
        ASSERT_EQ(bad, !std::isfinite(f));
      }
      ASSERT_EQ(FirstNonFiniteBlock(s.type, rows.data(), 1).has_value(), bad)
          << s.name << " bits " << std::hex << bits;
    }
  }
}

TEST_P(FiniteScan, AnyAlignment) {
  const Scale& s = GetParam();
  const uint32_t inf = ((1u << s.exponent_bits) - 1) << s.mantissa_bits;
  auto rows = Rows(s, 40);
  Put(rows, s, 33, inf);
  for (size_t shift = 0; shift < 9; ++shift) {
    std::vector<std::byte> moved(rows.size() + shift, std::byte{0xFF});
    std::memcpy(moved.data() + shift, rows.data(), rows.size());
    EXPECT_EQ(FirstNonFiniteBlock(s.type, moved.data() + shift, 40), 33u);
  }
}

TEST_P(FiniteScan, TableMatchesTheFormats) {
  const Scale& s = GetParam();
  const TypeTraits& traits = GetTypeTraits(s.type);
  EXPECT_EQ(traits.block_bytes, s.block_bytes);
  EXPECT_EQ(traits.block_size == 1, IsFloat(s));
}

INSTANTIATE_TEST_SUITE_P(EveryScale, FiniteScan, testing::ValuesIn(kScales),
                         [](const auto& param_info) {
                           std::string name = param_info.param.name;
                           for (char& c : name) {
                             if (c == '.') c = '_';
                           }
                           return name;
                         });

}  // namespace
}  // namespace etalon::simd
