#include "io/name_index.h"

#include <sys/random.h>

namespace etalon::io {

std::array<uint64_t, 2> MakeHashKey() {
  // Fallback: fractional digits of pi. Speed may suffer then, results never.
  std::array<uint64_t, 2> key{0x243F6A8885A308D3u, 0x13198A2E03707344u};
  if (getrandom(key.data(), sizeof(key), GRND_NONBLOCK) < 0) return key;
  key[0] |= 1;  // a zero factor would lose its operand
  key[1] |= 1;
  return key;
}

}  // namespace etalon::io
