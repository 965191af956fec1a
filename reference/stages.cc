#include "reference/stages.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "reference/formats.h"
#include "reference/oracle.h"
#include "reference/quantize.h"

namespace etalon::reference {
namespace {

// |w| of one row as the product sees it, and the same before the minimum is
// subtracted: |d w| + |c m|.
void ReadMagnitudes(const WeightMatrix& w, size_t n, std::span<double> weight,
                    std::span<double> parts) {
  DecodeRow(w.type, w.row(n), weight);
  for (double& x : weight) {
    x = std::abs(static_cast<double>(static_cast<float>(x)));
  }
  std::copy(weight.begin(), weight.end(), parts.begin());
  if (!IsQuantized(w.type)) return;
  const Format format = *WeightFormat(w.type);
  IntegerBlock block;
  for (size_t b = 0; b * format.block_size < parts.size(); ++b) {
    DecodeBlock(w.type, w.row(n) + b * format.block_bytes, block);
    for (size_t i = 0; i < format.block_size; ++i) {
      const double min = block.has_min ? block.c * block.m[i] : 0.0;
      // Not below the rounded weight.
      parts[b * format.block_size + i] =
          (std::abs(block.d * block.w[i]) + std::abs(min)) * (1 + 0x1p-23);
    }
  }
}

}  // namespace

std::vector<float> RoundedToF32(const std::vector<double>& v) {
  std::vector<float> out;
  out.reserve(v.size());
  for (const double x : v) out.push_back(static_cast<float>(x));
  return out;
}

std::vector<double> QuantizedError(std::span<const float> x,
                                   std::span<const double> error,
                                   size_t block_size) {
  const QuantizedRow row = block_size == 256 ? QuantizeQ8K(x) : QuantizeQ8_0(x);
  std::vector<double> out(x.size(), 0.0);
  for (size_t b = 0; b * block_size < x.size(); ++b) {
    double amax = 0.0;
    double max_error = 0.0;
    for (size_t i = b * block_size; i < (b + 1) * block_size; ++i) {
      amax = std::max(amax, std::abs(static_cast<double>(x[i])));
      max_error = std::max(max_error, error[i]);
    }
    if (max_error == 0.0) continue;  // the same row, quantised the same way
    const double relative = amax > 0.0 ? max_error / amax + 16 * 0x1p-24 : 1.0;
    const double d = std::abs(static_cast<double>(row.d[b]));
    double d_error = 2 * relative * d;
    if (block_size == 32) {
      // The f16 scale stays the same or takes a whole step.
      const double exact = amax / 127.0;
      d_error = std::max(
          std::abs(RoundedToF16(exact * (1 + relative)) - d),
          std::abs(RoundedToF16(exact * std::max(0.0, 1 - relative)) - d));
    }
    for (size_t i = b * block_size; i < (b + 1) * block_size; ++i) {
      const double value = std::abs(static_cast<double>(x[i]));
      if (!(relative < 0.25) || amax < 0x1p-119) {
        // Nothing is known but that each is within half a step of its value,
        // or 0 where the scale is.
        out[i] = 2 * value + 3 * max_error + d;
        continue;
      }
      // 127 x / amax, both off; 1 / (1 - relative) <= 4/3.
      const double scaled = 127.0 * value / amax;
      const double moved =
          (scaled * relative + 127.0 * error[i] / amax) / (1.0 - relative) +
          127.0 * 16 * 0x1p-24;
      const bool may_flip = !(static_cast<double>(row.margin[i]) > moved);
      const double q = std::abs(static_cast<double>(row.q[i]));
      out[i] = q * d_error + (may_flip ? (d + d_error) * (1.0 + moved) : 0.0);
    }
  }
  return out;
}

void Enlarge(std::span<const double> by, std::span<double> values) {
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = std::abs(values[i]) + by[i];
  }
}

void Stage::Add(std::span<const double> more) {
  for (size_t i = 0; i < error.size(); ++i) error[i] += more[i];
}

void Stage::AddRounding(const std::vector<double>& exact, double u) {
  for (size_t i = 0; i < exact.size(); ++i) {
    error[i] += u * std::abs(exact[i]) + 0x1p-150;
    // 0 times what is not bounded is not bounded either.
    if (!(error[i] >= 0.0)) error[i] = std::numeric_limits<double>::infinity();
  }
}

Expected<Stage> Multiply(const Span2D<const float>& x, const WeightMatrix& w,
                         double scale, Activations activations,
                         const Profile* p, std::span<const float> bias) {
  std::vector<float> shape(x.rows * w.rows);
  const GemmPart part = {
      w, bias, {shape.data(), x.rows, w.rows}, static_cast<float>(scale)};
  const GemmArgs args = {x, {&part, 1}, activations};
  ETALON_ASSIGN_OR_RETURN(const Oracle oracle,
                          GemmOracle(args, 0, p != nullptr));
  Stage stage{RoundedToF32(oracle.value), {}};
  if (p != nullptr) {
    stage.error = GemmTolerance(oracle, *p, w, activations);
    stage.AddRounding(oracle.value, 0x1p-24);
  }
  return stage;
}

