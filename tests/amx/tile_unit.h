// One thread's tiles and what the instructions do to them, after the pseudocode
// of Intel's SDM, volume 2, and the conditions of its exception classes AMX-E1
// to E6. Palette 1, the only one: 8 tiles of up to 16 rows of 64 bytes.
#ifndef ETALON_TESTS_AMX_TILE_UNIT_H_
#define ETALON_TESTS_AMX_TILE_UNIT_H_

#include <cstdint>

#include "tests/amx/tile_instruction.h"

namespace etalon::amx {

inline constexpr int kNumTiles = 8;
inline constexpr int kMaxRows = 16;
inline constexpr int kRowBytes = 64;

// The operand of LDTILECFG.
struct TileConfig {
  uint8_t palette;  // 0: tiles are not configured
  uint8_t start_row;
  uint8_t reserved0[14];
  uint16_t row_bytes[16];  // those of tiles 8 to 15 are reserved
  uint8_t rows[16];        // and so are these
};
static_assert(sizeof(TileConfig) == 64);

// Zeros are the state that a thread begins with, so it can be thread-local
// without a constructor. Bytes beyond a tile's configured extents stay zero.
struct TileUnit {
  alignas(64) uint8_t data[kNumTiles][kMaxRows][kRowBytes];
  TileConfig config;
};

// nullptr, or what the processor would have raised, and for which reason; then
// nothing has changed. Allocates nothing, takes no lock: for signal handlers.
// Needs AVX2 and FMA.
const char* Execute(const TileInstruction& instruction, TileUnit& unit);

}  // namespace etalon::amx

#endif  // ETALON_TESTS_AMX_TILE_UNIT_H_
