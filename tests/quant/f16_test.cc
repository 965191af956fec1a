#include "quant/f16.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace etalon {
namespace {

// The definition: (-1)^s 2^(e - bias) (1 + m), e = 0 subnormal.
double Value(uint32_t code, int exponent_bits, int mantissa_bits) {
  const uint32_t exponent = code >> mantissa_bits & ((1u << exponent_bits) - 1);
  const uint32_t mantissa = code & ((1u << mantissa_bits) - 1);
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const double sign =
      (code >> (exponent_bits + mantissa_bits) & 1) != 0 ? -1.0 : 1.0;
  if (exponent == (1u << exponent_bits) - 1) {
    return mantissa != 0 ? std::numeric_limits<double>::quiet_NaN()
                         : sign * std::numeric_limits<double>::infinity();
  }
  if (exponent == 0)
    return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp(mantissa + (1u << mantissa_bits),
                           static_cast<int>(exponent) - bias - mantissa_bits);
}
double F16Value(uint32_t code) { return Value(code, 5, 10); }
double BF16Value(uint32_t code) { return Value(code, 8, 7); }

TEST(F16, WideningIsExactForEveryCode) {
  for (uint32_t code = 0; code < 0x10000; ++code) {
    const double expected = F16Value(code);
    const float actual = F16ToF32(static_cast<uint16_t>(code));
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(actual)) << code;
      ASSERT_NE(std::bit_cast<uint32_t>(actual) & 0x400000u, 0u) << code;
    } else {
      ASSERT_EQ(static_cast<double>(actual), expected) << code;
    }
    ASSERT_EQ(std::signbit(actual), code >= 0x8000) << code;
  }
}

TEST(BF16, WideningIsExactForEveryCode) {
  for (uint32_t code = 0; code < 0x10000; ++code) {
    const float actual = BF16ToF32(static_cast<uint16_t>(code));
    const double expected = BF16Value(code);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(actual)) << code;
    } else {
      ASSERT_EQ(static_cast<double>(actual), expected) << code;
    }
    ASSERT_EQ(std::bit_cast<uint32_t>(actual), code << 16);
  }
}

// Between neighbouring codes a < b the whole interval rounds by its midpoint
// (exact in f32): checking the midpoint and its two f32 neighbours on every
// pair decides every input, since the conversion is monotone. The step above
// the largest finite value rounds to Inf as if the format went on.
template <class Narrow>
void CheckMidpoints(Narrow narrow, double (*value)(uint32_t), uint32_t inf) {
  for (uint32_t a = 0; a < inf; ++a) {
    const uint32_t b = a + 1;
    const double va = value(a);
    const double vb = b < inf ? value(b) : va + (va - value(a - 1));
    const double exact_middle = va + (vb - va) / 2;
    const float middle = static_cast<float>(exact_middle);
    if (std::isinf(middle)) continue;  // bf16 at the end of f32's range
    ASSERT_EQ(static_cast<double>(middle), exact_middle) << a;
    const uint32_t even = a % 2 == 0 ? a : b;
    const float below = std::nextafter(middle, 0.0f);
    const float above =
        std::nextafter(middle, std::numeric_limits<float>::infinity());
    for (const uint32_t sign : {0u, 0x8000u}) {
      const float s = sign != 0 ? -1.0f : 1.0f;
      ASSERT_EQ(narrow(s * static_cast<float>(va)), sign | a) << a;
      ASSERT_EQ(narrow(s * middle), sign | even) << a;
      ASSERT_EQ(narrow(s * below), sign | a) << a;
      ASSERT_EQ(narrow(s * above), sign | b) << a;
    }
  }
}

TEST(F16, NarrowingRoundsToNearestEvenAtEveryMidpoint) {
  CheckMidpoints(F32ToF16, F16Value, 0x7c00);
  EXPECT_EQ(F32ToF16(65519.996f), 0x7bff);
  EXPECT_EQ(F32ToF16(65520.0f), 0x7c00);
}

TEST(BF16, NarrowingRoundsToNearestEvenAtEveryMidpoint) {
  CheckMidpoints(F32ToBF16, BF16Value, 0x7f80);
  EXPECT_EQ(F32ToBF16(std::numeric_limits<float>::max()), 0x7f80);
}

TEST(F16, NarrowingIsMonotoneOverADenseSample) {
  for (const auto narrow : {F32ToF16, F32ToBF16}) {
    uint16_t last = 0;
    for (uint32_t bits = 0; bits <= 0x7f800000u; bits += 97) {
      const uint16_t code = narrow(std::bit_cast<float>(bits));
      ASSERT_GE(code, last) << std::hex << bits;
      ASSERT_EQ(narrow(std::bit_cast<float>(bits | 0x80000000u)),
                code | 0x8000);
      last = code;
    }
  }
}

TEST(F16, NonFiniteNarrowing) {
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(F32ToF16(inf), 0x7c00);
  EXPECT_EQ(F32ToF16(-inf), 0xfc00);
  EXPECT_EQ(F32ToBF16(inf), 0x7f80);
  EXPECT_EQ(F32ToBF16(-inf), 0xff80);
  // A NaN whose payload sits in the bits that are cut off stays a NaN.
  for (const uint32_t payload : {1u, 0x1fffu, 0xffffu, 0x400000u, 0x7fffffu}) {
    for (const uint32_t sign : {0u, 0x80000000u}) {
      const float nan = std::bit_cast<float>(sign | 0x7f800000u | payload);
      EXPECT_TRUE(std::isnan(F16ToF32(F32ToF16(nan)))) << payload;
      EXPECT_TRUE(std::isnan(BF16ToF32(F32ToBF16(nan)))) << payload;
      EXPECT_EQ(F32ToF16(nan) >> 15, sign >> 31);
      EXPECT_EQ(F32ToBF16(nan) >> 15, sign >> 31);
    }
  }
}

TEST(F16, RoundTripIsTheIdentity) {
  for (uint32_t code = 0; code < 0x10000; ++code) {
    const uint16_t h = static_cast<uint16_t>(code);
    if (!std::isnan(F16Value(code))) {
      ASSERT_EQ(F32ToF16(F16ToF32(h)), h);
    }
    if (!std::isnan(BF16Value(code))) {
      ASSERT_EQ(F32ToBF16(BF16ToF32(h)), h);
    }
  }
}

}  // namespace
}  // namespace etalon
