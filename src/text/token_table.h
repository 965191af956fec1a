// Texts of tokens by id, ids by text. The texts stay in the file, which must
// outlive the table: it takes 12 bytes a token.
#ifndef ETALON_TEXT_TOKEN_TABLE_H_
#define ETALON_TEXT_TOKEN_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "io/gguf.h"
#include "io/name_index.h"

namespace etalon::text {

using TokenId = int32_t;

class TokenTable {
 public:
  static constexpr TokenId kAbsent = -1;
  // Of all texts and their lengths in the file: offsets have 32 bits.
  static constexpr size_t kMaxBytes =
      std::numeric_limits<uint32_t>::max() - io::GgufStrings::kLengthBytes;

  TokenTable() = default;
  // Precondition: strings, at most kMaxBytes of them. Find knows none yet.
  explicit TokenTable(const io::GgufArray& tokens)
      : file_(reinterpret_cast<const char*>(tokens.raw.data())) {
    begins_.reserve(tokens.count + 1);
    for (const std::string_view text : tokens.strings()) {
      begins_.push_back(static_cast<uint32_t>(begins_.back() + text.size() +
                                              io::GgufStrings::kLengthBytes));
    }
    index_.Reserve(size());
  }

  size_t size() const { return begins_.size() - 1; }  // without added ones
  std::string_view operator[](size_t id) const {
    if (id >= size()) return added_[id - size()];
    const size_t end = begins_[id + 1] - io::GgufStrings::kLengthBytes;
    return {file_ + begins_[id], end - begins_[id]};
  }

  TokenId Find(std::string_view text) const {
    const auto id = index_.Find(text, [this](size_t i) { return (*this)[i]; });
    return id ? static_cast<TokenId>(*id) : kAbsent;
  }
  // Makes Find know the token. False, and no change, if it knows an equal one.
  bool Index(size_t id) {
    return !index_.Insert((*this)[id], id,
                          [this](size_t i) { return (*this)[i]; });
  }
  // Find, or else an id after all others, and a copy of the text.
  TokenId FindOrAdd(std::string_view text) {
    const TokenId found = Find(text);
    if (found != kAbsent) return found;
    const size_t id = size() + added_.size();
    added_.emplace_back(text);
    Index(id);
    return static_cast<TokenId>(id);
  }

 private:
  const char* file_ = nullptr;  // the first token's length
  std::vector<uint32_t> begins_{io::GgufStrings::kLengthBytes};  // and an end
  std::vector<std::string> added_;
  io::NameIndex index_;
};

}  // namespace etalon::text

#endif  // ETALON_TEXT_TOKEN_TABLE_H_
