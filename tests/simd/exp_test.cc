#include "simd/exp.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <optional>
#include <thread>
#include <vector>

#include "tests/simd/tier_scope.h"
#include "tests/util/random.h"
#include "tests/util/ulp.h"

namespace etalon {
namespace {

using test::TierScope;

// Exhaustive where that takes seconds.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    !defined(NDEBUG)
constexpr bool kSlowBuild = true;
#else
constexpr bool kSlowBuild = false;
#endif

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr size_t kBlock = 4096;

float Exp1(float x) {
  float y;
  simd::Exp(&x, &y, 1);
  return y;
}

// test::UlpError for finite y and positive normal `exact`, by bits: the sweep
// calls it half a billion times.
double FastUlpError(float y, double exact) {
  const uint64_t exponent = std::bit_cast<uint64_t>(exact) >> 52;
  const uint64_t floor = 1023 - 126;
  const uint64_t e = exponent > floor ? exponent : floor;
  const double inverse_ulp = std::bit_cast<double>((2046 - e + 23) << 52);
  return std::fabs(static_cast<double>(y) - exact) * inverse_ulp;
}

struct Worst {
  double ulp = 0.0;
  float x = 0.0f;
  size_t wrong_specials = 0;
};

// The answer where it is known without an oracle.
std::optional<float> KnownAnswer(float x) {
  if (x > 89.0f) return kInf;
  if (x < -104.0f) return 0.0f;
  // |exp(x) - 1| is less than half an ulp below 1.
  if (std::fabs(x) < 0x1p-26f) return 1.0f;
  return std::nullopt;
}

// libm's exp in f64 is within 2^-52 relative: 2^-28 of an f32 ulp.
void Judge(float x, float y, Worst* worst) {
  if (std::isnan(x)) {
    worst->wrong_specials += std::isnan(y) ? 0 : 1;
    return;
  }
  if (const std::optional<float> known = KnownAnswer(x)) {
    worst->wrong_specials += test::SameBits(y, *known) ? 0 : 1;
    return;
  }
  const double exact = std::exp(static_cast<double>(x));
  constexpr double kOverflow = 0x1.ffffffp127;
  if (std::isinf(y) && exact >= kOverflow) return;
  const double error = FastUlpError(y, exact);
  if (!(error <= worst->ulp)) {
    worst->ulp = error;
    worst->x = x;
  }
}

// Every `step`-th bit pattern of [begin, end), all of one sign.
void Sweep(uint64_t begin, uint64_t end, uint64_t step, Worst* worst) {
  std::vector<float> x(kBlock), y(kBlock);
  for (uint64_t base = begin; base < end; base += kBlock * step) {
    for (size_t i = 0; i < kBlock; ++i) {
      const uint64_t bits = std::min(base + i * step, end - 1);
      x[i] = std::bit_cast<float>(static_cast<uint32_t>(bits));
    }
    simd::Exp(x.data(), y.data(), kBlock);
    // Magnitudes ascend, so what holds at both ends holds in between.
    const std::optional<float> first = KnownAnswer(x.front());
    if (first && KnownAnswer(x.back()) == first && !std::isnan(x.back())) {
      for (const float v : y) {
        worst->wrong_specials +=
            std::bit_cast<uint32_t>(v) != std::bit_cast<uint32_t>(*first);
      }
      continue;
    }
    for (size_t i = 0; i < kBlock; ++i) Judge(x[i], y[i], worst);
  }
}

// Numerics section 2.8: at most 1 ULP over all 2^32 inputs.
TEST(Exp, AtMostOneUlpOnEveryInput) {
  constexpr uint64_t kStep = kSlowBuild ? 509 : 1;
  constexpr int kThreads = 2;
  std::vector<Worst> worst(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    // Alternate slices, as positive and negative inputs cost differently.
    threads.emplace_back([t, &worst] {
      constexpr uint64_t kSlice = uint64_t{1} << 26;
      for (uint64_t s = static_cast<uint64_t>(t); s < 64; s += kThreads) {
        Sweep(s * kSlice, (s + 1) * kSlice, kStep,
              &worst[static_cast<size_t>(t)]);
      }
    });
  }
  for (std::thread& t : threads) t.join();
  double max_ulp = 0.0;
  for (const Worst& w : worst) {
    EXPECT_EQ(w.wrong_specials, 0u);
    EXPECT_LE(w.ulp, 1.0) << "exp(" << w.x << ")";
    max_ulp = std::fmax(max_ulp, w.ulp);
  }
  EXPECT_GT(max_ulp, 0.5) << "the sweep has seen nothing";
  RecordProperty("max_ulp", std::to_string(max_ulp));
}

TEST(Exp, TheSweepsUlpIsTheUlp) {
  test::Random rng(302);
  for (int i = 0; i < 10000; ++i) {
    const double exact =
        std::fabs(static_cast<double>(rng.WithExponent(-149, 127)));
    const float y = static_cast<float>(exact * 1.0000001);
    EXPECT_EQ(FastUlpError(y, exact), test::UlpError(y, exact)) << exact;
  }
}

TEST(Exp, SameBitsOnEveryTier) {
  // Odd: all low bits. ETALON_EXHAUSTIVE=1 asks for all 2^32 inputs.
  const bool all = std::getenv("ETALON_EXHAUSTIVE") != nullptr;
  const uint64_t step = all ? 1 : kSlowBuild ? 8191 : 61;
  constexpr size_t kChunk = 1 << 16;
  std::vector<float> x(kChunk), expected(kChunk), actual(kChunk);
  for (uint64_t base = 0; base < uint64_t{1} << 32; base += kChunk * step) {
    for (size_t i = 0; i < kChunk; ++i) {
      x[i] = std::bit_cast<float>(static_cast<uint32_t>(base + i * step));
    }
    {
      TierScope scope(SimdTier::kScalar);
      simd::Exp(x.data(), expected.data(), kChunk);
    }
    for (const SimdTier tier : SupportedSimdTiers()) {
      if (tier > SimdTier::kAvx512) continue;  // the same code as kAvx512
      TierScope scope(tier);
      simd::Exp(x.data(), actual.data(), kChunk);
      ASSERT_EQ(test::BitDiff(actual, expected), 0u)
          << SimdTierName(tier) << " from bits " << base;
    }
  }
}

TEST(Exp, SpecialValues) {
  for (const SimdTier tier : SupportedSimdTiers()) {
    SCOPED_TRACE(SimdTierName(tier));
    TierScope scope(tier);
    EXPECT_EQ(Exp1(0.0f), 1.0f);
    EXPECT_EQ(Exp1(-0.0f), 1.0f);
    EXPECT_EQ(Exp1(kInf), kInf);
    EXPECT_TRUE(test::SameBits(Exp1(-kInf), 0.0f));
    EXPECT_TRUE(test::SameBits(Exp1(-1e30f), 0.0f));
    EXPECT_TRUE(std::isnan(Exp1(std::nanf("5"))));
    EXPECT_TRUE(std::isnan(Exp1(-std::nanf(""))));
    EXPECT_TRUE(std::isnan(Exp1(std::numeric_limits<float>::signaling_NaN())));
    EXPECT_TRUE(std::isfinite(Exp1(0x1.62e42ep6f)));  // ln(FLT_MAX) rounded
    EXPECT_EQ(Exp1(0x1.62e430p6f), kInf);
    EXPECT_EQ(Exp1(-103.5f), 0x1p-149f);  // the smallest subnormal
  }
}

TEST(Exp, SlicesOfAnyLengthInPlaceOrNot) {
  test::Random rng(301);
  for (const SimdTier tier : SupportedSimdTiers()) {
    TierScope scope(tier);
    for (size_t n = 0; n <= 50; ++n) {
      std::vector<float> x(n), y(n + 1, -7.0f);
      rng.Fill(test::Family::kNormal, x);
      simd::Exp(x.data(), y.data(), n);
      EXPECT_EQ(y[n], -7.0f) << "wrote past the slice";
      std::vector<float> in_place = x;
      simd::Exp(in_place.data(), in_place.data(), n);
      for (size_t i = 0; i < n; ++i) {
        EXPECT_EQ(y[i], Exp1(x[i])) << i << " of " << n;
        EXPECT_EQ(y[i], in_place[i]) << i << " of " << n;
      }
    }
  }
}

}  // namespace
}  // namespace etalon
