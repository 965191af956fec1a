// What this machine can do at most, measured: bytes read per second from each
// level of memory and operations per second of each kind, by thread count.
#ifndef ETALON_PROFILE_ROOFS_H_
#define ETALON_PROFILE_ROOFS_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "etalon/simd_tier.h"
#include "profile/machine.h"
#include "simd/roof.h"

namespace etalon::profile {

enum class Level { kL1, kL2, kL3, kDram };
inline constexpr int kNumLevels = 4;
const char* LevelName(Level level);  // "L1", ..., "DRAM"

// A rate per second over all threads. The roof is the best of several short
// runs; the spread says how far the median stays below it, as a share.
struct Measured {
  double best = 0;
  double spread = 0;
};

struct BandwidthRoof {
  Level level = Level::kDram;
  int n_threads = 1;
  Measured rate;  // bytes
};
struct PeakRoof {
  simd::Peak peak = simd::Peak::kMulAddF32;
  SimdTier tier = SimdTier::kScalar;
  int n_threads = 1;
  Measured rate;  // operations
};

struct Roofs {
  std::string machine;  // Machine::id
  std::string time;     // UTC
  std::string state;    // DisturbanceText while measuring
  double seconds = 0;
  std::vector<BandwidthRoof> bandwidths;
  std::vector<PeakRoof> peaks;

  // 0 when it was not measured. The nearest thread count that was stands in
  // for others.
  double Bandwidth(Level level, int n_threads) const;
  double Peak(simd::Peak peak, SimdTier tier, int n_threads) const;
};

// Measures on 1, 2, 4, ... and all threads of the budget; about ten seconds.
// The active tier is as before afterwards. `stop` is asked between roofs;
// `progress` is told how many of how many are done.
Expected<Roofs> MeasureRoofs(
    const Machine& machine, const std::function<bool()>& stop,
    const std::function<void(size_t, size_t)>& progress);

// As text and back; nullopt for text that is not what ToJson writes.
std::string ToJson(const Roofs& roofs);
std::optional<Roofs> RoofsFromJson(const std::string& text);

// Where they are remembered: $XDG_CACHE_HOME/etalon/roofs.json, else
// ~/.cache/etalon/roofs.json; empty when there is no home.
std::string RoofCachePath();
// Those of this machine, if they were remembered.
std::optional<Roofs> LoadRoofs(const std::string& path, const Machine& machine);
Status SaveRoofs(const std::string& path, const Roofs& roofs);

std::string RoofsText(const Roofs& roofs);

}  // namespace etalon::profile

#endif  // ETALON_PROFILE_ROOFS_H_
