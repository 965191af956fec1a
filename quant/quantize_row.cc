#include "quant/quantize_row.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "etalon/status.h"
#include "quant/f16.h"

namespace etalon {
namespace {

bool AllFinite(const float* x, size_t n) {
  return std::all_of(x, x + n, [](float v) { return std::isfinite(v); });
}

// Round half to even in the default rounding mode, clamped to 127.
int8_t RoundToInt8(float x) {
  return static_cast<int8_t>(std::min(std::nearbyint(x), 127.0f));
}

void QuantizeBlock(const float* x, BlockQ8_K& out) {
  out = {};
  if (!AllFinite(x, kQkK)) {
    out.d = std::numeric_limits<float>::quiet_NaN();
    return;
  }
  float max = 0.0f;
  for (size_t i = 0; i < kQkK; ++i) {
    if (std::abs(x[i]) > std::abs(max)) max = x[i];
  }
  if (std::abs(max) < kQuantizeZeroBelow) return;
  const float iscale = -127.0f / max;
  for (size_t i = 0; i < kQkK; ++i) {
    out.qs[i] = RoundToInt8(iscale * x[i]);
    out.bsums[i / 16] = static_cast<int16_t>(out.bsums[i / 16] + out.qs[i]);
  }
  out.d = 1.0f / iscale;
}

void QuantizeBlock(const float* x, BlockQ8_0& out) {
  out = {};
  float amax = 0.0f;
  for (size_t i = 0; i < kQk; ++i) amax = std::max(amax, std::abs(x[i]));
  const uint16_t d = F32ToF16(amax / 127.0f);
  constexpr uint16_t kF16Inf = 0x7c00;
  if (!AllFinite(x, kQk) || d == kF16Inf) {
    out.d = kF16NaN;
    return;
  }
  if (amax < kQuantizeZeroBelow) return;
  const float id = 127.0f / amax;
  for (size_t i = 0; i < kQk; ++i) out.qs[i] = RoundToInt8(id * x[i]);
  out.d = d;
}

}  // namespace

void QuantizeRowQ8K(const float* x, size_t n, BlockQ8_K* out) {
  ETALON_DCHECK(n % kQkK == 0);
  for (size_t b = 0; b < n / kQkK; ++b) QuantizeBlock(x + b * kQkK, out[b]);
}

void QuantizeRowQ80(const float* x, size_t n, BlockQ8_0* out) {
  ETALON_DCHECK(n % kQk == 0);
  for (size_t b = 0; b < n / kQk; ++b) QuantizeBlock(x + b * kQk, out[b]);
}

}  // namespace etalon
