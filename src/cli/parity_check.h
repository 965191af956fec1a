// A quick look, before speed is talked about, whether the ops of a backend
// give right answers on the model at hand: a short prompt and one more token go
// through it, and the first call of each kind (op, type, shape, one row or
// many) is held against the fp64 reference, on some rows of large products. It
// takes a fraction of a second; the test suite is the thorough check.
#ifndef ETALON_CLI_PARITY_CHECK_H_
#define ETALON_CLI_PARITY_CHECK_H_

#include <string>

#include "model/session.h"

namespace etalon::cli {

struct ParityReport {
  size_t n_kinds = 0;    // kinds of calls that were compared
  size_t n_numbers = 0;  // output elements that were
  double worst = 0;      // largest error, in bounds
  std::string failure;   // empty: all within their bounds

  bool ok() const { return failure.empty() && n_kinds > 0; }
};

// Runs options.backend. Errors are those of Session.
Expected<ParityReport> CheckParity(const model::Model& model,
                                   const model::SessionOptions& options);

}  // namespace etalon::cli

#endif  // ETALON_CLI_PARITY_CHECK_H_
