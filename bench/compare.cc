// Two builds of the same benchmarks, run in turns so that what the machine does
// meanwhile falls on both:
//   bench_compare BASE NEW ROUNDS [google-benchmark flags]
// Prints, for each benchmark, time of the base over time of the new build (over
// 1: faster), with the 95 % confidence interval of the geometric mean over the
// rounds. Exit status 2: something got slower beyond its interval.
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace {

using Json = nlohmann::json;

// Runs the program with its tables off the screen; its exit status.
int Run(const std::vector<std::string>& args) {
  std::vector<char*> argv;
  for (const std::string& a : args) {
    argv.push_back(const_cast<char*>(a.c_str()));
  }
  argv.push_back(nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    if (std::freopen("/dev/null", "w", stdout) == nullptr) _exit(127);
    execv(argv[0], argv.data());
    _exit(127);
  }
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) < 0) return 127;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

// Name to real time; empty after a failure, which is printed.
std::map<std::string, double> Times(const std::string& program,
                                    const std::vector<std::string>& flags,
                                    const std::string& file) {
  // As JSON on the screen that is not there: the table's head goes to stderr.
  std::vector<std::string> args = {program, "--benchmark_out=" + file,
                                   "--benchmark_out_format=json",
                                   "--benchmark_format=json"};
  args.insert(args.end(), flags.begin(), flags.end());
  std::map<std::string, double> times;
  if (const int status = Run(args); status != 0) {
    fmt::print(stderr, "error: {} ended with status {}\n", program, status);
    return times;
  }
  std::ifstream in(file);
  const Json j = Json::parse(in, nullptr, /*allow_exceptions=*/false);
  if (j.is_discarded() || !j.contains("benchmarks")) return times;
  for (const Json& b : j["benchmarks"]) {
    if (b.value("error_occurred", false)) {
      fmt::print(stderr, "{}: {}\n", b.value("name", ""),
                 b.value("error_message", ""));
      continue;
    }
    if (b.value("run_type", "") == "iteration") {
      times[b.value("name", "")] = b.value("real_time", 0.0);
    }
  }
  return times;
}

// Two-sided 95 % quantile of Student's t (Abramowitz and Stegun, table 26.10).
double TQuantile(size_t degrees) {
  constexpr std::array<double, 15> kT = {12.706, 4.303, 3.182, 2.776, 2.571,
                                         2.447,  2.365, 2.306, 2.262, 2.228,
                                         2.201,  2.179, 2.160, 2.145, 2.131};
  return degrees == 0 ? HUGE_VAL : kT[std::min(degrees, kT.size()) - 1];
}

}  // namespace

int main(int argc, char** argv) {
  size_t rounds = 0;
  if (argc >= 4) {
    std::from_chars(argv[3], argv[3] + std::strlen(argv[3]), rounds);
  }
  if (rounds < 2) {
    fmt::print(stderr,
               "usage: bench_compare BASE NEW ROUNDS [FLAGS], ROUNDS >= 2\n");
    return 1;
  }
  const std::vector<std::string> flags(argv + 4, argv + argc);
  std::string file =
      std::filesystem::temp_directory_path() / "etalon_bench_XXXXXX";
  const int fd = mkstemp(file.data());
  if (fd < 0) return 1;
  close(fd);
  std::map<std::string, std::vector<double>> logs;  // of base / new
  bool failed = false;
  for (size_t r = 0; r < rounds && !failed; ++r) {
    fmt::print(stderr, "round {} of {}\n", r + 1, rounds);
    // Who goes first alternates, for the sake of clocks that fall with heat.
    std::array<std::map<std::string, double>, 2> times;
    for (size_t i = 0; i < 2 && !failed; ++i) {
      const size_t which = (r + i) % 2;
      times[which] = Times(argv[1 + which], flags, file);
      failed = times[which].empty();
    }
    for (const auto& [name, base] : times[0]) {
      const auto it = times[1].find(name);
      if (it == times[1].end() || base <= 0 || it->second <= 0) continue;
      logs[name].push_back(std::log(base / it->second));
    }
  }
  unlink(file.c_str());
  if (failed) return 1;
  if (logs.empty()) {
    fmt::print(stderr, "error: the builds have no benchmark in common\n");
    return 1;
  }
  fmt::print("{:60} {:>7}  {:>17}\n", "base time / new time", "ratio",
             "95 % interval");
  bool slower = false;
  for (const auto& [name, ratios] : logs) {
    const auto n = static_cast<double>(ratios.size());
    double mean = 0, squares = 0;
    for (const double x : ratios) mean += x / n;
    for (const double x : ratios) squares += (x - mean) * (x - mean);
    const double half =
        ratios.size() < 2
            ? HUGE_VAL
            : TQuantile(ratios.size() - 1) * std::sqrt(squares / (n - 1) / n);
    const char* verdict = mean - half > 0   ? "faster"
                          : mean + half < 0 ? "SLOWER"
                                            : "";
    slower |= mean + half < 0;
    fmt::print("{:60} {:7.3f}  [{:6.3f}, {:6.3f}]  {}\n", name, std::exp(mean),
               std::exp(mean - half), std::exp(mean + half), verdict);
  }
  return slower ? 2 : 0;
}
