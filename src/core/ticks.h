// A clock for profilers: the time stamp counter where it runs at one rate in
// every state of the CPU, else the steady clock. Reading it takes a third of
// the time of clock_gettime, waits for no instruction before it and touches no
// page of the kernel's, which a model's weights have pushed out of the caches.
#ifndef ETALON_CORE_TICKS_H_
#define ETALON_CORE_TICKS_H_

#include <chrono>
#include <cstdint>

namespace etalon {

inline uint64_t SteadyNs() {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(
          std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

namespace internal {
extern const bool kTicksAreTsc;
}

inline uint64_t Ticks() {
#if defined(__x86_64__)
  if (internal::kTicksAreTsc) return __builtin_ia32_rdtsc();
#endif
  return SteadyNs();
}

// One moment on both clocks. Between two of them, ticks turn into time.
struct TickMark {
  uint64_t ticks = 0;
  uint64_t ns = 0;  // steady clock

  static TickMark Now();
};

// 0 for the same moment.
double NsPerTick(const TickMark& from, const TickMark& to);

}  // namespace etalon

#endif  // ETALON_CORE_TICKS_H_
