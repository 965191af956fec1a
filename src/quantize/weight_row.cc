#include "quantize/weight_row.h"

#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "etalon/status.h"
#include "quant/block_formats.h"
#include "quant/f16.h"
#include "quantize/blocks_32.h"
#include "quantize/k_blocks.h"

namespace etalon::quantize {
namespace {

template <class Block>
void QuantizeBlocks32(const float* x, size_t n, const float* importance,
                      std::byte* out) {
  Block* blocks = reinterpret_cast<Block*>(out);
  if (importance == nullptr) {
    for (size_t b = 0; b < n / kQk; ++b) {
      QuantizeBlock(x + b * kQk, nullptr, blocks[b]);
    }
    return;
  }
  float sum = 0.0f;
  for (size_t i = 0; i < n; ++i) sum += x[i] * x[i];
  const float mean_square = sum / static_cast<float>(n);
  std::array<float, kQk> w;
  for (size_t b = 0; b < n / kQk; ++b) {
    const float* xb = x + b * kQk;
    for (size_t j = 0; j < kQk; ++j) {
      w[j] = importance[b * kQk + j] * std::sqrt(mean_square + xb[j] * xb[j]);
    }
    QuantizeBlock(xb, w.data(), blocks[b]);
  }
}

template <class Block>
void QuantizeBlocks256(const float* x, size_t n, const float* importance,
                       std::byte* out) {
  Block* blocks = reinterpret_cast<Block*>(out);
  for (size_t b = 0; b < n / kQkK; ++b) {
    QuantizeBlock(x + b * kQkK,
                  importance == nullptr ? nullptr : importance + b * kQkK,
                  blocks[b]);
  }
}

}  // namespace

float LargestWeight(TensorType type) {
  switch (type) {
    case TensorType::kF32:
      return std::numeric_limits<float>::max();
    case TensorType::kBF16:
      return 0x1.fep127f;
    default:
      return 65504.0f;  // f16: the value itself, or a scale no larger
  }
}

void QuantizeWeightRow(TensorType type, const float* x, size_t n,
                       const float* importance, std::byte* out) {
  switch (type) {
    case TensorType::kF32:
      if (n != 0) std::memcpy(out, x, n * sizeof(float));
      return;
    case TensorType::kF16:
    case TensorType::kBF16:
      for (size_t i = 0; i < n; ++i) {
        const uint16_t code =
            type == TensorType::kF16 ? F32ToF16(x[i]) : F32ToBF16(x[i]);
        std::memcpy(out + 2 * i, &code, sizeof(code));
      }
      return;
    case TensorType::kQ8_0:
      return QuantizeBlocks32<BlockQ8_0>(x, n, nullptr, out);
    case TensorType::kQ4_0:
      return QuantizeBlocks32<BlockQ4_0>(x, n, importance, out);
    case TensorType::kQ4_1:
      return QuantizeBlocks32<BlockQ4_1>(x, n, importance, out);
    case TensorType::kQ5_0:
      return QuantizeBlocks32<BlockQ5_0>(x, n, importance, out);
    case TensorType::kQ5_1:
      return QuantizeBlocks32<BlockQ5_1>(x, n, importance, out);
    case TensorType::kQ4_K:
      return QuantizeBlocks256<BlockQ4_K>(x, n, importance, out);
    case TensorType::kQ5_K:
      return QuantizeBlocks256<BlockQ5_K>(x, n, importance, out);
    case TensorType::kQ6_K:
      return QuantizeBlocks256<BlockQ6_K>(x, n, importance, out);
    case TensorType::kQ8_K:
      break;
  }
  ETALON_DCHECK(false);  // activations only
}

}  // namespace etalon::quantize
