// Byte layouts of the block formats, as GGUF stores them (little-endian; f16 is
// IEEE half as raw bits). Layouts only: no code, so that the reference may
// include this file without sharing any arithmetic with the fast path.
//
// 32-blocks: element j < 16 is the low nibble of qs[j], element j + 16 the high
// nibble; the fifth bit of element j is bit j of the 32-bit qh.
//   Q4_0  w = d * (q - 8)            Q4_1  w = d * q + m
//   Q5_0  w = d * (q - 16)           Q5_1  w = d * q + m
//   Q8_0  w = d * q
// 256-blocks (super-blocks):
//   Q4_K  8 sub-blocks of 32. Chunk c of 64 weights (c = 0..3): element
//         64 c + l (l < 32) is the low nibble of qs[32 c + l], sub-block 2 c;
//         element 64 c + 32 + l its high nibble, sub-block 2 c + 1.
//         w = d * sc[s] * q - dmin * m[s]; 6-bit sc and m are packed:
//         s < 4:  sc = scales[s] & 63, m = scales[s + 4] & 63
//         s >= 4: sc = (scales[s + 4] & 15) | (scales[s - 4] >> 6) << 4
//                 m  = (scales[s + 4] >> 4) | (scales[s] >> 6) << 4
//   Q5_K  as Q4_K, and element l of chunk c takes bit 2 c (low nibbles) or
//         2 c + 1 (high nibbles) of qh[l] as bit 4.
//   Q6_K  two halves of 128; in half n, l < 32, is = l / 16: elements l,
//         l + 32, l + 64, l + 96 are
//           ql[l] & 15 | (qh[l] & 3) << 4,      ql[l + 32] & 15 | (qh[l] >> 2 &
//           3) << 4, ql[l] >> 4 | (qh[l] >> 4 & 3) << 4, ql[l + 32] >> 4 |
//           (qh[l] >> 6 & 3) << 4
//         minus 32, with scales is, is + 2, is + 4, is + 6; the next half
//         advances ql by 64, qh by 32, scales by 8. w = d * sc * q.
//   Q8_K  activations: x = d * q, d f32; bsums[j] = sum of q over 16 j .. + 15.
// Format source: the GGUF specification and ggml's quantisation formats.
#ifndef ETALON_QUANT_BLOCK_FORMATS_H_
#define ETALON_QUANT_BLOCK_FORMATS_H_

#include <cstddef>
#include <cstdint>

namespace etalon {

inline constexpr size_t kQk = 32;    // elements of a small block
inline constexpr size_t kQkK = 256;  // elements of a super-block

struct BlockQ4_0 {
  uint16_t d;  // f16
  uint8_t qs[kQk / 2];
};
struct BlockQ4_1 {
  uint16_t d;
  uint16_t m;  // f16
  uint8_t qs[kQk / 2];
};
struct BlockQ5_0 {
  uint16_t d;
  uint8_t qh[4];
  uint8_t qs[kQk / 2];
};
struct BlockQ5_1 {
  uint16_t d;
  uint16_t m;
  uint8_t qh[4];
  uint8_t qs[kQk / 2];
};
struct BlockQ8_0 {
  uint16_t d;
  int8_t qs[kQk];
};
struct BlockQ4_K {
  uint16_t d;
  uint16_t dmin;
  uint8_t scales[12];
  uint8_t qs[kQkK / 2];
};
struct BlockQ5_K {
  uint16_t d;
  uint16_t dmin;
  uint8_t scales[12];
  uint8_t qh[kQkK / 8];
  uint8_t qs[kQkK / 2];
};
struct BlockQ6_K {
  uint8_t ql[kQkK / 2];
  uint8_t qh[kQkK / 4];
  int8_t scales[kQkK / 16];
  uint16_t d;
};
struct BlockQ8_K {
  float d;
  int8_t qs[kQkK];
  int16_t bsums[kQkK / 16];
};

static_assert(sizeof(BlockQ4_0) == 18);
static_assert(sizeof(BlockQ4_1) == 20);
static_assert(sizeof(BlockQ5_0) == 22);
static_assert(sizeof(BlockQ5_1) == 24);
static_assert(sizeof(BlockQ8_0) == 34);
static_assert(sizeof(BlockQ4_K) == 144);
static_assert(sizeof(BlockQ5_K) == 176);
static_assert(sizeof(BlockQ6_K) == 210);
static_assert(sizeof(BlockQ8_K) == 292);

}  // namespace etalon

#endif  // ETALON_QUANT_BLOCK_FORMATS_H_
