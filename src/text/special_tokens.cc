#include "text/special_tokens.h"

#include <algorithm>

namespace etalon::text {
namespace {

bool IsAsciiSpace(char c) { return c == ' ' || ('\t' <= c && c <= '\r'); }

}  // namespace

SpecialTokens::SpecialTokens(const TokenTable& tokens,
                             const std::vector<TokenType>& types,
                             const std::vector<TokenId>& strip_left,
                             const std::vector<TokenId>& strip_right) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    const TokenType type = types[i];
    const bool always = type == TokenType::kUserDefined;
    if (tokens[i].empty() || (!always && type != TokenType::kControl &&
                              type != TokenType::kUnknown)) {
      continue;
    }
    Entry entry;
    entry.text = tokens[i];
    entry.id = static_cast<TokenId>(i);
    entry.always = always;
    entry.strip_left = std::ranges::count(strip_left, entry.id) != 0;
    entries_.push_back(entry);
  }
  for (Entry& entry : entries_) {
    entry.strip_right = std::ranges::binary_search(strip_right, entry.id);
  }
  std::ranges::sort(entries_, [](const Entry& a, const Entry& b) {
    return a.text.size() != b.text.size() ? a.text.size() > b.text.size()
                                          : a.id < b.id;
  });
  index_.Reserve(entries_.size());
  for (size_t i = 0; i < entries_.size(); ++i) {
    const Entry& entry = entries_[i];
    index_.Insert(entry.text, i, [this](size_t k) { return entries_[k].text; });
    const auto first = static_cast<uint8_t>(entry.text[0]);
    first_byte_[first] = true;
    first_always_[first] |= entry.always;
    if (lengths_.empty() || lengths_.back() != entry.text.size()) {
      lengths_.push_back(entry.text.size());
    }
  }
}

std::vector<SpecialTokens::Extent> SpecialTokens::FindExtents(
    std::string_view text, bool parse_special) const {
  std::vector<Extent> extents;
  const bool* first = parse_special ? first_byte_ : first_always_;
  for (size_t at = 0; at < text.size(); ++at) {
    if (!first[static_cast<uint8_t>(text[at])]) continue;
    for (const size_t length : lengths_) {
      if (length > text.size() - at) continue;
      const auto found = FindEntry(text.substr(at, length));
      if (!found) continue;
      const size_t i = *found;
      if (!parse_special && !entries_[i].always) continue;
      if (extents.empty()) extents.resize(entries_.size());
      if (extents[i].first > extents[i].last) extents[i].first = at;
      extents[i].last = at;
    }
  }
  return extents;
}

std::vector<Fragment> SpecialTokens::Split(std::string_view text,
                                           bool parse_special) const {
  if (text.empty()) return {};
  const std::vector<Extent> extents = FindExtents(text, parse_special);
  if (extents.empty()) return {{text, std::nullopt}};

  // 1 for bytes that belong to a token, its stripped white space included.
  std::string taken(text.size(), '\0');
  std::vector<std::pair<size_t, TokenId>> tokens;  // (offset, id)
  for (size_t i = 0; i < extents.size(); ++i) {
    const Entry& entry = entries_[i];
    size_t at = extents[i].first;
    while (at <= extents[i].last) {
      at = text.find(entry.text, at);
      if (at > extents[i].last) break;
      const size_t end = at + entry.text.size();
      const size_t last_taken =
          std::string_view(taken).substr(at, end - at).rfind('\1');
      if (last_taken != std::string_view::npos) {
        at = std::min(taken.find('\0', at + last_taken), text.size());
        continue;
      }
      taken.replace(at, end - at, end - at, '\1');
      tokens.emplace_back(at, entry.id);
      if (entry.strip_left) {
        for (size_t b = at;
             b > 0 && taken[b - 1] == 0 && IsAsciiSpace(text[b - 1]); --b) {
          taken[b - 1] = 1;
        }
      }
      if (entry.strip_right) {
        for (size_t b = end;
             b < text.size() && taken[b] == 0 && IsAsciiSpace(text[b]); ++b) {
          taken[b] = 1;
        }
      }
      at = end;
    }
  }
  std::ranges::sort(tokens);

  std::vector<Fragment> fragments;
  size_t next_token = 0;
  for (size_t at = 0; at < text.size();) {
    if (taken[at] == 0) {
      size_t end = at;
      while (end < text.size() && taken[end] == 0) ++end;
      fragments.push_back({text.substr(at, end - at), std::nullopt});
      at = end;
    } else {
      if (next_token < tokens.size() && tokens[next_token].first == at) {
        fragments.push_back({{}, tokens[next_token++].second});
      }
      ++at;
    }
  }
  return fragments;
}

}  // namespace etalon::text
