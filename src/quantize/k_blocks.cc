#include "quantize/k_blocks.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "quant/dequantize.h"
#include "quant/f16.h"
#include "quantize/rounding.h"
#include "quantize/scale_fit.h"

namespace etalon::quantize {
namespace {

float SumOfSquares(const float* x, size_t n) {
  float sum = 0.0f;
  for (size_t i = 0; i < n; ++i) sum += x[i] * x[i];
  return sum;
}

// --- Q4_K and Q5_K: x = d * sc[s] * q - dmin * m[s], eight sub-blocks of 32.

constexpr size_t kSub = 32;
constexpr size_t kSubs = kQkK / kSub;
constexpr int kGrid = 63;  // 6-bit scales and minimums

// With an importance the weights vary more, and more grids are tried.
constexpr Stretches kStretchesQ4{-1.0f, 0.1f, 21};
constexpr Stretches kStretchesQ5{-0.5f, 0.1f, 16};
constexpr Stretches kStretchesImportance{-0.9f, 0.05f, 37};

struct AsymmetricBlock {
  uint16_t d = 0;
  uint16_t dmin = 0;
  KScales scales = {};
  std::array<float, kQkK> q = {};
};

// What an error of each element costs. Large weights matter more than small
// ones, though less than in proportion to their square: |x| plus the root mean
// square of the sub-block; with an importance, its product with about the same.
void ErrorWeights(const float* x, const float* importance, float* w) {
  if (importance != nullptr) {
    const float twice_mean = 2.0f * SumOfSquares(x, kQkK) / kQkK;
    for (size_t i = 0; i < kQkK; ++i) {
      w[i] = importance[i] * std::sqrt(twice_mean + x[i] * x[i]);
    }
    return;
  }
  for (size_t s = 0; s < kQkK; s += kSub) {
    const float rms = std::sqrt(SumOfSquares(x + s, kSub) / kSub);
    for (size_t i = s; i < s + kSub; ++i) w[i] = rms + std::abs(x[i]);
  }
}

// Eight scales (or minimums) to 6 bits: the largest gets the last step, the
// others the nearest. Returns the step.
float LevelsByLargest(const std::array<float, kSubs>& x, uint8_t* level) {
  const float max = std::max(0.0f, *std::max_element(x.begin(), x.end()));
  const float inverse = InverseOrZero(max, kGrid);
  for (size_t s = 0; s < kSubs; ++s) {
    level[s] = static_cast<uint8_t>(RoundInto(inverse * x[s], 0.0f, kGrid));
  }
  return max / kGrid;
}

AsymmetricBlock FitAsymmetric(const float* x, const float* importance,
                              int levels, const Stretches& plain) {
  AsymmetricBlock block;
  const Stretches& stretches = importance ? kStretchesImportance : plain;
  std::array<float, kQkK> w;
  ErrorWeights(x, importance, w.data());
  std::array<float, kSubs> scales, minimums, sum_w{};
  for (size_t s = 0; s < kSubs; ++s) {
    const size_t at = s * kSub;
    const ScaleMin fit =
        FitScaleMin(x + at, &w[at], kSub, levels, stretches, &block.q[at]);
    scales[s] = fit.scale;
    minimums[s] = -fit.min;
    for (size_t i = at; i < at + kSub; ++i) sum_w[s] += w[i];
  }
  const auto to_grid = [&](const std::array<float, kSubs>& v, uint8_t* level) {
    return F32ToF16(importance == nullptr ? LevelsByLargest(v, level)
                                          : FitLevels(v.data(), sum_w.data(),
                                                      kSubs, kGrid, level));
  };
  block.d = to_grid(scales, block.scales.sc);
  block.dmin = to_grid(minimums, block.scales.m);

  const float top = static_cast<float>(levels);
  for (size_t s = 0; s < kSubs; ++s) {
    const float scale = F16ToF32(block.d) * block.scales.sc[s];
    const float min = F16ToF32(block.dmin) * block.scales.m[s];
    if (scale == 0.0f) continue;  // any q stands for the minimum
    for (size_t i = s * kSub; i < (s + 1) * kSub; ++i) {
      block.q[i] = RoundInto((x[i] + min) / scale, 0.0f, top);
    }
  }
  return block;
}

void StoreNibbles(const std::array<float, kQkK>& q, uint8_t* qs) {
  for (size_t c = 0; c < 4; ++c) {
    for (size_t l = 0; l < 32; ++l) {
      const int low = static_cast<int>(q[64 * c + l]);
      const int high = static_cast<int>(q[64 * c + 32 + l]);
      qs[32 * c + l] = static_cast<uint8_t>((low & 15) | (high & 15) << 4);
    }
  }
}

// --- Q6_K: x = d * sc[s] * q, sixteen sub-blocks of 16, q in -32..31.

constexpr size_t kSub6 = 16;
constexpr size_t kSubs6 = kQkK / kSub6;

struct SymmetricBlock {
  uint16_t d = 0;
  std::array<int8_t, kSubs6> sc = {};
  std::array<float, kQkK> q;
};

SymmetricBlock FitSymmetric(const float* x, const float* importance) {
  SymmetricBlock block;
  std::array<float, kSubs6> scales;
  float max = 0.0f;
  for (size_t s = 0; s < kSubs6; ++s) {
    const size_t at = s * kSub6;
    // So many steps leave the search little to gain: it minds the large
    // weights most, or the importance alone.
    std::array<float, kSub6> w;
    for (size_t i = 0; i < kSub6; ++i) {
      w[i] = importance == nullptr ? x[at + i] * x[at + i] : importance[at + i];
    }
    scales[s] = FitScale(x + at, w.data(), kSub6, 32, &block.q[at]);
    if (std::abs(scales[s]) > std::abs(max)) max = scales[s];
  }
  const float inverse = InverseOrZero(max, -128.0f);
  block.d = inverse == 0.0f ? uint16_t{0} : F32ToF16(1.0f / inverse);
  const float d = F16ToF32(block.d);
  for (size_t s = 0; s < kSubs6; ++s) {
    block.sc[s] =
        static_cast<int8_t>(RoundInto(inverse * scales[s], -128.0f, 127.0f));
    const float scale = d * block.sc[s];
    if (scale == 0.0f) continue;  // any q stands for 0
    for (size_t i = s * kSub6; i < (s + 1) * kSub6; ++i) {
      block.q[i] = RoundInto(x[i] / scale, -32.0f, 31.0f);
    }
  }
  return block;
}

}  // namespace

void QuantizeBlock(const float* x, const float* importance, BlockQ4_K& out) {
  const AsymmetricBlock block = FitAsymmetric(x, importance, 15, kStretchesQ4);
  out.d = block.d;
  out.dmin = block.dmin;
  PackKScales(block.scales, out.scales);
  StoreNibbles(block.q, out.qs);
}

void QuantizeBlock(const float* x, const float* importance, BlockQ5_K& out) {
  const AsymmetricBlock block = FitAsymmetric(x, importance, 31, kStretchesQ5);
  out.d = block.d;
  out.dmin = block.dmin;
  PackKScales(block.scales, out.scales);
  StoreNibbles(block.q, out.qs);
  for (size_t l = 0; l < 32; ++l) {
    int bits = 0;
    for (size_t s = 0; s < 8; ++s) {
      bits |= (static_cast<int>(block.q[32 * s + l]) >> 4) << s;
    }
    out.qh[l] = static_cast<uint8_t>(bits);
  }
}

void QuantizeBlock(const float* x, const float* importance, BlockQ6_K& out) {
  const SymmetricBlock block = FitSymmetric(x, importance);
  out.d = block.d;
  std::copy(block.sc.begin(), block.sc.end(), out.scales);
  for (size_t half = 0; half < 2; ++half) {
    for (size_t l = 0; l < 32; ++l) {
      std::array<int, 4> q;
      for (size_t quarter = 0; quarter < 4; ++quarter) {
        q[quarter] =
            static_cast<int>(block.q[128 * half + 32 * quarter + l]) + 32;
      }
      out.ql[64 * half + l] =
          static_cast<uint8_t>((q[0] & 15) | (q[2] & 15) << 4);
      out.ql[64 * half + 32 + l] =
          static_cast<uint8_t>((q[1] & 15) | (q[3] & 15) << 4);
      out.qh[32 * half + l] = static_cast<uint8_t>(
          q[0] >> 4 | (q[1] >> 4) << 2 | (q[2] >> 4) << 4 | (q[3] >> 4) << 6);
    }
  }
}

}  // namespace etalon::quantize
