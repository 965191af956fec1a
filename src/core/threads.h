// How many threads to use when nobody says: the CPUs this process may run on,
// the share of them that its control groups grant, and one thread per core.
// More threads than that make spinning workers wait for each other's time
// slices, which costs far more than the missing threads would have brought.
#ifndef ETALON_CORE_THREADS_H_
#define ETALON_CORE_THREADS_H_

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace etalon {

struct ThreadBudget {
  int n_threads = 1;
  int n_cpus = 1;               // logical CPUs in the affinity mask
  int n_cores = 1;              // distinct physical cores among them
  std::optional<double> quota;  // CPUs granted by cgroup v1 or v2
  // "2 (2 cores visible, no cgroup quota)", for people.
  std::string reason;
};

// This machine, now. Reads /proc and /sys.
ThreadBudget DefaultThreads();

// The same from the tree under `root` (holding proc/ and sys/) and the CPUs of
// the affinity mask.
ThreadBudget ThreadBudgetFrom(const std::filesystem::path& root,
                              const std::vector<int>& cpus);

// CPUs in the affinity mask of this process, ascending.
std::vector<int> AffinityCpus();

// "max 100000" or "150000 100000" (cgroup v2 cpu.max) in CPUs; nullopt when
// there is no limit or the text is something else.
std::optional<double> ParseCpuMax(std::string_view text);
// The two numbers of cgroup v1: cpu.cfs_quota_us (-1: none), cfs_period_us.
std::optional<double> ParseCfsQuota(std::string_view quota,
                                    std::string_view period);
// The tightest quota on the way from this process's groups to the root.
std::optional<double> CgroupQuota(const std::filesystem::path& root);

}  // namespace etalon

#endif  // ETALON_CORE_THREADS_H_
