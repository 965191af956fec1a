#include "quantize/weight_row.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "etalon/status.h"
#include "quant/block_formats.h"
#include "quant/f16.h"
#include "quant/quantize_row.h"
#include "quantize/k_blocks.h"
#include "quantize/scale_fit.h"

namespace etalon::quantize {
namespace {

// How much an error of element i costs.
void ErrorWeights(const float* importance, size_t n, float* w) {
  for (size_t i = 0; i < n; ++i) {
    w[i] = importance == nullptr ? 1.0f : importance[i];
  }
}

// x = d * (q - half).
template <class Block>
void QuantizeSymmetric(const float* x, const float* w, int half, Block& out,
                       std::array<int, kQk>& q_out) {
  out.d = F32ToF16(FitScale(x, w, kQk, half));
  std::array<float, kQk> q;
  QuantizeGroup(x, w, kQk, F16ToF32(out.d), 0.0f, static_cast<float>(-half),
                static_cast<float>(half - 1), q.data());
  for (size_t j = 0; j < kQk; ++j) q_out[j] = static_cast<int>(q[j]) + half;
}

// x = d * q + m.
template <class Block>
void QuantizeAsymmetric(const float* x, const float* w, int levels, Block& out,
                        std::array<int, kQk>& q_out) {
  const ScaleMin fit =
      FitScaleMin(x, w, kQk, levels, std::numeric_limits<float>::infinity());
  out.d = F32ToF16(fit.scale);
  out.m = F32ToF16(fit.min);
  std::array<float, kQk> q;
  QuantizeGroup(x, w, kQk, F16ToF32(out.d), F16ToF32(out.m), 0.0f,
                static_cast<float>(levels), q.data());
  for (size_t j = 0; j < kQk; ++j) q_out[j] = static_cast<int>(q[j]);
}

void StoreNibbles(const std::array<int, kQk>& q, uint8_t* qs) {
  for (size_t j = 0; j < 16; ++j) {
    qs[j] = static_cast<uint8_t>((q[j] & 15) | (q[j + 16] & 15) << 4);
  }
}
void StoreFifthBits(const std::array<int, kQk>& q, uint8_t* qh) {
  std::memset(qh, 0, 4);
  for (size_t j = 0; j < kQk; ++j) {
    qh[j / 8] = static_cast<uint8_t>(qh[j / 8] | (q[j] >> 4) << (j % 8));
  }
}

void QuantizeBlock(const float* x, const float* w, BlockQ4_0& out) {
  std::array<int, kQk> q;
  QuantizeSymmetric(x, w, 8, out, q);
  StoreNibbles(q, out.qs);
}
void QuantizeBlock(const float* x, const float* w, BlockQ5_0& out) {
  std::array<int, kQk> q;
  QuantizeSymmetric(x, w, 16, out, q);
  StoreNibbles(q, out.qs);
  StoreFifthBits(q, out.qh);
}
void QuantizeBlock(const float* x, const float* w, BlockQ4_1& out) {
  std::array<int, kQk> q;
  QuantizeAsymmetric(x, w, 15, out, q);
  StoreNibbles(q, out.qs);
}
void QuantizeBlock(const float* x, const float* w, BlockQ5_1& out) {
  std::array<int, kQk> q;
  QuantizeAsymmetric(x, w, 31, out, q);
  StoreNibbles(q, out.qs);
  StoreFifthBits(q, out.qh);
}
void QuantizeBlock(const float* x, const float* w, BlockQ4_K& out) {
  QuantizeKBlock(x, w, out);
}
void QuantizeBlock(const float* x, const float* w, BlockQ5_K& out) {
  QuantizeKBlock(x, w, out);
}
void QuantizeBlock(const float* x, const float* w, BlockQ6_K& out) {
  QuantizeKBlock(x, w, out);
}

template <class Block, size_t kBlock>
void QuantizeBlocks(const float* x, size_t n, const float* importance,
                    std::byte* out) {
  Block* blocks = reinterpret_cast<Block*>(out);
  std::array<float, kBlock> w;
  for (size_t b = 0; b < n / kBlock; ++b) {
    const float* xb = x + b * kBlock;
    ErrorWeights(importance != nullptr ? importance + b * kBlock : nullptr,
                 kBlock, w.data());
    QuantizeBlock(xb, w.data(), blocks[b]);
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
      return QuantizeRowQ80(x, n, reinterpret_cast<BlockQ8_0*>(out));
    case TensorType::kQ4_0:
      return QuantizeBlocks<BlockQ4_0, kQk>(x, n, importance, out);
    case TensorType::kQ4_1:
      return QuantizeBlocks<BlockQ4_1, kQk>(x, n, importance, out);
    case TensorType::kQ5_0:
      return QuantizeBlocks<BlockQ5_0, kQk>(x, n, importance, out);
    case TensorType::kQ5_1:
      return QuantizeBlocks<BlockQ5_1, kQk>(x, n, importance, out);
    case TensorType::kQ4_K:
      return QuantizeBlocks<BlockQ4_K, kQkK>(x, n, importance, out);
    case TensorType::kQ5_K:
      return QuantizeBlocks<BlockQ5_K, kQkK>(x, n, importance, out);
    case TensorType::kQ6_K:
      return QuantizeBlocks<BlockQ6_K, kQkK>(x, n, importance, out);
    case TensorType::kQ8_K:
      break;
  }
  ETALON_DCHECK(false);  // activations only
}

}  // namespace etalon::quantize
