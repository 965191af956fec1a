// Run-time switches in one explicit object: read from the environment once, by
// whoever wants to, then queried and set like any other value. A change takes
// effect on the next call, because ops look at the object they are handed.
#ifndef ETALON_CONFIG_H_
#define ETALON_CONFIG_H_

#include <functional>
#include <optional>
#include <string>

#include "etalon/simd_tier.h"
#include "etalon/status.h"

namespace etalon {

enum class Profile {
  kStrict,  // one bit pattern on every tier, thread count and batch
  kFast,    // may reassociate; within the emitted bounds
};

struct Config {
  // ETALON_ISA: nullopt is auto (the best tier this machine runs).
  std::optional<SimdTier> isa;
  // ETALON_NUM_THREADS, then OMP_NUM_THREADS; nullopt is the machine's default.
  std::optional<int> n_threads;
  Profile profile = Profile::kStrict;
  // ETALON_FLASH_ATTN_STRICT: set, not empty, first char not '0'. Decode runs
  // the un-tiled two-pass kernel (requirement B-80).
  bool flash_attn_strict = false;
  // ETALON_Q8K_ACTIVATIONS: nullopt or empty is on unless strict_parity; first
  // char 0, n, N, f, F is off; else on (B-81).
  std::optional<bool> q8k_activations;
  // ETALON_LAYER_DEBUG: first char 1, y, Y (B-82).
  bool layer_debug = false;
  // ETALON_DEBUG_ATTN: set at all, even empty. Multi-head attention as
  // etalon/adapters.h has it logs what head 0 looks like (C-06).
  bool debug_attn = false;
  // ETALON_STRICT_PARITY: naive sequential f32 kernels, one thread (B-83).
  bool strict_parity = false;

  bool UseQ8Activations() const {
    return q8k_activations.value_or(!strict_parity);
  }
};

// `getenv` returns nullopt for an unset variable. An unknown ISA name or a
// thread count outside 1..4096 is an error naming the variable and the value.
using GetEnv = std::function<std::optional<std::string>(const char* name)>;
Expected<Config> ConfigFromEnvironment(const GetEnv& getenv);
// The process environment.
Expected<Config> ConfigFromEnvironment();

}  // namespace etalon

#endif  // ETALON_CONFIG_H_
