// What libhwy has that our kernels call, for an architecture where one target
// is compiled in: there is nothing to choose.
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "hwy/highway.h"

namespace hwy {

int64_t SupportedTargets() { return HWY_TARGETS; }

ChosenTarget& GetChosenTarget() {
  static ChosenTarget chosen;
  return chosen;
}

void Abort(const char* file, int line, const char* format, ...) {
  va_list args;
  va_start(args, format);
  std::fprintf(stderr, "%s:%d: ", file, line);
  std::vfprintf(stderr, format, args);
  va_end(args);
  std::abort();
}

}  // namespace hwy
