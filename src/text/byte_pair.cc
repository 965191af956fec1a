#include "text/byte_pair.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <unordered_map>
#include <utility>

#include "text/unicode.h"

namespace etalon::text {
namespace {

// Words shorter than this are worth remembering within one text.
constexpr size_t kMaxCachedBytes = 48;
// Up to so many symbols, scanning for the best pair beats keeping a heap.
constexpr size_t kShortWord = 24;
// Every merge may name three strings that are no tokens.
static_assert(kMaxTokens + 3 * kMaxMerges <= io::NameIndex::kMaxNames);

}  // namespace

struct BytePairTokenizer::Scratch {
  struct Symbol {
    int32_t symbol = -1;
    uint32_t begin = 0;  // in the word
    uint32_t n_bytes = 0;
    int32_t prev = -1;
    int32_t next = -1;
    MergeTable::Merge merge;  // with the next symbol (short words only)
  };
  struct Candidate {
    MergeTable::Merge merge;
    int32_t left = 0;
    int32_t right = 0;
    int32_t left_symbol = 0;
    int32_t right_symbol = 0;
  };
  // Heap order: the lowest rank on top, of equal ones the leftmost.
  static bool Worse(const Candidate& a, const Candidate& b) {
    return a.merge.rank > b.merge.rank ||
           (a.merge.rank == b.merge.rank && a.left > b.left);
  }

  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
  std::string encoded;
};

BytePairTokenizer::BytePairTokenizer(Vocabulary vocabulary, Splitter splitter)
    : pre_(vocabulary.pre), splitter_(std::move(splitter)) {
  AdoptVocabulary(&vocabulary);
  merges_.Reserve(vocabulary.merges.size());
  std::string joined;
  // Symbols: tokens by id, then strings that only merges mention.
  for (const std::string_view merge : vocabulary.merges) {
    const size_t space = FindMergeSpace(merge);
    const std::string_view left = merge.substr(0, space);
    const std::string_view right = merge.substr(space + 1);
    joined.assign(left).append(right);
    const int32_t a = tokens_.FindOrAdd(left);
    const int32_t b = tokens_.FindOrAdd(right);
    merges_.Append(a, b, tokens_.FindOrAdd(joined));
  }
  for (size_t byte = 0; byte < 256; ++byte) {
    std::string name;
    if (pre_->raw_utf8) {
      name = fmt::format("<0x{:02X}>", byte);
    } else {
      AppendUtf8(ByteToAlphabet(static_cast<uint8_t>(byte)), &name);
    }
    byte_symbols_[byte] = tokens_.Find(name);
  }
  // Files name <|endoftext|> as the unknown token: not meant for the middle of
  // a text.
  unknown_is_token_ = unk_ && type(*unk_) == TokenType::kUnknown;
  special_ = std::make_unique<SpecialTokens>(
      tokens_, types_, vocabulary.strip_left, vocabulary.strip_right);
}

std::vector<TokenId> BytePairTokenizer::Encode(
    std::string_view text, const EncodeOptions& options) const {
  std::vector<TokenId> out;
  if (options.add_special && add_bos_) out.push_back(*bos_);
  for (const Fragment& fragment :
       special_->Split(text, options.parse_special)) {
    if (fragment.token) {
      out.push_back(*fragment.token);
    } else if (pre_->escape_spaces) {
      EncodePlain(EscapeSpaces(fragment.text), &out);
    } else {
      EncodePlain(fragment.text, &out);
    }
  }
  if (options.add_special && add_eos_) out.push_back(*eos_);
  return out;
}

void BytePairTokenizer::EncodePlain(std::string_view text,
                                    std::vector<TokenId>* out) const {
  std::vector<std::string_view> words;
  splitter_.Split(text, &words);
  Scratch scratch;
  // Word -> where its tokens are in `out`.
  std::unordered_map<std::string_view, std::pair<size_t, size_t>> cache;
  for (const std::string_view word : words) {
    if (word.size() > kMaxCachedBytes) {
      EncodeWord(word, &scratch, out);
      continue;
    }
    const auto [entry, is_new] = cache.try_emplace(word);
    auto& [first, n] = entry->second;
    if (is_new) {
      first = out->size();
      EncodeWord(word, &scratch, out);
      n = out->size() - first;
    } else {
      for (size_t i = 0; i < n; ++i) out->push_back((*out)[first + i]);
    }
  }
}

int32_t BytePairTokenizer::WholeWord(std::string_view word,
                                     Scratch* scratch) const {
  const bool newlines = pre_->newline_runs &&
                        word.find_first_not_of('\n') == std::string_view::npos;
  if (!pre_->ignore_merges && !newlines) return TokenTable::kAbsent;
  int32_t found = TokenTable::kAbsent;
  if (pre_->raw_utf8) {
    found = tokens_.Find(word);
  } else {
    scratch->encoded.clear();
    for (const char c : word) {
      AppendUtf8(ByteToAlphabet(static_cast<uint8_t>(c)), &scratch->encoded);
    }
    found = tokens_.Find(scratch->encoded);
  }
  return IsToken(found) ? found : TokenTable::kAbsent;
}

void BytePairTokenizer::InitialSymbols(std::string_view word,
                                       Scratch* scratch) const {
  auto& symbols = scratch->symbols;
  symbols.clear();
  for (size_t at = 0; at < word.size();) {
    Scratch::Symbol symbol;
    symbol.begin = static_cast<uint32_t>(at);
    if (pre_->raw_utf8) {
      symbol.n_bytes = DecodeUtf8(word.substr(at)).n_bytes;
      symbol.symbol = tokens_.Find(word.substr(at, symbol.n_bytes));
    } else {
      symbol.n_bytes = 1;
      symbol.symbol = byte_symbols_[static_cast<uint8_t>(word[at])];
    }
    at += symbol.n_bytes;
    symbol.prev = static_cast<int32_t>(symbols.size()) - 1;
    symbol.next = static_cast<int32_t>(symbols.size()) + 1;
    symbols.push_back(symbol);
  }
  symbols.back().next = -1;
}

void BytePairTokenizer::MergeShort(Scratch* scratch) const {
  auto& symbols = scratch->symbols;
  size_t n = symbols.size();
  const auto refresh = [&](size_t i) {
    symbols[i].merge =
        i + 1 < n ? merges_.Find(symbols[i].symbol, symbols[i + 1].symbol)
                  : MergeTable::Merge{};
  };
  for (size_t i = 0; i < n; ++i) refresh(i);
  while (true) {
    size_t best = n;
    int32_t best_rank = std::numeric_limits<int32_t>::max();
    for (size_t i = 0; i < n; ++i) {
      const int32_t rank = symbols[i].merge.rank;
      if (rank >= 0 && rank < best_rank) {
        best = i;
        best_rank = rank;
      }
    }
    if (best == n) break;
    symbols[best].symbol = symbols[best].merge.symbol;
    symbols[best].n_bytes += symbols[best + 1].n_bytes;
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
    --n;
    refresh(best);
    if (best > 0) refresh(best - 1);
  }
  for (size_t i = 0; i < n; ++i) {
    symbols[i].next = i + 1 < n ? static_cast<int32_t>(i) + 1 : -1;
  }
}

void BytePairTokenizer::MergeLong(Scratch* scratch) const {
  auto& symbols = scratch->symbols;
  auto& heap = scratch->heap;
  heap.clear();
  const auto at = [&](int32_t i) -> Scratch::Symbol& {
    return symbols[static_cast<size_t>(i)];
  };
  const auto propose = [&](int32_t left, int32_t right) {
    if (left < 0 || right < 0) return;
    const MergeTable::Merge merge =
        merges_.Find(at(left).symbol, at(right).symbol);
    if (merge.rank < 0) return;
    heap.push_back({merge, left, right, at(left).symbol, at(right).symbol});
    std::ranges::push_heap(heap, Scratch::Worse);
  };
  for (int32_t i = 1; i < static_cast<int32_t>(symbols.size()); ++i) {
    propose(i - 1, i);
  }
  while (!heap.empty()) {
    std::ranges::pop_heap(heap, Scratch::Worse);
    const Scratch::Candidate best = heap.back();
    heap.pop_back();
    Scratch::Symbol& left = at(best.left);
    Scratch::Symbol& right = at(best.right);
    if (left.n_bytes == 0 || right.n_bytes == 0 ||
        left.symbol != best.left_symbol || right.symbol != best.right_symbol ||
        left.next != best.right) {
      continue;  // one side has merged with another since
    }
    left.symbol = best.merge.symbol;
    left.n_bytes += right.n_bytes;
    left.next = right.next;
    right.n_bytes = 0;
    if (right.next >= 0) at(right.next).prev = best.left;
    propose(left.prev, best.left);
    propose(best.left, left.next);
  }
}

void BytePairTokenizer::EncodeWord(std::string_view word, Scratch* scratch,
                                   std::vector<TokenId>* out) const {
  const int32_t whole = WholeWord(word, scratch);
  if (whole != TokenTable::kAbsent) {
    out->push_back(whole);
    return;
  }
  InitialSymbols(word, scratch);
  if (scratch->symbols.size() <= kShortWord) {
    MergeShort(scratch);
  } else {
    MergeLong(scratch);
  }
  for (int32_t i = 0; i >= 0;) {
    const Scratch::Symbol& symbol = scratch->symbols[static_cast<size_t>(i)];
    i = symbol.next;
    if (IsToken(symbol.symbol)) {
      out->push_back(symbol.symbol);
      continue;
    }
    // Not a token: byte by byte. A byte without a token is dropped, unless
    // the vocabulary knows "unknown".
    for (const char c : word.substr(symbol.begin, symbol.n_bytes)) {
      const int32_t byte = byte_symbols_[static_cast<uint8_t>(c)];
      if (IsToken(byte)) {
        out->push_back(byte);
      } else if (unknown_is_token_) {
        out->push_back(*unk_);
      }
    }
  }
}

std::string BytePairTokenizer::Piece(TokenId id, bool special) const {
  const std::string_view token = text(id);
  switch (type(id)) {
    case TokenType::kNormal:
      break;
    case TokenType::kUserDefined:
      return std::string(token);
    case TokenType::kByte:
      return std::string(1, static_cast<char>(*ParseByteToken(token)));
    case TokenType::kControl:
    case TokenType::kUnknown:
      return special ? std::string(token) : std::string();
    case TokenType::kUnused:
    case TokenType::kUndefined:
      return {};
  }
  if (pre_->escape_spaces) return UnescapeSpaces(token);
  if (pre_->raw_utf8) return std::string(token);
  std::string out;
  for (size_t at = 0; at < token.size();) {
    const DecodedChar c = DecodeUtf8(token.substr(at));
    if (const auto byte = AlphabetToByte(c.code); byte && c.valid) {
      out += static_cast<char>(*byte);
    } else {
      out += token.substr(at, c.n_bytes);  // not of the alphabet: as it is
    }
    at += c.n_bytes;
  }
  return out;
}

}  // namespace etalon::text
