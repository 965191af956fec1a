// Random numbers by position: value i of stream s of a seed, without state, so
// that a resumed run needs no generator to be saved. Integer arithmetic only.
#ifndef ETALON_TRAIN_RANDOM_H_
#define ETALON_TRAIN_RANDOM_H_

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

namespace etalon::train {

// The finaliser of SplitMix64 (Steele, Lea, Flood 2014), applied to a counter.
inline uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}
inline uint64_t RandomBits(uint64_t seed, uint64_t stream, uint64_t i) {
  return Mix(Mix(Mix(seed) ^ stream) ^ i);
}

// About normal, mean 0, deviation 1: the centred sum of eight 16-bit fields
// (deviation 2^16 sqrt(8 / 12)), exact until the last product.
inline float RandomNormal(uint64_t seed, uint64_t stream, uint64_t i) {
  int64_t sum = 0;
  for (uint64_t half = 0; half < 2; ++half) {
    uint64_t bits = RandomBits(seed, stream, 2 * i + half);
    for (int field = 0; field < 4; ++field, bits >>= 16) {
      sum += static_cast<int64_t>(bits & 0xffff);
    }
  }
  constexpr double kInvDeviation = 0x1.3988e1409212ep-16;  // sqrt(1.5) 2^-16
  return static_cast<float>(static_cast<double>(sum - 4 * 65535) *
                            kInvDeviation);
}

// 0 .. n - 1 in random order (Fisher and Yates).
inline std::vector<uint32_t> RandomOrder(uint64_t seed, uint64_t stream,
                                         size_t n) {
  std::vector<uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0u);
  for (size_t i = n; i > 1; --i) {
    std::swap(order[i - 1], order[RandomBits(seed, stream, i) % i]);
  }
  return order;
}

}  // namespace etalon::train

#endif  // ETALON_TRAIN_RANDOM_H_
