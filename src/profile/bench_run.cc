#include "profile/bench_run.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace etalon::profile {

std::vector<int32_t> BenchTokens(size_t first, size_t n, size_t n_vocab) {
  std::vector<int32_t> tokens(n);
  for (size_t i = 0; i < n; ++i) {
    // SplitMix64 (Steele, Lea, Flood 2014) of the position.
    uint64_t z = (first + i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    tokens[i] = static_cast<int32_t>((z ^ (z >> 31)) % n_vocab);
  }
  return tokens;
}

Status BenchRunner::Prepare(const BenchCase& c, size_t positions) {
  if (session_ && prepared_.SameSession(c) && session_->n_ctx() >= positions) {
    return {};
  }
  session_.reset();
  options_ = base_;
  options_.n_ctx = positions;
  options_.k_type = c.k_type;
  options_.v_type = c.v_type;
  options_.n_threads = c.n_threads;
  // The engine has one kind of batch.
  if (!c.own_batch) options_.n_batch = std::min(c.n_batch, c.n_ubatch);
  ETALON_ASSIGN_OR_RETURN(session_, model::Session::Create(model_, options_));
  session_->on_chunk = [this](size_t) { return !stopped(); };
  logits_.resize(model_.hyperparameters().n_vocab);
  prepared_ = c;
  filled_ = 0;
  return {};
}

// A sweep over depths goes through the text once: what is there stays.
Status BenchRunner::FillTo(size_t depth) {
  session_->Truncate(std::min(depth, filled_));
  filled_ = session_->n_past();
  if (depth > filled_) {
    ETALON_RETURN_IF_ERROR(session_->Append(
        BenchTokens(filled_, depth - filled_, logits_.size()), {}));
    filled_ = session_->n_past();
  }
  return {};
}

Status BenchRunner::Tokens(size_t n_prompt, size_t n_gen) {
  // Not the text that goes on here: the next depth starts from the same place.
  const std::vector<int32_t> tokens = BenchTokens(
      (size_t{1} << 40) + session_->n_past(), n_prompt + n_gen, logits_.size());
  const std::span<const int32_t> ids(tokens);
  const Span2D<float> row(logits_.data(), 1, logits_.size());
  if (n_prompt > 0) {
    ETALON_RETURN_IF_ERROR(session_->Append(ids.first(n_prompt), row));
  }
  for (size_t i = 0; i < n_gen && !stopped(); ++i) {
    ETALON_RETURN_IF_ERROR(session_->Append(ids.subspan(n_prompt + i, 1), row));
  }
  return {};
}

Status BenchRunner::WarmUp(const BenchCase& c) {
  session_->Truncate(0);
  filled_ = 0;
  return Tokens(c.n_prompt, c.n_gen > 0 ? 1 : 0);
}

Expected<uint64_t> BenchRunner::RunOnce(const BenchCase& c) {
  ETALON_RETURN_IF_ERROR(FillTo(c.n_depth));
  const auto start = std::chrono::steady_clock::now();
  ETALON_RETURN_IF_ERROR(Tokens(c.n_prompt, c.n_gen));
  const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(
      std::chrono::steady_clock::now() - start);
  return static_cast<uint64_t>(std::max<int64_t>(1, ns.count()));
}

Statistics StatisticsOf(std::span<const double> samples) {
  Statistics s;
  if (samples.empty()) return s;
  const auto n = static_cast<double>(samples.size());
  for (const double x : samples) s.mean += x / n;
  double squares = 0;
  for (const double x : samples) squares += (x - s.mean) * (x - s.mean);
  if (samples.size() > 1) s.deviation = std::sqrt(squares / (n - 1));
  return s;
}

std::vector<double> TokensPerSecond(const BenchCase& c,
                                    std::span<const uint64_t> samples_ns) {
  std::vector<double> ts;
  for (const uint64_t ns : samples_ns) {
    ts.push_back(1e9 * static_cast<double>(c.n_prompt + c.n_gen) /
                 static_cast<double>(ns));
  }
  return ts;
}

}  // namespace etalon::profile
