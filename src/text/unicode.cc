#include "text/unicode.h"

#include <iterator>
#include <vector>

namespace etalon::text {
namespace {

constexpr uint32_t kCodePoints = 0x110000;

constexpr uint32_t kRanges[] = {
#include "text/unicode_ranges.inc"
};

std::vector<uint8_t> MakeClassTable() {
  std::vector<uint8_t> table(kCodePoints);
  for (size_t i = 0; i < std::size(kRanges); ++i) {
    const uint32_t first = kRanges[i] >> 4;
    const uint32_t end =
        i + 1 < std::size(kRanges) ? kRanges[i + 1] >> 4 : kCodePoints;
    for (uint32_t c = first; c < end; ++c) {
      table[c] = static_cast<uint8_t>(kRanges[i] & 15);
    }
  }
  return table;
}

bool IsContinuation(char byte) {
  return (static_cast<uint8_t>(byte) & 0xC0) == 0x80;
}

}  // namespace

CharClass ClassOf(char32_t c) {
  static const std::vector<uint8_t> table = MakeClassTable();
  return c < kCodePoints ? static_cast<CharClass>(table[c]) : CharClass::kOther;
}

bool IsHan(char32_t c) {
  struct Block {
    char32_t first, last;
  };
  // Unified ideographs, extensions A to F, compatibility ideographs.
  static constexpr Block kBlocks[] = {
      {0x4E00, 0x9FFF},   {0x3400, 0x4DBF}, {0x20000, 0x2A6DF},
      {0x2A700, 0x2EBEF}, {0xF900, 0xFAFF}, {0x2F800, 0x2FA1F},
  };
  for (const Block& block : kBlocks) {
    if (block.first <= c && c <= block.last) return true;
  }
  return false;
}

DecodedChar DecodeUtf8(std::string_view text) {
  const auto byte = [&](size_t i) {
    return static_cast<char32_t>(static_cast<uint8_t>(text[i]));
  };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  const size_t n = ClaimedUtf8Length(text[0]);
  if (n == 1 || lead > 0xF4 || text.size() < n) return {};
  for (size_t i = 1; i < n; ++i) {
    if (!IsContinuation(text[i])) return {};
  }
  // Refused below: overlong forms, surrogates, beyond U+10FFFF.
  if (n == 2) {
    const char32_t c = (lead & 0x1F) << 6 | (byte(1) & 0x3F);
    return c >= 0x80 ? DecodedChar{c, 2, true} : DecodedChar{};
  }
  if (n == 3) {
    const char32_t c =
        (lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    const bool ok = c >= 0x800 && (c < 0xD800 || c > 0xDFFF);
    return ok ? DecodedChar{c, 3, true} : DecodedChar{};
  }
  const char32_t c = (lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 |
                     (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
  return c >= 0x10000 && c < kCodePoints ? DecodedChar{c, 4, true}
                                         : DecodedChar{};
}

void AppendUtf8(char32_t c, std::string* out) {
  const auto put = [&](char32_t byte) {
    out->push_back(static_cast<char>(static_cast<uint8_t>(byte)));
  };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

size_t ClaimedUtf8Length(char lead) {
  const uint8_t byte = static_cast<uint8_t>(lead);
  if (byte < 0xC0) return 1;
  if (byte < 0xE0) return 2;
  return byte < 0xF0 ? 3 : 4;
}

std::string EscapeSpaces(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 2);
  for (const char c : text) {
    if (c == ' ') {
      out += kSpaceMark;
    } else {
      out += c;
    }
  }
  return out;
}

std::string UnescapeSpaces(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    if (text.substr(i, kSpaceMark.size()) == kSpaceMark) {
      out += ' ';
      i += kSpaceMark.size();
    } else {
      out += text[i++];
    }
  }
  return out;
}

}  // namespace etalon::text
