#include "simd/gemm.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "etalon/simd_tier.h"
#include "simd/quantize_row.h"
#include "tests/simd/gemm_oracle.h"
#include "tests/util/random.h"
#include "tests/util/random_weights.h"
#include "tests/util/shapes.h"
#include "tests/util/ulp.h"

namespace etalon::simd {
namespace {

using test::BitDiff;
using test::Family;
using test::MakeWeights;
using test::PaddedMatrix;
using test::Random;
using test::RandomWeights;

constexpr size_t kAlign = 64;

std::byte* Aligned(std::vector<std::byte>& v) {
  const size_t at = reinterpret_cast<uintptr_t>(v.data()) % kAlign;
  return v.data() + (kAlign - at) % kAlign;
}

// Quantised activations with their memory, 0xFF (NaN) where nothing is written.
struct Activations {
  std::vector<std::byte> memory;
  GemmActivations view;

  Activations(TensorType type, Span2D<const float> x)
      : memory(GemmActivationsBytes(type, x.rows, x.cols) + kAlign,
               std::byte{0xFF}) {
    std::vector<std::byte> row(ActivationRowsBytes(type, 1, x.cols) + kAlign);
    const MutableActivationRows q =
        PlaceActivationRows(type, 1, x.cols, Aligned(row));
    view = PlaceGemmActivations(type, x.rows, x.cols, Aligned(memory));
    for (size_t r = 0; r < x.rows; ++r) {
      QuantizeActivationRow(x.data + r * x.stride, 0, q);
      PackActivationRow(q.View(), 0, r, view);
    }
  }
};

class GemmKernelTest : public testing::Test {
 protected:
  ~GemmKernelTest() override {
    EXPECT_TRUE(SetActiveSimdTier(SupportedSimdTiers().back()));
  }
  // Scratch is exactly as large as promised: a sanitizer sees one byte more.
  static void Multiply(const GemmRows& rows, const GemmActivations& x) {
    std::vector<std::byte> scratch(GemmScratchBytes(x.rows, x.cols) + kAlign,
                                   std::byte{0xFF});
    GemmQuantized(rows, x, Aligned(scratch));
  }
  // All of w against m tokens of the family, on every tier.
  void ExpectStatedBits(const RandomWeights& w, size_t m, Family family,
                        Random& rng) {
    const std::vector<float> x = rng.Vector(family, m * w.cols);
    const Span2D<const float> in(x.data(), m, w.cols);
    const Activations a(ActivationTypeFor(w.type), in);
    const std::vector<float> want =
        test::OracleGemm(w.view(), in, false, nullptr, 1.0f);
    for (const SimdTier tier : SupportedSimdTiers()) {
      ASSERT_TRUE(SetActiveSimdTier(tier));
      std::vector<float> out(m * w.rows);
      GemmRows rows;
      rows.weights = w.view();
      rows.out = {out.data(), m, w.rows};
      rows.row_end = w.rows;
      Multiply(rows, a.view);
      EXPECT_EQ(BitDiff(out, want), 0u)
          << TypeName(w.type) << " " << SimdTierName(tier) << " M=" << m;
    }
  }
};

constexpr TensorType kQuantised[] = {
    TensorType::kQ4_0, TensorType::kQ4_1, TensorType::kQ5_0, TensorType::kQ5_1,
    TensorType::kQ8_0, TensorType::kQ4_K, TensorType::kQ5_K, TensorType::kQ6_K};

// With all float scales 1 and one block per row the result is S, or S and then
// T: integers, compared with ==.
TEST_F(GemmKernelTest, BlockSumsAreTheExactIntegers) {
  SCOPED_TRACE(test::SeedNote());
  Random rng(21);
  constexpr size_t kN = 35, kM = 37;
  for (const TensorType type : kQuantised) {
    const TypeTraits& traits = GetTypeTraits(type);
    const size_t k = traits.block_size;
    RandomWeights w = MakeWeights(type, kN, k, rng);
    // Two rows and two tokens make sub-blocks as large as they can be: largest
    // and smallest quants under the largest scales.
    std::memset(w.bytes.data(), 0xff, traits.block_bytes);
    std::memset(&w.bytes[w.stride_bytes], 0, traits.block_bytes);
    std::memset(&w.bytes[w.stride_bytes], 0xff, 16);
    constexpr uint16_t kOne = 0x3c00;
    for (size_t n = 0; n < kN; ++n) {
      std::byte* block = &w.bytes[n * w.stride_bytes];
      const bool d_last = type == TensorType::kQ6_K;
      std::memcpy(block + (d_last ? traits.block_bytes - 2 : 0), &kOne, 2);
      if (type == TensorType::kQ4_1 || type == TensorType::kQ5_1 ||
          type == TensorType::kQ4_K || type == TensorType::kQ5_K) {
        std::memcpy(block + 2, &kOne, 2);
      }
    }
    // Integers with an extreme of -127 quantise to themselves with scale 1.
    std::vector<float> x(kM * k);
    for (size_t i = 0; i < x.size(); ++i) {
      x[i] = i % k == 5 ? -127.0f
                        : static_cast<float>(static_cast<int>(rng.Below(255))) -
                              127.0f;
      if (i < 2 * k && i % k != 5) x[i] = i < k ? 127.0f : -127.0f;
    }
    const Activations a(ActivationTypeFor(type), {x.data(), kM, k});
    ASSERT_EQ(*a.view.DAt(0, kM - 1), 1.0f);
    for (const SimdTier tier : SupportedSimdTiers()) {
      ASSERT_TRUE(SetActiveSimdTier(tier));
      std::vector<float> out(kM * kN);
      GemmRows rows;
      rows.weights = w.view();
      rows.out = {out.data(), kM, kN};
      rows.row_end = kN;
      Multiply(rows, a.view);
      for (size_t n = 0; n < kN; ++n) {
        const test::IntBlock b = test::ReadBlock(type, w.view().row(n));
        const size_t sub = b.sc.empty() ? k : k / b.sc.size();
        for (size_t m = 0; m < kM; ++m) {
          int64_t s = 0, t = 0;
          for (size_t i = 0; i < k; ++i) {
            const int64_t q = static_cast<int64_t>(x[m * k + i]);
            s += q * b.q[i] * (b.sc.empty() ? 1 : b.sc[i / sub]);
            t += q * (b.m.empty() ? 1 : b.m[i / sub]);
          }
          const float want = b.has_min ? std::fma(b.dm, static_cast<float>(t),
                                                  static_cast<float>(s))
                                       : static_cast<float>(s);
          ASSERT_EQ(out[m * kN + n], want)
              << TypeName(type) << " " << SimdTierName(tier) << " m=" << m
              << " n=" << n;
        }
      }
    }
  }
}

TEST_F(GemmKernelTest, RowsOutsideTheRangeAreNotTouched) {
  Random rng(22);
  constexpr size_t kN = 100, kK = 512;
  for (const TensorType type : kQuantised) {
    const RandomWeights w = MakeWeights(type, kN, kK, rng);
    for (const size_t m : {1u, 3u, 33u, 70u}) {
      const std::vector<float> x = rng.Vector(Family::kNormal, m * kK);
      const Span2D<const float> in(x.data(), m, kK);
      const Activations a(ActivationTypeFor(type), in);
      const std::vector<float> bias = rng.Vector(Family::kNormal, kN);
      const std::vector<float> want =
          test::OracleGemm(w.view(), in, false, bias.data(), 0.7f);
      for (const SimdTier tier : SupportedSimdTiers()) {
        ASSERT_TRUE(SetActiveSimdTier(tier));
        for (const auto& [begin, end] :
             {std::pair<size_t, size_t>{3, 4}, {3, 50}, {17, 100}}) {
          PaddedMatrix out(m, kN);
          for (size_t i = 0; i < m; ++i) {
            for (size_t n = 0; n < kN; ++n) out.at(i, n) = -1.0f;
          }
          const GemmRows rows{w.view(),   bias.data(), 0.7f,
                              out.view(), begin,       end};
          Multiply(rows, a.view);
          for (size_t i = 0; i < m; ++i) {
            for (size_t n = 0; n < kN; ++n) {
              const float y = n >= begin && n < end ? want[i * kN + n] : -1.0f;
              ASSERT_TRUE(test::SameBits(out.at(i, n), y))
                  << TypeName(type) << " " << SimdTierName(tier) << " m=" << i
                  << " of " << m << " n=" << n;
            }
          }
          EXPECT_TRUE(out.PaddingIntact());
        }
      }
    }
  }
}

// More tokens than one pass over the weights takes.
TEST_F(GemmKernelTest, TokenTilesDoNotShow) {
  Random rng(23);
  for (const TensorType type : {TensorType::kQ4_K, TensorType::kQ8_0}) {
    const RandomWeights w = MakeWeights(type, 19, 256, rng);
    for (const size_t m : {512u, 513u, 545u}) {
      ExpectStatedBits(w, m, Family::kWide, rng);
    }
  }
}

// More panels than one walk over the columns takes, a last one of few rows, and
// a last chunk that blocks of 32 fill only partly.
TEST_F(GemmKernelTest, PanelGroupsDoNotShow) {
  Random rng(24);
  for (const TensorType type : {TensorType::kQ4_K, TensorType::kQ8_0}) {
    const size_t k = type == TensorType::kQ4_K ? 768 : 544;
    ExpectStatedBits(MakeWeights(type, 16 * 17 + 3, k, rng), 67,
                     Family::kNormal, rng);
  }
}

}  // namespace
}  // namespace etalon::simd
