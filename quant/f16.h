// f16 (IEEE half) and bf16 as raw bits, to and from f32. Portable integer code:
// the same bits on every machine, and a second opinion on the hardware's own
// conversions.
// Widening is exact. Narrowing rounds to nearest even; f16 overflows to Inf
// from 65520 on (the midpoint above 65504) and underflows through subnormals.
// NaN stays NaN: sign and leading payload bits are kept and the quiet bit is
// set, except that BF16ToF32 only shifts and keeps a signalling NaN as it is.
#ifndef ETALON_QUANT_F16_H_
#define ETALON_QUANT_F16_H_

#include <bit>
#include <cstdint>

namespace etalon {

inline constexpr uint16_t kF16NaN = 0x7e00;

inline float F16ToF32(uint16_t h) {
  const uint32_t sign = (h & 0x8000u) << 16;
  const uint32_t magnitude = h & 0x7fffu;
  constexpr uint32_t kExponentShift =
      127 - 15;  // bias of f32 minus that of f16
  uint32_t bits;
  if (magnitude >= 0x7c00) {
    const uint32_t mantissa = magnitude & 0x3ff;
    bits = 0x7f800000u | mantissa << 13 | (mantissa != 0 ? 0x400000u : 0u);
  } else if (magnitude >= 0x400) {
    bits = (magnitude << 13) + (kExponentShift << 23);
  } else {  // subnormal: an integer multiple of 2^-24, exact in f32
    bits = std::bit_cast<uint32_t>(static_cast<float>(magnitude) * 0x1p-24f);
  }
  return std::bit_cast<float>(sign | bits);
}

inline uint16_t F32ToF16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint32_t sign = bits >> 16 & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  uint32_t h;
  if (magnitude > 0x7f800000) {
    h = 0x7e00u | (magnitude >> 13 & 0x3ffu);
  } else if (magnitude >= 0x477ff000) {  // 65520
    h = 0x7c00u;
  } else if (magnitude >= 0x38800000) {  // 2^-14: normal in f16
    const uint32_t odd = magnitude >> 13 & 1;
    h = (magnitude + 0xfffu + odd - (112u << 23)) >> 13;
  } else {
    // 0.5 has an ulp of 2^-24, the subnormal step of f16: the addition rounds
    // to that grid and leaves the code in the low mantissa bits.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    h = std::bit_cast<uint32_t>(shifted) - 0x3f000000u;
  }
  return static_cast<uint16_t>(sign | h);
}

inline float BF16ToF32(uint16_t b) {
  return std::bit_cast<float>(static_cast<uint32_t>(b) << 16);
}

inline uint16_t F32ToBF16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return static_cast<uint16_t>(bits >> 16 | 0x40u);
  }
  const uint32_t odd = bits >> 16 & 1;
  return static_cast<uint16_t>((bits + 0x7fffu + odd) >> 16);
}

}  // namespace etalon

#endif  // ETALON_QUANT_F16_H_
