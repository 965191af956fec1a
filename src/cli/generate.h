// The generation loop of `etalon run`: prompt in, text out as it comes.
#ifndef ETALON_CLI_GENERATE_H_
#define ETALON_CLI_GENERATE_H_

#include <functional>
#include <string_view>
#include <vector>

#include "model/sampler.h"
#include "model/session.h"

namespace etalon::cli {

enum class StopReason { kLimit, kEndOfText, kContextFull, kInterrupted };

struct GenerateOptions {
  int64_t n_predict = -1;  // < 0: until the end of text or of the context
  bool ignore_eos = false;
  bool special = false;  // print control tokens
  bool progress = true;  // a bar for a long prompt, on a terminal
};

struct GenerateStats {
  size_t n_prompt = 0;
  double prompt_seconds = 0;
  size_t n_decoded = 0;  // tokens fed one at a time
  double decode_seconds = 0;
  StopReason reason = StopReason::kLimit;
};

// `emit` gets text that never ends inside a UTF-8 character; an error of it
// stops the loop.
Expected<GenerateStats> Generate(
    model::Session& session, const text::Tokenizer& tokenizer,
    model::Sampler& sampler, const std::vector<int32_t>& prompt,
    const GenerateOptions& options,
    const std::function<Status(std::string_view)>& emit);

}  // namespace etalon::cli

#endif  // ETALON_CLI_GENERATE_H_
