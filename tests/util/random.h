// Random test data that anybody can regenerate in any language: Philox4x32-10
// (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), a
// pure function of (seed, stream, index), integer arithmetic only. Floats are
// made from its words exactly, so no libm and no rounding mode shows.
//   counter = (index_lo, index_hi, stream, 0), key = (seed_lo, seed_hi);
//   one counter value per drawn number.
#ifndef ETALON_TESTS_UTIL_RANDOM_H_
#define ETALON_TESTS_UTIL_RANDOM_H_

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace etalon::test {

using Philox4 = std::array<uint32_t, 4>;

inline Philox4 Philox4x32_10(Philox4 ctr, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * ctr[0];
    const uint64_t b = uint64_t{0xCD9E8D57u} * ctr[2];
    ctr = {static_cast<uint32_t>(b >> 32) ^ ctr[1] ^ key[0],
           static_cast<uint32_t>(b),
           static_cast<uint32_t>(a >> 32) ^ ctr[3] ^ key[1],
           static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9u;  // golden ratio
    key[1] += 0xBB67AE85u;  // sqrt(3) - 1
  }
  return ctr;
}

// --gtest_random_seed, else ETALON_TEST_SEED, else a constant, so that a plain
// run is the same everywhere and a failing seed can be repeated.
inline uint64_t TestSeed() {
  const int flag = GTEST_FLAG_GET(random_seed);
  if (flag != 0) return static_cast<uint64_t>(flag);
  if (const char* env = std::getenv("ETALON_TEST_SEED")) {
    return std::strtoull(env, nullptr, 10);
  }
  return 20261;
}
inline std::string SeedNote() {
  const uint64_t seed = TestSeed();
  if (seed <= 99999) {  // the range of gtest's flag
    return "repeat with --gtest_random_seed=" + std::to_string(seed);
  }
  return "repeat with ETALON_TEST_SEED=" + std::to_string(seed);
}

// Kinds of input data. Every op is tested with each that makes sense for it.
enum class Family {
  kNormal,     // bell of standard deviation 0.816, exact multiples of 2^-16
  kUniform,    // [-1, 1), multiples of 2^-23
  kWide,       // random sign and mantissa, exponents -20 .. 20
  kExactInt,   // small integers: every sum is exact, any order must agree
  kLarge,      // normal * 80: scores that saturate a softmax
  kOutlier,    // normal, every 61st element 60 times larger
  kOffset,     // 50 + 0.01 * uniform: sums cancel after centring
  kCancel,     // pairs that nearly cancel: x, -x (1 + small)
  kSubnormal,  // |x| < 2^-126
  kTiny,       // exponents -140 .. -110: products underflow
  kConstant,   // all equal
  kZero,       // signed zeros
};
inline constexpr Family kFamilies[] = {
    Family::kNormal,    Family::kUniform, Family::kWide,     Family::kExactInt,
    Family::kLarge,     Family::kOutlier, Family::kOffset,   Family::kCancel,
    Family::kSubnormal, Family::kTiny,    Family::kConstant, Family::kZero};

inline std::string_view FamilyName(Family f) {
  constexpr std::string_view kNames[] = {
      "normal", "uniform", "wide",      "exact_int", "large",    "outlier",
      "offset", "cancel",  "subnormal", "tiny",      "constant", "zero"};
  return kNames[static_cast<size_t>(f)];
}

// A cursor over one stream.
class Random {
 public:
  explicit Random(uint32_t stream) : Random(TestSeed(), stream) {}
  Random(uint64_t seed, uint32_t stream) : seed_(seed), stream_(stream) {}

  Philox4 Words() {
    const uint64_t i = index_++;
    return Philox4x32_10(
        {static_cast<uint32_t>(i), static_cast<uint32_t>(i >> 32), stream_, 0},
        {static_cast<uint32_t>(seed_), static_cast<uint32_t>(seed_ >> 32)});
  }
  uint32_t Bits() { return Words()[0]; }
  // 0 .. n - 1; the bias of at most n / 2^32 does not matter in tests.
  size_t Below(size_t n) {
    return static_cast<size_t>((uint64_t{Bits()} * n) >> 32);
  }
  // [0, 1), multiples of 2^-24.
  float Uniform01() { return static_cast<float>(Bits() >> 8) * 0x1p-24f; }
  // [-1, 1), multiples of 2^-23.
  float Uniform() {
    return static_cast<float>(static_cast<int32_t>(Bits() >> 8) - (1 << 23)) *
           0x1p-23f;
  }
  // Sum of eight 16-bit fields, centred: |sum| < 2^19, so exact in f32.
  float Normal() {
    int32_t sum = -262140;
    for (const uint32_t w : Words()) {
      sum += static_cast<int32_t>((w & 0xFFFFu) + (w >> 16));
    }
    return static_cast<float>(sum) * 0x1p-16f;
  }
  // Random sign and mantissa, exponent uniform in [min_exp, max_exp].
  float WithExponent(int min_exp, int max_exp) {
    const Philox4 w = Words();
    const float mantissa =
        std::bit_cast<float>((w[0] & 0x807FFFFFu) | 0x3F800000u);
    const uint64_t span = static_cast<uint64_t>(max_exp - min_exp + 1);
    return std::ldexp(mantissa,
                      min_exp + static_cast<int>((w[1] * span) >> 32));
  }

  float Draw(Family f, size_t i) {
    switch (f) {
      case Family::kNormal:
        return Normal();
      case Family::kUniform:
        return Uniform();
      case Family::kWide:
        return WithExponent(-20, 20);
      case Family::kExactInt:
        return static_cast<float>(static_cast<int>(Below(17)) - 8);
      case Family::kLarge:
        return Normal() * 80.0f;
      case Family::kOutlier:
        return Normal() * (i % 61 == 7 ? 60.0f : 1.0f);
      case Family::kOffset:
        return 50.0f + 0.01f * Uniform();
      case Family::kCancel:
        if (i % 2 == 0) return last_ = Normal() + 2.0f;
        return -last_ * (1.0f + 0x1p-18f * Uniform());
      case Family::kSubnormal:
        return std::bit_cast<float>(Bits() & 0x807FFFFFu);
      case Family::kTiny:
        return WithExponent(-140, -110);
      case Family::kConstant:
        return 0.3f;
      case Family::kZero:
        return (Bits() & 1) != 0 ? 0.0f : -0.0f;
    }
    return 0.0f;
  }
  void Fill(Family f, std::span<float> out) {
    for (size_t i = 0; i < out.size(); ++i) out[i] = Draw(f, i);
  }
  std::vector<float> Vector(Family f, size_t n) {
    std::vector<float> v(n);
    Fill(f, v);
    return v;
  }

 private:
  uint64_t seed_;
  uint64_t index_ = 0;
  uint32_t stream_;
  float last_ = 1.0f;
};

}  // namespace etalon::test

#endif  // ETALON_TESTS_UTIL_RANDOM_H_
