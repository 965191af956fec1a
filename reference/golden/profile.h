// Profiles as files: how a port computes (docs/golden-packs.md, "Profiles").
#ifndef ETALON_REFERENCE_GOLDEN_PROFILE_H_
#define ETALON_REFERENCE_GOLDEN_PROFILE_H_

#include <string>
#include <string_view>
#include <vector>

#include "etalon/status.h"
#include "reference/bounds.h"

namespace etalon::golden {

struct PortProfile {
  reference::Profile p;  // with its name
  std::string source;    // where the figures are from
  std::string bound_of;  // whose stored bounds hold
};

// `name` is what errors call the text. An unknown or missing field, a negative
// or non-finite number is an error.
Expected<PortProfile> ParseProfile(std::string_view json,
                                   const std::string& name);

// The files in profiles/, sorted by name.
struct ShippedProfile {
  std::string_view name;
  std::string_view json;
};
const std::vector<ShippedProfile>& ShippedProfiles();
Expected<PortProfile> FindShippedProfile(std::string_view name);

}  // namespace etalon::golden

#endif  // ETALON_REFERENCE_GOLDEN_PROFILE_H_
