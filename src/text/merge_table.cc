#include <optional>

#include "text/byte_pair.h"

namespace etalon::text {
namespace {

struct Alphabet {
  std::array<char32_t, 256> of_byte{};
  std::array<int16_t, 0x180> to_byte{};  // -1: not of the alphabet
};

constexpr Alphabet MakeAlphabet() {
  Alphabet alphabet;
  for (auto& byte : alphabet.to_byte) byte = -1;
  char32_t next = 0x100;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (0x21 <= byte && byte <= 0x7E) ||
                           (0xA1 <= byte && byte <= 0xAC) ||
                           (0xAE <= byte && byte <= 0xFF);
    const char32_t c = printable ? byte : next++;
    alphabet.of_byte[byte] = c;
    alphabet.to_byte[c] = static_cast<int16_t>(byte);
  }
  return alphabet;
}
constexpr Alphabet kAlphabet = MakeAlphabet();

uint64_t PairKey(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 |
         static_cast<uint32_t>(right);
}

}  // namespace

char32_t ByteToAlphabet(uint8_t byte) { return kAlphabet.of_byte[byte]; }

std::optional<uint8_t> AlphabetToByte(char32_t c) {
  if (c >= kAlphabet.to_byte.size() || kAlphabet.to_byte[c] < 0) {
    return std::nullopt;
  }
  return static_cast<uint8_t>(kAlphabet.to_byte[c]);
}

void MergeTable::Reserve(size_t n) {
  size_t capacity = 16;
  while (capacity < 2 * n) capacity *= 2;
  cells_.assign(capacity, Cell{});
}

size_t MergeTable::Slot(uint64_t key) const {
  const size_t mask = cells_.size() - 1;
  size_t i = MixHash(key, 0) & mask;
  while (cells_[i].merge.rank >= 0 && cells_[i].key != key) i = (i + 1) & mask;
  return i;
}

void MergeTable::Insert(int32_t left, int32_t right, Merge merge) {
  const uint64_t key = PairKey(left, right);
  Cell& cell = cells_[Slot(key)];
  if (cell.merge.rank < 0) cell = {key, merge};
}

MergeTable::Merge MergeTable::Find(int32_t left, int32_t right) const {
  if (left < 0 || right < 0) return {};
  return cells_[Slot(PairKey(left, right))].merge;
}

}  // namespace etalon::text
