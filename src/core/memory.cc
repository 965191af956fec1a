#include "core/memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

namespace etalon {
namespace {

constexpr uint64_t kUnlimited = std::numeric_limits<uint64_t>::max();

// The number after `key` in a file of "key value" lines; the first number of
// the file when key is empty. kUnlimited when there is none ("max").
uint64_t ReadNumber(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  std::string word;
  while (file >> word) {
    if (key.empty()) file.seekg(0);
    if (!key.empty() && word != key) continue;
    uint64_t value = 0;
    return file >> value ? value : kUnlimited;
  }
  return kUnlimited;
}

uint64_t SaturatingSub(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

uint64_t MachineAvailable() {
  const uint64_t kib = ReadNumber("/proc/meminfo", "MemAvailable:");
  return kib == kUnlimited ? kib : kib * 1024;
}

// What one control group leaves. Its clean file pages can be dropped, so they
// do not count as used.
uint64_t GroupAvailable(const std::string& limit, const std::string& usage,
                        const std::string& stat, const std::string& stat_key) {
  const uint64_t max = ReadNumber(limit, "");
  const uint64_t used = ReadNumber(usage, "");
  if (max == kUnlimited || used == kUnlimited) return kUnlimited;
  const uint64_t cached = ReadNumber(stat, stat_key);
  return SaturatingSub(max,
                       SaturatingSub(used, cached == kUnlimited ? 0 : cached));
}

uint64_t CgroupAvailable() {
  uint64_t least = kUnlimited;
  std::ifstream groups("/proc/self/cgroup");
  std::string line;
  while (std::getline(groups, line)) {
    // hierarchy-id:controllers:path (cgroups(7))
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1);
    const bool v1 = controllers == "memory";
    if (!v1 && !controllers.empty()) continue;
    const std::string root = v1 ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup";
    // Every ancestor's limit holds too; inside a container the path may not
    // exist, the mount's root always does.
    while (true) {
      const std::string dir = root + (path == "/" ? "" : path) + "/";
      least = std::min(
          least, v1 ? GroupAvailable(dir + "memory.limit_in_bytes",
                                     dir + "memory.usage_in_bytes",
                                     dir + "memory.stat", "total_inactive_file")
                    : GroupAvailable(dir + "memory.max", dir + "memory.current",
                                     dir + "memory.stat", "inactive_file"));
      if (path.empty() || path == "/") break;
      path = path.substr(0, path.rfind('/'));
    }
  }
  return least;
}

uint64_t AddressSpaceAvailable() {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
    return kUnlimited;
  }
  const uint64_t pages = ReadNumber("/proc/self/statm", "");
  if (pages == kUnlimited) return limit.rlim_cur;
  return SaturatingSub(limit.rlim_cur,
                       pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
}

}  // namespace

uint64_t AvailableMemoryBytes() {
  return std::min(
      {MachineAvailable(), CgroupAvailable(), AddressSpaceAvailable()});
}

}  // namespace etalon