Expected<Stage> Multiply(const Stage& x, size_t rows, const WeightMatrix& w,
                         double scale, Activations activations,
                         const Profile* p, std::span<const float> bias) {
  const size_t cols = w.cols;
  const Span2D<const float> in(x.value.data(), rows, cols);
  if (p == nullptr) return Multiply(in, w, scale, activations, p, bias);
  std::vector<float> shape(rows * w.rows);
  const GemmPart part = {
      w, bias, {shape.data(), rows, w.rows}, static_cast<float>(scale)};
  ETALON_ASSIGN_OR_RETURN(Oracle oracle,
                          GemmOracle({in, {&part, 1}, activations}, 0));
  const bool quantized =
      IsQuantized(w.type) && activations == Activations::kAuto;
  std::vector<double> moved = x.error;
  if (quantized) {
    const size_t block = WeightFormat(w.type)->block_size;
    for (size_t r = 0; r < rows; ++r) {
      const std::vector<double> row =
          QuantizedError(in.row(r), {x.error.data() + r * cols, cols}, block);
      std::copy(row.begin(), row.end(),
                moved.begin() + static_cast<std::ptrdiff_t>(r * cols));
    }
  }
  std::vector<double> total(rows, 0.0);
  for (size_t i = 0; i < moved.size(); ++i) total[i / cols] += moved[i];
  std::vector<double> inherited(oracle.value.size());
  std::vector<double> weight(cols), parts(cols);
  const double factor = std::abs(scale);
  for (size_t n = 0; n < w.rows; ++n) {
    ReadMagnitudes(w, n, weight, parts);
    for (size_t r = 0; r < rows; ++r) {
      double sum = 0.0;
      double sum_of_parts = 0.0;
      for (size_t i = 0; i < cols; ++i) {
        sum += weight[i] * moved[r * cols + i];
        sum_of_parts += parts[i] * moved[r * cols + i];
      }
      const size_t at = r * w.rows + n;
      inherited[at] = factor * sum;
      oracle.c[0][at] += factor * (quantized ? sum_of_parts : sum);
      if (!quantized) {
        oracle.c[3][at] += factor * total[r];
        continue;
      }
      // Integers may change by 254 each, their weights are below 2^12.
      oracle.c[2][at] += factor * static_cast<double>(cols) * 0x1p20;
      oracle.c[3][at] += factor * sum_of_parts;
      oracle.c[4][at] += factor * sum;
      oracle.c[5][at] += factor * total[r];
    }
  }
  Stage stage{RoundedToF32(oracle.value), {}};
  const std::vector<double> exact = oracle.value;
  Enlarge(inherited, oracle.value);
  stage.error = GemmTolerance(oracle, *p, w, activations);
  stage.Add(inherited);
  stage.AddRounding(exact, 0x1p-24);
  return stage;
}

Expected<Stage> Activate(const Stage& gate, const Stage& up, size_t rows,
                         size_t cols, const Profile* p) {
  std::vector<float> shape(rows * cols);
  const SwiGluArgs args = {{gate.value.data(), rows, cols},
                           {up.value.data(), rows, cols},
                           {shape.data(), rows, cols}};
  ETALON_ASSIGN_OR_RETURN(Oracle oracle, SwiGluOracle(args));
  Stage stage{RoundedToF32(oracle.value), {}};
  if (p != nullptr) {
    std::vector<double> inherited(oracle.value.size());
    const std::vector<double> exact = oracle.value;
    for (size_t i = 0; i < inherited.size(); ++i) {
      const double g = static_cast<double>(gate.value[i]);
      const double u = std::abs(static_cast<double>(up.value[i]));
      const double y = std::abs(exact[i]);
      const double silu = u == 0.0 ? std::abs(g) : y / u;
      // |silu'| < 1.1 everywhere.
      inherited[i] =
          1.1 * gate.error[i] * (u + up.error[i]) + silu * up.error[i];
      const double most = y + inherited[i];
      // sigmoid' <= 1/4.
      const double complement =
          (y > 0.0 ? oracle.c[0][i] / y : 1.0) + 0.25 * gate.error[i];
      oracle.c[0][i] = most * std::min(1.0, complement);
      oracle.c[1][i] = most;
      oracle.c[2][i] = g - gate.error[i] < -87.0 ? most : 0.0;
      oracle.c[3][i] += gate.error[i] + up.error[i];
    }
    Enlarge(inherited, oracle.value);
    stage.error = SwiGluTolerance(oracle, *p);
    stage.Add(inherited);
    stage.AddRounding(exact, 0x1p-24);
  }
  return stage;
}

}  // namespace etalon::reference
