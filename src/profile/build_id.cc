#include "profile/build_id.h"

// Defined by CMake, for this file alone, so that a commit recompiles no other.
#ifndef ETALON_BUILD_COMMIT
#define ETALON_BUILD_COMMIT "unknown"
#define ETALON_BUILD_NUMBER 0
#endif

namespace etalon::profile {

std::string_view BuildCommit() { return ETALON_BUILD_COMMIT; }
int BuildNumber() { return ETALON_BUILD_NUMBER; }

}  // namespace etalon::profile
