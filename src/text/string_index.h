// Hash table from strings to small numbers, open addressing. The strings stay
// where they are; they must outlive the table and not move.
#ifndef ETALON_TEXT_STRING_INDEX_H_
#define ETALON_TEXT_STRING_INDEX_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace etalon::text {

// Folds 8 bytes a step by a 64 x 64 -> 128 bit product.
inline uint64_t MixHash(uint64_t a, uint64_t b) {
  const unsigned __int128 product =
      static_cast<unsigned __int128>(a ^ 0x9E3779B97F4A7C15u) *
      (b ^ 0xD1B54A32D192ED03u);
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

inline uint64_t HashBytes(std::string_view text) {
  uint64_t hash = text.size();
  const char* p = text.data();
  size_t n = text.size();
  for (; n >= 8; n -= 8, p += 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    hash = MixHash(hash, word);
  }
  uint64_t word = 0;
  for (size_t i = 0; i < n; ++i) {
    word |= static_cast<uint64_t>(static_cast<uint8_t>(p[i])) << (8 * i);
  }
  return MixHash(hash, word);
}

class StringIndex {
 public:
  static constexpr int32_t kAbsent = -1;

  void Reserve(size_t n) {
    size_t capacity = 16;
    while (capacity < n * 2) capacity *= 2;
    if (capacity > cells_.size()) Rehash(capacity);
  }

  int32_t Find(std::string_view key) const {
    if (cells_.empty()) return kAbsent;
    return cells_[Slot(key, HashBytes(key))].value;
  }

  // False, and no change, if `key` is there already.
  bool Insert(std::string_view key, int32_t value) {
    if ((size_ + 1) * 2 > cells_.size()) Rehash(cells_.size() * 2 + 16);
    const uint64_t hash = HashBytes(key);
    Cell& cell = cells_[Slot(key, hash)];
    if (cell.value != kAbsent) return false;
    cell = {key.data(), static_cast<uint32_t>(key.size()),
            static_cast<uint32_t>(hash >> 32), value};
    ++size_;
    return true;
  }

  size_t size() const { return size_; }

 private:
  struct Cell {
    const char* data = nullptr;
    uint32_t n_bytes = 0;
    uint32_t tag = 0;  // upper half of the hash: most misses end here
    int32_t value = kAbsent;
  };

  size_t Slot(std::string_view key, uint64_t hash) const {
    const size_t mask = cells_.size() - 1;
    const uint32_t tag = static_cast<uint32_t>(hash >> 32);
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
      const Cell& cell = cells_[i];
      if (cell.value == kAbsent) return i;
      if (cell.tag == tag && cell.n_bytes == key.size() &&
          std::memcmp(cell.data, key.data(), key.size()) == 0) {
        return i;
      }
    }
  }

  void Rehash(size_t at_least) {
    size_t capacity = 16;
    while (capacity < at_least) capacity *= 2;
    std::vector<Cell> old(capacity);
    old.swap(cells_);
    const size_t mask = capacity - 1;
    for (const Cell& cell : old) {
      if (cell.value == kAbsent) continue;
      size_t i = HashBytes({cell.data, cell.n_bytes}) & mask;
      while (cells_[i].value != kAbsent) i = (i + 1) & mask;
      cells_[i] = cell;
    }
  }

  std::vector<Cell> cells_;  // size a power of two
  size_t size_ = 0;
};

}  // namespace etalon::text

#endif  // ETALON_TEXT_STRING_INDEX_H_
