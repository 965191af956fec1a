// Hardware counters of this process through perf_event_open, where the machine
// has them and lets us: virtual machines and containers often do not.
#ifndef ETALON_PROFILE_COUNTERS_H_
#define ETALON_PROFILE_COUNTERS_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace etalon::profile {

struct CounterValues {
  // nullopt: this machine does not count it.
  std::optional<uint64_t> cycles, instructions, llc_misses;

  // nullopt where either side is.
  CounterValues operator-(const CounterValues& earlier) const;
  CounterValues operator+(const CounterValues& other) const;
  // "cycles 1.2e9, instructions 2.4e9 (2.00 per cycle), LLC misses n/a".
  std::string Text() const;
};

// Counts from construction on, in user space, this thread and the threads that
// it starts later: make it before the first parallel region.
class Counters {
 public:
  Counters();
  ~Counters();
  Counters(const Counters&) = delete;
  Counters& operator=(const Counters&) = delete;

  CounterValues Read() const;

 private:
  std::array<int, 3> fds_{-1, -1, -1};
};

}  // namespace etalon::profile

#endif  // ETALON_PROFILE_COUNTERS_H_
