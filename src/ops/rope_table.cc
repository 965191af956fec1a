// Rotary frequencies and tables (etalon/rope.h). Every step is a single IEEE
// operation or comes from correctly_rounded.h, so a table has one bit pattern.
//
// Pair i of rotary_dim / 2, all in f32 with one rounding per operation:
//   f       = base^(-2i / rotary_dim) [/ freq_factors[i]]
//   none:     freq = f
//   linear:   freq = f * fl(1 / factor)
//   YaRN (Peng et al., "YaRN: Efficient Context Window Extension of Large
//   Language Models", 2023, section 3.2): pairs that turn often within the
//   trained context keep f, those that turn less than once are interpolated
//   as in linear, with a ramp between:
//     dim(turns) = rotary_dim ln(n_ctx_orig / (2 pi turns)) / (2 ln base)
//     low  = max(0, floor(dim(beta_fast)))
//     high = min(rotary_dim - 1, ceil(dim(beta_slow)))
//     mix  = (1 - clamp((i - low) / max(0.001, high - low), 0, 1)) * ext_factor
//     freq = (f * fl(1 / factor)) * (1 - mix) + f * mix
//   The interpolated frequency is f / factor: the factor scales the wavelength
//   and is not part of the power.
// Factor on cos and sin, computed in f64, rounded once:
//   attn_factor, and for YaRN with ext_factor != 0 times
//     m(1)                     if yarn_log_mul == 0,
//     m(1) / m(yarn_log_mul)   else (DeepSeek's mscale / mscale_all_dim, with
//                              mscale = 1, as the GGUF key is understood),
//   m(t) = 1 + 0.1 t ln(factor) for factor > 1, else 1.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <new>
#include <optional>

#include "core/parallel.h"
#include "etalon/rope.h"
#include "ops/correctly_rounded.h"

namespace etalon {
namespace {

// Frequencies are at most 1 in every known model, but a file's factors may make
// them large; accepted up to here, so that every position keeps its angle
// below kMaxAngle = 2^40.
constexpr float kMaxFrequency = 65536.0f;
constexpr size_t kMaxPositions = kMaxRopePositions;
constexpr size_t kMaxRotaryDim = size_t{1} << 20;

Status CheckPositive(float value, const char* name) {
  ETALON_ENSURE(
      std::isfinite(value) && value > 0.0f,
      fmt::format("rope: {} = {}, must be finite and positive", name, value));
  return {};
}

Status CheckParams(const RopeParams& p) {
  ETALON_ENSURE(
      p.rotary_dim > 0 && p.rotary_dim % 2 == 0 &&
          p.rotary_dim <= kMaxRotaryDim,
      fmt::format("rope: rotary_dim = {}, must be even and in [2, {}]",
                  p.rotary_dim, kMaxRotaryDim));
  ETALON_ENSURE(
      std::isnormal(p.freq_base) && p.freq_base > 0.0f,
      fmt::format("rope: freq_base = {}, must be a normal positive number",
                  p.freq_base));
  ETALON_ENSURE(
      p.freq_factors.empty() || p.freq_factors.size() == p.rotary_dim / 2,
      fmt::format("rope: {} freq_factors, need rotary_dim / 2 = {} or none",
                  p.freq_factors.size(), p.rotary_dim / 2));
  for (size_t i = 0; i < p.freq_factors.size(); ++i) {
    ETALON_ENSURE(
        std::isfinite(p.freq_factors[i]) && p.freq_factors[i] != 0.0f,
        fmt::format("rope: freq_factors[{}] = {}, must be finite and not 0", i,
                    p.freq_factors[i]));
  }
  ETALON_RETURN_IF_ERROR(CheckPositive(p.attn_factor, "attn_factor"));
  if (p.scaling == RopeScaling::kNone) return {};
  ETALON_RETURN_IF_ERROR(CheckPositive(p.factor, "scaling factor"));
  if (p.scaling != RopeScaling::kYarn) return {};
  ETALON_RETURN_IF_ERROR(CheckPositive(p.beta_fast, "beta_fast"));
  ETALON_RETURN_IF_ERROR(CheckPositive(p.beta_slow, "beta_slow"));
  ETALON_ENSURE(
      p.freq_base > 1.0f,
      fmt::format("rope: YaRN needs freq_base > 1, found {}", p.freq_base));
  ETALON_ENSURE(p.n_ctx_orig > 0, "rope: YaRN needs n_ctx_orig > 0");
  ETALON_ENSURE(std::isfinite(p.yarn_ext_factor) && p.yarn_ext_factor >= 0.0f,
                fmt::format("rope: yarn_ext_factor = {}, must be >= 0",
                            p.yarn_ext_factor));
  ETALON_ENSURE(
      std::isfinite(p.yarn_log_mul),
      fmt::format("rope: yarn_log_mul = {}, must be finite", p.yarn_log_mul));
  return {};
}

// The (fractional) pair index that makes `turns` rotations in n_ctx_orig.
double CorrectionDim(const RopeParams& p, float turns) {
  constexpr double kTwoPi = 0x1.921fb54442d18p+2;
  const double positions_per_turn =
      static_cast<double>(p.n_ctx_orig) / (static_cast<double>(turns) * kTwoPi);
  return static_cast<double>(p.rotary_dim) * ops::LogOf(positions_per_turn) /
         (2.0 * ops::LogOf(static_cast<double>(p.freq_base)));
}

struct YarnRamp {
  float low;
  float width;

