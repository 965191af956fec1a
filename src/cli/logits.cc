// `etalon logits`: the logits of every position of a token sequence, as .npy.
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <vector>

#include "cli/app.h"
#include "cli/engine_options.h"
#include "cli/exit_code.h"
#include "core/interrupt.h"
#include "core/memory.h"
#include "core/progress.h"
#include "io/npy.h"

namespace etalon::cli {
namespace {

struct LogitsOptions {
  EngineOptions engine;
  std::string tokens;
  std::string output;
};

// "1,2,3" (blanks allowed). Numbers beyond int32 are kept out of range.
Expected<std::vector<int32_t>> ParseTokens(std::string_view text,
                                           size_t n_vocab) {
  std::vector<int32_t> tokens;
  while (true) {
    const size_t comma = text.find(',');
    std::string_view item = text.substr(0, comma);
    while (item.starts_with(' ')) item.remove_prefix(1);
    while (item.ends_with(' ')) item.remove_suffix(1);
    int64_t value = 0;
    const auto [end, ec] =
        std::from_chars(item.data(), item.data() + item.size(), value);
    const bool number = end == item.data() + item.size() && !item.empty();
    if (ec == std::errc::invalid_argument || !number) {
      return InvalidArgument(
          fmt::format("--tokens: \"{}\" is not a token id", item));
    }
    if (ec != std::errc() || value < 0 ||
        static_cast<uint64_t>(value) >= n_vocab) {
      return BadInput(fmt::format("--tokens[{}]: {} is outside 0..{}",
                                  tokens.size(), item, n_vocab - 1));
    }
    tokens.push_back(static_cast<int32_t>(value));
    if (comma == std::string_view::npos) return tokens;
    text.remove_prefix(comma + 1);
  }
}

Expected<int> RunLogits(const LogitsOptions& o) {
  ETALON_ASSIGN_OR_RETURN(const Engine engine, SetUpEngine(o.engine));
  ETALON_ASSIGN_OR_RETURN(const auto model, LoadModel(o.engine, engine));
  const size_t n_vocab = model->hyperparameters().n_vocab;
  ETALON_ASSIGN_OR_RETURN(const std::vector<int32_t> tokens,
                          ParseTokens(o.tokens, n_vocab));
  const uint64_t bytes = uint64_t{4} * tokens.size() * n_vocab;
  if (bytes > AvailableMemoryBytes()) {
    return Fail(ErrorCode::kLimit,
                fmt::format("logits of {} tokens need {} bytes, {} available",
                            tokens.size(), bytes, AvailableMemoryBytes()));
  }
  ETALON_ASSIGN_OR_RETURN(const model::SessionOptions session_options,
                          MakeSessionOptions(o.engine, engine, tokens.size()));
  ETALON_ASSIGN_OR_RETURN(const auto session,
                          model::Session::Create(*model, session_options));
  std::vector<float> logits(tokens.size() * n_vocab);
  Progress bar("Evaluating", tokens.size(), ProgressUnit::kTokens);
  session->on_chunk = [&bar](size_t done) {
    bar.Update(done);
    return !Interrupted();
  };
  ETALON_RETURN_IF_ERROR(session->Append(
      tokens, Span2D<float>(logits.data(), tokens.size(), n_vocab)));
  bar.Finish();
  if (Interrupted()) return kExitInterrupted;
  const std::array<uint64_t, 2> shape = {tokens.size(), n_vocab};
  ETALON_RETURN_IF_ERROR(io::WriteNpy<float>(o.output, shape, logits));
  return kExitOk;
}

}  // namespace

Action AddLogits(CLI::App& app) {
  auto o = std::make_shared<LogitsOptions>();
  CLI::App* command = app.add_subcommand(
      "logits", "logits of every position of a token sequence, as .npy");
  o->engine.AddModel(*command);
  command->add_option("--tokens", o->tokens, "token ids: 1,2,3")
      ->required()
      ->type_name("IDS");
  command
      ->add_option("-o,--output", o->output,
                   "file to write: float32 [n_tokens, n_vocab]")
      ->required()
      ->type_name("FILE");
  o->engine.AddCompute(*command);
  o->engine.AddCache(*command);
  return [o] { return RunLogits(*o); };
}

}  // namespace etalon::cli
