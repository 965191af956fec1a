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

}  // namespace

char32_t ByteToAlphabet(uint8_t byte) { return kAlphabet.of_byte[byte]; }

std::optional<uint8_t> AlphabetToByte(char32_t c) {
  if (c >= kAlphabet.to_byte.size() || kAlphabet.to_byte[c] < 0) {
    return std::nullopt;
  }
  return static_cast<uint8_t>(kAlphabet.to_byte[c]);
}

void MergeTable::Reserve(size_t n) {
  entries_.reserve(n);
  index_.Reserve(n);
}

void MergeTable::Append(int32_t left, int32_t right, int32_t symbol) {
  const size_t rank = entries_.size();
  entries_.push_back({{left, right}, symbol});
  index_.Insert(Name(entries_[rank].pair), rank,
                [this](size_t i) { return Name(entries_[i].pair); });
}

MergeTable::Merge MergeTable::Find(int32_t left, int32_t right) const {
  if (left < 0 || right < 0) return {};
  const auto rank = index_.Find(
      Name({left, right}), [this](size_t i) { return Name(entries_[i].pair); });
  if (!rank) return {};
  return {static_cast<int32_t>(*rank), entries_[*rank].symbol};
}

}  // namespace etalon::text
