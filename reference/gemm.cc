// Matrix products. Quantised weights meet quantised activations: the integer
// sums of a block are exact, their combination is fp64. Everything else is a
// dot product in fp64, by Eigen without vectorisation: k ascending.
#include <Eigen/Core>
#include <algorithm>
#include <cmath>

#include "reference/formats.h"
#include "reference/ops.h"
#include "reference/oracle.h"
#include "reference/quantize.h"
#include "reference/store.h"
#include "reference/validate.h"

namespace etalon::reference {
namespace {

constexpr char kOp[] = "gemm";

using RowMajor =
    Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
Eigen::Index Index(size_t i) { return static_cast<Eigen::Index>(i); }

bool UsesQuantizedActivations(TensorType type, Activations activations) {
  return IsQuantized(type) && activations == Activations::kAuto;
}

Status ValidatePart(const GemmArgs& args, size_t i) {
  const GemmPart& part = args.parts[i];
  ETALON_RETURN_IF_ERROR(CheckWeights(kOp, "weights", part.weights));
  ETALON_ENSURE(part.weights.cols == args.x.cols,
                fmt::format("{}: weights of part {} have {} cols, x has {}",
                            kOp, i, part.weights.cols, args.x.cols));
  if (!part.bias.empty()) {
    ETALON_RETURN_IF_ERROR(
        CheckLength(kOp, "bias", part.bias.size(), part.weights.rows));
  }
  ETALON_ENSURE(std::isfinite(part.scale),
                fmt::format("{}: scale of part {} is {}, want a finite number",
                            kOp, i, part.scale));
  ETALON_RETURN_IF_ERROR(
      CheckShape(kOp, "out", part.out, args.x.rows, part.weights.rows));
  ETALON_ENSURE(!Overlap(args.x, part.out),
                fmt::format("{}: out of part {} overlaps x", kOp, i));
  return {};
}

double Bias(const GemmPart& part, size_t n) {
  return part.bias.empty() ? 0.0 : static_cast<double>(part.bias[n]);
}
double Scale(const GemmPart& part) { return static_cast<double>(part.scale); }

// Where one product writes; c is empty when no magnitudes are wanted.
class Sink {
 public:
  // `count` magnitudes of each element, 0: none.
  Sink(size_t m, size_t n, size_t count) : n_(n) {
    oracle_.value.resize(m * n);
    oracle_.c.assign(count, std::vector<double>(m * n));
  }
  bool wants_magnitudes() const { return !oracle_.c.empty(); }
  void Put(size_t m, size_t n, double value) {
    oracle_.value[m * n_ + n] = value;
  }
  // All of the sum before scale and bias; c[0] takes `products`.
  struct Magnitudes {
    double products = 0.0;
    double underflows = 0.0;
    double operands = 0.0;    // sum |x| + |w|
    double sub_blocks = 0.0;  // quantised: the same sums over sub-blocks
    double elements = 0.0;    // quantised: sum |x w|
    double flips = 0.0;       // quantised: what the other rounding adds
  };
  void PutMagnitudes(size_t m, size_t n, const Magnitudes& sums,
                     const GemmPart& part, bool quantized) {
    const double scale = std::abs(Scale(part));
    const size_t i = m * n_ + n;
    oracle_.c[0][i] = scale * sums.products;
    oracle_.c[1][i] = std::abs(Bias(part, n));
    oracle_.c[2][i] = scale * sums.underflows + 2.0;
    if (!quantized) {
      oracle_.c[3][i] = scale * sums.operands;
      return;
    }
    oracle_.c[3][i] = scale * sums.sub_blocks;
    oracle_.c[4][i] = scale * sums.elements;
    oracle_.c[5][i] = scale * sums.operands;
    oracle_.c[6][i] = scale * sums.flips;
  }
  Oracle Take() { return std::move(oracle_); }

