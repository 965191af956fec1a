// Cuts text into words by the stages of a pre-tokenizer.
#ifndef ETALON_TEXT_SPLITTER_H_
#define ETALON_TEXT_SPLITTER_H_

#include <memory>
#include <string_view>
#include <vector>

#include "etalon/status.h"
#include "text/pre_tokenizers.h"

namespace etalon::text {

class Splitter {
 public:
  static Expected<Splitter> Create(const PreTokenizer& pre);

  Splitter(Splitter&&) noexcept;
  Splitter& operator=(Splitter&&) noexcept;
  ~Splitter();

  // Appends the words: non-empty slices that together are `text`. Any bytes;
  // an invalid one counts as U+FFFD. Safe to call from many threads.
  void Split(std::string_view text, std::vector<std::string_view>* words) const;

 private:
  struct Stage;

  Splitter();

  std::vector<Stage> stages_;
  bool needs_code_points_ = false;
  bool needs_han_ = false;
};

}  // namespace etalon::text

#endif  // ETALON_TEXT_SPLITTER_H_
