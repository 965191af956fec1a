#include "tests/amx/tile_unit.h"

#include <cstring>
#include <initializer_list>

// Loops over the 16 lanes of a row, for the compiler to make vectors of. VNNI
// is left out: with it g++ 12 takes signed bytes for unsigned ones in such
// sums.
#define ETALON_VECTOR __attribute__((target("avx2,fma"), noinline))

namespace etalon::amx {
namespace {

constexpr int kLanes = kRowBytes / 4;

const char* LoadConfig(const void* from, TileUnit& unit) {
  TileConfig c;
  std::memcpy(&c, from, sizeof c);
  if (c.palette == 0) {
    unit = {};
    return nullptr;
  }
  if (c.palette != 1) return "#GP: ldtilecfg: palette is neither 0 nor 1";
  for (const uint8_t byte : c.reserved0) {
    if (byte != 0) return "#GP: ldtilecfg: reserved bytes 2-15 are not zero";
  }
  for (int t = 0; t < 16; ++t) {
    if (t >= kNumTiles && (c.row_bytes[t] != 0 || c.rows[t] != 0)) {
      return "#GP: ldtilecfg: tiles 8-15, which palette 1 lacks, are not zero";
    }
    if (c.row_bytes[t] > kRowBytes) return "#GP: ldtilecfg: colsb above 64";
    if (c.rows[t] > kMaxRows) return "#GP: ldtilecfg: rows above 16";
    if ((c.row_bytes[t] == 0) != (c.rows[t] == 0)) {
      return "#GP: ldtilecfg: of a tile's rows and colsb one alone is zero";
    }
  }
  unit = {};
  unit.config = c;
  return nullptr;
}

const char* CheckTile(const TileUnit& unit, int tile) {
  if (unit.config.palette == 0) return "#UD: no tiles are configured";
  if (unit.config.rows[tile] == 0) return "#UD: this tile is not configured";
  return nullptr;
}

// Rows before start_row were done before an interruption.
void Load(const TileInstruction& i, TileUnit& unit) {
  const int rows = unit.config.rows[i.tile];
  const size_t bytes = unit.config.row_bytes[i.tile];
  for (int r = unit.config.start_row; r < rows; ++r) {
    const uint64_t from = i.address + static_cast<uint64_t>(r) * i.stride;
    std::memcpy(unit.data[i.tile][r], reinterpret_cast<const void*>(from),
                bytes);
  }
}

void Store(const TileInstruction& i, const TileUnit& unit) {
  const int rows = unit.config.rows[i.tile];
  const size_t bytes = unit.config.row_bytes[i.tile];
  for (int r = unit.config.start_row; r < rows; ++r) {
    const uint64_t to = i.address + static_cast<uint64_t>(r) * i.stride;
    std::memcpy(reinterpret_cast<void*>(to), unit.data[i.tile][r], bytes);
  }
}

const char* CheckDot(const TileInstruction& i, const TileUnit& unit) {
  for (const int tile : {i.tile, i.a, i.b}) {
    if (const char* fault = CheckTile(unit, tile)) return fault;
    if (unit.config.row_bytes[tile] % 4 != 0) {
      return "#UD: product: colsb is no multiple of 4";
    }
  }
  if (i.tile == i.a || i.tile == i.b || i.a == i.b) {
    return "#UD: product: two operands are the same tile";
  }
  const TileConfig& c = unit.config;
  if (c.rows[i.tile] != c.rows[i.a]) {
    return "#UD: product: the destination's rows are not the first factor's";
  }
  if (c.row_bytes[i.tile] != c.row_bytes[i.b]) {
    return "#UD: product: the destination's colsb is not the second factor's";
  }
  if (c.row_bytes[i.a] / 4 != c.rows[i.b]) {
    return "#UD: product: the first factor's colsb / 4 is not the second's "
           "rows";
  }
  return nullptr;
}

// c[m][n] += sum of a[m][4 k + j] * b[k][4 n + j] over k and j, modulo 2^32.
// Lanes beyond the configured ones have zeros in b and stay zero.
template <class A, class B>
ETALON_VECTOR void DotInt8(const TileInstruction& i, TileUnit& unit) {
  const int rows = unit.config.rows[i.tile];
  const int depth = unit.config.rows[i.b];
  uint32_t b[kMaxRows][4][kLanes];
  for (int k = 0; k < depth; ++k) {
    for (int n = 0; n < kLanes; ++n) {
      for (int j = 0; j < 4; ++j) {
        const B value = static_cast<B>(unit.data[i.b][k][4 * n + j]);
        b[k][j][n] = static_cast<uint32_t>(static_cast<int32_t>(value));
      }
    }
  }
  for (int m = 0; m < rows; ++m) {
    uint32_t sums[kLanes];
    std::memcpy(sums, unit.data[i.tile][m], sizeof sums);
    for (int k = 0; k < depth; ++k) {
      for (int j = 0; j < 4; ++j) {
        const A value = static_cast<A>(unit.data[i.a][m][4 * k + j]);
        const auto a = static_cast<uint32_t>(static_cast<int32_t>(value));
        for (int n = 0; n < kLanes; ++n) sums[n] += a * b[k][j][n];
      }
    }
    std::memcpy(unit.data[i.tile][m], sums, sizeof sums);
  }
}

uint32_t Mxcsr() {
  uint32_t value;
  asm volatile("stmxcsr %0" : "=m"(value));
  return value;
}
void SetMxcsr(uint32_t value) {
  asm volatile("ldmxcsr %0" ::"m"(value) : "memory");
}

// Even and odd products sum apart, by fma, and meet at the end:
//   even[n] = fma(a[m][2 k], b[k][2 n], even[n]) for ascending k, odd likewise
//   c[m][n] += even[n] + odd[n]
// A function of its own, so that none of it is moved out of the control word's
// reach.
ETALON_VECTOR void DotBf16(const TileInstruction& i, TileUnit& unit) {
  const int rows = unit.config.rows[i.tile];
  const int depth = unit.config.rows[i.b];
  const auto widen = [](uint32_t bits) {
    float f;
    std::memcpy(&f, &bits, sizeof f);
    return f;
  };
  float b[kMaxRows][2][kLanes];
  for (int k = 0; k < depth; ++k) {
    for (int n = 0; n < kLanes; ++n) {
      uint32_t pair;
      std::memcpy(&pair, &unit.data[i.b][k][4 * n], sizeof pair);
      b[k][0][n] = widen(pair << 16);
      b[k][1][n] = widen(pair & 0xffff0000u);
    }
  }
  for (int m = 0; m < rows; ++m) {
    float even[kLanes] = {}, odd[kLanes] = {}, c[kLanes];
    for (int k = 0; k < depth; ++k) {
      uint32_t pair;
      std::memcpy(&pair, &unit.data[i.a][m][4 * k], sizeof pair);
      const float a0 = widen(pair << 16), a1 = widen(pair & 0xffff0000u);
      for (int n = 0; n < kLanes; ++n) {
        even[n] = __builtin_fmaf(a0, b[k][0][n], even[n]);
        odd[n] = __builtin_fmaf(a1, b[k][1][n], odd[n]);
      }
    }
    std::memcpy(c, unit.data[i.tile][m], sizeof c);
    for (int n = 0; n < kLanes; ++n) c[n] = c[n] + (even[n] + odd[n]);
    // Not more: an infinite a times the zeros beyond makes NaN.
    std::memcpy(unit.data[i.tile][m], c, unit.config.row_bytes[i.tile]);
  }
}

const char* Dot(const TileInstruction& i, TileUnit& unit) {
  if (const char* fault = CheckDot(i, unit)) return fault;
  switch (i.op) {
    case TileOp::kDotSS:
      DotInt8<int8_t, int8_t>(i, unit);
      break;
    case TileOp::kDotSU:
      DotInt8<int8_t, uint8_t>(i, unit);
      break;
    case TileOp::kDotUS:
      DotInt8<uint8_t, int8_t>(i, unit);
      break;
    case TileOp::kDotUU:
      DotInt8<uint8_t, uint8_t>(i, unit);
      break;
    default: {
      // Denormals are zero, in and out; to nearest even; nothing is raised.
      constexpr uint32_t kFtz = 1u << 15, kDaz = 1u << 6, kMasks = 0x3fu << 7;
      const uint32_t saved = Mxcsr();
      SetMxcsr(kFtz | kDaz | kMasks);
      DotBf16(i, unit);
      SetMxcsr(saved);
    }
  }
  return nullptr;
}

}  // namespace

const char* Execute(const TileInstruction& i, TileUnit& unit) {
  switch (i.op) {
    case TileOp::kLoadConfig:
      return LoadConfig(reinterpret_cast<const void*>(i.address), unit);
    case TileOp::kStoreConfig:
      std::memcpy(reinterpret_cast<void*>(i.address), &unit.config,
                  sizeof unit.config);
      return nullptr;
    case TileOp::kRelease:
      unit = {};
      return nullptr;
    case TileOp::kZero:
    case TileOp::kLoad:
    case TileOp::kStore:
      if (const char* fault = CheckTile(unit, i.tile)) return fault;
      if (i.op == TileOp::kZero) {
        std::memset(unit.data[i.tile], 0, sizeof unit.data[i.tile]);
      } else if (i.op == TileOp::kLoad) {
        Load(i, unit);
      } else {
        Store(i, unit);
      }
      break;
    default:
      if (const char* fault = Dot(i, unit)) return fault;
  }
  unit.config.start_row = 0;
  return nullptr;
}

}  // namespace etalon::amx
