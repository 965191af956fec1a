// Writing results to stdout, where a full disk or a closed pipe is noticed.
#ifndef ETALON_CLI_OUTPUT_H_
#define ETALON_CLI_OUTPUT_H_

#include <string_view>

#include "etalon/status.h"

namespace etalon::cli {

// Writes and flushes. Error kIo naming the reason; see StdoutClosed.
Status WriteStdout(std::string_view text);

// Whether a write failed because the reader went away: then there is nobody to
// tell, and commands end quietly.
bool StdoutClosed();

}  // namespace etalon::cli

#endif  // ETALON_CLI_OUTPUT_H_
