#include "profile/machine.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <fstream>
#include <sstream>

#include "core/cpu_info.h"

namespace etalon::profile {
namespace {

namespace fs = std::filesystem;

std::string FirstLine(const fs::path& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

// "48K", "2048K", "1M".
uint64_t ParseSize(const std::string& text) {
  std::istringstream in(text);
  uint64_t n = 0;
  char unit = 0;
  if (!(in >> n)) return 0;
  in >> unit;
  return unit == 'K' ? n << 10 : unit == 'M' ? n << 20 : n;
}

void ReadCaches(const fs::path& root, Machine* m) {
  for (int i = 0; i < 16; ++i) {
    const fs::path dir =
        root / fmt::format("sys/devices/system/cpu/cpu0/cache/index{}", i);
    const std::string type = FirstLine(dir / "type");
    if (type.empty()) return;
    if (type == "Instruction") continue;
    const std::string level = FirstLine(dir / "level");
    const uint64_t size = ParseSize(FirstLine(dir / "size"));
    if (level == "1") m->l1d_bytes = size;
    if (level == "2") m->l2_bytes = size;
    if (level == "3") m->l3_bytes = size;
  }
}

std::string SizeText(uint64_t bytes) {
  if (bytes == 0) return "unknown";
  return bytes < (1u << 20) ? fmt::format("{} KiB", bytes >> 10)
                            : fmt::format("{} MiB", bytes >> 20);
}

double ThrottledSeconds(const fs::path& root) {
  // The whole of the group this process sees as its top: cgroup v2, then v1.
  for (const auto& [file, key, unit] :
       {std::tuple{"sys/fs/cgroup/cpu.stat", "throttled_usec", 1e-6},
        std::tuple{"sys/fs/cgroup/cpu/cpu.stat", "throttled_time", 1e-9}}) {
    std::ifstream in(root / file);
    std::string word;
    double value = 0;
    while (in >> word >> value) {
      if (word == key) return value * unit;
    }
  }
  return 0;
}

}  // namespace

Machine DescribeMachine(const fs::path& root) {
  Machine m;
  m.cpu = CpuModelName();
  m.features = CpuFeatureList();
  m.threads = ThreadBudgetFrom(root, AffinityCpus());
  m.smt = m.threads.n_cpus > m.threads.n_cores;
  ReadCaches(root, &m);
  m.id = fmt::format("{} | {} | {} | L2 {} L3 {} | {}", m.cpu, m.features,
                     m.threads.reason, m.l2_bytes, m.l3_bytes,
                     FirstLine(root / "etc/machine-id"));
  return m;
}

std::string MachineText(const Machine& m) {
  return fmt::format("{}, threads {}, SMT {}, L1d {}, L2 {}, L3 {}", m.cpu,
                     m.threads.reason, m.smt ? "on" : "off or hidden",
                     SizeText(m.l1d_bytes), SizeText(m.l2_bytes),
                     SizeText(m.l3_bytes));
}

std::optional<CpuClock> ReadCpuClock(const fs::path& root) {
  std::ifstream in(root / "proc/stat");
  std::string line;
  if (!std::getline(in, line) || !line.starts_with("cpu ")) {
    return std::nullopt;
  }
  // user nice system idle iowait irq softirq steal (proc(5)), in ticks.
  std::istringstream words(line.substr(4));
  double t[8] = {};
  for (double& v : t) words >> v;
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  CpuClock c;
  c.busy = (t[0] + t[1] + t[2] + t[5] + t[6]) / ticks;
  c.steal = t[7] / ticks;
  c.n_cpus = 0;
  while (std::getline(in, line) && line.starts_with("cpu")) ++c.n_cpus;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  for (const timeval& v : {usage.ru_utime, usage.ru_stime}) {
    c.own +=
        static_cast<double>(v.tv_sec) + 1e-6 * static_cast<double>(v.tv_usec);
  }
  c.throttled = ThrottledSeconds(root);
  c.wall = std::chrono::duration<double>(
               std::chrono::steady_clock::now().time_since_epoch())
               .count();
  return c;
}

Disturbance DisturbanceBetween(const std::optional<CpuClock>& begin,
                               const std::optional<CpuClock>& end) {
  Disturbance d;
  if (!begin || !end) return d;
  const double wall = end->wall - begin->wall;
  if (!(wall > 0)) return d;
  d.known = true;
  const double own = end->own - begin->own;
  // proc/stat counts in ticks of 10 ms on each CPU: that much is not seen.
  const double blur = 0.01 * begin->n_cpus;
  d.others = std::max(0.0, (end->busy - begin->busy - own - blur) / wall);
  d.steal = std::max(0.0, (end->steal - begin->steal) / wall);
  d.throttled = std::max(0.0, (end->throttled - begin->throttled) / wall);
  return d;
}

std::string DisturbanceText(const Disturbance& d) {
  if (!d.known) return "no word on other processes (no /proc/stat)";
  if (d.quiet()) return "quiet";
  std::string text =
      fmt::format("NOT QUIET: other processes {:.2f} CPUs", d.others);
  if (d.steal >= 0.005) {
    text += fmt::format(", stolen by other machines {:.2f} CPUs", d.steal);
  }
  if (d.throttled >= 0.005) {
    text +=
        fmt::format(", throttled by the cgroup quota {:.2f} CPUs", d.throttled);
  }
  return text;
}

}  // namespace etalon::profile
