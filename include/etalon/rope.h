// Rotary position embedding.
// For each rotated pair (x0, x1) of a head, i in [0, rotary_dim / 2):
//   y0 = x0 * cos[pos, i] - x1 * sin[pos, i]
//   y1 = x0 * sin[pos, i] + x1 * cos[pos, i]
// Half-split style pairs lanes (i, i + rotary_dim / 2), interleaved style pairs
// (2i, 2i + 1). Lanes >= rotary_dim pass through.
// Strict order: y0 = fma(x0, cos, -fl(x1 * sin)), y1 = fma(x0, sin, fl(x1 *
// cos)). Error: 2 u (|x0 c| + |x1 s|), the tables given.
//
// Tables: angle[pos, i] = fl32(f32(pos) * freq[i]);
//   base:    freq_base^(-2i / rotary_dim), correctly rounded to f32, then
//            divided by freq_factors[i] when given;
//   linear:  freq * fl(1 / factor);
//   YaRN:    blend of freq / factor and freq by the correction ramp (see
//            src/ops/rope_table.cc), cos and sin multiplied by the attention
//            factor.
// cos and sin are correctly rounded to f32 by own code, so that no libm shows.
#ifndef ETALON_ROPE_H_
#define ETALON_ROPE_H_

#include <span>
#include <vector>

#include "etalon/tensor.h"
#include "etalon/workspace.h"

namespace etalon {

enum class RopeStyle { kHalfSplit, kInterleaved };
enum class RopeScaling { kNone, kLinear, kYarn };

struct RopeParams {
  RopeStyle style = RopeStyle::kHalfSplit;
  size_t rotary_dim = 0;  // even, <= head_dim
  float freq_base = 10000.0f;
  RopeScaling scaling = RopeScaling::kNone;
  float factor = 1.0f;       // context extension, > 0
  float attn_factor = 1.0f;  // user factor on cos and sin (GGUF attn_factor)
  float beta_fast = 32.0f;   // YaRN correction range, in rotations
  float beta_slow = 1.0f;
  float yarn_ext_factor = 1.0f;
  float yarn_log_mul = 0.0f;        // GGUF rope.scaling.yarn_log_multiplier
  size_t n_ctx_orig = 0;            // YaRN: context the model was trained on
  std::vector<float> freq_factors;  // empty or [rotary_dim / 2]
};

// All that a row of the tables is made of.
inline constexpr size_t kMaxRopePositions = size_t{1} << 24;

struct RopeFrequencies {
  std::vector<float> freq;  // [rotary_dim / 2]
  float scale = 1.0f;       // on cos and sin: attention factor, YaRN's mscale
};
Expected<RopeFrequencies> MakeRopeFrequencies(const RopeParams& params);

// Row r of cos and sin: position first_position + r. Both [n, rotary_dim / 2],
// row strides free; about 20 ns per element of a pair of rows.
void FillRopeRows(const RopeFrequencies& frequencies, size_t first_position,
                  Span2D<float> cos, Span2D<float> sin);

// cos and sin for positions [0, n_positions): each [n_positions, rotary_dim/2].
struct RopeTable {
  size_t n_positions = 0;
  size_t half_dim = 0;
  std::vector<float> cos;
  std::vector<float> sin;

  Span2D<const float> CosView() const {
    return {cos.data(), n_positions, half_dim};
  }
  Span2D<const float> SinView() const {
    return {sin.data(), n_positions, half_dim};
  }
};
Expected<RopeTable> MakeRopeTable(const RopeParams& params, size_t n_positions);
// Adds the positions up to n_positions; no-op for a table that has them. The
// rows that exist must come from the same frequencies.
Status ExtendRopeTable(const RopeFrequencies& frequencies, size_t n_positions,
                       int n_threads, RopeTable* table);

struct RopeArgs {
  HeadsView<float> x;                  // rotated in place
  std::span<const int32_t> positions;  // [n_tokens], rows of cos and sin
  Span2D<const float> cos;             // [n_positions, rotary_dim / 2]
  Span2D<const float> sin;
  RopeStyle style = RopeStyle::kHalfSplit;
};

namespace ops {
Status Rope(const RopeArgs& args, ExecContext& ctx);
}

}  // namespace etalon

#endif  // ETALON_ROPE_H_
