// Roofs as text: remembered between runs, and printed.
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "io/atomic_file.h"
#include "profile/roofs.h"

namespace etalon::profile {
namespace {

using Json = nlohmann::ordered_json;

// Of the layout below and of what is measured how: others are forgotten.
constexpr int kVersion = 3;

template <class T>
bool Get(const Json& j, const char* name, T* out) {
  if (!j.is_object() || !j.contains(name)) return false;
  const Json& v = j[name];
  if constexpr (std::is_same_v<T, std::string>) {
    if (!v.is_string()) return false;
  } else {
    if (!v.is_number()) return false;
  }
  *out = v.get<T>();
  return true;
}

bool GetRate(const Json& j, int* n_threads, Measured* rate) {
  return Get(j, "threads", n_threads) && Get(j, "per_second", &rate->best) &&
         Get(j, "spread", &rate->spread) && *n_threads > 0 && rate->best > 0;
}

}  // namespace

std::string ToJson(const Roofs& roofs) {
  Json j;
  j["version"] = kVersion;
  j["machine"] = roofs.machine;
  j["time"] = roofs.time;
  j["state"] = roofs.state;
  j["seconds"] = roofs.seconds;
  j["bandwidths"] = Json::array();
  for (const BandwidthRoof& r : roofs.bandwidths) {
    j["bandwidths"].push_back({{"level", LevelName(r.level)},
                               {"threads", r.n_threads},
                               {"per_second", r.rate.best},
                               {"spread", r.rate.spread}});
  }
  j["peaks"] = Json::array();
  for (const PeakRoof& r : roofs.peaks) {
    j["peaks"].push_back({{"peak", simd::PeakName(r.peak)},
                          {"tier", SimdTierName(r.tier)},
                          {"threads", r.n_threads},
                          {"per_second", r.rate.best},
                          {"spread", r.rate.spread}});
  }
  return j.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::optional<Roofs> RoofsFromJson(const std::string& text) {
  const Json j = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  int version = 0;
  Roofs roofs;
  if (j.is_discarded() || !Get(j, "version", &version) || version != kVersion ||
      !Get(j, "machine", &roofs.machine) || !Get(j, "time", &roofs.time) ||
      !Get(j, "state", &roofs.state) || !Get(j, "seconds", &roofs.seconds) ||
      !j.contains("bandwidths") || !j["bandwidths"].is_array() ||
      !j.contains("peaks") || !j["peaks"].is_array()) {
    return std::nullopt;
  }
  for (const Json& e : j["bandwidths"]) {
    BandwidthRoof r;
    std::string name;
    if (!Get(e, "level", &name) || !GetRate(e, &r.n_threads, &r.rate)) {
      return std::nullopt;
    }
    int level = 0;
    while (level < kNumLevels && name != LevelName(static_cast<Level>(level))) {
      ++level;
    }
    if (level == kNumLevels) return std::nullopt;
    r.level = static_cast<Level>(level);
    roofs.bandwidths.push_back(r);
  }
  for (const Json& e : j["peaks"]) {
    PeakRoof r;
    std::string name, tier_name;
    if (!Get(e, "peak", &name) || !Get(e, "tier", &tier_name) ||
        !GetRate(e, &r.n_threads, &r.rate)) {
      return std::nullopt;
    }
    int peak = 0;
    while (peak < simd::kNumPeaks &&
           name != simd::PeakName(static_cast<simd::Peak>(peak))) {
      ++peak;
    }
    const auto tier = ParseSimdTier(tier_name);
    if (peak == simd::kNumPeaks || !tier) return std::nullopt;
    r.peak = static_cast<simd::Peak>(peak);
    r.tier = *tier;
    roofs.peaks.push_back(r);
  }
  return roofs;
}

std::string RoofCachePath() {
  // XDG base directory specification: an empty or relative name is ignored.
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && cache[0] == '/') {
    return std::string(cache) + "/etalon/roofs.json";
  }
  const char* home = std::getenv("HOME");
  if (home != nullptr && home[0] == '/') {
    return std::string(home) + "/.cache/etalon/roofs.json";
  }
  return "";
}

std::optional<Roofs> LoadRoofs(const std::string& path,
                               const Machine& machine) {
  std::ifstream in(path);
  if (!in) return std::nullopt;
  std::ostringstream text;
  text << in.rdbuf();
  std::optional<Roofs> roofs = RoofsFromJson(text.str());
  if (roofs && roofs->machine != machine.id) roofs.reset();
  return roofs;
}

Status SaveRoofs(const std::string& path, const Roofs& roofs) {
  if (path.empty()) return Fail(ErrorCode::kIo, "no home to remember roofs in");
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(),
                                      error);
  const std::string text = ToJson(roofs);
  return io::WriteFileAtomically(path,
                                 std::as_bytes(std::span<const char>(text)));
}

std::string RoofsText(const Roofs& roofs) {
  std::string out = fmt::format("roofs of {}, measured in {:.1f} s, {}\n",
                                roofs.time, roofs.seconds, roofs.state);
  for (const BandwidthRoof& r : roofs.bandwidths) {
    out += fmt::format(
        "  read {:4} {:26} {:3} threads {:9.1f} GB/s   "
        "spread {:4.1f} %\n",
        LevelName(r.level), "", r.n_threads, r.rate.best * 1e-9,
        r.rate.spread * 100);
  }
  for (const PeakRoof& r : roofs.peaks) {
    out += fmt::format(
        "  {:11} {:24} {:3} threads {:9.1f} GOP/s  "
        "spread {:4.1f} %\n",
        simd::PeakName(r.peak), SimdTierName(r.tier), r.n_threads,
        r.rate.best * 1e-9, r.rate.spread * 100);
  }
  return out;
}

}  // namespace etalon::profile
