#include "text/sentence_piece.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "text/unicode.h"

namespace etalon::text {
namespace {

// A space mark at a place that neither starts the text nor follows another.
size_t FindWordStart(std::string_view text, size_t from) {
  size_t at = from;
  while ((at = text.find(kSpaceMark, at)) != std::string_view::npos) {
    const bool after_mark =
        at >= kSpaceMark.size() &&
        text.substr(at - kSpaceMark.size(), kSpaceMark.size()) == kSpaceMark;
    if (at > 0 && !after_mark) return at;
    at += kSpaceMark.size();
  }
  return std::string_view::npos;
}

// Words shorter than this are worth remembering within one text.
constexpr size_t kMaxCachedBytes = 48;

}  // namespace

struct SentencePieceTokenizer::Scratch {
  struct Symbol {
    uint32_t begin = 0;
    uint32_t n_bytes = 0;  // 0: merged into its left neighbour
    int32_t prev = -1;
    int32_t next = -1;
    TokenId token = TokenTable::kAbsent;
  };
  struct Merge {
    float score = 0;
    int32_t left = 0;
    int32_t right = 0;
    uint32_t n_bytes = 0;  // of both sides when the merge was found
    TokenId token = 0;
  };
  // Heap order: the best score on top, of equal ones the leftmost.
  static bool Worse(const Merge& a, const Merge& b) {
    return a.score < b.score || (a.score == b.score && a.left > b.left);
  }

  std::vector<Symbol> symbols;
  std::vector<Merge> heap;
};

SentencePieceTokenizer::SentencePieceTokenizer(Vocabulary vocabulary)
    : scores_(std::move(vocabulary.scores)) {
  AdoptVocabulary(&vocabulary);
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const std::string_view text = tokens_[i];
    max_token_bytes_ = std::max(max_token_bytes_, text.size());
    if (FindWordStart(text, 0) != std::string_view::npos) {
      words_are_independent_ = false;
    }
  }
  for (size_t byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(static_cast<uint8_t>(byte));
    TokenId id = tokens_.Find(fmt::format("<0x{:02X}>", byte));
    if (id == TokenTable::kAbsent) id = tokens_.Find({&c, 1});
    byte_tokens_[byte] = id;
  }
  special_ = std::make_unique<SpecialTokens>(
      tokens_, types_, vocabulary.strip_left, vocabulary.strip_right);
}

std::vector<TokenId> SentencePieceTokenizer::Encode(
    std::string_view text, const EncodeOptions& options) const {
  std::vector<TokenId> out;
  if (options.add_special && add_bos_) out.push_back(*bos_);
  // The text, and what follows a special token, starts a word.
  bool starts_word = true;
  for (const Fragment& fragment :
       special_->Split(text, options.parse_special)) {
    if (fragment.token) {
      out.push_back(*fragment.token);
      starts_word = true;
      continue;
    }
    std::string escaped;
    if (add_space_prefix_ && starts_word) escaped = kSpaceMark;
    escaped += EscapeSpaces(fragment.text);
    EncodeEscaped(escaped, &out);
    starts_word = false;
  }
  if (options.add_special && add_eos_) out.push_back(*eos_);
  return out;
}

void SentencePieceTokenizer::EncodeEscaped(std::string_view text,
                                           std::vector<TokenId>* out) const {
  Scratch scratch;
  // Word -> where its tokens are in `out`.
  std::unordered_map<std::string_view, std::pair<size_t, size_t>> cache;
  while (!text.empty()) {
    // Symbols count in 32 bits; a longer stretch without a word start is cut.
    constexpr size_t kMaxBytes = size_t{1} << 30;
    size_t end = words_are_independent_ ? FindWordStart(text, 0)
                                        : std::string_view::npos;
    end = std::min({end, text.size(), kMaxBytes});
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(end);
    if (word.size() > kMaxCachedBytes) {
      EncodeSegment(word, &scratch, out);
      continue;
    }
    const auto [entry, is_new] = cache.try_emplace(word);
    auto& [first, n] = entry->second;
    if (is_new) {
      first = out->size();
      EncodeSegment(word, &scratch, out);
      n = out->size() - first;
    } else {
      for (size_t i = 0; i < n; ++i) out->push_back((*out)[first + i]);
    }
  }
}

