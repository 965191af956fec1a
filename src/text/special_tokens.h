// Cuts text at special tokens that are written out in it.
#ifndef ETALON_TEXT_SPECIAL_TOKENS_H_
#define ETALON_TEXT_SPECIAL_TOKENS_H_

#include <optional>
#include <string_view>
#include <vector>

#include "io/name_index.h"
#include "text/token_table.h"
#include "text/vocabulary.h"

namespace etalon::text {

// A stretch of plain text, or one special token.
struct Fragment {
  std::string_view text;
  std::optional<TokenId> token;
};

class SpecialTokens {
 public:
  // Keeps views of the token texts, which are in the file.
  SpecialTokens(const TokenTable& tokens, const std::vector<TokenType>& types,
                const std::vector<TokenId>& strip_left,
                const std::vector<TokenId>& strip_right);

  // Longer tokens win, then those further left. User-defined tokens are always
  // looked for, control and unknown tokens only with `parse_special`.
  std::vector<Fragment> Split(std::string_view text, bool parse_special) const;

 private:
  struct Entry {
    std::string_view text;
    TokenId id = 0;
    bool always = false;  // user-defined
    bool strip_left = false;
    bool strip_right = false;
  };

  // Where an entry occurs first and last; first > last if it does not.
  struct Extent {
    size_t first = 1;
    size_t last = 0;
  };
  std::optional<size_t> FindEntry(std::string_view text) const {
    return index_.Find(text, [this](size_t i) { return entries_[i].text; });
  }
  std::vector<Extent> FindExtents(std::string_view text,
                                  bool parse_special) const;

  std::vector<Entry> entries_;   // longest first
  std::vector<size_t> lengths_;  // the distinct ones, longest first
  io::NameIndex index_;          // text -> entry
  bool first_byte_[256] = {};    // some entry starts so
  bool first_always_[256] = {};  // some user-defined one does
};

}  // namespace etalon::text

#endif  // ETALON_TEXT_SPECIAL_TOKENS_H_
