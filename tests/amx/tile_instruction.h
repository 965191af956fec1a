// Decodes the AMX instructions that the engine has, and their kin: AMX-TILE,
// AMX-INT8, AMX-BF16 (Intel 64 and IA-32 Architectures Software Developer's
// Manual, volume 2). All are VEX.128.0F38.W0:
//
//   opcode  pp    ModRM          instruction
//   49      none  memory, /0     LDTILECFG m512
//   49      66    memory, /0     STTILECFG m512
//   49      none  11 000 000     TILERELEASE
//   49      F2    11 reg 000     TILEZERO tmm
//   4B      F2    memory, SIB    TILELOADD tmm, sibmem
//   4B      66    memory, SIB    TILELOADDT1: the same, likely used once
//   4B      F3    memory, SIB    TILESTORED sibmem, tmm
//   5C      F3    11 reg rm      TDPBF16PS reg, rm, vvvv
//   5E      F2    11 reg rm      TDPBSSD: both factors signed
//   5E      F3    11 reg rm      TDPBSUD: the second unsigned
//   5E      66    11 reg rm      TDPBUSD: the first unsigned
//   5E      none  11 reg rm      TDPBUUD: both unsigned
#ifndef ETALON_TESTS_AMX_TILE_INSTRUCTION_H_
#define ETALON_TESTS_AMX_TILE_INSTRUCTION_H_

#include <cstddef>
#include <cstdint>

namespace etalon::amx {

enum class TileOp : uint8_t {
  kLoadConfig,
  kStoreConfig,
  kRelease,
  kZero,
  kLoad,
  kStore,
  kDotBf16,
  kDotSS,
  kDotSU,
  kDotUS,
  kDotUU,
};

struct TileInstruction {
  TileOp op = TileOp::kRelease;
  uint8_t tile = 0;      // ModRM.reg: the destination, or the tile stored
  uint8_t a = 0;         // ModRM.rm, first factor
  uint8_t b = 0;         // VEX.vvvv, second factor
  uint64_t address = 0;  // of the memory operand
  uint64_t stride = 0;   // of its rows, modulo 2^64; without an index 0
  size_t length = 0;     // bytes of code
};

// Registers as ModRM counts them: rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8
// to r15. False: `code` is none of the above (prefixes before VEX, such as
// another segment, are not decoded either). Bytes are read one after another,
// and none that the processor would not have fetched.
bool Decode(const uint8_t* code, const uint64_t (&registers)[16],
            TileInstruction* out);

}  // namespace etalon::amx

#endif  // ETALON_TESTS_AMX_TILE_INSTRUCTION_H_
