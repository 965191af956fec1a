// Weight blocks of 16 rows to one panel (gemm_panel.h), four quants at a time
// inside a 32-bit word. Portable; layouts in quant/block_formats.h.
#ifndef ETALON_SIMD_GEMM_UNPACK_H_
#define ETALON_SIMD_GEMM_UNPACK_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "quant/block_formats.h"
#include "quant/f16.h"
#include "simd/gemm_panel.h"

namespace etalon::simd {

// One row's column of a panel.
class PanelColumn {
 public:
  PanelColumn(std::byte* panel, size_t lane) : at_(panel + 4 * lane) {}
  void Set(size_t line, uint32_t word) const {
    std::memcpy(at_ + line * kLineBytes, &word, sizeof(word));
  }
  void Set(size_t line, float value) const {
    Set(line, std::bit_cast<uint32_t>(value));
  }

 private:
  std::byte* at_;
};

inline uint32_t LoadWord(const void* p) {
  uint32_t w;
  std::memcpy(&w, p, sizeof(w));
  return w;
}

inline constexpr uint32_t kLow4 = 0x0f0f0f0fu;
inline constexpr uint32_t kLow2 = 0x03030303u;
inline constexpr uint32_t kLow1 = 0x01010101u;

// Bits 0..3 of v to bit 4 of bytes 0..3: multiples of 7 move bit i to 8 i.
inline uint32_t SpreadFifthBits(uint32_t v) {
  return (((v & 0xf) * 0x00204081u) & kLow1) << 4;
}

inline void UnpackColumn(const BlockQ4_0& b, PanelColumn out) {
  using F = PanelFormat<BlockQ4_0>;
  for (size_t i = 0; i < 4; ++i) {
    const uint32_t w = LoadWord(b.qs + 4 * i);
    out.Set(i, w & kLow4);
    out.Set(i + 4, w >> 4 & kLow4);
  }
  out.Set(F::kDLine, F16ToF32(b.d));
}

inline void UnpackColumn(const BlockQ4_1& b, PanelColumn out) {
  using F = PanelFormat<BlockQ4_1>;
  for (size_t i = 0; i < 4; ++i) {
    const uint32_t w = LoadWord(b.qs + 4 * i);
    out.Set(i, w & kLow4);
    out.Set(i + 4, w >> 4 & kLow4);
  }
  out.Set(F::kDLine, F16ToF32(b.d));
  out.Set(F::kMLine, F16ToF32(b.m));
}

inline void UnpackNibblesAndFifthBits(const uint8_t* qs, const uint8_t* qh,
                                      PanelColumn out) {
  const uint32_t high = LoadWord(qh);
  for (size_t i = 0; i < 4; ++i) {
    const uint32_t w = LoadWord(qs + 4 * i);
    out.Set(i, (w & kLow4) | SpreadFifthBits(high >> 4 * i));
    out.Set(i + 4, (w >> 4 & kLow4) | SpreadFifthBits(high >> (16 + 4 * i)));
  }
}

inline void UnpackColumn(const BlockQ5_0& b, PanelColumn out) {
  using F = PanelFormat<BlockQ5_0>;
  UnpackNibblesAndFifthBits(b.qs, b.qh, out);
  out.Set(F::kDLine, F16ToF32(b.d));
}

inline void UnpackColumn(const BlockQ5_1& b, PanelColumn out) {
  using F = PanelFormat<BlockQ5_1>;
  UnpackNibblesAndFifthBits(b.qs, b.qh, out);
  out.Set(F::kDLine, F16ToF32(b.d));
  out.Set(F::kMLine, F16ToF32(b.m));
}

inline void UnpackColumn(const BlockQ8_0& b, PanelColumn out) {
  using F = PanelFormat<BlockQ8_0>;
  for (size_t i = 0; i < F::kQuads; ++i) {
    out.Set(i, LoadWord(b.qs + 4 * i) ^ 0x80808080u);
  }
  out.Set(F::kDLine, F16ToF32(b.d));
}

// 6-bit scales and mins, four to a word, without leaving the word.
struct KScaleWords {
  uint32_t sc[2];
  uint32_t m[2];
};
inline KScaleWords UnpackScaleWords(const uint8_t packed[12]) {
  const uint32_t w0 = LoadWord(packed);
  const uint32_t w1 = LoadWord(packed + 4);
  const uint32_t w2 = LoadWord(packed + 8);
  constexpr uint32_t kLow6 = 0x3f3f3f3fu;
  constexpr uint32_t kTop2 = 0x30303030u;
  return {{w0 & kLow6, (w2 & kLow4) | (w0 >> 2 & kTop2)},
          {w1 & kLow6, (w2 >> 4 & kLow4) | (w1 >> 2 & kTop2)}};
}

template <class Block>
inline void UnpackKHeader(const Block& b, PanelColumn out) {
  using F = PanelFormat<Block>;
  const KScaleWords s = UnpackScaleWords(b.scales);
  for (size_t i = 0; i < F::kScales; ++i) {
    out.Set(F::kScaleLine + i, s.sc[i / 4] >> 8 * (i % 4) & 0xff);
  }
  for (size_t i = 0; i < F::kPairs; ++i) {
    const uint32_t two = s.m[i / 2] >> 16 * (i % 2);
    out.Set(F::kPairLine + i, (two & 0xff) | (two & 0xff00) << 8);
  }
  out.Set(F::kDLine, F16ToF32(b.d));
  out.Set(F::kMLine, -F16ToF32(b.dmin));
}

inline void UnpackColumn(const BlockQ4_K& b, PanelColumn out) {
  for (size_t c = 0; c < 4; ++c) {
    for (size_t i = 0; i < 8; ++i) {
      const uint32_t w = LoadWord(b.qs + 32 * c + 4 * i);
      out.Set(16 * c + i, w & kLow4);
      out.Set(16 * c + 8 + i, w >> 4 & kLow4);
    }
  }
  UnpackKHeader(b, out);
}

inline void UnpackColumn(const BlockQ5_K& b, PanelColumn out) {
  for (size_t c = 0; c < 4; ++c) {
    for (size_t i = 0; i < 8; ++i) {
      const uint32_t w = LoadWord(b.qs + 32 * c + 4 * i);
      const uint32_t h = LoadWord(b.qh + 4 * i) >> 2 * c;
      out.Set(16 * c + i, (w & kLow4) | (h & kLow1) << 4);
      out.Set(16 * c + 8 + i, (w >> 4 & kLow4) | (h >> 1 & kLow1) << 4);
    }
  }
  UnpackKHeader(b, out);
}

inline void UnpackColumn(const BlockQ6_K& b, PanelColumn out) {
  using F = PanelFormat<BlockQ6_K>;
  for (size_t n = 0; n < 2; ++n) {
    for (size_t i = 0; i < 8; ++i) {
      const uint32_t lo = LoadWord(b.ql + 64 * n + 4 * i);
      const uint32_t hi = LoadWord(b.ql + 64 * n + 32 + 4 * i);
      const uint32_t top = LoadWord(b.qh + 32 * n + 4 * i);
      const size_t line = 32 * n + i;
      out.Set(line, (lo & kLow4) | (top & kLow2) << 4);
      out.Set(line + 8, (hi & kLow4) | (top >> 2 & kLow2) << 4);
      out.Set(line + 16, (lo >> 4 & kLow4) | (top >> 4 & kLow2) << 4);
      out.Set(line + 24, (hi >> 4 & kLow4) | (top >> 6 & kLow2) << 4);
    }
  }
  for (size_t i = 0; i < F::kScales; ++i) {
    out.Set(F::kScaleLine + i, static_cast<uint32_t>(int32_t{b.scales[i]}));
  }
  for (size_t i = 0; i < F::kPairs; ++i) {
    const uint32_t lo = static_cast<uint32_t>(int32_t{b.scales[2 * i]});
    const uint32_t hi = static_cast<uint32_t>(int32_t{b.scales[2 * i + 1]});
    out.Set(F::kPairLine + i, (lo & 0xffff) | hi << 16);
  }
  out.Set(F::kDLine, F16ToF32(b.d));
}

// Block number `block` of 16 rows. Rows may start at any address.
template <class Block>
inline void UnpackPanel(const std::byte* const rows[kPanelRows], size_t block,
                        std::byte* panel) {
  for (size_t lane = 0; lane < kPanelRows; ++lane) {
    Block b;
    std::memcpy(&b, rows[lane] + block * sizeof(Block), sizeof(Block));
    UnpackColumn(b, PanelColumn(panel, lane));
  }
}

}  // namespace etalon::simd

#endif  // ETALON_SIMD_GEMM_UNPACK_H_
