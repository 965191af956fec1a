// manifest.json: all of a pack but its numbers. The text is untrusted.
#ifndef ETALON_REFERENCE_GOLDEN_MANIFEST_H_
#define ETALON_REFERENCE_GOLDEN_MANIFEST_H_

#include <string>
#include <string_view>
#include <vector>

#include "reference/golden/case.h"

namespace etalon::golden {

struct Manifest {
  std::string suite;
  std::vector<std::string> profiles;
  std::vector<Case> cases;  // without data
};

std::string WriteManifest(const Manifest& manifest);

// Errors name the case and the field; nothing is returned of a manifest with
// one fault, so that no case can go unnoticed.
Expected<Manifest> ReadManifest(std::string_view json, const std::string& name);

}  // namespace etalon::golden

#endif  // ETALON_REFERENCE_GOLDEN_MANIFEST_H_
