// Which source the program was built from.
#ifndef ETALON_PROFILE_BUILD_ID_H_
#define ETALON_PROFILE_BUILD_ID_H_

#include <string_view>

namespace etalon::profile {

// Nine digits of git's commit, and how many commits lead to it; "unknown" and
// 0 when built outside a clone.
std::string_view BuildCommit();
int BuildNumber();

}  // namespace etalon::profile

#endif  // ETALON_PROFILE_BUILD_ID_H_
