#include "io/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <utility>

#include "io/untrusted_text.h"

namespace etalon::io {
namespace {

// Ranges the signal handler may look at: lock-free reads of a fixed table. A
// mapping beyond the table works, only its SIGBUS is not explained.
struct MappedRange {
  std::atomic<uintptr_t> begin{0};  // 0: slot is free
  std::atomic<uintptr_t> end{0};
  std::array<char, 512> path{};  // printable, cut, NUL-terminated
};
std::array<MappedRange, 64> g_ranges;
std::mutex g_ranges_mutex;  // between writers; the handler never takes it

int RegisterRange(std::span<const std::byte> bytes, const std::string& path) {
  const std::lock_guard lock(g_ranges_mutex);
  for (size_t i = 0; i < g_ranges.size(); ++i) {
    MappedRange& r = g_ranges[i];
    if (r.begin.load() != 0) continue;
    const std::string shown = Printable(path, r.path.size() - 16);
    const size_t n = std::min(shown.size(), r.path.size() - 1);
    std::memcpy(r.path.data(), shown.data(), n);
    r.path[n] = '\0';
    const auto begin = reinterpret_cast<uintptr_t>(bytes.data());
    r.end.store(begin + bytes.size());
    r.begin.store(begin);
    return static_cast<int>(i);
  }
  return -1;
}

void UnregisterRange(int slot) {
  if (slot < 0) return;
  const std::lock_guard lock(g_ranges_mutex);
  g_ranges[static_cast<size_t>(slot)].begin.store(0);
}

// Only async-signal-safe calls below: the line is put together by hand.
class SignalLine {
 public:
  void Add(const char* text) {
    while (*text != '\0' && n_ < buf_.size()) buf_[n_++] = *text++;
  }
  void AddNumber(uint64_t value) {
    std::array<char, 24> digits{};
    size_t n = digits.size() - 1;
    do {
      digits[--n] = static_cast<char>('0' + value % 10);
      value /= 10;
    } while (value != 0);
    Add(digits.data() + n);
  }
  void WriteToStderr() const {
    size_t done = 0;
    while (done < n_) {
      const ssize_t r = write(STDERR_FILENO, buf_.data() + done, n_ - done);
      if (r < 0 && errno == EINTR) continue;
      if (r <= 0) return;
      done += static_cast<size_t>(r);
    }
  }

 private:
  std::array<char, 768> buf_{};
  size_t n_ = 0;
};

std::atomic<bool> g_reported{false};

void OnSigbus(int signal_number, siginfo_t* info, void* /*context*/) {
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (const MappedRange& r : g_ranges) {
    const uintptr_t begin = r.begin.load();
    if (begin == 0 || address < begin || address >= r.end.load()) continue;
    // Several threads may fault at once: one line, one exit.
    if (g_reported.exchange(true)) {
      for (;;) pause();
    }
    SignalLine line;
    line.Add("etalon: error: ");
    line.Add(r.path.data());
    line.Add(": cannot read byte ");
    line.AddNumber(address - begin);
    line.Add(" of ");
    line.AddNumber(r.end.load() - begin);
    line.Add(": the file was truncated or its disk failed while mapped\n");
    line.WriteToStderr();
    _exit(3);
  }
  // Not ours: the default action, when the faulting access runs again.
  signal(signal_number, SIG_DFL);
}

// Closes on every path out of Open.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

// A wrong path is the user's to correct, the rest is the machine's.
ErrorCode CodeOfOpenError(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
    case EACCES:
    case EPERM:
    case ELOOP:
    case ENAMETOOLONG:
    case ENXIO:
    case ENODEV:
    case EISDIR:
      return ErrorCode::kBadInput;
    default:
      return ErrorCode::kIo;
  }
}

}  // namespace

Expected<MappedFile> MappedFile::Open(const std::string& path) {
  const std::string shown = Printable(path, 400);
  if (path.find('\0') != std::string::npos) {
    return BadInput(shown + ": the path contains a NUL byte");
  }
  // O_NONBLOCK: opening a FIFO must not wait for its writer.
  int fd;
  do {
    fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  } while (fd < 0 && errno == EINTR);
  const int open_errno = errno;
  const FileDescriptor file(fd);
  if (fd < 0) {
    return Fail(CodeOfOpenError(open_errno),
                fmt::format("{}: {}", shown, std::strerror(open_errno)));
  }
  struct stat st = {};
  if (fstat(fd, &st) != 0) {
    return Fail(ErrorCode::kIo,
                fmt::format("{}: {}", shown, std::strerror(errno)));
  }
  if (!S_ISREG(st.st_mode)) {
    return BadInput(fmt::format("{}: {}, need a regular file", shown,
                                S_ISDIR(st.st_mode)    ? "is a directory"
                                : S_ISFIFO(st.st_mode) ? "is a FIFO"
                                                       : "is a device"));
  }
  MappedFile result;
  const auto size = static_cast<size_t>(st.st_size);
  if (size == 0) return result;  // mmap refuses empty ranges
  void* p = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (p == MAP_FAILED) {
    const int error = errno;
    return Fail(error == ENOMEM ? ErrorCode::kLimit : ErrorCode::kIo,
                fmt::format("{}: cannot map {} bytes: {}", shown, size,
                            std::strerror(error)));
  }
  result.bytes_ = {static_cast<const std::byte*>(p), size};
  result.slot_ = RegisterRange(result.bytes_, path);
  return result;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})),
      slot_(std::exchange(other.slot_, -1)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(slot_, other.slot_);
  return *this;
}

MappedFile::~MappedFile() {
  if (bytes_.empty()) return;
  UnregisterRange(slot_);
  munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

Status InstallSigbusHandler() {
  struct sigaction action = {};
  action.sa_sigaction = OnSigbus;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  if (sigaction(SIGBUS, &action, nullptr) != 0) {
    return Fail(ErrorCode::kInternal,
                fmt::format("sigaction(SIGBUS): {}", std::strerror(errno)));
  }
  return {};
}

}  // namespace etalon::io
