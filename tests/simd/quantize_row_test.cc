#include "simd/quantize_row.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "etalon/simd_tier.h"
#include "quant/f16.h"
#include "quant/quantize_row.h"
#include "tests/util/random.h"
#include "tests/util/ulp.h"

namespace etalon {
namespace {

using simd::MutableActivationRows;
using test::Family;
using test::Random;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Buffer {
  std::unique_ptr<std::byte, decltype(&std::free)> memory;
  MutableActivationRows rows;

  Buffer(TensorType type, size_t n_rows, size_t cols)
      : memory(static_cast<std::byte*>(std::aligned_alloc(
                   64, simd::ActivationRowsBytes(type, n_rows, cols))),
               &std::free) {
    std::memset(memory.get(), 0x5a,
                simd::ActivationRowsBytes(type, n_rows, cols));
    rows = simd::PlaceActivationRows(type, n_rows, cols, memory.get());
  }
};

void ExpectScalarBits(const float* x, size_t row,
                      const MutableActivationRows& r) {
  const auto where = [&](size_t b) {
    return testing::Message()
           << "block " << b << " of row " << row << " on "
           << SimdTierName(ActiveSimdTier()) << ", " << test::SeedNote();
  };
  const int8_t* qs = r.qs + row * r.qs_stride;
  const float* d = r.d + row * r.d_stride;
  const int16_t* bsums = r.bsums + row * r.bsums_stride;
  if (r.block == kQkK) {
    std::vector<BlockQ8_K> blocks(r.cols / kQkK);
    QuantizeRowQ8K(x, r.cols, blocks.data());
    for (size_t b = 0; b < blocks.size(); ++b) {
      ASSERT_EQ(std::memcmp(qs + b * kQkK, blocks[b].qs, kQkK), 0) << where(b);
      ASSERT_TRUE(test::SameBits(d[b], blocks[b].d)) << where(b);
      ASSERT_EQ(std::memcmp(bsums + b * 16, blocks[b].bsums, 32), 0)
          << where(b);
    }
  } else {
    std::vector<BlockQ8_0> blocks(r.cols / kQk);
    QuantizeRowQ80(x, r.cols, blocks.data());
    for (size_t b = 0; b < blocks.size(); ++b) {
      ASSERT_EQ(std::memcmp(qs + b * kQk, blocks[b].qs, kQk), 0) << where(b);
      ASSERT_TRUE(test::SameBits(d[b], F16ToF32(blocks[b].d))) << where(b);
      int sum = 0;
      for (const int8_t q : blocks[b].qs) sum += q;
      ASSERT_EQ(bsums[b], sum) << where(b);
    }
  }
}

// Quantises x on every tier and compares with the scalar rule.
void CheckRow(TensorType type, const std::vector<float>& x) {
  const SimdTier saved = ActiveSimdTier();
  for (const SimdTier tier : SupportedSimdTiers()) {
    ASSERT_TRUE(SetActiveSimdTier(tier));
    Buffer buffer(type, 3, x.size());
    simd::QuantizeActivationRow(x.data(), 1, buffer.rows);
    ExpectScalarBits(x.data(), 1, buffer.rows);
    // The neighbours' rows are untouched.
    const MutableActivationRows& r = buffer.rows;
    const unsigned char fill = 0x5a;
    for (const size_t row : {0u, 2u}) {
      ASSERT_EQ(std::memcmp(&r.qs[row * r.qs_stride], &fill, 1), 0);
      ASSERT_EQ(std::memcmp(&r.d[row * r.d_stride], &fill, 1), 0);
      ASSERT_EQ(std::memcmp(&r.bsums[row * r.bsums_stride], &fill, 1), 0);
    }
  }
  ASSERT_TRUE(SetActiveSimdTier(saved));
}

constexpr TensorType kTypes[] = {TensorType::kQ8_K, TensorType::kQ8_0};

TEST(SimdQuantizeRow, EqualsScalarOnEveryFamily) {
  Random rng(8);
  for (const TensorType type : kTypes) {
    for (const Family family : test::kFamilies) {
      for (const size_t n : {256u, 512u, 768u, 4096u}) {
        ASSERT_NO_FATAL_FAILURE(CheckRow(type, rng.Vector(family, n)))
            << FamilyName(family);
      }
    }
  }
  for (const size_t n : {32u, 64u, 96u, 288u}) {
    CheckRow(TensorType::kQ8_0, rng.Vector(Family::kNormal, n));
  }
}

// Multiples of 1/2 with a power-of-two maximum are full of exact ties.
TEST(SimdQuantizeRow, TiesOfRoundingAndOfTheMaximum) {
  Random rng(9);
  for (const TensorType type : kTypes) {
    for (int round = 0; round < 200; ++round) {
      std::vector<float> x(512);
      for (float& v : x) {
        v = 0.5f * static_cast<float>(static_cast<int>(rng.Below(509)) - 254);
      }
      for (size_t b = 0; b < x.size(); b += 32) {
        x[b + rng.Below(32)] = 127.0f;
        x[b + rng.Below(32)] = -127.0f;
      }
      ASSERT_NO_FATAL_FAILURE(CheckRow(type, x));
    }
  }
}

TEST(SimdQuantizeRow, ThresholdsAndNonFiniteValues) {
  Random rng(10);
  const float edges[] = {0.0f,
                         -0.0f,
                         0x1p-149f,
                         std::nextafter(0x1p-120f, 0.0f),
                         0x1p-120f,
                         -0x1p-120f,
                         65519.0f * 127.0f,
                         65520.0f * 127.0f,
                         -65520.0f * 127.0f,
                         std::numeric_limits<float>::max(),
                         kInf,
                         -kInf,
                         kNaN,
                         -kNaN};
  for (const TensorType type : kTypes) {
    for (const float edge : edges) {
      ASSERT_NO_FATAL_FAILURE(CheckRow(type, std::vector<float>(512, edge)));
      for (const size_t at : {0u, 7u, 15u, 16u, 31u, 100u, 255u, 511u}) {
        std::vector<float> x(512, 0.0f);
        x[at] = edge;
        ASSERT_NO_FATAL_FAILURE(CheckRow(type, x)) << edge << " at " << at;
        x = rng.Vector(Family::kNormal, 512);
        x[at] = edge;
        ASSERT_NO_FATAL_FAILURE(CheckRow(type, x)) << edge << " at " << at;
      }
    }
  }
}

TEST(SimdQuantizeRow, LayoutIsAlignedAndDisjoint) {
  for (const TensorType type : kTypes) {
    for (const size_t cols : {256u, 768u, 4096u}) {
      for (const size_t n_rows : {1u, 2u, 5u}) {
        Buffer buffer(type, n_rows, cols);
        const MutableActivationRows& r = buffer.rows;
        const simd::ActivationRows view = r.View();
        EXPECT_EQ(view.block, type == TensorType::kQ8_K ? 256u : 32u);
        EXPECT_EQ(r.qs_stride % 64, 0u);
        EXPECT_GE(r.qs_stride, cols);
        for (const void* p :
             {static_cast<const void*>(r.qs), static_cast<const void*>(r.d),
              static_cast<const void*>(r.bsums)}) {
          EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % 64, 0u);
        }
        const auto* end = reinterpret_cast<const std::byte*>(
            r.bsums + n_rows * r.bsums_stride);
        EXPECT_LE(end - buffer.memory.get(),
                  static_cast<ptrdiff_t>(
                      simd::ActivationRowsBytes(type, n_rows, cols)));
        EXPECT_GE(reinterpret_cast<const std::byte*>(r.d) -
                      reinterpret_cast<const std::byte*>(r.qs),
                  static_cast<ptrdiff_t>(n_rows * r.qs_stride));
        EXPECT_EQ(view.bsums_stride, cols / view.bsum_group());
      }
    }
  }
}

}  // namespace
}  // namespace etalon
