// The machine a measurement was taken on, and whether it was quiet meanwhile.
#ifndef ETALON_PROFILE_MACHINE_H_
#define ETALON_PROFILE_MACHINE_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "core/threads.h"

namespace etalon::profile {

struct Machine {
  std::string cpu;       // model name
  std::string features;  // that kernels look at
  ThreadBudget threads;
  bool smt = false;  // several CPUs of the mask share a core
  uint64_t l1d_bytes = 0, l2_bytes = 0, l3_bytes = 0;  // of CPU 0; 0: unknown
  std::string id;  // tells this machine's results from another's
};
// `root` holds proc/, sys/ and etc/.
Machine DescribeMachine(const std::filesystem::path& root = "/");
// "Intel ..., 2 threads (2 cores visible, no cgroup quota), SMT off, L1d 48
// KiB, L2 2 MiB, L3 480 MiB".
std::string MachineText(const Machine& machine);

// CPU time, in seconds over all CPUs, from proc/stat and the control group.
struct CpuClock {
  double busy = 0;       // user and system time of everybody
  double steal = 0;      // wanted here, given to another virtual machine
  double own = 0;        // of this process
  double throttled = 0;  // the group's quota had run out
  double wall = 0;
  int n_cpus = 1;  // that proc/stat counts
};
// nullopt where there is no proc/stat.
std::optional<CpuClock> ReadCpuClock(const std::filesystem::path& root = "/");

// What else used the machine between two readings, in CPUs.
struct Disturbance {
  bool known = false;
  double others = 0;
  double steal = 0;
  double throttled = 0;

  // A twentieth of a CPU taken away is more than background.
  bool quiet() const {
    return known && others < 0.05 && steal < 0.02 && throttled < 0.01;
  }
};
Disturbance DisturbanceBetween(const std::optional<CpuClock>& begin,
                               const std::optional<CpuClock>& end);
// "quiet" or "NOT QUIET: other processes 0.41 CPUs, stolen 0.03 CPUs".
std::string DisturbanceText(const Disturbance& d);

}  // namespace etalon::profile

#endif  // ETALON_PROFILE_MACHINE_H_
