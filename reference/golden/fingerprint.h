// "Your output is what you get with this bug": a failing output against the
// value that each catalogued bug gives.
#ifndef ETALON_REFERENCE_GOLDEN_FINGERPRINT_H_
#define ETALON_REFERENCE_GOLDEN_FINGERPRINT_H_

#include <vector>

#include "reference/golden/judge.h"

namespace etalon::golden {

// The best matches, best first, at most 3; empty: nothing in the catalogue
// explains the output.
std::vector<Fingerprint> FindFingerprints(const Case& c, const TensorFile& got,
                                          const PortProfile& profile);

}  // namespace etalon::golden

#endif  // ETALON_REFERENCE_GOLDEN_FINGERPRINT_H_
