#include "quantize/blocks_32.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "quant/f16.h"
#include "quantize/rounding.h"
#include "quantize/scale_fit.h"

namespace etalon::quantize {
namespace {

using Codes = std::array<uint8_t, kQk>;

constexpr Stretches kStretches{-0.9f, 0.05f, 37};

float LargestMagnitude(const float* x) {
  float max = 0.0f;
  for (size_t j = 0; j < kQk; ++j) {
    if (std::abs(x[j]) > std::abs(max)) max = x[j];
  }
  return max;
}

// x = d * (q - half).
template <class Block>
Codes QuantizeSymmetric(const float* x, const float* w, int half, Block& out) {
  Codes codes;
  if (w != nullptr) {
    std::array<float, kQk> q;
    out.d = F32ToF16(FitScale(x, w, kQk, half, q.data()));
    for (size_t j = 0; j < kQk; ++j) {
      codes[j] = static_cast<uint8_t>(static_cast<int>(q[j]) + half);
    }
    return codes;
  }
  const float side = static_cast<float>(half);
  const float d = LargestMagnitude(x) / -side;
  const float inverse = InverseOrZero(d);
  out.d = F32ToF16(d);
  for (size_t j = 0; j < kQk; ++j) {
    // Not negative: truncation is floor. A value of the other sign and the
    // same magnitude would be one step too far.
    const int q = static_cast<int>(x[j] * inverse + (side + 0.5f));
    codes[j] = static_cast<uint8_t>(std::min(q, 2 * half - 1));
  }
  return codes;
}

// x = d * q + m.
template <class Block>
Codes QuantizeAsymmetric(const float* x, const float* w, int levels,
                         Block& out) {
  Codes codes;
  if (w != nullptr) {
    std::array<float, kQk> q;
    const ScaleMin fit = FitScaleMin(x, w, kQk, levels, kStretches, q.data());
    out.d = F32ToF16(fit.scale);
    out.m = F32ToF16(fit.min);
    for (size_t j = 0; j < kQk; ++j) codes[j] = static_cast<uint8_t>(q[j]);
    return codes;
  }
  const float low = *std::min_element(x, x + kQk);
  const float high = *std::max_element(x, x + kQk);
  const float d = (high - low) / static_cast<float>(levels);
  const float inverse = InverseOrZero(d);
  out.d = F32ToF16(d);
  out.m = F32ToF16(low);
  for (size_t j = 0; j < kQk; ++j) {
    const int q = static_cast<int>((x[j] - low) * inverse + 0.5f);
    codes[j] = static_cast<uint8_t>(std::min(q, levels));
  }
  return codes;
}

void StoreNibbles(const Codes& q, uint8_t* qs) {
  for (size_t j = 0; j < 16; ++j) {
    qs[j] = static_cast<uint8_t>((q[j] & 15) | (q[j + 16] & 15) << 4);
  }
}
void StoreFifthBits(const Codes& q, uint8_t* qh) {
  std::memset(qh, 0, 4);
  for (size_t j = 0; j < kQk; ++j) {
    qh[j / 8] = static_cast<uint8_t>(qh[j / 8] | (q[j] >> 4) << (j % 8));
  }
}

}  // namespace

void QuantizeBlock(const float* x, const float* w, BlockQ4_0& out) {
  StoreNibbles(QuantizeSymmetric(x, w, 8, out), out.qs);
}
void QuantizeBlock(const float* x, const float* w, BlockQ4_1& out) {
  StoreNibbles(QuantizeAsymmetric(x, w, 15, out), out.qs);
}
void QuantizeBlock(const float* x, const float* w, BlockQ5_0& out) {
  const Codes q = QuantizeSymmetric(x, w, 16, out);
  StoreNibbles(q, out.qs);
  StoreFifthBits(q, out.qh);
}
void QuantizeBlock(const float* x, const float* w, BlockQ5_1& out) {
  const Codes q = QuantizeAsymmetric(x, w, 31, out);
  StoreNibbles(q, out.qs);
  StoreFifthBits(q, out.qh);
}

void QuantizeBlock(const float* x, const float*, BlockQ8_0& out) {
  const float d = std::abs(LargestMagnitude(x)) / 127.0f;
  const float inverse = InverseOrZero(d);
  out.d = F32ToF16(d);
  for (size_t j = 0; j < kQk; ++j) {
    out.qs[j] = static_cast<int8_t>(std::round(x[j] * inverse));
  }
}

}  // namespace etalon::quantize
