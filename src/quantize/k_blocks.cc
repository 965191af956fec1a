#include "quantize/k_blocks.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "quant/dequantize.h"
#include "quant/f16.h"
#include "quantize/scale_fit.h"

namespace etalon::quantize {
namespace {

constexpr int kRefinements = 3;

int RoundToGrid(float x, int lo, int hi) {
  return static_cast<int>(std::nearbyint(
      std::clamp(x, static_cast<float>(lo), static_cast<float>(hi))));
}
float SafeInverse(float x) {
  const float inverse = x != 0.0f ? 1.0f / x : 0.0f;
  return std::isfinite(inverse) ? inverse : 0.0f;
}

// --- Q4_K and Q5_K: x = d * sc[s] * q - dmin * m[s], eight sub-blocks of 32.

constexpr size_t kSub = 32;
constexpr size_t kSubs = kQkK / kSub;
constexpr int kGrid = 63;  // 6-bit scales and minimums

struct AsymmetricBlock {
  uint16_t d = 0;
  uint16_t dmin = 0;
  KScales scales = {};
  std::array<float, kQkK> q = {};
  double error = 0;
};

// d and dmin from the largest scale and minimum, the others to the nearest.
AsymmetricBlock StartGrid(const std::array<ScaleMin, kSubs>& fits) {
  float max_scale = 0.0f;
  float max_min = 0.0f;
  for (const ScaleMin& fit : fits) {
    max_scale = std::max(max_scale, fit.scale);
    max_min = std::max(max_min, -fit.min);
  }
  AsymmetricBlock block;
  block.d = F32ToF16(max_scale / kGrid);
  block.dmin = F32ToF16(max_min / kGrid);
  const float inverse_d = SafeInverse(F16ToF32(block.d));
  const float inverse_dmin = SafeInverse(F16ToF32(block.dmin));
  for (size_t s = 0; s < kSubs; ++s) {
    block.scales.sc[s] =
        static_cast<uint8_t>(RoundToGrid(fits[s].scale * inverse_d, 0, kGrid));
    block.scales.m[s] = static_cast<uint8_t>(
        RoundToGrid(-fits[s].min * inverse_dmin, 0, kGrid));
  }
  return block;
}

// The normal equations of (d, dmin) over a block, q, sc and m given.
struct NormalEquations {
  double a11 = 0, a12 = 0, a22 = 0, b1 = 0, b2 = 0;

