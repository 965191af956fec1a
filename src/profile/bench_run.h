// Times the cases of a bench plan on one model.
#ifndef ETALON_PROFILE_BENCH_RUN_H_
#define ETALON_PROFILE_BENCH_RUN_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "model/session.h"
#include "profile/bench_plan.h"

namespace etalon::profile {

// n tokens from `first` on of an endless pseudo-random text: any vocabulary
// will do, and a mixture's router spreads them over its experts.
std::vector<int32_t> BenchTokens(size_t first, size_t n, size_t n_vocab);

class BenchRunner {
 public:
  // `base` gives backend and config; `stop` is asked between tokens.
  BenchRunner(const model::Model& model, const model::SessionOptions& base,
              std::function<bool()> stop)
      : model_(model), base_(base), stop_(std::move(stop)) {}

  // A session that holds `positions` for the cases like c; kept until a case
  // needs another.
  Status Prepare(const BenchCase& c, size_t positions);
  // One run without timing: a prefill and one decoded token.
  Status WarmUp(const BenchCase& c);
  // Nanoseconds of one run of the case, the depth filled before.
  Expected<uint64_t> RunOnce(const BenchCase& c);

  model::Session& session() { return *session_; }
  const model::SessionOptions& options() const { return options_; }
  bool stopped() const { return stop_ && stop_(); }

 private:
  Status FillTo(size_t depth);
  Status Tokens(size_t n_prompt, size_t n_gen);

  const model::Model& model_;
  model::SessionOptions base_;
  std::function<bool()> stop_;
  model::SessionOptions options_;
  BenchCase prepared_;
  std::unique_ptr<model::Session> session_;
  size_t filled_ = 0;  // positions that hold the text
  std::vector<float> logits_;
};

struct Statistics {
  double mean = 0;
  double deviation = 0;  // of the sample; 0 for one
};
Statistics StatisticsOf(std::span<const double> samples);
// Tokens per second of each run.
std::vector<double> TokensPerSecond(const BenchCase& c,
                                    std::span<const uint64_t> samples_ns);

}  // namespace etalon::profile

#endif  // ETALON_PROFILE_BENCH_RUN_H_
