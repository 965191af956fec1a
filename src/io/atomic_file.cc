#include "io/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "io/untrusted_text.h"

namespace etalon::io {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;
// Room for ".", ".tmp.", process id and counter within NAME_MAX = 255.
constexpr size_t kMaxNamePart = 200;

// Another thread, or a crashed process with our id, may own a name already.
constexpr int kMaxAttempts = 1000;
std::atomic<unsigned> g_counter{0};

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string TempPath(const std::string& path, unsigned counter) {
  const size_t slash = path.rfind('/');
  const size_t begin = slash == std::string::npos ? 0 : slash + 1;
  std::string temp = fmt::format("{}.{}.tmp.{}", path.substr(0, begin),
                                 path.substr(begin, kMaxNamePart), getpid());
  if (counter != 0) temp += fmt::format(".{}", counter);
  return temp;
}

// A symbolic link keeps pointing at the file that is replaced.
std::string ResolveLink(const std::string& path) {
  const std::unique_ptr<char, decltype(&free)> real(
      realpath(path.c_str(), nullptr), &free);
  return real ? std::string(real.get()) : path;
}

int OpenRetrying(const std::string& path, int flags, mode_t mode) {
  int fd;
  do {
    fd = open(path.c_str(), flags | O_CLOEXEC | O_NOCTTY, mode);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

// Some file systems and all pipes cannot sync: nothing to wait for then.
bool Sync(int fd) {
  while (fsync(fd) != 0) {
    if (errno == EINTR) continue;
    return errno == EINVAL || errno == ENOTSUP || errno == EROFS;
  }
  return true;
}

}  // namespace

Expected<AtomicFile> AtomicFile::Create(const std::string& path) {
  AtomicFile file;
  if (path.empty() || path.find('\0') != std::string::npos) {
    return BadInput(
        fmt::format("\"{}\": not a file name", Printable(path, 400)));
  }
  file.path_ = ResolveLink(path);
  struct stat st = {};
  const bool exists = stat(file.path_.c_str(), &st) == 0;
  if (exists && S_ISDIR(st.st_mode)) {
    return BadInput(fmt::format("{}: is a directory, need a file name",
                                Printable(path, 400)));
  }
  if (exists && !S_ISREG(st.st_mode)) {
    file.fd_ = OpenRetrying(file.path_, O_WRONLY, 0);
  } else {
    for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
      file.temp_path_ = TempPath(file.path_, g_counter.fetch_add(1));
      file.fd_ =
          OpenRetrying(file.temp_path_, O_WRONLY | O_CREAT | O_EXCL, 0666);
      if (file.fd_ >= 0 || errno != EEXIST) break;
    }
  }
  if (file.fd_ < 0) {
    const int error = errno;
    file.temp_path_.clear();  // not ours
    return file.FailWith("cannot create", error);
  }
  // What replaces a private file must not become readable by others.
  if (exists && !file.temp_path_.empty() &&
      fchmod(file.fd_, st.st_mode & 07777) != 0) {
    return file.FailWith("cannot set permissions", errno);
  }
  file.buffer_.reserve(kBufferBytes);
  return file;
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::move(other.path_)),
      temp_path_(std::exchange(other.temp_path_, {})),
      buffer_(std::move(other.buffer_)),
      n_written_(other.n_written_) {}

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  std::swap(temp_path_, other.temp_path_);
  std::swap(buffer_, other.buffer_);
  std::swap(n_written_, other.n_written_);
  return *this;
}

AtomicFile::~AtomicFile() { Discard(); }

Status AtomicFile::Write(std::span<const std::byte> bytes) {
  ETALON_ENSURE(fd_ >= 0, "write to a file that is closed");
  n_written_ += bytes.size();
  if (buffer_.size() + bytes.size() > kBufferBytes) {
    ETALON_RETURN_IF_ERROR(Flush());
  }
  if (bytes.size() >= kBufferBytes) return FlushBytes(bytes);
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  return {};
}

Status AtomicFile::Commit() {
  ETALON_ENSURE(fd_ >= 0, "commit of a file that is closed");
  ETALON_RETURN_IF_ERROR(Flush());
  if (!temp_path_.empty() && !Sync(fd_)) return FailWith("cannot sync", errno);
  // close() reports late write errors, and frees the descriptor even on EINTR.
  if (close(std::exchange(fd_, -1)) != 0 && errno != EINTR) {
    return FailWith("cannot close", errno);
  }
  if (temp_path_.empty()) return {};
  if (rename(temp_path_.c_str(), path_.c_str()) != 0) {
    return FailWith("cannot rename into place", errno);
  }
  temp_path_.clear();
  const int directory =
      OpenRetrying(DirectoryOf(path_), O_RDONLY | O_DIRECTORY, 0);
  if (directory < 0) return {};  // not readable: the rename still happened
  const bool synced = Sync(directory);
  const int error = errno;
  close(directory);
  if (!synced) return FailWith("cannot sync its directory", error);
  return {};
}

Status AtomicFile::Flush() {
  ETALON_RETURN_IF_ERROR(FlushBytes(buffer_));
  buffer_.clear();
  return {};
}

Status AtomicFile::FlushBytes(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FailWith("cannot write", errno);
    if (n == 0) return FailWith("cannot write", ENOSPC);
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return {};
}

tl::unexpected<Error> AtomicFile::FailWith(const char* action, int error) {
  Discard();
  return Fail(ErrorCode::kIo, fmt::format("{}: {}: {}", Printable(path_, 400),
                                          action, std::strerror(error)));
}

void AtomicFile::Discard() {
  if (fd_ >= 0) close(std::exchange(fd_, -1));
  if (!temp_path_.empty()) unlink(std::exchange(temp_path_, {}).c_str());
}

Status WriteFileAtomically(const std::string& path,
                           std::span<const std::byte> bytes) {
  ETALON_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  ETALON_RETURN_IF_ERROR(file.Write(bytes));
  return file.Commit();
}

}  // namespace etalon::io
