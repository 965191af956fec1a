#include "core/ticks.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace etalon {
namespace {

// Intel SDM vol. 3, 18.17.1: CPUID.80000007H:EDX[8], invariant TSC.
bool HasInvariantTsc() {
#if defined(__x86_64__)
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(0x80000007, &eax, &ebx, &ecx, &edx) != 0 &&
         (edx & (1u << 8)) != 0;
#else
  return false;
#endif
}

}  // namespace

namespace internal {
const bool kTicksAreTsc = HasInvariantTsc();
}

TickMark TickMark::Now() {
  // What comes between the two readings would falsify the rate: of a few tries
  // the one with the least between them.
  TickMark best;
  uint64_t least = ~uint64_t{0};
  for (int i = 0; i < 5; ++i) {
    const uint64_t before = Ticks();
    const uint64_t ns = SteadyNs();
    const uint64_t after = Ticks();
    if (after - before < least) {
      least = after - before;
      best = {before + least / 2, ns};
    }
  }
  return best;
}

double NsPerTick(const TickMark& from, const TickMark& to) {
  if (to.ticks <= from.ticks) return 0;
  return static_cast<double>(to.ns - from.ns) /
         static_cast<double>(to.ticks - from.ticks);
}

}  // namespace etalon