  void Add(const GroupSums& s, double sc, double m) {
    a11 += sc * sc * s.qq;
    a12 -= sc * m * s.q;
    a22 += m * m * s.w;
    b1 += sc * s.xq;
    b2 -= m * s.x;
  }
  // False when they do not determine a non-negative pair.
  bool Solve(double& d, double& dmin) const {
    const double det = a11 * a22 - a12 * a12;
    if (det > 1e-9 * a11 * a22 && det > 0) {
      d = (b1 * a22 - b2 * a12) / det;
      dmin = (a11 * b2 - a12 * b1) / det;
      if (d >= 0 && dmin >= 0) return true;
    }
    if (!(a11 > 0)) return false;
    d = b1 / a11;  // no minimum is in use
    dmin = 0;
    return d >= 0 && a22 == 0;
  }
};

// Moves every sub-block to the best of its neighbours on the grid (radius 0:
// stays where it is), sets q and the error, and collects the equations.
NormalEquations Improve(const float* x, const float* w, int levels, int radius,
                        AsymmetricBlock& block) {
  const float d = F16ToF32(block.d);
  const float dmin = F16ToF32(block.dmin);
  const float top = static_cast<float>(levels);
  NormalEquations equations;
  block.error = 0;
  for (size_t s = 0; s < kSubs; ++s) {
    const float* xs = x + s * kSub;
    const float* ws = w + s * kSub;
    float* qs = block.q.data() + s * kSub;
    const int sc0 = block.scales.sc[s];
    const int m0 = block.scales.m[s];
    GroupSums best;
    int best_sc = sc0, best_m = m0;
    bool first = true;
    std::array<float, kSub> q;
    for (int sc = std::max(0, sc0 - radius);
         sc <= std::min(kGrid, sc0 + radius); ++sc) {
      for (int m = std::max(0, m0 - radius); m <= std::min(kGrid, m0 + radius);
           ++m) {
        const GroupSums sums =
            QuantizeGroup(xs, ws, kSub, d * static_cast<float>(sc),
                          -(dmin * static_cast<float>(m)), 0.0f, top, q.data());
        if (first || sums.error < best.error) {
          best = sums;
          best_sc = sc;
          best_m = m;
          std::copy(q.begin(), q.end(), qs);
          first = false;
        }
      }
    }
    block.scales.sc[s] = static_cast<uint8_t>(best_sc);
    block.scales.m[s] = static_cast<uint8_t>(best_m);
    block.error += best.error;
    equations.Add(best, best_sc, best_m);
  }
  return equations;
}

AsymmetricBlock FitAsymmetric(const float* x, const float* w, int levels) {
  std::array<ScaleMin, kSubs> fits;
  for (size_t s = 0; s < kSubs; ++s) {
    fits[s] = FitScaleMin(x + s * kSub, w + s * kSub, kSub, levels,
                          /*max_min=*/0.0f);
  }
  AsymmetricBlock best = StartGrid(fits);
  NormalEquations equations = Improve(x, w, levels, 1, best);
  for (int round = 0; round < kRefinements; ++round) {
    double d, dmin;
    if (!equations.Solve(d, dmin)) break;
    AsymmetricBlock next = best;
    next.d = F32ToF16(static_cast<float>(d));
    next.dmin = F32ToF16(static_cast<float>(dmin));
    if (next.d == best.d && next.dmin == best.dmin) break;
    equations = Improve(x, w, levels, 1, next);
    if (!(next.error < best.error)) break;
    best = next;
  }
  return best;
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
  std::array<int, kSubs6> sc = {};
  std::array<float, kQkK> q = {};
  double error = 0;
};

// As above, for the one unknown d = b / a.
void Improve(const float* x, const float* w, int radius, SymmetricBlock& block,
             double& a, double& b) {
  const float d = F16ToF32(block.d);
  block.error = a = b = 0;
  for (size_t s = 0; s < kSubs6; ++s) {
    GroupSums best;
    int best_sc = block.sc[s];
    bool first = true;
    std::array<float, kSub6> q;
    const int sc0 = block.sc[s];
    for (int sc = std::max(-128, sc0 - radius);
         sc <= std::min(127, sc0 + radius); ++sc) {
      const GroupSums sums = QuantizeGroup(x + s * kSub6, w + s * kSub6, kSub6,
                                           d * static_cast<float>(sc), 0.0f,
                                           -32.0f, 31.0f, q.data());
      if (first || sums.error < best.error) {
        best = sums;
        best_sc = sc;
        std::copy(q.begin(), q.end(), block.q.begin() + s * kSub6);
        first = false;
      }
    }
    block.sc[s] = best_sc;
    block.error += best.error;
    a += static_cast<double>(best_sc) * best_sc * best.qq;
    b += best_sc * best.xq;
  }
}

SymmetricBlock FitSymmetric(const float* x, const float* w) {
  std::array<float, kSubs6> fits;
  float max = 0.0f;
  for (size_t s = 0; s < kSubs6; ++s) {
    fits[s] = FitScale(x + s * kSub6, w + s * kSub6, kSub6, 32);
    if (std::abs(fits[s]) > std::abs(max)) max = fits[s];
  }
  SymmetricBlock best;
  best.d = F32ToF16(max / -128.0f);
  const float inverse_d = SafeInverse(F16ToF32(best.d));
  for (size_t s = 0; s < kSubs6; ++s) {
    best.sc[s] = RoundToGrid(fits[s] * inverse_d, -128, 127);
  }
  double a, b;
  Improve(x, w, 1, best, a, b);
  for (int round = 0; round < kRefinements && a > 0; ++round) {
    SymmetricBlock next = best;
    next.d = F32ToF16(static_cast<float>(b / a));
    if (next.d == best.d) break;
    Improve(x, w, 1, next, a, b);
    if (!(next.error < best.error)) break;
    best = next;
  }
  return best;
}

}  // namespace

void QuantizeKBlock(const float* x, const float* w, BlockQ4_K& out) {
  const AsymmetricBlock block = FitAsymmetric(x, w, 15);
  out.d = block.d;
  out.dmin = block.dmin;
  PackKScales(block.scales, out.scales);
  StoreNibbles(block.q, out.qs);
}

void QuantizeKBlock(const float* x, const float* w, BlockQ5_K& out) {
  const AsymmetricBlock block = FitAsymmetric(x, w, 31);
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

void QuantizeKBlock(const float* x, const float* w, BlockQ6_K& out) {
  const SymmetricBlock block = FitSymmetric(x, w);
  out.d = block.d;
  for (size_t s = 0; s < kSubs6; ++s) {
    out.scales[s] = static_cast<int8_t>(block.sc[s]);
  }
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
