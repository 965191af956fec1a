#include "cli/generate.h"

#include <chrono>

#include "core/interrupt.h"
#include "core/progress.h"

namespace etalon::cli {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

Expected<GenerateStats> Generate(
    model::Session& session, const text::Tokenizer& tokenizer,
    model::Sampler& sampler, const std::vector<int32_t>& prompt,
    const GenerateOptions& options,
    const std::function<Status(std::string_view)>& emit) {
  GenerateStats stats;
  const size_t n_vocab = session.model().hyperparameters().n_vocab;
  std::vector<float> logits(n_vocab);
  const Span2D<float> row(logits.data(), 1, n_vocab);

  for (const int32_t token : prompt) sampler.Accept(token);
  Progress bar("Prompt", prompt.size(), ProgressUnit::kTokens,
               {.quiet = !options.progress});
  session.on_chunk = [&bar](size_t done) {
    bar.Update(done);
    return !Interrupted();
  };
  Clock::time_point start = Clock::now();
  ETALON_RETURN_IF_ERROR(session.Append(prompt, row));
  stats.n_prompt = prompt.size();
  stats.prompt_seconds = SecondsSince(start);
  bar.Finish();
  session.on_chunk = nullptr;

  text::StreamDecoder decoder;
  start = Clock::now();
  for (int64_t i = 0;; ++i) {
    if (Interrupted()) {
      stats.reason = StopReason::kInterrupted;
      break;
    }
    if (options.n_predict >= 0 && i >= options.n_predict) break;
    ETALON_ASSIGN_OR_RETURN(const int32_t token, sampler.Sample(logits));
    if (!options.ignore_eos && tokenizer.IsEndOfGeneration(token)) {
      stats.reason = StopReason::kEndOfText;
      break;
    }
    sampler.Accept(token);
    ETALON_RETURN_IF_ERROR(
        emit(decoder.Push(tokenizer.Piece(token, options.special))));
    // The last token is shown, not fed.
    if (options.n_predict >= 0 && i + 1 >= options.n_predict) break;
    if (session.n_past() == session.n_ctx()) {
      stats.reason = StopReason::kContextFull;
      break;
    }
    ETALON_RETURN_IF_ERROR(session.Append({&token, 1}, row));
    ++stats.n_decoded;
  }
  stats.decode_seconds = SecondsSince(start);
  ETALON_RETURN_IF_ERROR(emit(decoder.Finish()));
  return stats;
}

}  // namespace etalon::cli
