// The pre-tokenizers that `tokenizer.ggml.pre` names: how byte-level BPE
// vocabularies cut text into words before merging.
#ifndef ETALON_TEXT_PRE_TOKENIZERS_H_
#define ETALON_TEXT_PRE_TOKENIZERS_H_

#include <span>
#include <string_view>

namespace etalon::text {

// One way of cutting pieces into smaller ones. Stages run in order, each on
// every piece that the one before left; what a stage does not match stays a
// piece too.
struct SplitStage {
  enum class Kind {
    // A regular expression over classes: each character beyond ASCII counts
    // only by its class. \p{L} \p{N} \p{P} \p{M} \p{S} \p{Han} are understood,
    // \s is any white space, \d ASCII digits. As in the reference tokenizers of
    // GGUF files, `~` belongs to no category.
    kClasses,
    // A regular expression over code points, without \p.
    kCodePoints,
    // Runs of \p{N} end in groups of three, counted from the right; the text
    // before a run stays glued to its first group.
    kDigitTriples,
    // A cut before each group of three ASCII digits, counted from the right.
    kTripleBoundaries,
  };
  Kind kind;
  std::string_view pattern;  // empty unless a regular expression
};

struct PreTokenizer {
  std::span<const SplitStage> stages;
  bool ignore_merges = false;    // a word that is a token needs no merging
  bool add_bos = false;          // unless the file says otherwise
  bool force_bos = false;        // even if the file says otherwise
  bool raw_utf8 = false;         // tokens hold UTF-8, not the byte alphabet
  bool escape_spaces = false;    // a space is U+2581 in the tokens
  bool newline_runs = false;     // a run of newlines that is a token is one
  bool merges_optional = false;  // a vocabulary without merges is complete
};

// nullptr for an unknown name. "default" is the one for files without the key.
const PreTokenizer* FindPreTokenizer(std::string_view name);

// All names, for tests and messages.
std::span<const std::string_view> PreTokenizerNames();

}  // namespace etalon::text

#endif  // ETALON_TEXT_PRE_TOKENIZERS_H_
