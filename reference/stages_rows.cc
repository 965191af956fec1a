// Stages that go row by row, and the cache.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "reference/formats.h"
#include "reference/oracle.h"
#include "reference/stages.h"

namespace etalon::reference {
namespace {

// What an error of each square does to 1 / rms: with q = sqrt(mean x^2 + eps),
// a norm, |q' - q| <= sqrt(mean error^2) = away, and q' >= q - away. Infinite
// where that leaves nothing.
struct RmsRange {
  double q = 0.0;
  double away = 0.0;

  RmsRange(std::span<const float> x, std::span<const double> error,
           double eps) {
    double squares = 0.0;
    double errors = 0.0;
    for (size_t i = 0; i < x.size(); ++i) {
      squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
      errors += error[i] * error[i];
    }
    const double n = static_cast<double>(x.size());
    q = std::sqrt(squares / n + eps);
    away = std::sqrt(errors / n);
  }
  double Least() const { return std::max(0.0, q - away); }
};

}  // namespace

Stage Given(const Span2D<const float>& x, const Profile* p) {
  Stage stage;
  for (size_t r = 0; r < x.rows; ++r) {
    const auto row = x.row(r);
    stage.value.insert(stage.value.end(), row.begin(), row.end());
  }
  if (p != nullptr) stage.error.assign(stage.value.size(), 0.0);
  return stage;
}

Expected<Stage> Normalize(const Stage& x, size_t cols,
                          std::span<const float> weight, float eps,
                          const Profile* p) {
  const size_t rows = x.value.size() / cols;
  std::vector<float> shape(x.value.size());
  const RmsNormArgs args = {{x.value.data(), rows, cols},
                            weight,
                            eps,
                            {shape.data(), rows, cols},
                            {}};
  ETALON_ASSIGN_OR_RETURN(Oracle oracle, RmsNormOracle(args));
  Stage stage{RoundedToF32(oracle.value), {}};
  if (p == nullptr) return stage;
  const std::vector<double> exact = oracle.value;
  std::vector<double> inherited(exact.size());
  for (size_t r = 0; r < rows; ++r) {
    const std::span<const double> error(x.error.data() + r * cols, cols);
    const RmsRange range(args.x.row(r), error, static_cast<double>(eps));
    for (size_t i = 0; i < cols; ++i) {
      const size_t at = r * cols + i;
      const double w =
          weight.empty() ? 1.0 : std::abs(static_cast<double>(weight[i]));
      const double value = std::abs(static_cast<double>(x.value[at]));
      // |x' / q' - x / q| <= error / q' + |x| |1 / q' - 1 / q|.
      inherited[at] =
          w * (error[i] + value * range.away / range.q) / range.Least();
      oracle.c[0][at] += inherited[at];
      oracle.c[1][at] += w * error[i];
      oracle.c[2][at] *= range.q / range.Least();
    }
  }
  Enlarge(inherited, oracle.value);
  stage.error = RmsNormTolerance(oracle, *p, cols);
  stage.Add(inherited);
  stage.AddRounding(exact, 0x1p-24);
  return stage;
}

Expected<Stage> Rotate(const Stage& x, size_t n_heads, size_t head_dim,
                       const Rotation& rotation, const Profile* p) {
  const size_t n_tokens = rotation.positions.size();
  std::vector<float> rows = x.value;
  const RopeArgs args = {
      {rows.data(), n_tokens, n_heads, head_dim, n_heads * head_dim, head_dim},
      rotation.positions,
      rotation.cos,
      rotation.sin,
      rotation.style};
  ETALON_ASSIGN_OR_RETURN(Oracle oracle, RopeOracle(args));
  Stage stage{RoundedToF32(oracle.value), {}};
  if (p == nullptr) return stage;
  const std::vector<double> exact = oracle.value;
  std::vector<double> inherited = x.error;  // of lanes that pass through
  const size_t half = rotation.cos.cols;
  const bool split = rotation.style == RopeStyle::kHalfSplit;
  for (size_t row = 0; row < n_tokens * n_heads; ++row) {
    const auto pos = static_cast<size_t>(rotation.positions[row / n_heads]);
    for (size_t i = 0; i < half; ++i) {
      const size_t i0 = row * head_dim + (split ? i : 2 * i);
      const size_t i1 = row * head_dim + (split ? i + half : 2 * i + 1);
      const double cos =
          std::abs(static_cast<double>(rotation.cos.row(pos)[i]));
      const double sin =
          std::abs(static_cast<double>(rotation.sin.row(pos)[i]));
      inherited[i0] = x.error[i0] * cos + x.error[i1] * sin;
      inherited[i1] = x.error[i0] * sin + x.error[i1] * cos;
      oracle.c[0][i0] += inherited[i0];
      oracle.c[0][i1] += inherited[i1];
    }
  }
  Enlarge(inherited, oracle.value);
  stage.error = RopeTolerance(oracle, *p);
  stage.Add(inherited);
  stage.AddRounding(exact, 0x1p-24);
  return stage;
}

Expected<Stage> Sum(const Stage& a, const Stage& b, size_t cols,
                    const Profile* p) {
  const size_t rows = a.value.size() / cols;
  std::vector<float> shape(a.value.size());
  ETALON_ASSIGN_OR_RETURN(Oracle oracle,
                          AddOracle({{a.value.data(), rows, cols},
                                     {b.value.data(), rows, cols},
                                     {shape.data(), rows, cols}}));
  Stage stage{RoundedToF32(oracle.value), {}};
  if (p == nullptr) return stage;
  const std::vector<double> exact = oracle.value;
  std::vector<double> inherited(exact.size());
  for (size_t i = 0; i < exact.size(); ++i) {
    inherited[i] = a.error[i] + b.error[i];
    oracle.c[0][i] += inherited[i];
  }
  Enlarge(inherited, oracle.value);
  stage.error = AddTolerance(oracle, *p);
  stage.Add(inherited);
  stage.AddRounding(exact, 0x1p-24);
  return stage;
}

Stage Append(const KvView& cache, size_t pos, const Stage& x,
             const Profile* p) {
  const size_t dim = cache.head_dim;
  const size_t row = cache.n_kv_heads * dim;
  const size_t n_tokens = x.value.size() / row;
  const bool half = cache.type == TensorType::kF16;
  Stage stage;
  for (size_t h = 0; h < cache.n_kv_heads; ++h) {
    for (size_t t = 0; t < pos; ++t) {
      const size_t at = h * cache.head_stride + t * cache.pos_stride;
      for (size_t d = 0; d < dim; ++d) {
        const std::byte* element = cache.data + (at + d) * (half ? 2 : 4);
        if (half) {
          uint16_t bits = 0;
          std::memcpy(&bits, element, 2);
          stage.value.push_back(static_cast<float>(F16ToDouble(bits)));
        } else {
          float value = 0.0f;
          std::memcpy(&value, element, 4);
          stage.value.push_back(value);
        }
        if (p != nullptr) stage.error.push_back(0.0);
      }
    }
    for (size_t t = 0; t < n_tokens; ++t) {
      for (size_t d = 0; d < dim; ++d) {
        const size_t from = t * row + h * dim + d;
        const double value = static_cast<double>(x.value[from]);
        const double stored = half ? RoundedToF16(value) : value;
        stage.value.push_back(static_cast<float>(stored));
        if (p == nullptr) continue;
        // Rounding is monotone: the ends of the range go farthest. Flushed
        // first, or after.
        double error = x.error[from];
        if (half) {
          error = std::max(std::abs(RoundedToF16(value + error) - stored),
                           std::abs(RoundedToF16(value - error) - stored));
        }
        stage.error.push_back(error + 2 * p->ftz());
      }
    }
  }
  return stage;
}

}  // namespace etalon::reference
