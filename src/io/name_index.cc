#include "io/name_index.h"

#include <sys/random.h>

#include <array>
#include <cstring>

namespace etalon::io {
namespace {

// Folded 64x64 -> 128 bit product: every input bit reaches the low bits.
uint64_t Fold(uint64_t a, uint64_t b) {
  const auto p = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(p) ^ static_cast<uint64_t>(p >> 64);
}

std::array<uint64_t, 2> MakeKey() {
  // Fallback: fractional digits of pi. Speed may suffer then, results never.
  std::array<uint64_t, 2> key{0x243F6A8885A308D3u, 0x13198A2E03707344u};
  if (getrandom(key.data(), sizeof(key), GRND_NONBLOCK) < 0) return key;
  key[0] |= 1;  // a zero factor would lose its operand
  key[1] |= 1;
  return key;
}

}  // namespace

uint64_t HashName(std::string_view name) {
  static const std::array<uint64_t, 2> key = MakeKey();
  uint64_t h = key[0] ^ name.size();
  const char* p = name.data();
  size_t n = name.size();
  for (; n >= 8; n -= 8, p += 8) {
    uint64_t word;
    std::memcpy(&word, p, sizeof(word));
    h = Fold(h ^ word, key[1]) + key[0];
  }
  uint64_t tail = 0;
  if (n > 0) std::memcpy(&tail, p, n);
  return Fold(h ^ tail, key[1]);
}

}  // namespace etalon::io
