#include "profile/tier_advice.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "io/atomic_file.h"
#include "profile/roofs.h"

namespace etalon::profile {
namespace {

using Json = nlohmann::json;

Json Describe(const Machine& machine, SimdTier tier) {
  return {
      {"version", 1}, {"machine", machine.id}, {"tier", SimdTierName(tier)}};
}

}  // namespace

std::string TierAdvicePath() {
  const std::string roofs = RoofCachePath();
  if (roofs.empty()) return "";
  return std::filesystem::path(roofs).replace_filename("tier.json").string();
}

std::optional<SimdTier> LoadTierAdvice(const std::string& path,
                                       const Machine& machine) {
  std::ifstream in(path);
  if (!in) return std::nullopt;
  std::ostringstream text;
  text << in.rdbuf();
  const Json j = Json::parse(text.str(), nullptr, /*allow_exceptions=*/false);
  for (const SimdTier tier : SupportedSimdTiers()) {
    if (j == Describe(machine, tier)) return tier;
  }
  return std::nullopt;
}

Status SaveTierAdvice(const std::string& path, const Machine& machine,
                      SimdTier tier) {
  if (path.empty()) return Fail(ErrorCode::kIo, "no home to remember it in");
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(),
                                      error);
  const std::string text =
      Describe(machine, tier)
          .dump(1, ' ', false, Json::error_handler_t::replace) +
      "\n";
  return io::WriteFileAtomically(path,
                                 std::as_bytes(std::span<const char>(text)));
}

}  // namespace etalon::profile
