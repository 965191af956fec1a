#include "core/threads.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

namespace etalon {
namespace {

namespace fs = std::filesystem;

std::optional<std::string> ReadFile(const fs::path& path) {
  std::ifstream in(path);
  if (!in) return std::nullopt;
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::optional<long long> ParseInt(std::string_view text) {
  const size_t end = text.find_last_not_of(" \t\n");
  if (end == std::string_view::npos) return std::nullopt;
  text = text.substr(0, end + 1);
  long long n = 0;
  const auto [rest, error] =
      std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || rest != text.data() + text.size()) {
    return std::nullopt;
  }
  return n;
}

std::vector<std::string> Split(const std::string& line, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(line);
  for (std::string part; std::getline(in, part, separator);) {
    parts.push_back(part);
  }
  return parts;
}

bool Contains(const std::vector<std::string>& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

// Where this process's groups are: for cgroup v2, and for v1's cpu controller.
struct Group {
  bool v2;
  std::string path;  // as in /proc/self/cgroup
};
std::vector<Group> ParseGroups(const std::string& text) {
  std::vector<Group> groups;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    // hierarchy-id:controllers:path (cgroups(7)); the path may hold colons.
    const size_t first = line.find(':');
    if (first == std::string::npos) continue;
    const size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool v2 = line.substr(0, first) == "0" && controllers.empty();
    if (v2 || Contains(Split(controllers, ','), "cpu")) {
      groups.push_back({v2, line.substr(second + 1)});
    }
  }
  return groups;
}

struct Mount {
  bool v2;
  std::string root;   // the group that the mount shows as its top
  std::string point;  // where it is mounted
};
std::vector<Mount> ParseMounts(const std::string& text) {
  std::vector<Mount> mounts;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    // id parent major:minor root point options [fields] - type source super
    // (proc(5), mountinfo)
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const auto left = Split(line.substr(0, dash), ' ');
    const auto right = Split(line.substr(dash + 3), ' ');
    if (left.size() < 5 || right.size() < 3) continue;
    const bool v2 = right[0] == "cgroup2";
    const bool v1 =
        right[0] == "cgroup" && Contains(Split(right[2], ','), "cpu");
    if (v1 || v2) mounts.push_back({v2, left[3], left[4]});
  }
  return mounts;
}

std::optional<double> QuotaAt(const fs::path& dir, bool v2) {
  if (v2) {
    const auto text = ReadFile(dir / "cpu.max");
    return text ? ParseCpuMax(*text) : std::nullopt;
  }
  const auto quota = ReadFile(dir / "cpu.cfs_quota_us");
  const auto period = ReadFile(dir / "cpu.cfs_period_us");
  return quota && period ? ParseCfsQuota(*quota, *period) : std::nullopt;
}

int CountCores(const fs::path& root, const std::vector<int>& cpus) {
  std::set<std::pair<long long, long long>> cores;
  for (int cpu : cpus) {
    const fs::path topology =
        root / fmt::format("sys/devices/system/cpu/cpu{}/topology", cpu);
    const auto number = [&](const char* name) -> std::optional<long long> {
      const auto text = ReadFile(topology / name);
      return text ? ParseInt(*text) : std::nullopt;
    };
    const auto package = number("physical_package_id");
    const auto core = number("core_id");
    // Without topology files (some sandboxes) every CPU counts as a core.
    if (!package || !core) return static_cast<int>(cpus.size());
    cores.insert({*package, *core});
  }
  return static_cast<int>(cores.size());
}

std::string Plural(int n, const char* noun) {
  return fmt::format("{} {}{}", n, noun, n == 1 ? "" : "s");
}

}  // namespace

std::optional<double> ParseCpuMax(std::string_view text) {
  const size_t blank = text.find(' ');
  if (blank == std::string_view::npos) return std::nullopt;
  return ParseCfsQuota(text.substr(0, blank), text.substr(blank + 1));
}

