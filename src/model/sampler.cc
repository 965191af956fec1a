#include "model/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "simd/exp.h"

namespace etalon::model {
namespace {

Status CheckLogits(std::span<const float> logits) {
  bool any = false;
  for (size_t i = 0; i < logits.size(); ++i) {
    const float x = logits[i];
    if (std::isnan(x) || x == std::numeric_limits<float>::infinity()) {
      return BadInput(fmt::format("logits[{}]: {}, need a number", i, x));
    }
    any = any || x != -std::numeric_limits<float>::infinity();
  }
  if (!any) return BadInput("no token allowed: every logit is -Inf");
  return {};
}

Status CheckRange(const char* name, double value, double min, double max) {
  if (value >= min && value <= max) return {};
  return InvalidArgument(
      fmt::format("{}: {} is outside {}..{}", name, value, min, max));
}

}  // namespace

Status CheckSamplerOptions(const SamplerOptions& o) {
  constexpr double kMax = std::numeric_limits<float>::max();
  ETALON_RETURN_IF_ERROR(CheckRange("temperature", o.temperature, 0, 1e6));
  ETALON_RETURN_IF_ERROR(CheckRange("top-p", o.top_p, 0, 1));
  ETALON_RETURN_IF_ERROR(CheckRange("min-p", o.min_p, 0, 1));
  ETALON_RETURN_IF_ERROR(
      CheckRange("repeat-last-n", o.repeat_last_n, -1, 1 << 30));
  if (!(o.repeat_penalty > 0.0f)) {
    return InvalidArgument(
        fmt::format("repeat-penalty: {} must be > 0", o.repeat_penalty));
  }
  ETALON_RETURN_IF_ERROR(
      CheckRange("repeat-penalty", o.repeat_penalty, 0, kMax));
  ETALON_RETURN_IF_ERROR(
      CheckRange("presence-penalty", o.presence_penalty, -100, 100));
  return CheckRange("frequency-penalty", o.frequency_penalty, -100, 100);
}

Sampler::Sampler(const SamplerOptions& options)
    : options_(options), state_(options.seed) {}

void Sampler::Accept(int32_t token) {
  if (options_.repeat_last_n == 0) return;
  recent_.push_back(token);
  ++counts_[token];
  if (options_.repeat_last_n > 0 &&
      recent_.size() > static_cast<size_t>(options_.repeat_last_n)) {
    const auto oldest = counts_.find(recent_.front());
    if (--oldest->second == 0) counts_.erase(oldest);
    recent_.pop_front();
  }
}

// SplitMix64 (Steele, Lea, Flood 2014): one addition and a finaliser per draw,
// every seed good. The top 53 bits make a double in [0, 1).
double Sampler::NextUniform() {
  uint64_t z = state_ += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  z ^= z >> 31;
  return static_cast<double>(z >> 11) * 0x1p-53;
}

Status Sampler::ApplyPenalties(std::vector<Candidate>& candidates) const {
  // Candidates still lie in id order here.
  for (const auto& [token, count] : counts_) {
    if (token < 0 || static_cast<size_t>(token) >= candidates.size()) continue;
    float& x = candidates[static_cast<size_t>(token)].logit;
    // Away from 0 is towards "less likely" for either sign (CTRL, Keskar et
    // al. 2019, as engines apply it).
    x = x <= 0 ? x * options_.repeat_penalty : x / options_.repeat_penalty;
    x -= static_cast<float>(count) * options_.frequency_penalty +
         options_.presence_penalty;
    if (std::isnan(x) || x == std::numeric_limits<float>::infinity()) {
      return BadInput(fmt::format(
          "logits[{}]: {} after the penalties, need a number", token, x));
    }
  }
  return {};
}

Expected<int32_t> Argmax(std::span<const float> logits) {
  ETALON_RETURN_IF_ERROR(CheckLogits(logits));
  // max_element returns the first of equals.
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) -
                              logits.begin());
}

Expected<int32_t> Sampler::Sample(std::span<const float> logits) {
  ETALON_RETURN_IF_ERROR(CheckLogits(logits));
  candidates_.resize(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    candidates_[i] = {static_cast<int32_t>(i), logits[i]};
  }
  ETALON_RETURN_IF_ERROR(ApplyPenalties(candidates_));
  // Descending; equal logits by ascending id, so that the order is unique.
  const auto before = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  if (options_.temperature == 0.0f) {
    return std::min_element(candidates_.begin(), candidates_.end(), before)->id;
  }
  size_t n = candidates_.size();
  if (options_.top_k > 0) n = std::min(n, static_cast<size_t>(options_.top_k));
  std::partial_sort(candidates_.begin(),
                    candidates_.begin() + static_cast<ptrdiff_t>(n),
                    candidates_.end(), before);

  // Probabilities before temperature decide top-p and min-p. Own exp, so that
  // the draw does not depend on the machine's libm.
  std::vector<float> e(n);
  const auto exp_of = [&](float temperature) {
    for (size_t i = 0; i < n; ++i) {
      // Divided: the inverse of a tiny temperature would be infinite.
      e[i] = (candidates_[i].logit - candidates_[0].logit) / temperature;
    }
    simd::Exp(e.data(), e.data(), n);
  };
  exp_of(1.0f);
  if (options_.top_p < 1.0f) {
    double total = 0;
    for (size_t i = 0; i < n; ++i) total += e[i];
    double sum = 0;
    size_t keep = 0;
    while (keep < n) {
      sum += e[keep++];
      if (sum >= static_cast<double>(options_.top_p) * total) break;
    }
    n = keep;
  }
  // e[0] is 1: the most likely token always stays.
  while (n > 1 && e[n - 1] < options_.min_p) --n;
  exp_of(options_.temperature);

  double total = 0;
  for (size_t i = 0; i < n; ++i) total += e[i];
  double rest = NextUniform() * total;
  for (size_t i = 0; i < n; ++i) {
    rest -= e[i];
    if (rest < 0) return candidates_[i].id;
  }
  return candidates_[0].id;
}

}  // namespace etalon::model
