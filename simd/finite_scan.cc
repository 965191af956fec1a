// Plain loops: two operations per scale, or per 16 bytes of floats with the
// baseline's vectors, are far below what reading the blocks from memory costs,
// and one code path for all tiers cannot differ between them.
#include "simd/finite_scan.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "quant/block_formats.h"

namespace etalon::simd {
namespace {

// A float is NaN or Inf iff its exponent bits are all ones, that is iff adding
// the lowest exponent bit to the masked exponent carries into the sign bit.
// Two adjacent f16 are one 32-bit word: the carry stays within each half.
struct F32Bits {
  using Word = uint32_t;
  static constexpr Word kExponent = 0x7F800000u;
  static constexpr Word kLowest = 0x00800000u;
  static constexpr Word kCarry = 0x80000000u;
};
struct F16Bits {
  using Word = uint16_t;
  static constexpr Word kExponent = 0x7C00u;
  static constexpr Word kLowest = 0x0400u;
  static constexpr Word kCarry = 0x8000u;
};
struct F16PairBits {
  using Word = uint32_t;
  static constexpr Word kExponent = 0x7C007C00u;
  static constexpr Word kLowest = 0x04000400u;
  static constexpr Word kCarry = 0x80008000u;
};
struct BF16Bits {
  using Word = uint16_t;
  static constexpr Word kExponent = 0x7F80u;
  static constexpr Word kLowest = 0x0080u;
  static constexpr Word kCarry = 0x8000u;
};

template <class Bits>
typename Bits::Word Carries(const std::byte* p) {
  typename Bits::Word bits;
  std::memcpy(&bits, p, sizeof(bits));
  return static_cast<typename Bits::Word>((bits & Bits::kExponent) +
                                          Bits::kLowest);
}

// Blocks between two looks at the result: no branch per block, and a bad file
// is still noticed early.
constexpr size_t kChunk = 512;

// The word at kOffset of each block of kBytes bytes.
template <class Bits, size_t kBytes, size_t kOffset>
std::optional<size_t> Scan(const std::byte* rows, size_t n_blocks) {
  const std::byte* scales = rows + kOffset;
  for (size_t begin = 0; begin < n_blocks; begin += kChunk) {
    const size_t n = std::min(kChunk, n_blocks - begin);
    const std::byte* chunk = scales + begin * kBytes;
    typename Bits::Word seen = 0;
    for (size_t i = 0; i < n; ++i) {
      seen = static_cast<typename Bits::Word>(
          seen | Carries<Bits>(chunk + i * kBytes));
    }
    if ((seen & Bits::kCarry) == 0) continue;
    for (size_t i = 0; i < n; ++i) {
      if (Carries<Bits>(chunk + i * kBytes) & Bits::kCarry) return begin + i;
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<size_t> FirstNonFiniteBlock(TensorType type,
                                          const std::byte* rows,
                                          size_t n_blocks) {
  // d alone, or d with the dmin or m that follows it.
  static_assert(offsetof(BlockQ4_1, m) == 2 && offsetof(BlockQ5_1, m) == 2);
  static_assert(offsetof(BlockQ4_K, dmin) == 2 &&
                offsetof(BlockQ5_K, dmin) == 2);
  switch (type) {
    case TensorType::kF32:
      return Scan<F32Bits, 4, 0>(rows, n_blocks);
    case TensorType::kF16:
      return Scan<F16Bits, 2, 0>(rows, n_blocks);
    case TensorType::kBF16:
      return Scan<BF16Bits, 2, 0>(rows, n_blocks);
    case TensorType::kQ4_0:
      return Scan<F16Bits, sizeof(BlockQ4_0), 0>(rows, n_blocks);
    case TensorType::kQ4_1:
      return Scan<F16PairBits, sizeof(BlockQ4_1), 0>(rows, n_blocks);
    case TensorType::kQ5_0:
      return Scan<F16Bits, sizeof(BlockQ5_0), 0>(rows, n_blocks);
    case TensorType::kQ5_1:
      return Scan<F16PairBits, sizeof(BlockQ5_1), 0>(rows, n_blocks);
    case TensorType::kQ8_0:
      return Scan<F16Bits, sizeof(BlockQ8_0), 0>(rows, n_blocks);
    case TensorType::kQ4_K:
      return Scan<F16PairBits, sizeof(BlockQ4_K), 0>(rows, n_blocks);
    case TensorType::kQ5_K:
      return Scan<F16PairBits, sizeof(BlockQ5_K), 0>(rows, n_blocks);
    case TensorType::kQ6_K:
      return Scan<F16Bits, sizeof(BlockQ6_K), offsetof(BlockQ6_K, d)>(rows,
                                                                      n_blocks);
    case TensorType::kQ8_K:
      return Scan<F32Bits, sizeof(BlockQ8_K), 0>(rows, n_blocks);
  }
  return std::nullopt;
}

}  // namespace etalon::simd
