#include "tests/amx/tile_instruction.h"

namespace etalon::amx {
namespace {

constexpr unsigned kNumTiles = 8;

// The mandatory prefix, as VEX.pp writes it.
enum Prefix : unsigned { kNone = 0, k66 = 1, kF3 = 2, kF2 = 3 };

// VEX in its three-byte form; register bits stand in it inverted.
struct Vex {
  unsigned r, x, b;  // bit 3 of ModRM.reg, SIB.index, ModRM.rm or SIB.base
  unsigned vvvv;
  unsigned pp;
};

// opcode, prefix and kind of operand to instruction.
bool FindOp(unsigned opcode, unsigned pp, bool memory, TileOp* op) {
  constexpr struct {
    unsigned opcode, pp;
    bool memory;
    TileOp op;
  } kOps[] = {
      {0x49, kNone, true, TileOp::kLoadConfig},
      {0x49, k66, true, TileOp::kStoreConfig},
      {0x49, kNone, false, TileOp::kRelease},
      {0x49, kF2, false, TileOp::kZero},
      {0x4b, kF2, true, TileOp::kLoad},
      {0x4b, k66, true, TileOp::kLoad},
      {0x4b, kF3, true, TileOp::kStore},
      {0x5c, kF3, false, TileOp::kDotBf16},
      {0x5e, kF2, false, TileOp::kDotSS},
      {0x5e, kF3, false, TileOp::kDotSU},
      {0x5e, k66, false, TileOp::kDotUS},
      {0x5e, kNone, false, TileOp::kDotUU},
  };
  for (const auto& known : kOps) {
    if (known.opcode == opcode && known.pp == pp && known.memory == memory) {
      *op = known.op;
      return true;
    }
  }
  return false;
}

class Decoder {
 public:
  Decoder(const uint8_t* code, const uint64_t (&registers)[16])
      : begin_(code), at_(code), registers_(registers) {}

  bool Run(TileInstruction* out) {
    Vex vex;
    if (!ReadVex(&vex)) return false;
    const unsigned opcode = *at_++;
    if (opcode != 0x49 && opcode != 0x4b && opcode != 0x5c && opcode != 0x5e) {
      return false;
    }
    const unsigned modrm = *at_++;
    const unsigned mod = modrm >> 6;
    const unsigned reg = ((modrm >> 3) & 7) | vex.r;
    const unsigned rm = modrm & 7;
    const bool memory = mod != 3;
    if (!FindOp(opcode, vex.pp, memory, &out->op)) return false;
    const bool is_dot = out->op >= TileOp::kDotBf16;
    // Who has no second factor has ones there.
    if (!is_dot && vex.vvvv != 0) return false;
    if (reg >= kNumTiles) return false;
    out->tile = static_cast<uint8_t>(reg);
    if (memory) {
      const bool is_tile =
          out->op == TileOp::kLoad || out->op == TileOp::kStore;
      if (is_tile ? rm != 4 : reg != 0) return false;
      ReadMemory(vex, mod, rm, out);
    } else if (is_dot) {
      if ((rm | vex.b) >= kNumTiles || vex.vvvv >= kNumTiles) return false;
      out->a = static_cast<uint8_t>(rm);
      out->b = static_cast<uint8_t>(vex.vvvv);
    } else {
      if (rm != 0 || vex.b != 0) return false;
      if (out->op == TileOp::kRelease && reg != 0) return false;
    }
    out->length = static_cast<size_t>(at_ - begin_);
    return true;
  }

 private:
  bool ReadVex(Vex* vex) {
    if (*at_++ != 0xc4) return false;
    const unsigned first = *at_++;
    if ((first & 0x1f) != 2) return false;  // map 0F38
    const unsigned second = *at_++;
    if ((second & 0x84) != 0) return false;  // W, L
    vex->r = (~first >> 4) & 8;
    vex->x = (~first >> 3) & 8;
    vex->b = (~first >> 2) & 8;
    vex->vvvv = (~second >> 3) & 15;
    vex->pp = second & 3;
    return true;
  }

  // A displacement, little-endian and signed.
  uint64_t ReadDisplacement(unsigned n_bytes) {
    uint64_t value = 0;
    for (unsigned i = 0; i < n_bytes; ++i) {
      value |= uint64_t{*at_++} << (8 * i);
    }
    const uint64_t sign = n_bytes == 0 ? 0 : uint64_t{1} << (8 * n_bytes - 1);
    return (value ^ sign) - sign;
  }

  void ReadMemory(const Vex& vex, unsigned mod, unsigned rm,
                  TileInstruction* out) {
    unsigned displacement_bytes = mod == 1 ? 1 : mod == 2 ? 4 : 0;
    uint64_t base = 0, index = 0;
    bool relative = false;
    if (rm == 4) {
      const unsigned sib = *at_++;
      const unsigned index_register = ((sib >> 3) & 7) | vex.x;
      if (index_register != 4) index = registers_[index_register] << (sib >> 6);
      if ((sib & 7) == 5 && mod == 0) {
        displacement_bytes = 4;  // and no base
      } else {
        base = registers_[(sib & 7) | vex.b];
      }
    } else if (rm == 5 && mod == 0) {
      displacement_bytes = 4;
      relative = true;
    } else {
      base = registers_[rm | vex.b];
    }
    base += ReadDisplacement(displacement_bytes);
    // Relative to the next instruction: a displacement ends this one.
    if (relative) base += reinterpret_cast<uint64_t>(at_);
    if (out->op == TileOp::kLoad || out->op == TileOp::kStore) {
      out->address = base;
      out->stride = index;
    } else {
      out->address = base + index;
    }
  }

  const uint8_t* begin_;
  const uint8_t* at_;
  const uint64_t (&registers_)[16];
};

}  // namespace

bool Decode(const uint8_t* code, const uint64_t (&registers)[16],
            TileInstruction* out) {
  return Decoder(code, registers).Run(out);
}

}  // namespace etalon::amx
