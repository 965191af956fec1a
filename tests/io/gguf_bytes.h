// Builds GGUF files byte by byte, for the malformed ones that GgufWriter
// refuses to write.
#ifndef ETALON_TESTS_IO_GGUF_BYTES_H_
#define ETALON_TESTS_IO_GGUF_BYTES_H_

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/gguf.h"

namespace etalon::io {

class Bytes {
 public:
  template <class T>
  Bytes& Put(T value) {
    return Add(std::as_bytes(std::span<const T>(&value, 1)));
  }
  Bytes& U8(uint8_t x) { return Put(x); }
  Bytes& U32(uint32_t x) { return Put(x); }
  Bytes& U64(uint64_t x) { return Put(x); }
  Bytes& Raw(std::string_view s) { return Add(std::as_bytes(std::span(s))); }
  Bytes& Str(std::string_view s) { return U64(s.size()).Raw(s); }
  Bytes& Zeros(uint64_t n) {
    data_.resize(data_.size() + n);
    return *this;
  }
  Bytes& PadTo(uint64_t alignment) {
    while (data_.size() % alignment != 0) U8(0);
    return *this;
  }
  Bytes& Append(const Bytes& other) { return Add(other.data_); }
  Bytes& Header(uint64_t n_tensors, uint64_t n_kv, uint32_t version = 3) {
    return Raw("GGUF").U32(version).U64(n_tensors).U64(n_kv);
  }
  Bytes& KvU32(std::string_view key, uint32_t x) {
    return Str(key).U32(4).U32(x);
  }
  Bytes& Info(std::string_view name, std::vector<uint64_t> ne, uint32_t type,
              uint64_t offset) {
    Str(name).U32(static_cast<uint32_t>(ne.size()));
    for (const uint64_t x : ne) U64(x);
    return U32(type).U64(offset);
  }

  size_t size() const { return data_.size(); }
  std::vector<std::byte>& data() { return data_; }
  std::span<const std::byte> span() const { return data_; }

 private:
  Bytes& Add(std::span<const std::byte> raw) {
    const size_t at = data_.size();
    data_.resize(at + raw.size());
    if (!raw.empty()) std::memcpy(data_.data() + at, raw.data(), raw.size());
    return *this;
  }

  std::vector<std::byte> data_;
};

// A copy whose last byte lies just before a page that cannot be read: a read
// past the end dies. The front is not guarded.
class GuardedBytes {
 public:
  explicit GuardedBytes(size_t capacity) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    size_ = (capacity + page - 1) / page * page;
    void* p = mmap(nullptr, size_ + page, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) std::abort();
    base_ = static_cast<std::byte*>(p);
    if (mprotect(base_ + size_, page, PROT_NONE) != 0) std::abort();
    mapped_ = size_ + page;
  }
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;
  ~GuardedBytes() { munmap(base_, mapped_); }

  std::span<std::byte> Place(std::span<const std::byte> bytes) {
    std::byte* p = base_ + size_ - bytes.size();
    if (!bytes.empty()) std::memcpy(p, bytes.data(), bytes.size());
    return {p, bytes.size()};
  }

 private:
  std::byte* base_;
  size_t size_;
  size_t mapped_;
};

// The message of the refusal, "" if the bytes are accepted. Checks what holds
// for every refusal: code and one line of printable text.
inline std::string Refusal(std::span<const std::byte> bytes) {
  const auto file = GgufFile::Parse(bytes);
  if (file) return "";
  EXPECT_EQ(file.error().code, ErrorCode::kBadInput);
  const std::string& message = file.error().message;
  EXPECT_FALSE(message.empty());
  EXPECT_LT(message.size(), 500u);
  for (const char c : message) {
    EXPECT_TRUE(static_cast<uint8_t>(c) >= 0x20 && c != 0x7F) << message;
  }
  return message;
}
inline std::string Refusal(const Bytes& bytes) { return Refusal(bytes.span()); }

}  // namespace etalon::io

#endif  // ETALON_TESTS_IO_GGUF_BYTES_H_
