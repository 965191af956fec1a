// Weight matrices as raw bytes: uniformly random quants, scales with random
// sign and bounded exponents, so that every bit pattern of a block occurs
// without NaN or infinity. No quantiser of ours is involved.
#ifndef ETALON_TESTS_UTIL_RANDOM_WEIGHTS_H_
#define ETALON_TESTS_UTIL_RANDOM_WEIGHTS_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "etalon/tensor.h"
#include "etalon/types.h"
#include "quant/block_formats.h"
#include "tests/util/random.h"

namespace etalon::test {

inline constexpr TensorType kWeightTypes[] = {
    TensorType::kF32,  TensorType::kF16,  TensorType::kBF16, TensorType::kQ4_0,
    TensorType::kQ4_1, TensorType::kQ5_0, TensorType::kQ5_1, TensorType::kQ8_0,
    TensorType::kQ4_K, TensorType::kQ5_K, TensorType::kQ6_K};

// A finite f16 with |value| in [2^-10, 2^-2).
inline uint16_t RandomF16Scale(Random& rng) {
  const uint32_t bits = rng.Bits();
  const uint32_t exponent = 5 + (bits >> 16) % 8;
  return static_cast<uint16_t>((bits & 0x83FFu) | exponent << 10);
}

struct RandomWeights {
  TensorType type;
  size_t rows;
  size_t cols;
  size_t stride_bytes;
  std::vector<std::byte> bytes;

  WeightMatrix view() const {
    return {type, bytes.data(), rows, cols, stride_bytes};
  }
};

namespace internal {

template <class Block>
void PatchScales(std::vector<std::byte>& bytes, Random& rng) {
  for (size_t i = 0; i + sizeof(Block) <= bytes.size(); i += sizeof(Block)) {
    Block b;
    std::memcpy(&b, &bytes[i], sizeof(b));
    b.d = RandomF16Scale(rng);
    if constexpr (requires { b.dmin; }) b.dmin = RandomF16Scale(rng);
    if constexpr (requires { b.m; }) b.m = RandomF16Scale(rng);
    std::memcpy(&bytes[i], &b, sizeof(b));
  }
}

}  // namespace internal

inline RandomWeights MakeWeights(TensorType type, size_t rows, size_t cols,
                                 Random& rng) {
  const TypeTraits& traits = GetTypeTraits(type);
  const size_t stride = cols / traits.block_size * traits.block_bytes;
  RandomWeights w{type, rows, cols, stride,
                  std::vector<std::byte>(rows * stride)};
  for (std::byte& b : w.bytes) b = static_cast<std::byte>(rng.Bits() & 0xFF);
  switch (type) {
    case TensorType::kF32:
      for (size_t i = 0; i < rows * cols; ++i) {
        const float x = rng.Normal();
        std::memcpy(&w.bytes[i * 4], &x, 4);
      }
      break;
    case TensorType::kF16:
      for (size_t i = 0; i < rows * cols; ++i) {
        const uint16_t x = RandomF16Scale(rng);
        std::memcpy(&w.bytes[i * 2], &x, 2);
      }
      break;
    case TensorType::kBF16:
      for (size_t i = 0; i < rows * cols; ++i) {
        const uint16_t x = static_cast<uint16_t>(
            std::bit_cast<uint32_t>(rng.WithExponent(-8, 1)) >> 16);
        std::memcpy(&w.bytes[i * 2], &x, 2);
      }
      break;
    case TensorType::kQ4_0:
      internal::PatchScales<BlockQ4_0>(w.bytes, rng);
      break;
    case TensorType::kQ4_1:
      internal::PatchScales<BlockQ4_1>(w.bytes, rng);
      break;
    case TensorType::kQ5_0:
      internal::PatchScales<BlockQ5_0>(w.bytes, rng);
      break;
    case TensorType::kQ5_1:
      internal::PatchScales<BlockQ5_1>(w.bytes, rng);
      break;
    case TensorType::kQ8_0:
      internal::PatchScales<BlockQ8_0>(w.bytes, rng);
      break;
    case TensorType::kQ4_K:
      internal::PatchScales<BlockQ4_K>(w.bytes, rng);
      break;
    case TensorType::kQ5_K:
      internal::PatchScales<BlockQ5_K>(w.bytes, rng);
      break;
    case TensorType::kQ6_K:
      internal::PatchScales<BlockQ6_K>(w.bytes, rng);
      break;
    case TensorType::kQ8_K:
      break;  // never stored in a model
  }
  return w;
}

}  // namespace etalon::test

#endif  // ETALON_TESTS_UTIL_RANDOM_WEIGHTS_H_
