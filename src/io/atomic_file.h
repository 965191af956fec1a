// Writes a file so that its name always holds the old content or the complete
// new one: into `.NAME.tmp.PID` beside it, fsync, rename, fsync of the
// directory. A pipe or device (/dev/stdout) is written directly instead.
#ifndef ETALON_IO_ATOMIC_FILE_H_
#define ETALON_IO_ATOMIC_FILE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "etalon/status.h"

namespace etalon::io {

class AtomicFile {
 public:
  // Errors of all members: one line naming the path and the system's reason.
  // After the first one the file is as before and the temporary file is gone.
  static Expected<AtomicFile> Create(const std::string& path);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();  // without Commit: removes the temporary file

  // Buffered: an error may be that of an earlier Write.
  Status Write(std::span<const std::byte> bytes);
  Status Commit();

  uint64_t n_written() const { return n_written_; }

 private:
  AtomicFile() = default;

  Status Flush();
  Status FlushBytes(std::span<const std::byte> bytes);
  tl::unexpected<Error> FailWith(const char* action, int error);
  void Discard();

  int fd_ = -1;  // -1: committed, failed or moved from
  std::string path_;
  std::string temp_path_;  // empty when written directly
  std::vector<std::byte> buffer_;
  uint64_t n_written_ = 0;
};

// The whole content at once.
Status WriteFileAtomically(const std::string& path,
                           std::span<const std::byte> bytes);

}  // namespace etalon::io

#endif  // ETALON_IO_ATOMIC_FILE_H_
