// Byte-level BPE: words of the pre-tokenizer, whose neighbouring symbols merge
// in the order of the merges list.
#ifndef ETALON_TEXT_BYTE_PAIR_H_
#define ETALON_TEXT_BYTE_PAIR_H_

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/name_index.h"
#include "text/special_tokens.h"
#include "text/splitter.h"
#include "text/tokenizer.h"
#include "text/vocabulary.h"

namespace etalon::text {

// The byte alphabet: printable bytes stand for themselves, the others for the
// code points from U+0100 on, in order.
char32_t ByteToAlphabet(uint8_t byte);
std::optional<uint8_t> AlphabetToByte(char32_t c);

// (left symbol, right symbol) -> rank and the symbol they become.
class MergeTable {
 public:
  struct Merge {
    int32_t rank = -1;  // -1: no such merge
    int32_t symbol = 0;
  };

  void Reserve(size_t n);
  // The merge of the next rank; the first of equal pairs stays.
  void Append(int32_t left, int32_t right, int32_t symbol);
  Merge Find(int32_t left, int32_t right) const;

 private:
  using Pair = std::array<int32_t, 2>;
  struct Entry {
    Pair pair;
    int32_t symbol;
  };
  static std::string_view Name(const Pair& pair) {
    return {reinterpret_cast<const char*>(pair.data()), sizeof(pair)};
  }

  std::vector<Entry> entries_;  // by rank
  io::NameIndex index_;
};

class BytePairTokenizer : public Tokenizer {
 public:
  BytePairTokenizer(Vocabulary vocabulary, Splitter splitter);

  std::vector<TokenId> Encode(std::string_view text,
                              const EncodeOptions& options) const override;
  std::string Piece(TokenId id, bool special) const override;

 private:
  struct Scratch;

  bool IsToken(int32_t symbol) const {
    return symbol >= 0 && static_cast<size_t>(symbol) < size();
  }
  void EncodePlain(std::string_view text, std::vector<TokenId>* out) const;
  void EncodeWord(std::string_view word, Scratch* scratch,
                  std::vector<TokenId>* out) const;
  // The token that is the whole word, where that is looked up before merging.
  int32_t WholeWord(std::string_view word, Scratch* scratch) const;
  void InitialSymbols(std::string_view word, Scratch* scratch) const;
  void MergeShort(Scratch* scratch) const;
  void MergeLong(Scratch* scratch) const;

  const PreTokenizer* pre_;
  Splitter splitter_;
  MergeTable merges_;
  std::array<int32_t, 256> byte_symbols_;  // -1 where there is none
  bool unknown_is_token_ = false;          // unk_ means "unknown" only
  std::unique_ptr<SpecialTokens> special_;
};

}  // namespace etalon::text

#endif  // ETALON_TEXT_BYTE_PAIR_H_