  explicit YarnRamp(const RopeParams& p) {
    const double start = std::floor(CorrectionDim(p, p.beta_fast));
    const double end = std::ceil(CorrectionDim(p, p.beta_slow));
    low = static_cast<float>(std::max(0.0, start));
    const float high = static_cast<float>(
        std::min(static_cast<double>(p.rotary_dim - 1), end));
    width = std::max(0.001f, high - low);
  }
  // Share of the original frequency.
  float Extrapolated(size_t i) const {
    const float y = (static_cast<float>(i) - low) / width;
    return 1.0f - std::min(1.0f, std::max(0.0f, y));
  }
};

float MagnitudeScale(const RopeParams& p) {
  double scale = static_cast<double>(p.attn_factor);
  if (p.scaling == RopeScaling::kYarn && p.yarn_ext_factor != 0.0f &&
      p.factor > 1.0f) {
    const double ln = ops::LogOf(static_cast<double>(p.factor));
    const double all_dims = static_cast<double>(p.yarn_log_mul);
    scale *= 1.0 + 0.1 * ln;
    if (all_dims != 0.0) scale /= 1.0 + 0.1 * all_dims * ln;
  }
  return static_cast<float>(scale);
}

}  // namespace

Expected<RopeFrequencies> MakeRopeFrequencies(const RopeParams& p) {
  ETALON_RETURN_IF_ERROR(CheckParams(p));
  RopeFrequencies r;
  r.scale = MagnitudeScale(p);
  ETALON_ENSURE(std::isfinite(r.scale) && r.scale > 0.0f,
                fmt::format("rope: factor on cos and sin is {}", r.scale));
  r.freq.resize(p.rotary_dim / 2);
  const bool yarn =
      p.scaling == RopeScaling::kYarn && p.yarn_ext_factor != 0.0f;
  const float inv_factor =
      p.scaling == RopeScaling::kNone ? 1.0f : 1.0f / p.factor;
  std::optional<YarnRamp> ramp;
  if (yarn) ramp.emplace(p);
  for (size_t i = 0; i < r.freq.size(); ++i) {
    float f = ops::PowerOf(p.freq_base, -2 * static_cast<int32_t>(i),
                           static_cast<int32_t>(p.rotary_dim));
    if (!p.freq_factors.empty()) f /= p.freq_factors[i];
    const float interpolated = f * inv_factor;
    r.freq[i] = interpolated;
    if (ramp) {
      const float mix = ramp->Extrapolated(i) * p.yarn_ext_factor;
      r.freq[i] = interpolated * (1.0f - mix) + f * mix;
    }
    ETALON_ENSURE(
        std::fabs(r.freq[i]) <= kMaxFrequency,
        fmt::format("rope: frequency {} of pair {} exceeds {} radians per "
                    "position",
                    r.freq[i], i, kMaxFrequency));
  }
  return r;
}

void FillRopeRows(const RopeFrequencies& frequencies, size_t first_position,
                  Span2D<float> cos, Span2D<float> sin) {
  ETALON_DCHECK(cos.rows == sin.rows && cos.cols == sin.cols);
  ETALON_DCHECK(cos.cols == frequencies.freq.size());
  for (size_t row = 0; row < cos.rows; ++row) {
    const float position = static_cast<float>(first_position + row);
    float* c = cos.data + row * cos.stride;
    float* s = sin.data + row * sin.stride;
    for (size_t i = 0; i < cos.cols; ++i) {
      const ops::SinCos v = ops::SinCosOf(position * frequencies.freq[i]);
      c[i] = v.cos * frequencies.scale;
      s[i] = v.sin * frequencies.scale;
    }
  }
}

Status ExtendRopeTable(const RopeFrequencies& frequencies, size_t n_positions,
                       int n_threads, RopeTable* table) {
  const size_t half = frequencies.freq.size();
  if (n_positions <= table->n_positions) return {};
  ETALON_ENSURE(table->n_positions == 0 || table->half_dim == half,
                fmt::format("rope: table has {} pairs, the frequencies {}",
                            table->half_dim, half));
  ETALON_ENSURE(n_positions <= kMaxPositions,
                fmt::format("rope: {} positions, at most {}", n_positions,
                            kMaxPositions));
  ETALON_ENSURE(
      half == 0 ||
          n_positions <= std::numeric_limits<size_t>::max() / 16 / half,
      fmt::format("rope: a table of {} x {} overflows", n_positions, half));
  const size_t old = table->n_positions;
  try {
    table->cos.resize(n_positions * half);
    table->sin.resize(n_positions * half);
  } catch (const std::bad_alloc&) {
    return Fail(ErrorCode::kLimit,
                fmt::format("rope: no memory for a table of {} x {}",
                            n_positions, half));
  }
  table->half_dim = half;
  table->n_positions = n_positions;

  constexpr size_t kRowsPerTask = 64;
  const size_t n_tasks = (n_positions - old + kRowsPerTask - 1) / kRowsPerTask;
  const Span2D<float> cos(table->cos.data(), n_positions, half);
  const Span2D<float> sin(table->sin.data(), n_positions, half);
  ParallelFor(n_tasks, n_threads, [&](size_t task, int) {
    const size_t begin = old + task * kRowsPerTask;
    const size_t end = std::min(begin + kRowsPerTask, n_positions);
    FillRopeRows(frequencies, begin, cos.Rows(begin, end),
                 sin.Rows(begin, end));
  });
  return {};
}

Expected<RopeTable> MakeRopeTable(const RopeParams& params,
                                  size_t n_positions) {
  ETALON_ASSIGN_OR_RETURN(const RopeFrequencies frequencies,
                          MakeRopeFrequencies(params));
  RopeTable table;
  table.half_dim = frequencies.freq.size();
  ETALON_RETURN_IF_ERROR(
      ExtendRopeTable(frequencies, n_positions, /*n_threads=*/1, &table));
  return table;
}

}  // namespace etalon
