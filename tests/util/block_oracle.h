// The block formats once more, element by element, in double: written from the
// format description alone and sharing nothing with quant/ but the layouts.
// Exact: scales are multiples of 2^-24 below 2^16, quants and sub-block scales
// integers below 2^13 together, so every value is a multiple of 2^-24 below
// 2^30 and fits double's 53 bits. Rounding it once gives the right answer.
#ifndef ETALON_TESTS_UTIL_BLOCK_ORACLE_H_
#define ETALON_TESTS_UTIL_BLOCK_ORACLE_H_

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "etalon/types.h"
#include "quant/block_formats.h"

namespace etalon::test {

inline double HalfValue(uint16_t h) {
  const int e = h >> 10 & 31;
  const double s = (h & 0x8000) != 0 ? -1.0 : 1.0;
  const double f = h & 1023;
  if (e == 31) {
    return f != 0 ? std::numeric_limits<double>::quiet_NaN()
                  : s * std::numeric_limits<double>::infinity();
  }
  return s * (e == 0 ? std::ldexp(f, -24) : std::ldexp(f + 1024, e - 25));
}

// Bit i of a little-endian string of bytes.
inline int BitOf(const uint8_t* bytes, size_t i) {
  return (bytes[i / 8] >> (i % 8)) & 1;
}
inline int Nibble(const uint8_t* qs, size_t j) {  // 32-block, halves order
  return j < 16 ? qs[j] % 16 : qs[j - 16] / 16;
}
inline void SubScales(const uint8_t* p, size_t s, int& sc, int& m) {
  if (s < 4) {
    sc = p[s] % 64;
    m = p[s + 4] % 64;
  } else {
    sc = p[s + 4] % 16 + p[s - 4] / 64 * 16;
    m = p[s + 4] / 16 + p[s] / 64 * 16;
  }
}

inline double Element(const BlockQ4_0& b, size_t j) {
  return HalfValue(b.d) * (Nibble(b.qs, j) - 8);
}
inline double Element(const BlockQ4_1& b, size_t j) {
  return HalfValue(b.d) * Nibble(b.qs, j) + HalfValue(b.m);
}
inline double Element(const BlockQ5_0& b, size_t j) {
  return HalfValue(b.d) * (Nibble(b.qs, j) + 16 * BitOf(b.qh, j) - 16);
}
inline double Element(const BlockQ5_1& b, size_t j) {
  return HalfValue(b.d) * (Nibble(b.qs, j) + 16 * BitOf(b.qh, j)) +
         HalfValue(b.m);
}
inline double Element(const BlockQ8_0& b, size_t j) {
  return HalfValue(b.d) * b.qs[j];
}
inline int NibbleK(const uint8_t* qs, size_t j) {
  const size_t chunk = j / 64, in_chunk = j % 64, l = in_chunk % 32;
  const uint8_t byte = qs[32 * chunk + l];
  return in_chunk < 32 ? byte % 16 : byte / 16;
}
inline double Element(const BlockQ4_K& b, size_t j) {
  int sc, m;
  SubScales(b.scales, j / 32, sc, m);
  return HalfValue(b.d) * (sc * NibbleK(b.qs, j)) - HalfValue(b.dmin) * m;
}
inline double Element(const BlockQ5_K& b, size_t j) {
  int sc, m;
  SubScales(b.scales, j / 32, sc, m);
  const size_t chunk = j / 64, l = j % 32;
  const size_t bit = 2 * chunk + (j % 64 < 32 ? 0 : 1);
  const int q = NibbleK(b.qs, j) + 16 * ((b.qh[l] >> bit) & 1);
  return HalfValue(b.d) * (sc * q) - HalfValue(b.dmin) * m;
}
inline double Element(const BlockQ6_K& b, size_t j) {
  const size_t half = j / 128, l = j % 32, quarter = j % 128 / 32;
  const uint8_t low = b.ql[64 * half + l + (quarter % 2 == 1 ? 32 : 0)];
  const int high = b.qh[32 * half + l] >> (2 * quarter) & 3;
  const int q = (quarter < 2 ? low % 16 : low / 16) + 16 * high - 32;
  const int sc = b.scales[8 * half + l / 16 + 2 * quarter];
  return HalfValue(b.d) * sc * q;  // left to right: the sign of zero
}
inline double Element(const BlockQ8_K& b, size_t j) {
  return static_cast<double>(b.d) * b.qs[j];
}

}  // namespace etalon::test

#endif  // ETALON_TESTS_UTIL_BLOCK_ORACLE_H_
