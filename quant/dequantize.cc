#include "quant/dequantize.h"

#include <cstring>

#include "etalon/status.h"
#include "quant/f16.h"

namespace etalon {
namespace {

// Bit j of the four bytes of qh, as bit 4 of a 5-bit value.
int FifthBit(const uint8_t qh[4], size_t j) {
  return (qh[j / 8] >> (j % 8) & 1) << 4;
}

template <class Block>
void DequantizeBlocks(const std::byte* row, size_t n, size_t block_size,
                      float* out) {
  const Block* blocks = reinterpret_cast<const Block*>(row);
  for (size_t b = 0; b < n / block_size; ++b) {
    DequantizeBlock(blocks[b], out + b * block_size);
  }
}

}  // namespace

KScales UnpackKScales(const uint8_t packed[12]) {
  KScales r;
  for (size_t s = 0; s < 4; ++s) {
    r.sc[s] = packed[s] & 63;
    r.m[s] = packed[s + 4] & 63;
  }
  for (size_t s = 4; s < 8; ++s) {
    r.sc[s] =
        static_cast<uint8_t>((packed[s + 4] & 15) | (packed[s - 4] >> 6) << 4);
    r.m[s] = static_cast<uint8_t>((packed[s + 4] >> 4) | (packed[s] >> 6) << 4);
  }
  return r;
}

void PackKScales(const KScales& scales, uint8_t packed[12]) {
  for (size_t s = 0; s < 4; ++s) {
    const int sc_high = scales.sc[s + 4] >> 4;
    const int m_high = scales.m[s + 4] >> 4;
    packed[s] = static_cast<uint8_t>(scales.sc[s] | sc_high << 6);
    packed[s + 4] = static_cast<uint8_t>(scales.m[s] | m_high << 6);
    packed[s + 8] = static_cast<uint8_t>((scales.sc[s + 4] & 15) |
                                         (scales.m[s + 4] & 15) << 4);
  }
}

void DequantizeBlock(const BlockQ4_0& block, float* out) {
  const float d = F16ToF32(block.d);
  for (size_t j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>((block.qs[j] & 15) - 8);
    out[j + 16] = d * static_cast<float>((block.qs[j] >> 4) - 8);
  }
}

void DequantizeBlock(const BlockQ4_1& block, float* out) {
  const float d = F16ToF32(block.d);
  const float m = F16ToF32(block.m);
  for (size_t j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>(block.qs[j] & 15) + m;
    out[j + 16] = d * static_cast<float>(block.qs[j] >> 4) + m;
  }
}

void DequantizeBlock(const BlockQ5_0& block, float* out) {
  const float d = F16ToF32(block.d);
  for (size_t j = 0; j < 16; ++j) {
    const int low = (block.qs[j] & 15) | FifthBit(block.qh, j);
    const int high = block.qs[j] >> 4 | FifthBit(block.qh, j + 16);
    out[j] = d * static_cast<float>(low - 16);
    out[j + 16] = d * static_cast<float>(high - 16);
  }
}

void DequantizeBlock(const BlockQ5_1& block, float* out) {
  const float d = F16ToF32(block.d);
  const float m = F16ToF32(block.m);
  for (size_t j = 0; j < 16; ++j) {
    const int low = (block.qs[j] & 15) | FifthBit(block.qh, j);
    const int high = block.qs[j] >> 4 | FifthBit(block.qh, j + 16);
    out[j] = d * static_cast<float>(low) + m;
    out[j + 16] = d * static_cast<float>(high) + m;
  }
}

void DequantizeBlock(const BlockQ8_0& block, float* out) {
  const float d = F16ToF32(block.d);
  for (size_t j = 0; j < kQk; ++j) {
    out[j] = d * static_cast<float>(block.qs[j]);
  }
}

void DequantizeBlock(const BlockQ4_K& block, float* out) {
  const float d = F16ToF32(block.d);
  const float dmin = F16ToF32(block.dmin);
  const KScales scales = UnpackKScales(block.scales);
  for (size_t s = 0; s < 8; ++s) {
    const float scale = d * static_cast<float>(scales.sc[s]);
    const float min = dmin * static_cast<float>(scales.m[s]);
    const uint8_t* qs = block.qs + s / 2 * 32;
    const int shift = s % 2 == 0 ? 0 : 4;
    for (size_t l = 0; l < 32; ++l) {
      const int q = qs[l] >> shift & 15;
      out[s * 32 + l] = scale * static_cast<float>(q) - min;
    }
  }
}

void DequantizeBlock(const BlockQ5_K& block, float* out) {
  const float d = F16ToF32(block.d);
  const float dmin = F16ToF32(block.dmin);
  const KScales scales = UnpackKScales(block.scales);
  for (size_t s = 0; s < 8; ++s) {
    const float scale = d * static_cast<float>(scales.sc[s]);
    const float min = dmin * static_cast<float>(scales.m[s]);
    const uint8_t* qs = block.qs + s / 2 * 32;
    const int shift = s % 2 == 0 ? 0 : 4;
    for (size_t l = 0; l < 32; ++l) {
      const int q = (qs[l] >> shift & 15) | (block.qh[l] >> s & 1) << 4;
      out[s * 32 + l] = scale * static_cast<float>(q) - min;
    }
  }
}

void DequantizeBlock(const BlockQ6_K& block, float* out) {
  const float d = F16ToF32(block.d);
  for (size_t half = 0; half < 2; ++half) {
    const uint8_t* ql = block.ql + half * 64;
    const uint8_t* qh = block.qh + half * 32;
    const int8_t* scales = block.scales + half * 8;
    for (size_t quarter = 0; quarter < 4; ++quarter) {
      const uint8_t* low = ql + quarter % 2 * 32;
      const int low_shift = quarter < 2 ? 0 : 4;
      const size_t high_shift = 2 * quarter;
      for (size_t l = 0; l < 32; ++l) {
        const int q = (low[l] >> low_shift & 15) | (qh[l] >> high_shift & 3)
                                                       << 4;
        const float scale =
            d * static_cast<float>(scales[2 * quarter + l / 16]);
        out[half * 128 + quarter * 32 + l] = scale * static_cast<float>(q - 32);
      }
    }
  }
}

void DequantizeBlock(const BlockQ8_K& block, float* out) {
  for (size_t j = 0; j < kQkK; ++j) {
    out[j] = block.d * static_cast<float>(block.qs[j]);
  }
}

void DequantizeRow(TensorType type, const std::byte* row, size_t n,
                   float* out) {
  switch (type) {
    case TensorType::kF32:
      if (n != 0) std::memcpy(out, row, n * sizeof(float));
      return;
    case TensorType::kF16:
    case TensorType::kBF16: {
      const uint16_t* codes = reinterpret_cast<const uint16_t*>(row);
      for (size_t i = 0; i < n; ++i) {
        out[i] =
            type == TensorType::kF16 ? F16ToF32(codes[i]) : BF16ToF32(codes[i]);
      }
      return;
    }
    case TensorType::kQ4_0:
      return DequantizeBlocks<BlockQ4_0>(row, n, kQk, out);
    case TensorType::kQ4_1:
      return DequantizeBlocks<BlockQ4_1>(row, n, kQk, out);
    case TensorType::kQ5_0:
      return DequantizeBlocks<BlockQ5_0>(row, n, kQk, out);
    case TensorType::kQ5_1:
      return DequantizeBlocks<BlockQ5_1>(row, n, kQk, out);
    case TensorType::kQ8_0:
      return DequantizeBlocks<BlockQ8_0>(row, n, kQk, out);
    case TensorType::kQ4_K:
      return DequantizeBlocks<BlockQ4_K>(row, n, kQkK, out);
    case TensorType::kQ5_K:
      return DequantizeBlocks<BlockQ5_K>(row, n, kQkK, out);
    case TensorType::kQ6_K:
      return DequantizeBlocks<BlockQ6_K>(row, n, kQkK, out);
    case TensorType::kQ8_K:
      return DequantizeBlocks<BlockQ8_K>(row, n, kQkK, out);
  }
  ETALON_DCHECK(false);  // not a type of the table
}

}  // namespace etalon
