#include "reference/quantize.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "reference/formats.h"

namespace etalon::reference {
namespace {

// Below this 127 / amax could overflow.
constexpr float kZeroBlock = 0x1p-120f;

// The first element of largest magnitude; NaN when any element is not finite.
float SignedMax(std::span<const float> x) {
  float best = 0.0f;
  for (const float v : x) {
    if (!std::isfinite(v)) return std::numeric_limits<float>::quiet_NaN();
    if (std::abs(v) > std::abs(best)) best = v;
  }
  return best;
}

// Appends the block's q and margins for the given scale.
void AppendQuants(std::span<const float> x, float scale, QuantizedRow& row) {
  for (const float v : x) {
    const float scaled = scale * v;
    const float q = std::clamp(std::nearbyint(scaled), -127.0f, 127.0f);
    row.q.push_back(static_cast<int16_t>(q));
    row.margin.push_back(0.5f - std::abs(scaled - q));
  }
}

void AppendZeros(size_t n, QuantizedRow& row) {
  row.q.insert(row.q.end(), n, 0);
  row.margin.insert(row.margin.end(), n, 0.5f);
}

template <class Block>
QuantizedRow Quantize(std::span<const float> x, size_t block_size,
                      const Block& block) {
  QuantizedRow row;
  row.block_size = block_size;
  for (size_t begin = 0; begin + block_size <= x.size(); begin += block_size) {
    const std::span<const float> values = x.subspan(begin, block_size);
    const float max = SignedMax(values);
    row.d_step.push_back(0.0f);
    if (std::isnan(max) || std::abs(max) < kZeroBlock) {
      row.d.push_back(std::isnan(max) ? max : 0.0f);
      AppendZeros(block_size, row);
    } else {
      block(values, max, row);
    }
  }
  return row;
}

}  // namespace

QuantizedRow QuantizeQ8K(std::span<const float> x) {
  return Quantize(
      x, 256, [](std::span<const float> values, float max, QuantizedRow& row) {
        const float iscale = -127.0f / max;
        row.d.push_back(1.0f / iscale);
        AppendQuants(values, iscale, row);
      });
}

QuantizedRow QuantizeQ8_0(std::span<const float> x) {
  return Quantize(
      x, 32, [](std::span<const float> values, float max, QuantizedRow& row) {
        const float amax = std::abs(max);
        const double d = RoundedToF16(static_cast<double>(amax / 127.0f));
        if (std::isinf(d)) {
          row.d.push_back(std::numeric_limits<float>::quiet_NaN());
          AppendZeros(values.size(), row);
          return;
        }
        row.d.push_back(static_cast<float>(d));
        const double exact = static_cast<double>(amax) / 127.0;
        for (const double near :
             {exact * (1 - 0x1p-20), exact * (1 + 0x1p-20)}) {
          const double other = RoundedToF16(near);
          row.d_step.back() = std::max(row.d_step.back(),
                                       static_cast<float>(std::abs(other - d)));
        }
        AppendQuants(values, 127.0f / amax, row);
      });
}

}  // namespace etalon::reference
