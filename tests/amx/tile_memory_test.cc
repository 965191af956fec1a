// Configurations, loads and stores, and whose they are.
#if defined(__x86_64__)
#include <array>
#include <barrier>
#include <cstring>
#include <thread>

#include "tests/amx/tile_fixture.h"

namespace etalon::amx {
namespace {

using TileMemory = TileTest;

bool SameConfig(const TileConfig& a, const TileConfig& b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

// 4 KiB of different bytes.
std::array<uint8_t, 4096> Bytes() {
  std::array<uint8_t, 4096> bytes;
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<uint8_t>(i * 167 + i / 256 + 1);
  }
  return bytes;
}

TEST_F(TileMemory, ConfigIsReadBackUntilReleased) {
  TileConfig config = EmptyConfig();
  SetTile(config, 0, 16, 64);
  SetTile(config, 3, 1, 4);
  SetTile(config, 7, 5, 63);
  LoadConfig(config);
  EXPECT_TRUE(SameConfig(StoreConfig(), config));
  ReleaseTiles();
  EXPECT_TRUE(SameConfig(StoreConfig(), TileConfig{}));
  LoadConfig(config);
  LoadConfig(TileConfig{});  // palette 0 releases, too
  EXPECT_TRUE(SameConfig(StoreConfig(), TileConfig{}));
}

alignas(64) TileConfig g_config = EmptyConfig();

TEST_F(TileMemory, ConfigHasAnyKindOfAddress) {
  SetTile(g_config, 5, 9, 12);
  LoadConfig(g_config);  // relative to the next instruction
  EXPECT_TRUE(SameConfig(StoreConfig(), g_config));

  std::array<TileConfig, 4> several{};
  several[3] = EmptyConfig();
  SetTile(several[3], 1, 2, 8);
  const auto base = reinterpret_cast<uintptr_t>(several.data());
  asm volatile(
      "ldtilecfg (%0,%1,8)\n\t"
      "sttilecfg 64(%0)" ::"r"(base),
      "r"(size_t{24})
      : "memory");
  EXPECT_TRUE(SameConfig(several[1], several[3]));
  asm volatile(
      "mov %0, %%r12\n\t"
      "mov %0, %%r13\n\t"
      "sttilecfg (%%r12)\n\t"
      "sttilecfg 128(%%r13)" ::"r"(base)
      : "memory", "r12", "r13");
  EXPECT_TRUE(SameConfig(several[0], several[3]));
  EXPECT_TRUE(SameConfig(several[2], several[3]));
}

TEST_F(TileMemory, RowsAndBytesAreTheConfiguredOnes) {
  const auto from = Bytes();
  for (const int rows : {1, 15, 16}) {
    for (const int row_bytes : {1, 4, 62, 64}) {
      for (const ptrdiff_t stride : {64, 100, 256}) {
        TileConfig config = EmptyConfig();
        SetTile(config, 2, rows, row_bytes);
        LoadConfig(config);
        LoadTile<2>(from.data(), stride);
        std::array<uint8_t, 4096> to, want;
        to.fill(0xee);
        want.fill(0xee);
        for (int r = 0; r < rows; ++r) {
          std::memcpy(want.data() + r * 80,
                      from.data() + static_cast<size_t>(r * stride),
                      static_cast<size_t>(row_bytes));
        }
        StoreTile<2>(to.data(), 80);
        ASSERT_EQ(to, want) << rows << " x " << row_bytes << ", " << stride;
      }
    }
  }
}

// Base, index, scale and displacement as the encoding has them.
TEST_F(TileMemory, OperandHasAnyKindOfAddress) {
  const auto from = Bytes();
  TileConfig config = EmptyConfig();
  SetTile(config, 6, 4, 64);
  LoadConfig(config);
  const auto expect = [&](ptrdiff_t at, ptrdiff_t stride, const char* what) {
    std::array<uint8_t, 256> to, want;
    StoreTile<6>(to.data(), 64);
    for (ptrdiff_t r = 0; r < 4; ++r) {
      std::memcpy(want.data() + 64 * r, from.data() + at + r * stride, 64);
    }
    EXPECT_EQ(to, want) << what;
    ZeroTile<6>();
  };
  const uint8_t* base = from.data();
  const ptrdiff_t stride = 72;
  asm volatile("tileloaddt1 (%0,%1,1), %%tmm6" ::"r"(base), "r"(stride)
               : "memory");
  expect(0, 72, "likely used once");
  asm volatile("tileloadd -64(%0,%1,1), %%tmm6" ::"r"(base + 500), "r"(stride)
               : "memory");
  expect(436, 72, "8 bits");
  asm volatile("tileloadd 0x400(%0,%1,2), %%tmm6" ::"r"(base), "r"(stride)
               : "memory");
  expect(1024, 144, "32 bits and a scale");
  asm volatile("tileloadd (%0,%1,1), %%tmm6" ::"r"(base + 1000), "r"(-stride)
               : "memory");
  expect(1000, -72, "backwards");
  asm volatile(
      "mov %0, %%r13\n\t"
      "mov %1, %%r12\n\t"
      "tileloadd (%%r13,%%r12,1), %%tmm6" ::"r"(base),
      "r"(stride)
      : "memory", "r12", "r13");
  expect(0, 72, "r13 and r12");
  asm volatile("tileloadd 3(%0), %%tmm6" ::"r"(base) : "memory");
  expect(3, 0, "no index: every row the same");
}

TEST_F(TileMemory, NewConfigAndTilezeroClear) {
  const auto from = Bytes();
  TileConfig config = EmptyConfig();
  SetTile(config, 1, 16, 64);
  SetTile(config, 2, 16, 64);
  const auto stored = [](auto store) {
    std::array<uint8_t, 1024> to;
    store(to.data());
    return to;
  };
  const std::array<uint8_t, 1024> zeros{};
  LoadConfig(config);
  LoadTile<1>(from.data(), 64);
  LoadTile<2>(from.data(), 64);
  ZeroTile<1>();
  EXPECT_EQ(stored([](void* to) { StoreTile<1>(to, 64); }), zeros);
  EXPECT_NE(stored([](void* to) { StoreTile<2>(to, 64); }), zeros);
  LoadConfig(config);
  EXPECT_EQ(stored([](void* to) { StoreTile<2>(to, 64); }), zeros);
}

// Registers and flags live through a trap.
TEST_F(TileMemory, NothingElseChanges) {
  LoadConfig(DotConfig({16, 16, 16}, 0, 4, 6));
  uint64_t r11 = 0, carry = 0;
  float lane = 0;
  asm volatile(
      "mov $0x123456789, %%r11\n\t"
      "movd %3, %%xmm7\n\t"
      "stc\n\t"
      "tdpbssd %%tmm6, %%tmm4, %%tmm0\n\t"
      "mov $0, %%rax\n\t"
      "adc $0, %%rax\n\t"
      "mov %%rax, %1\n\t"
      "mov %%r11, %0\n\t"
      "movss %%xmm7, %2"
      : "=m"(r11), "=m"(carry), "=m"(lane)
      : "r"(0x3fc00000)
      : "rax", "r11", "xmm7", "cc", "memory");
  EXPECT_EQ(r11, 0x123456789u);
  EXPECT_EQ(carry, 1u);
  EXPECT_EQ(lane, 1.5f);
}

TEST_F(TileMemory, ThreadsHaveTilesOfTheirOwn) {
  const auto from = Bytes();
  std::barrier both(2);
  const auto run = [&](int rows, ptrdiff_t at, bool* ok) {
    TileConfig config = EmptyConfig();
    SetTile(config, 1, rows, 4 * rows);
    *ok = SameConfig(StoreConfig(), TileConfig{});  // nobody else's
    both.arrive_and_wait();
    LoadConfig(config);
    both.arrive_and_wait();
    LoadTile<1>(from.data() + at, 64);
    both.arrive_and_wait();
    std::array<uint8_t, 1024> to{}, want{};
    StoreTile<1>(to.data(), 64);
    for (ptrdiff_t r = 0; r < rows; ++r) {
      std::memcpy(want.data() + 64 * r, from.data() + at + 64 * r,
                  static_cast<size_t>(4 * rows));
    }
    *ok = *ok && to == want && SameConfig(StoreConfig(), config);
    both.arrive_and_wait();
    ReleaseTiles();
  };
  bool first = false, second = false;
  std::thread other(run, 3, 1000, &second);
  run(11, 0, &first);
  other.join();
  EXPECT_TRUE(first);
  EXPECT_TRUE(second);
}

}  // namespace
}  // namespace etalon::amx
#endif  // __x86_64__
