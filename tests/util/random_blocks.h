// Rows of random weights in any stored type, with a standard deviation that is
// asked for: what a layer needs to neither vanish nor explode. Quants are drawn
// uniformly and the scale follows from their spread; no quantiser of ours is
// involved.
#ifndef ETALON_TESTS_UTIL_RANDOM_BLOCKS_H_
#define ETALON_TESTS_UTIL_RANDOM_BLOCKS_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "etalon/types.h"
#include "quant/block_formats.h"
#include "quant/f16.h"
#include "tests/util/random.h"

namespace etalon::test {

namespace internal {

// d around `sigma / spread`, so that d * q has that deviation.
inline uint16_t BlockScale(Random& rng, float sigma, float spread) {
  return F32ToF16(sigma / spread * (1.0f + 0.3f * rng.Uniform()));
}

// Sets the scales; the quants are random already. `spread` is the standard
// deviation of the integers, `offset` what makes them centred: m = -offset * d.
template <class Block>
void SetScales(std::vector<std::byte>& bytes, Random& rng, float sigma,
               float spread, float offset) {
  for (size_t i = 0; i + sizeof(Block) <= bytes.size(); i += sizeof(Block)) {
    Block b;
    std::memcpy(&b, &bytes[i], sizeof(b));
    b.d = BlockScale(rng, sigma, spread);
    const float d = F16ToF32(b.d);
    if constexpr (requires { b.m; }) b.m = F32ToF16(-offset * d);
    // dmin is subtracted, times 6-bit minimums drawn like the scales.
    if constexpr (requires { b.dmin; }) b.dmin = F32ToF16(offset * d);
    std::memcpy(&bytes[i], &b, sizeof(b));
  }
}

}  // namespace internal

// n elements (a multiple of the type's block), about N(0, sigma).
inline std::vector<std::byte> RandomWeightBytes(TensorType type, size_t n,
                                                float sigma, Random& rng) {
  std::vector<std::byte> bytes(RowBytes(type, n));
  if (!IsQuantized(type)) {
    for (size_t i = 0; i < n; ++i) {
      const float x = rng.Normal() / 0.816f * sigma;
      const uint16_t half =
          type == TensorType::kF16 ? F32ToF16(x) : F32ToBF16(x);
      if (type == TensorType::kF32) {
        std::memcpy(&bytes[i * 4], &x, 4);
      } else {
        std::memcpy(&bytes[i * 2], &half, 2);
      }
    }
    return bytes;
  }
  for (size_t i = 0; i < bytes.size(); i += 16) {
    const Philox4 words = rng.Words();
    std::memcpy(&bytes[i], words.data(),
                std::min<size_t>(16, bytes.size() - i));
  }
  // Uniform over n values: deviation n / sqrt(12).
  switch (type) {
    case TensorType::kQ4_0:
      internal::SetScales<BlockQ4_0>(bytes, rng, sigma, 4.6f, 0);
      break;
    case TensorType::kQ4_1:
      internal::SetScales<BlockQ4_1>(bytes, rng, sigma, 4.6f, 7.5f);
      break;
    case TensorType::kQ5_0:
      internal::SetScales<BlockQ5_0>(bytes, rng, sigma, 9.2f, 0);
      break;
    case TensorType::kQ5_1:
      internal::SetScales<BlockQ5_1>(bytes, rng, sigma, 9.2f, 15.5f);
      break;
    case TensorType::kQ8_0:
      internal::SetScales<BlockQ8_0>(bytes, rng, sigma, 74.0f, 0);
      break;
    // sc * q - offset * m with sc, m uniform in 0..63.
    case TensorType::kQ4_K:
      internal::SetScales<BlockQ4_K>(bytes, rng, sigma, 260.0f, 7.5f);
      break;
    case TensorType::kQ5_K:
      internal::SetScales<BlockQ5_K>(bytes, rng, sigma, 530.0f, 15.5f);
      break;
    case TensorType::kQ6_K:
      internal::SetScales<BlockQ6_K>(bytes, rng, sigma, 1370.0f, 0);
      break;
    default:
      break;
  }
  return bytes;
}

}  // namespace etalon::test

#endif  // ETALON_TESTS_UTIL_RANDOM_BLOCKS_H_
