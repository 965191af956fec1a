// A regular file mapped read-only, and what happens when it shrinks meanwhile.
#ifndef ETALON_IO_MAPPED_FILE_H_
#define ETALON_IO_MAPPED_FILE_H_

#include <cstddef>
#include <span>
#include <string>

#include "etalon/status.h"

namespace etalon::io {

class MappedFile {
 public:
  // Errors (one line, naming the path): kBadInput for a path that is missing,
  // not allowed or no regular file (directory, FIFO, device: never waits for
  // one), kIo when the system fails. An empty file maps to an empty span.
  static Expected<MappedFile> Open(const std::string& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  MappedFile() = default;

  std::span<const std::byte> bytes_;
  int slot_ = -1;  // in the registry of mapped ranges
};

// For programs: a read that fails inside a mapped file (it was truncated, or
// the disk failed) becomes one line on stderr that names file and byte offset,
// and exit status 3. Any other SIGBUS keeps its default action. Process-wide.
Status InstallSigbusHandler();

}  // namespace etalon::io

#endif  // ETALON_IO_MAPPED_FILE_H_
