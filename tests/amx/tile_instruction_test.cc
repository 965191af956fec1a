// The decoder on bytes, where a trap could not show what it did.
#if defined(__x86_64__)
#include "tests/amx/tile_instruction.h"

#include <gtest/gtest.h>

#include <vector>

namespace etalon::amx {
namespace {

constexpr uint64_t kRegisters[16] = {
    0x1000, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000, 0x7000, 0x8000,
    0x9000, 0xa000, 0xb000, 0xc000, 0xd000, 0xe000, 0xf000, 0x10000};

bool IsTile(const std::vector<uint8_t>& code) {
  TileInstruction i;
  return Decode(code.data(), kRegisters, &i);
}

// Bytes as binutils assembles them.
TEST(TileInstruction, OperandsAreFound) {
  TileInstruction i;
  // tdpbusd %tmm3, %tmm2, %tmm1
  const std::vector<uint8_t> dot = {0xc4, 0xe2, 0x61, 0x5e, 0xca};
  ASSERT_TRUE(Decode(dot.data(), kRegisters, &i));
  EXPECT_EQ(i.op, TileOp::kDotUS);
  EXPECT_EQ(i.tile, 1);
  EXPECT_EQ(i.a, 2);
  EXPECT_EQ(i.b, 3);
  EXPECT_EQ(i.length, dot.size());
  // tileloadd -0x12345678(%r14,%r9,4), %tmm5
  const std::vector<uint8_t> load = {0xc4, 0x82, 0x7b, 0x4b, 0xac,
                                     0x8e, 0x88, 0xa9, 0xcb, 0xed};
  ASSERT_TRUE(Decode(load.data(), kRegisters, &i));
  EXPECT_EQ(i.op, TileOp::kLoad);
  EXPECT_EQ(i.tile, 5);
  EXPECT_EQ(i.address, uint64_t{0xf000} - 0x12345678);
  EXPECT_EQ(i.stride, 4u * 0xa000);
  EXPECT_EQ(i.length, load.size());
  // tilestored %tmm7, 0x40(,%rax,1): no base
  const std::vector<uint8_t> store = {0xc4, 0xe2, 0x7a, 0x4b, 0x3c,
                                      0x05, 0x40, 0x00, 0x00, 0x00};
  ASSERT_TRUE(Decode(store.data(), kRegisters, &i));
  EXPECT_EQ(i.op, TileOp::kStore);
  EXPECT_EQ(i.tile, 7);
  EXPECT_EQ(i.address, 0x40u);
  EXPECT_EQ(i.stride, 0x1000u);
  // ldtilecfg 0x10(%rip)
  const std::vector<uint8_t> config = {0xc4, 0xe2, 0x78, 0x49, 0x05,
                                       0x10, 0x00, 0x00, 0x00};
  ASSERT_TRUE(Decode(config.data(), kRegisters, &i));
  EXPECT_EQ(i.op, TileOp::kLoadConfig);
  EXPECT_EQ(i.address,
            reinterpret_cast<uint64_t>(config.data() + config.size()) + 0x10);
}

TEST(TileInstruction, NeighboursAreNotTaken) {
  EXPECT_TRUE(IsTile({0xc4, 0xe2, 0x73, 0x5e, 0xc2}));   // tdpbssd 1, 2, 0
  EXPECT_FALSE(IsTile({0xc5, 0xe2, 0x73, 0x5e, 0xc2}));  // two-byte VEX
  EXPECT_FALSE(IsTile({0xc4, 0xe1, 0x73, 0x5e, 0xc2}));  // another map
  EXPECT_FALSE(IsTile({0xc4, 0xe2, 0xf3, 0x5e, 0xc2}));  // W
  EXPECT_FALSE(IsTile({0xc4, 0xe2, 0x77, 0x5e, 0xc2}));  // L
  EXPECT_FALSE(IsTile({0xc4, 0xe2, 0x33, 0x5e, 0xc2}));  // tile 9, vvvv
  EXPECT_FALSE(IsTile({0xc4, 0x62, 0x73, 0x5e, 0xc2}));  // tile 8, reg
  EXPECT_FALSE(IsTile({0xc4, 0xc2, 0x73, 0x5e, 0xc2}));  // tile 10, rm
  EXPECT_FALSE(IsTile({0xc4, 0xe2, 0x73, 0x5e, 0x02}));  // memory
  EXPECT_FALSE(IsTile({0xc4, 0xe2, 0x70, 0x5c, 0xc2}));  // tcmmrlfp16ps
  EXPECT_FALSE(IsTile({0xc4, 0xe2, 0x73, 0x50, 0xc2}));  // another opcode
  EXPECT_TRUE(IsTile({0xc4, 0xe2, 0x7b, 0x49, 0xf8}));   // tilezero 7
  EXPECT_FALSE(IsTile({0xc4, 0xe2, 0x73, 0x49, 0xf8}));  // vvvv in use
  EXPECT_FALSE(IsTile({0xc4, 0xe2, 0x7b, 0x49, 0xf9}));  // rm in use
  EXPECT_TRUE(IsTile({0xc4, 0xe2, 0x78, 0x49, 0xc0}));   // tilerelease
  EXPECT_FALSE(IsTile({0xc4, 0xe2, 0x78, 0x49, 0xc8}));
  EXPECT_TRUE(IsTile({0xc4, 0xe2, 0x78, 0x49, 0x00}));   // ldtilecfg (%rax)
  EXPECT_FALSE(IsTile({0xc4, 0xe2, 0x78, 0x49, 0x08}));  // /1
  EXPECT_FALSE(IsTile({0xc4, 0xe2, 0x7b, 0x4b, 0x00}));  // tile load, no SIB
  EXPECT_FALSE(IsTile({0x0f, 0x0b}));                    // ud2
}

}  // namespace
}  // namespace etalon::amx
#endif  // __x86_64__
