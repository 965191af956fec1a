// Picks the next token from logits. The order of the steps is that of the
// common samplers chain: penalties, top-k, top-p, min-p, temperature, draw.
#ifndef ETALON_MODEL_SAMPLER_H_
#define ETALON_MODEL_SAMPLER_H_

#include <cstdint>
#include <deque>
#include <span>
#include <unordered_map>
#include <vector>

#include "etalon/status.h"

namespace etalon::model {

struct SamplerOptions {
  float temperature = 0.8f;        // 0: argmax, ties to the lowest id
  int32_t top_k = 40;              // <= 0: all tokens
  float top_p = 0.95f;             // 1: off
  float min_p = 0.05f;             // 0: off
  int32_t repeat_last_n = 64;      // window of the penalties; 0 off, -1 all
  float repeat_penalty = 1.0f;     // 1: off
  float presence_penalty = 0.0f;   // 0: off
  float frequency_penalty = 0.0f;  // 0: off
  uint64_t seed = 0;
};

// Error naming the option, its value and its range.
Status CheckSamplerOptions(const SamplerOptions& options);

// Deterministic: the same options, seed and logits give the same tokens on
// every machine (own generator and exp, double arithmetic in a fixed order).
class Sampler {
 public:
  // Precondition: CheckSamplerOptions passed.
  explicit Sampler(const SamplerOptions& options);

  // Tells the penalties about a token that was read or generated.
  void Accept(int32_t token);

  // Error kBadInput when a logit is NaN or +Inf, also after the penalties, or
  // all are -Inf ("no token allowed"): never a made-up token.
  Expected<int32_t> Sample(std::span<const float> logits);

 private:
  struct Candidate {
    int32_t id;
    float logit;
  };

  Status ApplyPenalties(std::vector<Candidate>& candidates) const;
  double NextUniform();  // [0, 1)

  SamplerOptions options_;
  std::deque<int32_t> recent_;
  std::unordered_map<int32_t, int32_t> counts_;  // of recent_
  uint64_t state_;
  std::vector<Candidate> candidates_;
};

// Argmax with ties to the lowest id; the same errors as Sample.
Expected<int32_t> Argmax(std::span<const float> logits);

}  // namespace etalon::model

#endif  // ETALON_MODEL_SAMPLER_H_
