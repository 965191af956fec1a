// From name to position in a table: open addressing with a hash keyed by a
// secret per process, so that a file cannot choose names that collide.
#ifndef ETALON_IO_NAME_INDEX_H_
#define ETALON_IO_NAME_INDEX_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace etalon::io {

// Keyed, not cryptographic; equal in one process only.
uint64_t HashName(std::string_view name);

class NameIndex {
 public:
  // Room for n names in all, so that Insert need not move them.
  void Reserve(size_t n) {
    if (size_ != 0 || 2 * n <= slots_.size()) return;
    slots_.assign(std::bit_ceil(2 * n), kEmpty);
  }

  // Records that `name` is at `position` (< 2^32 - 1). `name_at(p)` returns the
  // name at an earlier position p. If the name is there already, returns its
  // position and changes nothing.
  template <class NameAt>
  std::optional<size_t> Insert(std::string_view name, size_t position,
                               NameAt name_at) {
    if (2 * (size_ + 1) > slots_.size()) Grow(name_at);
    size_t i = HashName(name) & (slots_.size() - 1);
    while (slots_[i] != kEmpty) {
      if (name_at(slots_[i]) == name) return slots_[i];
      i = (i + 1) & (slots_.size() - 1);
    }
    slots_[i] = static_cast<uint32_t>(position);
    ++size_;
    return std::nullopt;
  }

  template <class NameAt>
  std::optional<size_t> Find(std::string_view name, NameAt name_at) const {
    if (slots_.empty()) return std::nullopt;
    size_t i = HashName(name) & (slots_.size() - 1);
    while (slots_[i] != kEmpty) {
      if (name_at(slots_[i]) == name) return slots_[i];
      i = (i + 1) & (slots_.size() - 1);
    }
    return std::nullopt;
  }

 private:
  static constexpr uint32_t kEmpty = UINT32_MAX;

  template <class NameAt>
  void Grow(NameAt name_at) {
    const size_t n = slots_.empty() ? 64 : 2 * slots_.size();
    std::vector<uint32_t> bigger(n, kEmpty);
    for (const uint32_t position : slots_) {
      if (position == kEmpty) continue;
      size_t i = HashName(name_at(position)) & (n - 1);
      while (bigger[i] != kEmpty) i = (i + 1) & (n - 1);
      bigger[i] = position;
    }
    slots_.swap(bigger);
  }

  std::vector<uint32_t> slots_;  // a power of two, at most half full
  size_t size_ = 0;
};

}  // namespace etalon::io

#endif  // ETALON_IO_NAME_INDEX_H_
