// Panels: 16 weight rows of one block, unpacked so that SIMD lanes are rows.
// A panel is a list of 64-byte lines; line i holds 4 bytes for each of the 16
// rows. Products with one activation row then broadcast 4 activations, no sum
// ever crosses lanes, and the float chain of 16 outputs is one vector fma.
//   lines [0, quads)          quants as u8, elements 4 i .. 4 i + 3 of the row
//   256-blocks:
//   lines [kScaleLine, ...)   one int32 scale per sub-block
//   lines [kPairLine, ...)    int16 pairs that multiply pairs of bsums: mins
//                             (Q4_K, Q5_K) or scales (Q6_K, for its offset 32)
//   line  kDLine              f32 d
//   line  kMLine              f32 -dmin (Q4_K, Q5_K), m (Q4_1, Q5_1)
// Quants are stored with the offset that makes them unsigned; the offset times
// the sum of the activations is taken back in integers.
#ifndef ETALON_SIMD_GEMM_PANEL_H_
#define ETALON_SIMD_GEMM_PANEL_H_

#include <cstddef>
#include <cstdint>

#include "quant/block_formats.h"

namespace etalon::simd {

inline constexpr size_t kPanelRows = 16;
inline constexpr size_t kLineBytes = 4 * kPanelRows;

// kBlock    elements, kQuads lines of quants
// kMax      largest unsigned quant: how many u8 * s8 pair sums fit in int16
// kOffset   stored quant minus value
// kSub      elements per scale (256-blocks)
// kHasMin   Q4_K, Q5_K: T = sum m * bsum; Q4_1, Q5_1: T = sum x
template <size_t block, int max, int offset, size_t sub, bool has_min>
struct PanelShape {
  static constexpr size_t kBlock = block;
  static constexpr size_t kQuads = block / 4;
  static constexpr int kMax = max;
  static constexpr int kOffset = offset;
  static constexpr size_t kSub = sub;
  static constexpr bool kHasMin = has_min;
  static constexpr bool kSuper = block == kQkK;
  static constexpr size_t kScales = kSuper ? block / sub : 0;
  static constexpr size_t kPairs = kScales / 2;
  static constexpr size_t kScaleLine = kQuads;
  static constexpr size_t kPairLine = kScaleLine + kScales;
  static constexpr size_t kDLine = kPairLine + kPairs;
  static constexpr size_t kMLine = kDLine + 1;
  static constexpr size_t kLines = kMLine + (has_min ? 1 : 0);
  static constexpr size_t kBytes = kLines * kLineBytes;
};

template <class Block>
struct PanelFormat;
template <>
struct PanelFormat<BlockQ4_0> : PanelShape<32, 15, 8, 32, false> {};
template <>
struct PanelFormat<BlockQ4_1> : PanelShape<32, 15, 0, 32, true> {};
template <>
struct PanelFormat<BlockQ5_0> : PanelShape<32, 31, 16, 32, false> {};
template <>
struct PanelFormat<BlockQ5_1> : PanelShape<32, 31, 0, 32, true> {};
template <>
struct PanelFormat<BlockQ8_0> : PanelShape<32, 255, 128, 32, false> {};
template <>
struct PanelFormat<BlockQ4_K> : PanelShape<256, 15, 0, 32, true> {};
template <>
struct PanelFormat<BlockQ5_K> : PanelShape<256, 31, 0, 32, true> {};
template <>
struct PanelFormat<BlockQ6_K> : PanelShape<256, 63, 32, 16, false> {};

// Panels of 256 columns, the largest of all types (Q6_K has the most lines, and
// eight small blocks with both d and m come next).
inline constexpr size_t kMaxPanelBytes =
    PanelFormat<BlockQ6_K>::kBytes > 8 * PanelFormat<BlockQ5_1>::kBytes
        ? PanelFormat<BlockQ6_K>::kBytes
        : 8 * PanelFormat<BlockQ5_1>::kBytes;
static_assert(PanelFormat<BlockQ5_K>::kBytes <= kMaxPanelBytes);

// Activation rows that share one pass over the weights: their accumulators
// stay in the second-level cache.
inline constexpr size_t kTokenTile = 512;
inline constexpr size_t kMaxGroups = 2;  // panels side by side
// Panels that share one pass over the activations: their accumulators stay in
// the second-level cache. AMX: panels whose digits stay in the first.
inline constexpr size_t kMaxPanels = 16;
inline constexpr size_t kAmxGroups = 2;
// What AMX keeps beside panels and accumulators: digits and result tiles.
inline constexpr size_t kAmxScratchBytes =
    kAmxGroups * 2 * 64 * kLineBytes + 8 * 1024;

}  // namespace etalon::simd

#endif  // ETALON_SIMD_GEMM_PANEL_H_
