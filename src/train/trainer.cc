#include "train/trainer.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "io/atomic_file.h"
#include "io/gguf.h"
#include "io/mapped_file.h"
#include "text/tokenizer.h"
#include "train/byte_pairs.h"
#include "train/checkpoint.h"
#include "train/corpus.h"
#include "train/model_file.h"

namespace etalon::train {
namespace {

constexpr double kLn2 = 0.6931471805599453;

Expected<std::string> ReadTexts(const std::vector<std::string>& paths) {
  std::string all;
  for (const std::string& path : paths) {
    ETALON_ASSIGN_OR_RETURN(const io::MappedFile file,
                            io::MappedFile::Open(path));
    if (!all.empty()) all += "\n\n\n";
    all.append(reinterpret_cast<const char*>(file.bytes().data()),
               file.bytes().size());
  }
  return all;
}

// Everything that decides the bits, but not where files lie or how many
// threads run.
uint64_t IdentityOf(const TrainOptions& o, const std::string& text) {
  const NetShape& s = o.shape;
  const AdamWOptions& a = o.adamw;
  const std::string options = fmt::format(
      "1 {} {} {} {} {} {} {} {} {:a} {:a} | {} {} {} {} {} {} {} | {:a} {:a} "
      "{} {:a} {:a} {:a} {:a} {:a}",
      s.n_vocab, s.n_layers, s.model_dim, s.n_heads, s.n_kv_heads, s.head_dim,
      s.ffn_dim, s.seq_len, s.rms_eps, s.rope_base, o.n_windows, o.n_accumulate,
      o.n_steps, o.seed, o.valid_every, o.eval_every, o.eval_windows,
      a.learning_rate, a.min_ratio, a.warmup_steps, a.beta1, a.beta2, a.eps,
      a.weight_decay, a.clip);
  return XXH3_64bits_withSeed(text.data(), text.size(),
                              XXH3_64bits(options.data(), options.size()));
}

// The tokenizer that will read the finished file encodes the text, too.
struct Encoder {
  std::vector<std::byte> bytes;  // a GGUF file of the vocabulary alone
  std::unique_ptr<text::Tokenizer> tokenizer;
};
Expected<Encoder> MakeEncoder(const BytePairVocabulary& vocabulary) {
  Encoder e;
  io::GgufWriter writer;
  ETALON_RETURN_IF_ERROR(AddVocabulary(vocabulary, writer));
  ETALON_ASSIGN_OR_RETURN(e.bytes, writer.ToBytes());
  ETALON_ASSIGN_OR_RETURN(const io::GgufFile file,
                          io::GgufFile::Parse(e.bytes));
  ETALON_ASSIGN_OR_RETURN(e.tokenizer, text::Tokenizer::FromGguf(file));
  return e;
}

class Run {
 public:
  Run(const TrainOptions& options, const TrainReport& report)
      : o_(options), report_(report) {}

  Expected<TrainSummary> Execute();

 private:
  Status Prepare();
  Status ExportTokens() const;
  Status Step();
  Expected<double> Evaluate(size_t max_windows, uint64_t* n_tokens);
  Status WriteCurve() const;
  void Note(const std::string& line) const {
    if (report_.note) report_.note(line);
  }
  size_t batch_tokens() const { return o_.n_windows * o_.shape.seq_len; }
  uint64_t step_tokens() const { return batch_tokens() * o_.n_accumulate; }

