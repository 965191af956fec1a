// Tile instructions for tests, executed by the processor where it has them and
// by the emulator elsewhere: what holds for one holds for the other.
#ifndef ETALON_TESTS_AMX_TILE_FIXTURE_H_
#define ETALON_TESTS_AMX_TILE_FIXTURE_H_

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "simd/target.h"
#include "tests/amx/tile_unit.h"

namespace etalon::amx {

inline void LoadConfig(const TileConfig& config) {
  asm volatile("ldtilecfg %0" ::"m"(config));
}
inline TileConfig StoreConfig() {
  TileConfig config;
  asm volatile("sttilecfg %0" : "=m"(config));
  return config;
}
inline void ReleaseTiles() { asm volatile("tilerelease" ::); }
template <int tile>
void ZeroTile() {
  asm volatile("tilezero %%tmm%c0" ::"i"(tile));
}
template <int tile>
void LoadTile(const void* from, ptrdiff_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride),
               "i"(tile)
               : "memory");
}
template <int tile>
void StoreTile(void* to, ptrdiff_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride),
               "i"(tile)
               : "memory");
}

// c += a * b: AT&T order is b, a, c.
template <TileOp op, int c, int a, int b>
void DotTiles() {
  static_assert(op >= TileOp::kDotBf16);
#define ETALON_DOT(name) \
  asm volatile(name " %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(c), "i"(a), "i"(b))
  if constexpr (op == TileOp::kDotBf16) ETALON_DOT("tdpbf16ps");
  if constexpr (op == TileOp::kDotSS) ETALON_DOT("tdpbssd");
  if constexpr (op == TileOp::kDotSU) ETALON_DOT("tdpbsud");
  if constexpr (op == TileOp::kDotUS) ETALON_DOT("tdpbusd");
  if constexpr (op == TileOp::kDotUU) ETALON_DOT("tdpbuud");
#undef ETALON_DOT
}

// Palette 1 without tiles.
inline TileConfig EmptyConfig() {
  TileConfig config{};
  config.palette = 1;
  return config;
}
inline void SetTile(TileConfig& config, int tile, int rows, int row_bytes) {
  config.rows[tile] = static_cast<uint8_t>(rows);
  config.row_bytes[tile] = static_cast<uint16_t>(row_bytes);
}

// c [m, n] of 32 bits, a [m, k] and b [k, n] of what a product takes at once:
// four bytes or two bf16.
struct Extents {
  int m, k, n;
};
inline TileConfig DotConfig(const Extents& e, int c, int a, int b) {
  TileConfig config = EmptyConfig();
  SetTile(config, c, e.m, 4 * e.n);
  SetTile(config, a, e.m, 4 * e.k);
  SetTile(config, b, e.k, 4 * e.n);
  return config;
}
inline std::vector<Extents> EdgeExtents() {
  std::vector<Extents> all;
  for (const int m : {1, 2, 15, 16}) {
    for (const int k : {1, 3, 8, 16}) {
      for (const int n : {1, 7, 16}) all.push_back({m, k, n});
    }
  }
  return all;
}

class TileTest : public testing::Test {
 protected:
  void SetUp() override {
    // Asks the kernel for tiles, too.
    const simd::CpuFeatures& f = simd::GetCpuFeatures();
    if (!f.avx2) GTEST_SKIP() << "no AVX2 here, which the emulator needs";
    native_ = f.amx_int8 && f.amx_bf16 && !f.amx_emulated;
  }
  void TearDown() override {
    if (simd::GetCpuFeatures().avx2) ReleaseTiles();
  }
  bool native_ = false;  // the processor's tiles
};

}  // namespace etalon::amx

#endif  // ETALON_TESTS_AMX_TILE_FIXTURE_H_
