#include "cli/output.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace etalon::cli {
namespace {
bool stdout_closed = false;
}

Status WriteStdout(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = write(STDOUT_FILENO, text.data(), text.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      stdout_closed = errno == EPIPE;
      return Fail(ErrorCode::kIo,
                  std::string("writing to stdout: ") + std::strerror(errno));
    }
    text.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

bool StdoutClosed() { return stdout_closed; }

}  // namespace etalon::cli