 private:
  size_t n_;
  Oracle oracle_;
};

void MultiplyF32(const Span2D<const float>& x, const GemmPart& part,
                 Sink& sink) {
  const size_t k = x.cols;
  const std::vector<double> wide = Widen(x);
  const Eigen::Map<const RowMajor> xs(wide.data(), Index(x.rows), Index(k));
  Eigen::VectorXd w(Index(k));
  Eigen::VectorXd y(Index(x.rows));
  std::vector<double> sum_x;
  for (size_t m = 0; m < x.rows; ++m) {
    sum_x.push_back(xs.row(Index(m)).cwiseAbs().sum());
  }
  for (size_t n = 0; n < part.weights.rows; ++n) {
    DecodeRow(part.weights.type, part.weights.row(n), {w.data(), k});
    // An f32 kernel sees the weight rounded to f32: part of the definition.
    w = w.cast<float>().cast<double>();
    y = xs.lazyProduct(w);
    for (size_t m = 0; m < x.rows; ++m) {
      sink.Put(m, n, y[Index(m)] * Scale(part) + Bias(part, n));
    }
    if (!sink.wants_magnitudes()) continue;
    y = xs.cwiseAbs().lazyProduct(w.cwiseAbs());
    const double sum_w = w.cwiseAbs().sum();
    for (size_t m = 0; m < x.rows; ++m) {
      Sink::Magnitudes sums;
      sums.products = y[Index(m)];
      sums.underflows = static_cast<double>(k);
      sums.operands = sum_w + sum_x[m];
      sink.PutMagnitudes(m, n, sums, part, /*quantized=*/false);
    }
  }
}

// One weight row, block by block.
struct IntegerRow {
  std::vector<double> d;
  std::vector<double> c;
  bool has_min = false;
  std::vector<int16_t> w;
  std::vector<int16_t> m;
};

IntegerRow DecodeIntegers(TensorType type, const std::byte* data, size_t k) {
  const Format format = *WeightFormat(type);
  IntegerRow row;
  IntegerBlock block;
  for (size_t b = 0; b < k / format.block_size; ++b) {
    DecodeBlock(type, data + b * format.block_bytes, block);
    row.d.push_back(block.d);
    row.c.push_back(block.c);
    row.has_min = block.has_min;
    const auto size = static_cast<std::ptrdiff_t>(format.block_size);
    row.w.insert(row.w.end(), block.w.begin(), block.w.begin() + size);
    row.m.insert(row.m.end(), block.m.begin(), block.m.begin() + size);
  }
  return row;
}

// Exact: at most 256 * 4096 * 127 < 2^31.
int32_t Dot(const int16_t* a, const int16_t* b, size_t n) {
  int32_t sum = 0;
  for (size_t i = 0; i < n; ++i) sum += int32_t{a[i]} * int32_t{b[i]};
  return sum;
}

// Elements that share one scale; ports of llama.cpp's kind convert their
// integer sum to float.
size_t SubBlock(TensorType type) { return type == TensorType::kQ6_K ? 16 : 32; }

// Adds to `sums` what kernels on sub-blocks or single elements add up.
void AddFinerMagnitudes(const IntegerRow& w, size_t b, size_t size,
                        size_t sub_block, const QuantizedRow& row,
                        Sink::Magnitudes& sums) {
  const int16_t* q = row.q.data() + b * size;
  const double d_x = static_cast<double>(row.d[b]);
  // 508 u (div_ulp - 1/2) for division of up to 4.5 ulp.
  constexpr double kMayFlip = 0x1p-13;
  const double d = w.d[b];
  const double c = w.has_min ? w.c[b] : 0.0;
  for (size_t first = b * size; first < (b + 1) * size; first += sub_block) {
    const int16_t* x = q + (first - b * size);
    sums.sub_blocks +=
        std::abs(d * d_x * Dot(w.w.data() + first, x, sub_block));
    if (w.has_min) {
      sums.sub_blocks +=
          std::abs(c * d_x * Dot(w.m.data() + first, x, sub_block));
    }
  }
  for (size_t i = 0; i < size; ++i) {
    const size_t at = b * size + i;
    const double weight = std::abs(d * w.w[at] + c * w.m[at]);
    const double x = std::abs(d_x * q[i]);
    const double step = static_cast<double>(row.d_step[b]);
    sums.flips += weight * step * std::abs(q[i]);
    if (static_cast<double>(row.margin[at]) <= kMayFlip) {
      sums.flips += weight * (std::abs(d_x) + step);
    }
    sums.elements += weight * x;
    sums.operands += weight + x;
  }
}

void MultiplyQuantized(const Span2D<const float>& x, const GemmPart& part,
                       Sink& sink) {
  const TensorType type = part.weights.type;
  const size_t size = WeightFormat(type)->block_size;
  std::vector<QuantizedRow> xs;
  for (size_t m = 0; m < x.rows; ++m) {
    xs.push_back(size == 256 ? QuantizeQ8K(x.row(m)) : QuantizeQ8_0(x.row(m)));
  }
  for (size_t n = 0; n < part.weights.rows; ++n) {
    const IntegerRow w = DecodeIntegers(type, part.weights.row(n), x.cols);
    for (size_t m = 0; m < x.rows; ++m) {
      double sum = 0.0;
      Sink::Magnitudes sums;
      for (size_t b = 0; b < w.d.size(); ++b) {
        const int16_t* q = xs[m].q.data() + b * size;
        const double d_x = static_cast<double>(xs[m].d[b]);
        const double s = Dot(w.w.data() + b * size, q, size);
        sum += w.d[b] * d_x * s;
        sums.products += std::abs(w.d[b] * d_x * s);
        sums.underflows += std::abs(s) + 2.0;
        if (w.has_min) {
          const double t = Dot(w.m.data() + b * size, q, size);
          sum += w.c[b] * d_x * t;
          sums.products += std::abs(w.c[b] * d_x * t);
          sums.underflows += std::abs(t);
        }
        if (sink.wants_magnitudes()) {
          AddFinerMagnitudes(w, b, size, SubBlock(type), xs[m], sums);
        }
      }
      sink.Put(m, n, sum * Scale(part) + Bias(part, n));
      if (sink.wants_magnitudes()) {
        sink.PutMagnitudes(m, n, sums, part, /*quantized=*/true);
      }
    }
  }
}

}  // namespace

Expected<Oracle> GemmOracle(const GemmArgs& args, size_t part,
                            bool magnitudes) {
  ETALON_RETURN_IF_ERROR(CheckMatrix(kOp, "x", args.x));
  ETALON_ENSURE(part < args.parts.size(),
                fmt::format("{}: part {} of {}", kOp, part, args.parts.size()));
  ETALON_RETURN_IF_ERROR(ValidatePart(args, part));
  const GemmPart& p = args.parts[part];
  const bool quantized =
      UsesQuantizedActivations(p.weights.type, args.activations);
  Sink sink(args.x.rows, p.weights.rows, magnitudes ? (quantized ? 7 : 4) : 0);
  if (quantized) {
    MultiplyQuantized(args.x, p, sink);
  } else {
    MultiplyF32(args.x, p, sink);
  }
  return sink.Take();
}

std::vector<double> GemmTolerance(const Oracle& oracle, const Profile& p,
                                  const WeightMatrix& weights,
                                  Activations activations) {
  return GemmTolerance(oracle, p, weights.type, weights.cols,
                       UsesQuantizedActivations(weights.type, activations));
}

std::vector<double> GemmTolerance(const Oracle& oracle, const Profile& p,
                                  TensorType type, size_t k, bool quantized) {
  const double unfused = p.fused ? 0.0 : 1.0;
  // A float product of rounded operands, `extra` roundings more per term, then
  // the matrix scale and the bias.
  const auto product = [&](double extra) {
    return (1 + p.Accumulated(p.DotChain(k) + extra, p.acc())) *
               (1 + p.product_in()) * (1 + p.Accumulated(2, p.u)) -
           1;
  };
  const double bias = Gamma(1, p.u);
  // Activations quantised with inexact division: see C7.
  const double inexact = std::max(0.0, p.div_ulp - 0.5);
  const double d_x = 8 * p.u * inexact;
  const double flip = inexact > 0.0 ? 1.0 : 0.0;
  if (!quantized) {
    const double kappa[] = {product(0), bias, p.tiny, p.operand_tiny()};
    return Combine(oracle, p, kappa);
  }
  // Per block: the product of the scales, the integer's conversion, one
  // addition for S and one for T; blocks in sequence; then scale and bias.
  if (p.quantized == QuantizedGrade::kBlock) {
    const double blocks =
        static_cast<double>(k / WeightFormat(type)->block_size);
    const double kappa[] = {p.Accumulated(2 * blocks + 4 + unfused, p.u),
                            bias,
                            p.tiny,
                            0,
                            d_x,
                            0,
                            flip};
    return Combine(oracle, p, kappa);
  }
  // One more product (with the sub-block's scale), and its conversion.
  if (p.quantized == QuantizedGrade::kSubBlock) {
    const double blocks = static_cast<double>(k / SubBlock(type));
    const double kappa[] = {
        0,   bias, p.tiny, p.Accumulated(2 * blocks + 6 + unfused, p.u),
        d_x, 0,    flip};
    return Combine(oracle, p, kappa);
  }
  // The weight's last subtraction rounds, and so does the activation.
  const double kappa[] = {
      0, bias, p.tiny, 0, product(2) + d_x, p.operand_tiny(), flip};
  return Combine(oracle, p, kappa);
}

Status Gemm(const GemmArgs& args, ExecContext&) {
  ETALON_RETURN_IF_ERROR(CheckMatrix(kOp, "x", args.x));
  for (size_t i = 0; i < args.parts.size(); ++i) {
    ETALON_RETURN_IF_ERROR(ValidatePart(args, i));
  }
  for (size_t i = 0; i < args.parts.size(); ++i) {
    ETALON_ASSIGN_OR_RETURN(const Oracle oracle,
                            GemmOracle(args, i, /*magnitudes=*/false));
    Store(oracle.value, args.parts[i].out);
  }
  return {};
}

}  // namespace etalon::reference
