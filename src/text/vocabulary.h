// The tokenizer.ggml.* section of a GGUF file, checked.
#ifndef ETALON_TEXT_VOCABULARY_H_
#define ETALON_TEXT_VOCABULARY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "etalon/status.h"
#include "io/gguf.h"
#include "text/pre_tokenizers.h"
#include "text/token_table.h"
#include "text/tokenizer.h"

namespace etalon::text {

// The longest token and the largest vocabulary accepted. Real ones stay under
// 1 KiB and 300,000; the limits bound memory and time on hostile files.
inline constexpr size_t kMaxTokenBytes = 65535;
inline constexpr size_t kMaxTokens = size_t{1} << 20;
inline constexpr size_t kMaxMerges = size_t{1} << 20;

struct Vocabulary {
  enum class Model { kSentencePiece, kBytePair };

  Model model = Model::kSentencePiece;
  const PreTokenizer* pre = nullptr;  // byte-pair models only
  TokenTable tokens;  // finds the first of equals, never an empty one
  std::vector<TokenType> types;
  std::vector<float> scores;  // SentencePiece models only
  io::GgufStrings merges;     // byte-pair models only: "left right"
  std::optional<TokenId> bos, eos, eot, eom, unk;
  bool add_bos = false;
  bool add_eos = false;
  bool add_space_prefix = false;
  // White space before or after these special tokens belongs to them.
  std::vector<TokenId> strip_left, strip_right;
  std::vector<TokenId> end_of_generation;  // ascending
  std::vector<std::string> warnings;
};

// The result refers to the file's mapping (tokens, merges).
Expected<Vocabulary> ReadVocabulary(const io::GgufFile& file);

// The space between the sides of a merge; the left one may begin with another.
inline size_t FindMergeSpace(std::string_view merge) {
  return merge.find(' ', 1);
}

// The byte that "<0xE2>" stands for; nullopt if the text is no such token.
std::optional<uint8_t> ParseByteToken(std::string_view text);

// Special by their text alone, whatever the file says: fills end_of_generation
// and corrects the types of tokens that control generation.
void ClassifySpecialTokens(Vocabulary* vocabulary);

// Fills strip_left and strip_right for the models known to need them.
Status ReadStripRules(const io::GgufFile& file, Vocabulary* vocabulary);

}  // namespace etalon::text

#endif  // ETALON_TEXT_VOCABULARY_H_