std::optional<double> ParseCfsQuota(std::string_view quota,
                                    std::string_view period) {
  const auto q = ParseInt(quota), p = ParseInt(period);
  if (!q || !p || *q <= 0 || *p <= 0) return std::nullopt;
  return static_cast<double>(*q) / static_cast<double>(*p);
}

std::optional<double> CgroupQuota(const fs::path& root) {
  const auto groups = ReadFile(root / "proc/self/cgroup");
  const auto mountinfo = ReadFile(root / "proc/self/mountinfo");
  if (!groups || !mountinfo) return std::nullopt;
  const auto mounts = ParseMounts(*mountinfo);
  std::optional<double> least;
  for (const Group& group : ParseGroups(*groups)) {
    for (const Mount& mount : mounts) {
      if (mount.v2 != group.v2) continue;
      const fs::path top = root / fs::path(mount.point).relative_path();
      // Inside a container the mount's root is the container's own group, and
      // the path in /proc may be as the host sees it or as the container does.
      fs::path below = fs::path(group.path).relative_path();
      if (mount.root != "/") {
        const fs::path inside =
            fs::path(group.path).lexically_relative(mount.root);
        if (!inside.empty() && *inside.begin() != "..") below = inside;
      }
      below = below.lexically_normal();
      std::error_code ec;
      if ((!below.empty() && *below.begin() == "..") ||
          !fs::is_directory(top / below, ec)) {
        below.clear();
      }
      // Every ancestor's limit holds too.
      for (fs::path at = below;; at = at.parent_path()) {
        if (const auto q = QuotaAt(top / at, mount.v2)) {
          least = least ? std::min(*least, *q) : *q;
        }
        if (at.empty()) break;
      }
    }
  }
  return least;
}

ThreadBudget ThreadBudgetFrom(const fs::path& root,
                              const std::vector<int>& cpus) {
  ThreadBudget b;
  b.n_cpus = std::max(1, static_cast<int>(cpus.size()));
  b.n_cores = std::max(1, CountCores(root, cpus));
  b.quota = CgroupQuota(root);
  b.n_threads = std::min(b.n_cpus, b.n_cores);
  if (b.quota && *b.quota < b.n_threads) {
    // Down: at 3.5 CPUs a fourth thread would be stopped in every period, and
    // the other three would wait for it.
    b.n_threads = std::max(1, static_cast<int>(std::floor(*b.quota)));
  }
  const std::string visible =
      b.n_cpus == b.n_cores ? Plural(b.n_cores, "core")
                            : fmt::format("{} on {}", Plural(b.n_cpus, "CPU"),
                                          Plural(b.n_cores, "core"));
  b.reason = b.quota ? fmt::format("{} ({} visible, cgroup quota {:.2f})",
                                   b.n_threads, visible, *b.quota)
                     : fmt::format("{} ({} visible, no cgroup quota)",
                                   b.n_threads, visible);
  return b;
}

std::vector<int> AffinityCpus() {
  std::vector<int> cpus;
  // The kernel refuses masks shorter than its own; sizes up to any machine's.
  for (int size = CPU_SETSIZE; size <= 64 * CPU_SETSIZE; size *= 4) {
    cpu_set_t* set = CPU_ALLOC(static_cast<size_t>(size));
    if (set == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(size));
    CPU_ZERO_S(bytes, set);
    if (sched_getaffinity(0, bytes, set) == 0) {
      for (int cpu = 0; cpu < size; ++cpu) {
        if (CPU_ISSET_S(static_cast<size_t>(cpu), bytes, set)) {
          cpus.push_back(cpu);
        }
      }
    }
    CPU_FREE(set);
    if (!cpus.empty()) return cpus;
  }
  const int n = static_cast<int>(std::thread::hardware_concurrency());
  for (int cpu = 0; cpu < std::max(1, n); ++cpu) cpus.push_back(cpu);
  return cpus;
}

ThreadBudget DefaultThreads() { return ThreadBudgetFrom("/", AffinityCpus()); }

}  // namespace etalon
