// `etalon logits`: the logits of every position of a token sequence, as .npy.
#include <fmt/format.h>

#include <array>
#include <vector>

#include "cli/app.h"
#include "cli/engine_options.h"
#include "cli/exit_code.h"
#include "cli/token_list.h"
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
