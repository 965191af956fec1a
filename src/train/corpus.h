// Text as documents, split and encoded. Documents are separated by two or more
// blank lines; each is <|endoftext|> and its tokens. Every `valid_every`-th
// document is for validation.
#ifndef ETALON_TRAIN_CORPUS_H_
#define ETALON_TRAIN_CORPUS_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "etalon/status.h"
#include "text/tokenizer.h"

namespace etalon::train {

struct SplitText {
  std::vector<std::string_view> train, valid;
};
// Text without such separators is cut into pieces of about 8 KiB at line ends,
// so that there is something to split.
SplitText SplitDocuments(std::string_view text, size_t valid_every);

struct TokenStream {
  std::vector<int32_t> tokens;
  uint64_t n_bytes = 0;  // of text
};
TokenStream EncodeDocuments(std::span<const std::string_view> documents,
                            const text::Tokenizer& tokenizer);

// Which windows of seq_len tokens (and the one after) each step sees: every
// epoch covers the stream once, in random order, from a random offset.
class WindowOrder {
 public:
  WindowOrder(size_t n_tokens, size_t seq_len, uint64_t seed);
  // Start of window `index` of the run, index = 0, 1, 2, ... without end.
  size_t Start(uint64_t index);
  size_t windows_per_epoch() const { return per_epoch_; }

 private:
  size_t seq_len_, slack_, per_epoch_;
  uint64_t seed_;
  uint64_t epoch_ = UINT64_MAX;  // whose order is below
  std::vector<uint32_t> order_;
};

}  // namespace etalon::train

#endif  // ETALON_TRAIN_CORPUS_H_