  TrainOptions o_;
  const TrainReport& report_;
  std::string text_;
  uint64_t identity_ = 0;
  BytePairVocabulary vocabulary_;
  TokenStream train_, valid_;
  std::unique_ptr<Net> net_;
  std::unique_ptr<WindowOrder> order_;
  RunState state_;
  std::vector<int32_t> tokens_, targets_;
};

Status Run::Prepare() {
  ETALON_ENSURE(o_.n_steps > 0, "steps: 0, need at least 1");
  ETALON_ENSURE(o_.n_accumulate > 0, "accumulated passes: 0, need at least 1");
  ETALON_ASSIGN_OR_RETURN(text_, ReadTexts(o_.text_paths));
  identity_ = IdentityOf(o_, text_);
  const SplitText split = SplitDocuments(text_, o_.valid_every);
  // The vocabulary is learnt from the training documents only.
  std::string train_text;
  for (const std::string_view document : split.train) {
    train_text.append(document);
    train_text += '\n';
  }
  ETALON_ASSIGN_OR_RETURN(vocabulary_,
                          LearnBytePairs(train_text, o_.shape.n_vocab));
  o_.shape.n_vocab = vocabulary_.tokens.size();
  ETALON_ASSIGN_OR_RETURN(const Encoder encoder, MakeEncoder(vocabulary_));
  train_ = EncodeDocuments(split.train, *encoder.tokenizer);
  valid_ = EncodeDocuments(split.valid, *encoder.tokenizer);
  if (train_.tokens.size() < o_.shape.seq_len + 1) {
    return BadInput(
        fmt::format("{} tokens of training text, need more than a window of {}",
                    train_.tokens.size(), o_.shape.seq_len));
  }
  if (!o_.export_tokens.empty()) ETALON_RETURN_IF_ERROR(ExportTokens());
  ETALON_ASSIGN_OR_RETURN(net_,
                          Net::Create(o_.shape, o_.n_windows, o_.n_threads));
  order_ = std::make_unique<WindowOrder>(train_.tokens.size(), o_.shape.seq_len,
                                         o_.seed);
  size_t n_parameters = 0;
  for (const Parameter& p : net_->parameters()) n_parameters += p.size();
  Note(fmt::format(
      "{} parameters; vocabulary {}; {} training tokens of {} "
      "bytes, {} validation tokens; {} steps of {} tokens, {:.2f} "
      "epochs",
      n_parameters, o_.shape.n_vocab, train_.tokens.size(), train_.n_bytes,
      valid_.tokens.size(), o_.n_steps, step_tokens(),
      static_cast<double>(o_.n_steps * step_tokens()) /
          static_cast<double>(train_.tokens.size())));
  ETALON_ASSIGN_OR_RETURN(
      const bool resumed,
      LoadCheckpoint(o_.output + ".checkpoint", identity_, &state_, *net_));
  if (resumed) {
    Note(fmt::format("resumed after step {}", state_.step));
    return {};
  }
  net_->Initialise(o_.seed);
  state_.optimizer.m.assign(net_->values().size(), 0.0f);
  state_.optimizer.v.assign(net_->values().size(), 0.0f);
  return {};
}

// Token ids as little-endian int32, for other tools to measure on.
Status Run::ExportTokens() const {
  ETALON_RETURN_IF_ERROR(
      io::WriteFileAtomically(o_.export_tokens + ".train.i32",
                              std::as_bytes(std::span(train_.tokens))));
  return io::WriteFileAtomically(o_.export_tokens + ".valid.i32",
                                 std::as_bytes(std::span(valid_.tokens)));
}

Status Run::Step() {
  std::fill(net_->gradients().begin(), net_->gradients().end(), 0.0f);
  const size_t length = o_.shape.seq_len;
  const float scale = 1.0f / static_cast<float>(step_tokens());
  double sum = 0.0;
  for (size_t pass = 0; pass < o_.n_accumulate; ++pass) {
    tokens_.clear();
    targets_.clear();
    for (size_t w = 0; w < o_.n_windows; ++w) {
      const uint64_t index =
          (state_.step * o_.n_accumulate + pass) * o_.n_windows + w;
      const auto at =
          train_.tokens.begin() + static_cast<ptrdiff_t>(order_->Start(index));
      const auto n = static_cast<ptrdiff_t>(length);
      tokens_.insert(tokens_.end(), at, at + n);
      targets_.insert(targets_.end(), at + 1, at + n + 1);
    }
    ETALON_ASSIGN_OR_RETURN(
        const double loss,
        net_->Loss(tokens_, targets_, /*gradients=*/true, scale));
    sum += loss;
  }
  const float rate = LearningRate(o_.adamw, state_.step, o_.n_steps);
  const double norm = AdamWUpdate(o_.adamw, state_.step, rate, *net_,
                                  state_.optimizer, o_.n_threads);
  if (!std::isfinite(norm) || !std::isfinite(sum)) {
    return BadInput(fmt::format(
        "step {}: loss or gradient is not finite; try a lower learning rate",
        state_.step + 1));
  }
  ++state_.step;
  state_.curve.push_back({state_.step, sum / static_cast<double>(step_tokens()),
                          -1.0, norm, static_cast<double>(rate)});
  return {};
}

// The mean loss over the first windows of the validation stream. The last pass
// may be filled up with targets of -1.
Expected<double> Run::Evaluate(size_t max_windows, uint64_t* n_tokens) {
  const size_t length = o_.shape.seq_len;
  const size_t usable = valid_.tokens.empty() ? 0 : valid_.tokens.size() - 1;
  const size_t n_windows =
      std::min(max_windows, (usable + length - 1) / length);
  double sum = 0.0;
  uint64_t count = 0;
  for (size_t first = 0; first < n_windows; first += o_.n_windows) {
    tokens_.assign(batch_tokens(), kEndOfText);
    targets_.assign(batch_tokens(), -1);
    for (size_t i = 0; i < batch_tokens(); ++i) {
      const size_t at = first * length + i;
      if (at >= usable || at >= n_windows * length) break;
      tokens_[i] = valid_.tokens[at];
      targets_[i] = valid_.tokens[at + 1];
      ++count;
    }
    ETALON_ASSIGN_OR_RETURN(
        const double loss,
        net_->Loss(tokens_, targets_, /*gradients=*/false, 1.0f));
    sum += loss;
  }
  if (n_tokens != nullptr) *n_tokens = count;
  return count == 0 ? -1.0 : sum / static_cast<double>(count);
}

Status Run::WriteCurve() const {
  const std::string csv = CurveCsv(state_.curve, step_tokens());
  const std::string svg = CurveSvg(state_.curve, o_.name);
  ETALON_RETURN_IF_ERROR(io::WriteFileAtomically(
      o_.output + ".csv", std::as_bytes(std::span(csv))));
  return io::WriteFileAtomically(o_.output + ".svg",
                                 std::as_bytes(std::span(svg)));
}

Expected<TrainSummary> Run::Execute() {
  ETALON_RETURN_IF_ERROR(Prepare());
  uint64_t tokens = 0;
  bool stopped = false;
  while (state_.step < o_.n_steps && !stopped) {
    ETALON_RETURN_IF_ERROR(Step());
    tokens += step_tokens();
    const bool last = state_.step == o_.n_steps;
    if (o_.eval_every > 0 && (state_.step % o_.eval_every == 0 || last)) {
      ETALON_ASSIGN_OR_RETURN(state_.curve.back().valid_loss,
                              Evaluate(o_.eval_windows, nullptr));
    }
    if (report_.on_step)
      stopped = !report_.on_step(state_.curve.back(), tokens);
    const bool due =
        o_.checkpoint_every > 0 && state_.step % o_.checkpoint_every == 0;
    if (due || last || stopped) {
      ETALON_RETURN_IF_ERROR(
          SaveCheckpoint(o_.output + ".checkpoint", identity_, state_, *net_));
      ETALON_RETURN_IF_ERROR(WriteCurve());
    }
  }
  TrainSummary summary;
  summary.steps = state_.step;
  summary.finished = state_.step == o_.n_steps;
  if (!summary.finished) {
    // What there is can be tried out.
    ETALON_RETURN_IF_ERROR(WriteModel(o_.output, o_.name, vocabulary_, *net_));
    return summary;
  }
  ETALON_ASSIGN_OR_RETURN(summary.valid_loss,
                          Evaluate(SIZE_MAX, &summary.valid_tokens));
  summary.valid_bytes = valid_.n_bytes;
  if (summary.valid_bytes > 0) {
    summary.bits_per_byte = summary.valid_loss / kLn2 *
                            static_cast<double>(summary.valid_tokens) /
                            static_cast<double>(summary.valid_bytes);
  }
  ETALON_RETURN_IF_ERROR(WriteModel(o_.output, o_.name, vocabulary_, *net_));
  return summary;
}

}  // namespace

Expected<TrainSummary> Train(const TrainOptions& options,
                             const TrainReport& report) {
  return Run(options, report).Execute();
}

}  // namespace etalon::train
