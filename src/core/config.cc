#include "etalon/config.h"

#include <charconv>
#include <cstdlib>

namespace etalon {
namespace {

constexpr int kMaxThreads = 4096;

// OMP_NUM_THREADS may be a list, one entry per nesting level; the first is the
// one that counts here.
Expected<int> ParseThreads(const char* name, const std::string& value,
                           bool list) {
  const char* begin = value.data();
  const char* end = begin + value.size();
  while (begin != end && *begin == ' ') ++begin;
  int n = 0;
  auto [rest, error] = std::from_chars(begin, end, n);
  while (rest != end && *rest == ' ') ++rest;
  const bool whole = rest == end || (list && *rest == ',');
  if (error != std::errc() || !whole || n < 1 || n > kMaxThreads) {
    return InvalidArgument(std::string(name) + "='" + value +
                           "': expected a number of threads in 1.." +
                           std::to_string(kMaxThreads));
  }
  return n;
}

bool IsOneOf(char c, std::string_view set) {
  return set.find(c) != std::string_view::npos;
}

}  // namespace

Expected<Config> ConfigFromEnvironment(const GetEnv& getenv) {
  // An empty variable is as good as none (B-80, B-81).
  const auto get = [&getenv](const char* name) -> std::optional<std::string> {
    std::optional<std::string> v = getenv(name);
    if (v && v->empty()) v.reset();
    return v;
  };
  Config config;
  if (const auto v = get("ETALON_ISA"); v && *v != "auto") {
    const Expected<SimdTier> tier = ParseSimdTier(*v);
    if (!tier) {
      return InvalidArgument("ETALON_ISA: " + tier.error().message + ", auto");
    }
    config.isa = *tier;
  }
  if (const auto own = get("ETALON_NUM_THREADS")) {
    ETALON_ASSIGN_OR_RETURN(config.n_threads,
                            ParseThreads("ETALON_NUM_THREADS", *own, false));
  } else if (const auto omp = get("OMP_NUM_THREADS")) {
    ETALON_ASSIGN_OR_RETURN(config.n_threads,
                            ParseThreads("OMP_NUM_THREADS", *omp, true));
  }
  if (const auto v = get("ETALON_FLASH_ATTN_STRICT")) {
    config.flash_attn_strict = v->front() != '0';
  }
  if (const auto v = get("ETALON_Q8K_ACTIVATIONS")) {
    config.q8k_activations = !IsOneOf(v->front(), "0nNfF");
  }
  if (const auto v = get("ETALON_LAYER_DEBUG")) {
    config.layer_debug = IsOneOf(v->front(), "1yY");
  }
  config.debug_attn = getenv("ETALON_DEBUG_ATTN").has_value();
  if (const auto v = get("ETALON_STRICT_PARITY")) {
    config.strict_parity = v->front() != '0';
  }
  if (config.strict_parity) config.n_threads = 1;  // sequential (B-83)
  return config;
}

Expected<Config> ConfigFromEnvironment() {
  return ConfigFromEnvironment(
      [](const char* name) -> std::optional<std::string> {
        const char* value = std::getenv(name);
        if (value == nullptr) return std::nullopt;
        return value;
      });
}

}  // namespace etalon
