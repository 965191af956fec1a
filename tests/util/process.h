// Runs a program with its streams caught, as a shell would.
#ifndef ETALON_TESTS_UTIL_PROCESS_H_
#define ETALON_TESTS_UTIL_PROCESS_H_

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace etalon::test {

struct ProcessResult {
  int exit_code = -1;  // 128 + signal if one ended it
  std::string out;
  std::string err;
  double seconds = 0;

  long ErrLines() const { return std::count(err.begin(), err.end(), '\n'); }
};

struct ProcessOptions {
  std::string stdin_path = "/dev/null";
  std::string stdout_path;       // instead of catching it; "-": closed pipe
  std::vector<std::string> env;  // added: NAME=VALUE
  // Called with the child's id whenever more of stdout has come.
  std::function<void(pid_t, const std::string& out)> on_stdout;
  double timeout_seconds = 120;
};

inline ProcessResult RunProcess(const std::vector<std::string>& args,
                                const ProcessOptions& options = {}) {
  ProcessResult result;
  std::array<int, 2> out{}, err{};
  if (pipe2(out.data(), O_CLOEXEC) != 0 || pipe2(err.data(), O_CLOEXEC) != 0) {
    ADD_FAILURE() << "pipe";
    return result;
  }
  std::vector<char*> argv;
  for (const std::string& a : args)
    argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  // What could change an answer is not inherited; tiles that are emulated are
  // the child's too.
  std::vector<std::string> env = options.env;  // of two, getenv takes the first
  for (char** e = environ; *e != nullptr; ++e) {
    const std::string entry(*e);
    if ((!entry.starts_with("ETALON_") && !entry.starts_with("LLAMA_ARG_")) ||
        entry.starts_with("ETALON_EMULATED_AMX=")) {
      env.push_back(entry);
    }
  }
  std::vector<char*> envp;
  for (const std::string& e : env) envp.push_back(const_cast<char*>(e.c_str()));
  envp.push_back(nullptr);

  const auto start = std::chrono::steady_clock::now();
  const pid_t pid = fork();
  if (pid == 0) {
    // Only async-signal-safe calls: other threads may hold locks.
    signal(SIGPIPE, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    dup2(open(options.stdin_path.c_str(), O_RDONLY), STDIN_FILENO);
    if (options.stdout_path.empty() || options.stdout_path == "-") {
      dup2(out[1], STDOUT_FILENO);
    } else {
      dup2(open(options.stdout_path.c_str(), O_WRONLY), STDOUT_FILENO);
    }
    dup2(err[1], STDERR_FILENO);
    if (options.stdout_path == "-") close(out[0]);
    execve(argv[0], argv.data(), envp.data());
    _exit(127);
  }
  close(out[1]);
  close(err[1]);
  if (options.stdout_path == "-") close(out[0]);  // nobody reads
  std::array<pollfd, 2> fds = {
      {{options.stdout_path == "-" ? -1 : out[0], POLLIN, 0},
       {err[0], POLLIN, 0}}};
  int open_fds = options.stdout_path == "-" ? 1 : 2;
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() -
                                         start)
        .count();
  };
  while (open_fds > 0) {
    if (elapsed() > options.timeout_seconds) {
      kill(pid, SIGKILL);
      ADD_FAILURE() << args[0] << " ran over " << options.timeout_seconds
                    << " s";
      break;
    }
    if (poll(fds.data(), fds.size(), 100) <= 0) continue;
    for (size_t i = 0; i < fds.size(); ++i) {
      if (fds[i].fd < 0 || fds[i].revents == 0) continue;
      std::array<char, 4096> buffer{};
      const ssize_t n = read(fds[i].fd, buffer.data(), buffer.size());
      if (n <= 0) {
        close(fds[i].fd);
        fds[i].fd = -1;
        --open_fds;
        continue;
      }
      (i == 0 ? result.out : result.err)
          .append(buffer.data(), static_cast<size_t>(n));
      if (i == 0 && options.on_stdout) options.on_stdout(pid, result.out);
    }
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  result.exit_code =
      WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.seconds = elapsed();
  return result;
}

// The program under test with these arguments.
inline ProcessResult Etalon(std::vector<std::string> args,
                            const ProcessOptions& options = {}) {
  args.insert(args.begin(), ETALON_PROGRAM);
  return RunProcess(args, options);
}

}  // namespace etalon::test

#endif  // ETALON_TESTS_UTIL_PROCESS_H_
