#include "reference/golden/fingerprint.h"

namespace etalon::golden {

std::vector<Fingerprint> FindFingerprints(const Case&, const TensorFile&,
                                          const PortProfile&) {
  return {};
}

}  // namespace etalon::golden
