#include <string>
#include <string_view>

#include "text/tokenizer.h"
#include "text/unicode.h"

namespace etalon::text {
namespace {

// Whether bytes to come may complete `text`, shorter than its first byte
// claims, to a well-formed sequence: true for a proper prefix of one.
bool IsUnfinished(std::string_view text) {
  const size_t n = ClaimedUtf8Length(text[0]);
  if (text.size() >= n) return false;
  // Try the lowest and the highest continuation; the second byte's bounds
  // (overlong, surrogates, U+10FFFF) depend on the first two bytes only.
  for (const char fill : {'\x80', '\xBF'}) {
    std::string whole(text);
    whole.resize(n, fill);
    if (DecodeUtf8(whole).valid) return true;
  }
  return false;
}

}  // namespace

std::string StreamDecoder::Push(std::string_view piece) {
  pending_ += piece;
  std::string out;
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const DecodedChar c = DecodeUtf8(rest);
    if (!c.valid && IsUnfinished(rest)) break;
    if (c.valid) {
      out += rest.substr(0, c.n_bytes);
    } else {
      AppendUtf8(kReplacementChar, &out);
    }
    rest.remove_prefix(c.n_bytes);
  }
  pending_ = std::string(rest);
  return out;
}

std::string StreamDecoder::Finish() {
  std::string out;
  if (!pending_.empty()) AppendUtf8(kReplacementChar, &out);
  pending_.clear();
  return out;
}

}  // namespace etalon::text
