// SentencePiece-style BPE: neighbours whose concatenation is a token merge,
// best score first; what is no token falls back to bytes, then to <unk>.
#ifndef ETALON_TEXT_SENTENCE_PIECE_H_
#define ETALON_TEXT_SENTENCE_PIECE_H_

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/special_tokens.h"
#include "text/tokenizer.h"
#include "text/vocabulary.h"

namespace etalon::text {

class SentencePieceTokenizer : public Tokenizer {
 public:
  explicit SentencePieceTokenizer(Vocabulary vocabulary);

  std::vector<TokenId> Encode(std::string_view text,
                              const EncodeOptions& options) const override;
  std::string Piece(TokenId id, bool special) const override;

 private:
  struct Scratch;

  // Appends the tokens of text whose spaces are escaped.
  void EncodeEscaped(std::string_view text, std::vector<TokenId>* out) const;
  void EncodeSegment(std::string_view segment, Scratch* scratch,
                     std::vector<TokenId>* out) const;

  std::vector<float> scores_;
  size_t max_token_bytes_ = 0;
  std::array<TokenId, 256>
      byte_tokens_;  // TokenTable::kAbsent where there is none
  // No token has a space mark after another character: words merge alone.
  bool words_are_independent_ = true;
  std::unique_ptr<SpecialTokens> special_;
};

}  // namespace etalon::text

#endif  // ETALON_TEXT_SENTENCE_PIECE_H_
