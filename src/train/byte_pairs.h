// Learns a byte-level BPE vocabulary: starting from the 256 bytes, the most
// frequent pair of neighbouring tokens inside words becomes a token, again and
// again (Sennrich, Haddow, Birch 2016). Words are those of the pre-tokenizer.
// Ties go to the pair of smaller ids, so the result is one function of the
// text.
#ifndef ETALON_TRAIN_BYTE_PAIRS_H_
#define ETALON_TRAIN_BYTE_PAIRS_H_

#include <string>
#include <string_view>
#include <vector>

#include "etalon/status.h"
#include "io/gguf_writer.h"

namespace etalon::train {

struct BytePairVocabulary {
  // In the byte alphabet of tokenizer.ggml.tokens: <|endoftext|>, the bytes,
  // then one token per merge.
  std::vector<std::string> tokens;
  std::vector<std::string> merges;  // "left right"
};

inline constexpr int32_t kEndOfText = 0;
inline constexpr size_t kFirstMerge = 257;
inline constexpr std::string_view kPreTokenizer = "gpt-2";

// Fewer than n_vocab tokens only when no pair occurs twice. Error: n_vocab
// below kFirstMerge.
Expected<BytePairVocabulary> LearnBytePairs(std::string_view text,
                                            size_t n_vocab);

// tokenizer.ggml.*, as the tokenizer (and llama.cpp) read it.
Status AddVocabulary(const BytePairVocabulary& vocabulary,
                     io::GgufWriter& writer);

}  // namespace etalon::train

#endif  // ETALON_TRAIN_BYTE_PAIRS_H_