void SentencePieceTokenizer::EncodeSegment(std::string_view segment,
                                           Scratch* scratch,
                                           std::vector<TokenId>* out) const {
  auto& symbols = scratch->symbols;
  auto& heap = scratch->heap;
  symbols.clear();
  heap.clear();
  for (size_t at = 0; at < segment.size();) {
    Scratch::Symbol symbol;
    symbol.begin = static_cast<uint32_t>(at);
    symbol.n_bytes = DecodeUtf8(segment.substr(at)).n_bytes;
    symbol.prev = static_cast<int32_t>(symbols.size()) - 1;
    symbol.next = static_cast<int32_t>(symbols.size()) + 1;
    symbol.token = tokens_.Find(segment.substr(at, symbol.n_bytes));
    at += symbol.n_bytes;
    symbols.push_back(symbol);
  }
  symbols.back().next = -1;

  const auto at = [&](int32_t i) -> Scratch::Symbol& {
    return symbols[static_cast<size_t>(i)];
  };
  const auto propose = [&](int32_t left, int32_t right) {
    if (left < 0 || right < 0) return;
    const uint32_t n_bytes = at(left).n_bytes + at(right).n_bytes;
    if (n_bytes > max_token_bytes_) return;
    const TokenId token = tokens_.Find(segment.substr(at(left).begin, n_bytes));
    if (token == TokenTable::kAbsent) return;
    heap.push_back(
        {scores_[static_cast<size_t>(token)], left, right, n_bytes, token});
    std::ranges::push_heap(heap, Scratch::Worse);
  };
  for (int32_t i = 1; i < static_cast<int32_t>(symbols.size()); ++i) {
    propose(i - 1, i);
  }
  while (!heap.empty()) {
    std::ranges::pop_heap(heap, Scratch::Worse);
    const Scratch::Merge merge = heap.back();
    heap.pop_back();
    Scratch::Symbol& left = at(merge.left);
    Scratch::Symbol& right = at(merge.right);
    // Symbols only grow, so equal lengths mean that neither has changed.
    if (left.n_bytes == 0 || right.n_bytes == 0 ||
        left.n_bytes + right.n_bytes != merge.n_bytes) {
      continue;
    }
    left.n_bytes = merge.n_bytes;
    left.token = merge.token;
    left.next = right.next;
    right.n_bytes = 0;
    if (right.next >= 0) at(right.next).prev = merge.left;
    propose(left.prev, merge.left);
    propose(merge.left, left.next);
  }

  for (int32_t i = 0; i >= 0; i = at(i).next) {
    const Scratch::Symbol& symbol = at(i);
    if (symbol.token != TokenTable::kAbsent) {
      out->push_back(symbol.token);
      continue;
    }
    // A character, or an invalid byte: its bytes if all have tokens, else one
    // <unk>.
    const auto bytes = segment.substr(symbol.begin, symbol.n_bytes);
    const auto token_of = [&](char c) {
      return byte_tokens_[static_cast<uint8_t>(c)];
    };
    const bool complete = std::ranges::all_of(
        bytes, [&](char c) { return token_of(c) != TokenTable::kAbsent; });
    if (complete) {
      for (const char c : bytes) out->push_back(token_of(c));
    } else if (unk_) {
      out->push_back(*unk_);
    }
  }
}

std::string SentencePieceTokenizer::Piece(TokenId id, bool special) const {
  const std::string_view token = text(id);
  switch (type(id)) {
    case TokenType::kNormal:
      return UnescapeSpaces(token);
    case TokenType::kUserDefined:
      return std::string(token);
    case TokenType::kByte:
      return std::string(1, static_cast<char>(*ParseByteToken(token)));
    case TokenType::kControl:
    case TokenType::kUnknown:
      return special ? std::string(token) : std::string();
    case TokenType::kUnused:
    case TokenType::kUndefined:
      break;
  }
  return {};
}

}  // namespace etalon::text
