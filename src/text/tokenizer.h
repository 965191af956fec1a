// Text to token ids and back, by the vocabulary of a GGUF file:
// SentencePiece-style BPE (`tokenizer.ggml.model` llama) and byte-level BPE
// (gpt2) with the pre-tokenizer named by `tokenizer.ggml.pre`.
#ifndef ETALON_TEXT_TOKENIZER_H_
#define ETALON_TEXT_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "etalon/status.h"
#include "io/gguf.h"
#include "text/token_table.h"

namespace etalon::text {

enum class TokenType : uint8_t {  // GGUF tokenizer.ggml.token_type
  kUndefined = 0,
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

struct EncodeOptions {
  bool add_special = true;    // BOS/EOS as the vocabulary asks for
  bool parse_special = true;  // "<|im_end|>" in the text becomes the token
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Checks all of tokenizer.ggml.* and refuses with a line naming the field:
  // "tokenizer.ggml.tokens[3] \"<0xZZ>\": bad byte token". The texts stay in
  // the file's bytes, which must outlive the tokenizer.
  static Expected<std::unique_ptr<Tokenizer>> FromGguf(
      const io::GgufFile& file);

  // Any bytes are accepted; invalid UTF-8 encodes byte by byte or as <unk>.
  virtual std::vector<TokenId> Encode(std::string_view text,
                                      const EncodeOptions& options) const = 0;
  // The bytes a token stands for when generated. Control tokens are empty
  // unless `special`. Precondition: 0 <= id < size().
  virtual std::string Piece(TokenId id, bool special = false) const = 0;

  size_t size() const { return types_.size(); }
  TokenType type(TokenId id) const { return types_[static_cast<size_t>(id)]; }
  std::string_view text(TokenId id) const {
    return tokens_[static_cast<size_t>(id)];
  }
  std::optional<TokenId> bos() const { return bos_; }
  std::optional<TokenId> eos() const { return eos_; }
  bool add_bos() const { return add_bos_; }
  bool add_eos() const { return add_eos_; }
  // End of generation: eos, eot and the names that models use for them.
  bool IsEndOfGeneration(TokenId id) const;
  const std::vector<std::string>& warnings() const { return warnings_; }

  // Text of a token sequence (SentencePiece: one leading space removed when
  // the vocabulary adds one).
  std::string Decode(const std::vector<TokenId>& ids) const;

 protected:
  // Takes over what every kind of tokenizer keeps.
  void AdoptVocabulary(struct Vocabulary* vocabulary);

  TokenTable tokens_;
  std::vector<TokenType> types_;
  std::vector<TokenId> end_of_generation_;
  std::optional<TokenId> bos_, eos_, unk_;
  bool add_bos_ = false;
  bool add_eos_ = false;
  bool add_space_prefix_ = false;
  std::vector<std::string> warnings_;
};

// Joins pieces into text, holding back an unfinished UTF-8 sequence, so that a
// stream never splits a character.
class StreamDecoder {
 public:
  // The bytes that can be shown now.
  std::string Push(std::string_view piece);
  // What is left at the end: an unfinished sequence becomes U+FFFD.
  std::string Finish();

 private:
  std::string pending_;
};

}  // namespace etalon::text

#endif  // ETALON_TEXT_TOKENIZER_H_
