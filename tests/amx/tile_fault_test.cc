// What the emulator refuses, as the processor would, and what is not its own.
#if defined(__x86_64__)
#include <signal.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "tests/amx/tile_fixture.h"

namespace etalon::amx {
namespace {

class TileFaultDeathTest : public TileTest {
 protected:
  void SetUp() override {
    TileTest::SetUp();
    if (native_) GTEST_SKIP() << "the processor has tiles: nothing is emulated";
  }
  void ExpectBadConfig(const std::string& message,
                       const std::function<void(TileConfig&)>& change) {
    TileConfig config = EmptyConfig();
    SetTile(config, 0, 16, 64);
    change(config);
    EXPECT_DEATH(LoadConfig(config), message);
  }
};

TEST_F(TileFaultDeathTest, ConfigsThatAreNone) {
  ExpectBadConfig("#GP.*palette", [](TileConfig& c) { c.palette = 2; });
  ExpectBadConfig("#GP.*rows above 16", [](TileConfig& c) { c.rows[0] = 17; });
  ExpectBadConfig("#GP.*colsb above 64",
                  [](TileConfig& c) { c.row_bytes[0] = 65; });
  ExpectBadConfig("#GP.*alone is zero", [](TileConfig& c) { c.rows[0] = 0; });
  ExpectBadConfig("#GP.*alone is zero",
                  [](TileConfig& c) { c.row_bytes[0] = 0; });
  ExpectBadConfig("#GP.*reserved", [](TileConfig& c) { c.reserved0[13] = 1; });
  ExpectBadConfig("#GP.*tiles 8-15", [](TileConfig& c) { c.rows[15] = 1; });
  ExpectBadConfig("#GP.*tiles 8-15", [](TileConfig& c) { c.row_bytes[8] = 4; });
}

TEST_F(TileFaultDeathTest, TilesThatAreNotConfigured) {
  uint8_t bytes[1024] = {};
  EXPECT_DEATH(ZeroTile<0>(), "#UD: no tiles");
  EXPECT_DEATH(LoadTile<0>(bytes, 64), "#UD: no tiles");
  LoadConfig(DotConfig({16, 16, 16}, 0, 4, 6));
  EXPECT_DEATH(StoreTile<1>(bytes, 64), "#UD: this tile");
  EXPECT_DEATH((DotTiles<TileOp::kDotSS, 0, 4, 7>()), "#UD: this tile");
}

TEST_F(TileFaultDeathTest, ProductsWhoseExtentsDoNotMeet) {
  const auto expect = [](const char* message, int tile, int rows,
                         int row_bytes) {
    TileConfig config = DotConfig({16, 16, 16}, 0, 4, 6);
    SetTile(config, tile, rows, row_bytes);
    LoadConfig(config);
    EXPECT_DEATH((DotTiles<TileOp::kDotSU, 0, 4, 6>()), message);
    EXPECT_DEATH((DotTiles<TileOp::kDotBf16, 0, 4, 6>()), message);
  };
  expect("#UD.*rows are not", 4, 15, 64);
  expect("#UD.*colsb is not the second", 0, 16, 60);
  expect("#UD.*colsb / 4", 6, 15, 64);
  expect("#UD.*multiple of 4", 4, 16, 62);
}

TEST_F(TileFaultDeathTest, MessageNamesTheInstruction) {
  // tilezero %tmm0
  EXPECT_DEATH(ZeroTile<0>(),
               "tile emulator: .*, at 0x[0-9a-f]{16}: "
               "c4 e2 7b 49 c0");
}

// With the bytes, and as without the emulator: by the signal.
TEST_F(TileFaultDeathTest, OtherIllegalInstructionsStayIllegal) {
  EXPECT_DEATH(asm volatile("ud2"), "illegal instruction, at .*: 0f 0b");
  // tdpfp16ps %tmm2, %tmm1, %tmm0, which the engine does not have.
  EXPECT_DEATH(asm volatile(".byte 0xc4, 0xe2, 0x6b, 0x5c, 0xc1"),
               "illegal instruction, at .*: c4 e2 6b 5c c1");
#if !defined(__SANITIZE_ADDRESS__)
  EXPECT_EXIT(asm volatile("ud2"), testing::KilledBySignal(SIGILL), "");
  EXPECT_EXIT(
      {
        kill(getpid(), SIGILL);
        pause();
      },
      testing::KilledBySignal(SIGILL), "");
#endif
}

}  // namespace
}  // namespace etalon::amx
#endif  // __x86_64__
