// `etalon perplexity`: how well a model predicts a text. Chunks of the context
// size, each starting with BOS, scored on its second half:
//   PPL = exp(mean over scored tokens of -ln p(token | those before it)).
// Printed as other engines print it, so that scripts read it.
#include <fmt/format.h>

#include <cmath>
#include <vector>

#include "cli/app.h"
#include "cli/engine_options.h"
#include "cli/exit_code.h"
#include "cli/output.h"
#include "core/interrupt.h"
#include "core/progress.h"

namespace etalon::cli {
namespace {

struct PerplexityOptions {
  EngineOptions engine;
  std::string file;
  size_t n_ctx = 512;
  int64_t n_chunks = -1;
};

// -ln softmax(logits)[target], in double.
double NegativeLogLikelihood(std::span<const float> logits, int32_t target) {
  double max = -HUGE_VAL;
  for (const float x : logits) max = std::max(max, static_cast<double>(x));
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x) - max);
  return std::log(sum) + max -
         static_cast<double>(logits[static_cast<size_t>(target)]);
}

class Scorer {
 public:
  explicit Scorer(model::Session& session)
      : session_(session),
        n_vocab_(session.model().hyperparameters().n_vocab),
        logits_(kRows * n_vocab_) {}

  // Scores tokens [first + 1, size) of a chunk, given those before each.
  Status Score(std::span<const int32_t> chunk, size_t first) {
    session_.Truncate(0);
    ETALON_RETURN_IF_ERROR(session_.Append(chunk.first(first), {}));
    for (size_t begin = first; begin + 1 < chunk.size(); begin += kRows) {
      const size_t n = std::min(kRows, chunk.size() - 1 - begin);
      const Span2D<float> rows(logits_.data(), n, n_vocab_);
      ETALON_RETURN_IF_ERROR(session_.Append(chunk.subspan(begin, n), rows));
      for (size_t i = 0; i < n; ++i) {
        const double nll =
            NegativeLogLikelihood(rows.row(i), chunk[begin + i + 1]);
        sum_ += nll;
        sum_of_squares_ += nll * nll;
        ++count_;
      }
    }
    return {};
  }

  double Mean() const { return sum_ / static_cast<double>(count_); }
  double Perplexity() const { return std::exp(Mean()); }
  // Standard error of the perplexity, from that of the mean.
  double Uncertainty() const {
    const auto n = static_cast<double>(count_);
    const double variance = sum_of_squares_ / n - Mean() * Mean();
    return variance > 0 && n > 1 ? Perplexity() * std::sqrt(variance / (n - 1))
                                 : 0.0;
  }

 private:
  // Rows of logits held at a time: bounds the memory, not the result.
  static constexpr size_t kRows = 32;

  model::Session& session_;
  size_t n_vocab_;
  std::vector<float> logits_;
  double sum_ = 0;
  double sum_of_squares_ = 0;
  size_t count_ = 0;
};

Expected<int> RunPerplexity(const PerplexityOptions& o) {
  ETALON_ASSIGN_OR_RETURN(const std::string text, ReadText(o.file));
  ETALON_ASSIGN_OR_RETURN(const Engine engine, SetUpEngine(o.engine));
  ETALON_ASSIGN_OR_RETURN(const auto model, LoadModel(o.engine, engine));
  const text::Tokenizer* tokenizer = model->tokenizer();
  if (tokenizer == nullptr) {
    return BadInput(o.engine.model_path + ": no vocabulary");
  }
  std::vector<int32_t> tokens = tokenizer->Encode(text, {true, false});
  size_t n_chunks = tokens.size() / o.n_ctx;
  if (tokens.size() < 2 * o.n_ctx) {
    return BadInput(
        fmt::format("{}: {} tokens, need at least {} (twice the context, -c)",
                    o.file, tokens.size(), 2 * o.n_ctx));
  }
  if (o.n_chunks > 0) {
    n_chunks = std::min(n_chunks, static_cast<size_t>(o.n_chunks));
  }
  ETALON_ASSIGN_OR_RETURN(const model::SessionOptions session_options,
                          MakeSessionOptions(o.engine, engine, o.n_ctx));
  ETALON_ASSIGN_OR_RETURN(const auto session,
                          model::Session::Create(*model, session_options));
  fmt::print(stderr,
             "perplexity: calculating perplexity over {} chunks, n_ctx={}\n",
             n_chunks, o.n_ctx);
  Scorer scorer(*session);
  Progress bar("Scoring", n_chunks * o.n_ctx, ProgressUnit::kTokens);
  for (size_t i = 0; i < n_chunks; ++i) {
    std::span<int32_t> chunk(tokens.data() + i * o.n_ctx, o.n_ctx);
    if (tokenizer->add_bos() && tokenizer->bos()) chunk[0] = *tokenizer->bos();
    ETALON_RETURN_IF_ERROR(scorer.Score(chunk, o.n_ctx / 2));
    if (Interrupted()) return kExitInterrupted;
    ETALON_RETURN_IF_ERROR(
        WriteStdout(fmt::format("[{}]{:.4f},", i + 1, scorer.Perplexity())));
    bar.Update((i + 1) * o.n_ctx);
  }
  bar.Finish();
  ETALON_RETURN_IF_ERROR(
      WriteStdout(fmt::format("\nFinal estimate: PPL = {:.4f} +/- {:.5f}\n",
                              scorer.Perplexity(), scorer.Uncertainty())));
  return kExitOk;
}

}  // namespace

Action AddPerplexity(CLI::App& app) {
  auto o = std::make_shared<PerplexityOptions>();
  CLI::App* command = app.add_subcommand(
      "perplexity", "how well the model predicts a text file");
  o->engine.AddModel(*command);
  command->add_option("-f,--file", o->file, "text; - is stdin")
      ->required()
      ->type_name("FILE");
  command
      ->add_option("-c,--ctx-size", o->n_ctx, "tokens per chunk (default 512)")
      ->envname("LLAMA_ARG_CTX_SIZE")
      ->check(CLI::Range(int64_t{4}, int64_t{1} << 31))
      ->type_name("N");
  command->add_option("--chunks", o->n_chunks, "chunks to score (default all)")
      ->type_name("N");
  o->engine.AddCompute(*command);
  o->engine.AddCache(*command);
  return [o] { return RunPerplexity(*o); };
}

}  // namespace etalon::cli
