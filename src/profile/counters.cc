#include "profile/counters.h"

#include <fmt/format.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace etalon::profile {
namespace {

int Open(uint64_t config) {
  perf_event_attr attr{};
  attr.size = sizeof attr;
  attr.type = PERF_TYPE_HARDWARE;
  attr.config = config;
  attr.inherit = 1;  // threads started from now on
  attr.exclude_kernel = 1;
  attr.exclude_hv = 1;
  return static_cast<int>(syscall(SYS_perf_event_open, &attr, /*pid=*/0,
                                  /*cpu=*/-1, /*group=*/-1,
                                  PERF_FLAG_FD_CLOEXEC));
}

std::optional<uint64_t> ReadFd(int fd) {
  uint64_t value = 0;
  if (fd < 0 || read(fd, &value, sizeof value) != sizeof value) {
    return std::nullopt;
  }
  return value;
}

std::optional<uint64_t> Minus(std::optional<uint64_t> a,
                              std::optional<uint64_t> b) {
  if (!a || !b) return std::nullopt;
  return *a - *b;
}

std::optional<uint64_t> Plus(std::optional<uint64_t> a,
                             std::optional<uint64_t> b) {
  if (!a || !b) return std::nullopt;
  return *a + *b;
}

std::string Number(std::optional<uint64_t> n) {
  return n ? fmt::format("{:.3g}", static_cast<double>(*n)) : "n/a";
}

}  // namespace

CounterValues CounterValues::operator-(const CounterValues& e) const {
  return {Minus(cycles, e.cycles), Minus(instructions, e.instructions),
          Minus(llc_misses, e.llc_misses)};
}

CounterValues CounterValues::operator+(const CounterValues& o) const {
  return {Plus(cycles, o.cycles), Plus(instructions, o.instructions),
          Plus(llc_misses, o.llc_misses)};
}

std::string CounterValues::Text() const {
  std::string text = fmt::format("cycles {}, instructions {}", Number(cycles),
                                 Number(instructions));
  if (cycles && instructions && *cycles > 0) {
    text +=
        fmt::format(" ({:.2f} per cycle)", static_cast<double>(*instructions) /
                                               static_cast<double>(*cycles));
  }
  return text + fmt::format(", LLC misses {}", Number(llc_misses));
}

Counters::Counters()
    : fds_{Open(PERF_COUNT_HW_CPU_CYCLES), Open(PERF_COUNT_HW_INSTRUCTIONS),
           Open(PERF_COUNT_HW_CACHE_MISSES)} {}

Counters::~Counters() {
  for (const int fd : fds_) {
    if (fd >= 0) close(fd);
  }
}

CounterValues Counters::Read() const {
  return {ReadFd(fds_[0]), ReadFd(fds_[1]), ReadFd(fds_[2])};
}

}  // namespace etalon::profile
