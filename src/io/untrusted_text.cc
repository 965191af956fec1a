#include "io/untrusted_text.h"

#include <fmt/format.h>

#include <cstdint>
#include <cstring>

namespace etalon::io {
namespace {

// Length of the well-formed sequence at s[i], 0 if there is none.
size_t SequenceLength(std::string_view s, size_t i) {
  const auto at = [&](size_t k) {
    return i + k < s.size() ? static_cast<uint8_t>(s[i + k]) : uint8_t{0};
  };
  const auto tail = [&](size_t k) { return (at(k) & 0xC0) == 0x80; };
  const uint8_t b0 = at(0);
  const uint8_t b1 = at(1);
  if (b0 < 0x80) return 1;
  if (b0 < 0xC2) return 0;  // a tail byte, or an overlong form
  if (b0 < 0xE0) return tail(1) ? 2 : 0;
  if (b0 < 0xF0) {
    if (b0 == 0xE0 && b1 < 0xA0) return 0;  // overlong
    if (b0 == 0xED && b1 > 0x9F) return 0;  // surrogate
    return tail(1) && tail(2) ? 3 : 0;
  }
  if (b0 > 0xF4) return 0;
  if (b0 == 0xF0 && b1 < 0x90) return 0;  // overlong
  if (b0 == 0xF4 && b1 > 0x8F) return 0;  // over U+10FFFF
  return tail(1) && tail(2) && tail(3) ? 4 : 0;
}

bool IsControl(char c) { return static_cast<uint8_t>(c) < 0x20 || c == 0x7F; }

}  // namespace

std::optional<size_t> FirstBadUtf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    while (i + 8 <= text.size()) {  // eight ASCII bytes at once
      uint64_t word;
      std::memcpy(&word, text.data() + i, sizeof(word));
      if (word & 0x8080808080808080u) break;
      i += 8;
    }
    if (i == text.size()) break;
    const size_t n = SequenceLength(text, i);
    if (n == 0) return i;
    i += n;
  }
  return std::nullopt;
}

std::optional<size_t> FirstControlByte(std::string_view text) {
  constexpr uint64_t kOnes = 0x0101010101010101u;
  size_t i = 0;
  for (; i + 8 <= text.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, text.data() + i, sizeof(word));
    // Any byte below 0x20, or zero after xor: a borrow reaches its top bit.
    const uint64_t del = word ^ (0x7F * kOnes);
    const uint64_t hit =
        ((word - 0x20 * kOnes) & ~word) | ((del - kOnes) & ~del);
    if (hit & (0x80 * kOnes)) break;
  }
  for (; i < text.size(); ++i) {
    if (IsControl(text[i])) return i;
  }
  return std::nullopt;
}

std::string Printable(std::string_view text, size_t max_bytes) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    if (out.size() >= max_bytes) return out + "...";
    const size_t n = SequenceLength(text, i);
    // U+0080..U+009F and the line separators U+2028, U+2029 would also break
    // the line or steer a terminal.
    const std::string_view sequence = text.substr(i, n);
    const bool unsafe = n == 0 || IsControl(text[i]) ||
                        (n == 2 && sequence[0] == '\xC2' &&
                         static_cast<uint8_t>(sequence[1]) < 0xA0) ||
                        sequence == "\xE2\x80\xA8" ||
                        sequence == "\xE2\x80\xA9";
    if (unsafe) {
      out += fmt::format("\\x{:02X}", static_cast<uint8_t>(text[i]));
      i += 1;
    } else {
      out += sequence;
      i += n;
    }
  }
  return out;
}

}  // namespace etalon::io
