// What the pre-tokenizers need of Unicode: decoding that accepts any bytes, and
// the class of a code point (Unicode 15.1, fixed here so that token ids do not
// depend on the libraries of a machine).
#ifndef ETALON_TEXT_UNICODE_H_
#define ETALON_TEXT_UNICODE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace etalon::text {

// General categories folded to what pre-tokenizer expressions ask for.
enum class CharClass : uint8_t {
  kOther = 0,
  kNumber = 1,       // \p{N}
  kLetter = 2,       // \p{L}
  kPunctuation = 3,  // \p{P}
  kMark = 4,         // \p{M}
  kSymbol = 5,       // \p{S}
  kSpace = 6,        // White_Space
};
CharClass ClassOf(char32_t c);

// CJK ideographs, by block.
bool IsHan(char32_t c);

inline constexpr char32_t kReplacementChar = 0xFFFD;

struct DecodedChar {
  char32_t code = kReplacementChar;
  uint32_t n_bytes = 1;
  bool valid = false;
};
// The character at the start of non-empty `text`. A byte that starts no
// well-formed sequence is one character, U+FFFD, not valid.
DecodedChar DecodeUtf8(std::string_view text);

void AppendUtf8(char32_t c, std::string* out);

// Bytes that the sequence started by `lead` claims to have, 1 to 4; 1 for a
// continuation byte.
size_t ClaimedUtf8Length(char lead);

// U+2581, which stands for a space in SentencePiece vocabularies.
inline constexpr std::string_view kSpaceMark = "\xE2\x96\x81";
std::string EscapeSpaces(std::string_view text);
std::string UnescapeSpaces(std::string_view text);

}  // namespace etalon::text

#endif  // ETALON_TEXT_UNICODE_H_
