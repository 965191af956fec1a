// The one way the parser reads untrusted bytes: a position that cannot leave
// its span. Nothing is read, and the position stays, when too little is left.
#ifndef ETALON_IO_CURSOR_H_
#define ETALON_IO_CURSOR_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

namespace etalon::io {

static_assert(std::endian::native == std::endian::little,
              "GGUF numbers are read in place, little-endian");

class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  uint64_t pos() const { return pos_; }
  uint64_t remaining() const { return bytes_.size() - pos_; }

  template <class T>
  [[nodiscard]] bool Read(T& out) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (remaining() < sizeof(T)) return false;
    std::memcpy(&out, bytes_.data() + pos_, sizeof(T));
    pos_ += sizeof(T);
    return true;
  }

  [[nodiscard]] bool Take(uint64_t n, std::span<const std::byte>& out) {
    if (remaining() < n) return false;
    out = bytes_.subspan(pos_, n);
    pos_ += n;
    return true;
  }

  [[nodiscard]] bool Take(uint64_t n, std::string_view& out) {
    std::span<const std::byte> raw;
    if (!Take(n, raw)) return false;
    out = {reinterpret_cast<const char*>(raw.data()), raw.size()};
    return true;
  }

 private:
  std::span<const std::byte> bytes_;
  size_t pos_ = 0;  // <= bytes_.size()
};

}  // namespace etalon::io

#endif  // ETALON_IO_CURSOR_H_
