// From name to position in a table: open addressing with a hash keyed by a
// secret per process, so that a file cannot choose names that collide. The
// names stay where they are: 8 bytes each for those that room was reserved for.
#ifndef ETALON_IO_NAME_INDEX_H_
#define ETALON_IO_NAME_INDEX_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace etalon::io {

// Random odd numbers.
std::array<uint64_t, 2> MakeHashKey();

// Folded 64x64 -> 128 bit product: every input bit reaches the low bits and
// the high ones.
inline uint64_t Fold(uint64_t a, uint64_t b) {
  const auto p = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(p) ^ static_cast<uint64_t>(p >> 64);
}

// Keyed, not cryptographic; equal in one process only.
inline uint64_t HashName(std::string_view name) {
  static const std::array<uint64_t, 2> key = MakeHashKey();
  const auto load = [](const char* p, auto word) {
    std::memcpy(&word, p, sizeof(word));
    return uint64_t{word};
  };
  const char* p = name.data();
  const char* end = p + name.size();
  uint64_t h = key[0] ^ name.size();
  for (; end - p > 8; p += 8) {
    h = Fold(h ^ load(p, uint64_t{}), key[1]) + key[0];
  }
  // The last 8 bytes, or all if fewer: some of them twice.
  uint64_t last = 0;
  if (name.size() >= 8) {
    last = load(end - 8, uint64_t{});
  } else if (name.size() >= 4) {
    last = load(p, uint32_t{}) << 32 | load(end - 4, uint32_t{});
  } else if (!name.empty()) {
    last = load(p, uint8_t{}) << 16 |
           load(p + name.size() / 2, uint8_t{}) << 8 | load(end - 1, uint8_t{});
  }
  return Fold(h ^ last, key[1]);
}

class NameIndex {
 public:
  static constexpr size_t kMaxNames = size_t{1} << 22;

  // Room for n names in all, so that Insert need not move them.
  void Reserve(size_t n) {
    const size_t n_slots = 2 * n + 2;
    if (size_ == 0 && n_slots > slots_.size()) slots_.assign(n_slots, kEmpty);
  }

  // Records that `name` is at `position` (< kMaxNames). `name_at(p)` returns
  // the name at an earlier position p. If the name is there already, returns
  // its position and changes nothing.
  template <class NameAt>
  std::optional<size_t> Insert(std::string_view name, size_t position,
                               NameAt name_at) {
    if (2 * (size_ + 1) > slots_.size()) Grow(name_at);
    const uint64_t hash = HashName(name);
    uint32_t& slot = slots_[FindSlot(name, hash, name_at)];
    if (slot != kEmpty) return slot % kMaxNames;
    slot = Tag(hash) | static_cast<uint32_t>(position);
    ++size_;
    return std::nullopt;
  }

  template <class NameAt>
  std::optional<size_t> Find(std::string_view name, NameAt name_at) const {
    if (slots_.empty()) return std::nullopt;
    const uint32_t slot = slots_[FindSlot(name, HashName(name), name_at)];
    if (slot == kEmpty) return std::nullopt;
    return slot % kMaxNames;
  }

 private:
  // A slot holds a position and above it bits of the name's hash, never all 0:
  // most other names differ there and need not be looked at.
  static constexpr uint32_t kEmpty = 0;
  static uint32_t Tag(uint64_t hash) {
    return static_cast<uint32_t>((hash | 1) * kMaxNames);
  }

  // The slot of the name, or the empty one where it would be.
  template <class NameAt>
  size_t FindSlot(std::string_view name, uint64_t hash, NameAt name_at) const {
    const uint32_t tag = Tag(hash);
    // The hash as a fraction of 2^64: any number of slots will do.
    auto i = static_cast<size_t>(
        static_cast<unsigned __int128>(hash) * slots_.size() >> 64);
    for (;; i = i + 1 < slots_.size() ? i + 1 : 0) {
      const uint32_t slot = slots_[i];
      if (slot == kEmpty) return i;
      if ((slot ^ tag) < kMaxNames && name_at(slot % kMaxNames) == name) {
        return i;
      }
    }
  }

  template <class NameAt>
  void Grow(NameAt name_at) {
    NameIndex bigger;
    bigger.Reserve(2 * size_ + 32);
    for (const uint32_t slot : slots_) {
      if (slot == kEmpty) continue;
      bigger.Insert(name_at(slot % kMaxNames), slot % kMaxNames, name_at);
    }
    *this = std::move(bigger);
  }

  std::vector<uint32_t> slots_;  // at most half full
  size_t size_ = 0;
};

}  // namespace etalon::io

#endif  // ETALON_IO_NAME_INDEX_H_
