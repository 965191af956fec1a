#include "tests/golden/second_oracle.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "reference/golden/layer_steps.h"
#include "tests/golden/second_oracle_inputs.h"

namespace etalon::test {
namespace {

using golden::Case;
using golden::DType;
using golden::Input;
using golden::Shape;

constexpr Real kInf = std::numeric_limits<Real>::infinity();

SecondOutput RmsNorm(const Case& c) {
  const auto x = Read(c, "x"), w = Read(c, "weight");
  const size_t n = ShapeOf(c, "x")[1];
  SecondOutput out;
  out.c.resize(3);
  for (size_t r = 0; r < x.size(); r += n) {
    Real sum = 0;
    for (size_t i = 0; i < n; ++i) sum += x[r + i] * x[r + i];
    Real rstd = 1 / std::sqrt(sum / Real(n) + Scalar(c, "eps"));
    // Kept in f32: what f32 cannot hold is infinite.
    if (rstd >= 0x1.ffffffp127L) rstd = kInf;
    for (size_t i = 0; i < n; ++i) {
      const Real weight = w.empty() ? 1 : w[i];
      const Real y = x[r + i] * rstd * weight;
      out.y.push_back(y);
      out.c[0].push_back(std::abs(y));
      out.c[1].push_back(std::abs(x[r + i] * weight) + std::abs(weight) + 1);
      out.c[2].push_back(std::abs(rstd * weight));
    }
  }
  return out;
}

// Weights of a row and their sum's share each; -inf everywhere gives NaN.
std::vector<Real> Weights(const std::vector<Real>& s, Real& max) {
  max = -kInf;
  for (const Real v : s) max = std::isnan(v) || v > max ? v : max;
  for (const Real v : s) max = std::isnan(v) ? v : max;
  Real sum = 0;
  std::vector<Real> w;
  for (const Real v : s) {
    w.push_back(std::exp(v - max));
    sum += w.back();
  }
  for (Real& v : w) v /= sum;
  return w;
}

SecondOutput Softmax(const Case& c) {
  const auto x = Read(c, "x");
  const size_t n = ShapeOf(c, "x")[1];
  SecondOutput out;
  out.c.resize(3);
  for (size_t r = 0; r < x.size(); r += n) {
    const auto first = x.begin() + static_cast<std::ptrdiff_t>(r);
    const std::vector<Real> row(first, first + static_cast<std::ptrdiff_t>(n));
    Real max;
    const auto p = Weights(row, max);
    Real mean = 0;
    for (size_t i = 0; i < n; ++i) {
      if (p[i] != 0) mean += p[i] * (max - row[i]);
    }
    for (size_t i = 0; i < n; ++i) {
      out.y.push_back(p[i]);
      out.c[0].push_back(p[i]);
      out.c[1].push_back(p[i] == 0 ? 0 : p[i] * (max - row[i] + mean));
      out.c[2].push_back(1 + Real(n) * p[i]);
    }
  }
  return out;
}

SecondOutput Rope(const Case& c) {
  const auto x = Read(c, "x"), cos = Read(c, "cos"), sin = Read(c, "sin");
  const auto positions = Read(c, "positions");
  const Shape s = ShapeOf(c, "x");
  const size_t half = ShapeOf(c, "cos")[1];
  const bool split = c.Text("style").value_or("") == "half_split";
  SecondOutput out;
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t lane = i % s[2];
    const size_t t = i / s[2] / s[1];
    Real y = x[i];
    Real size = 0;
    if (lane < 2 * half) {
      const bool second = split ? lane >= half : lane % 2 == 1;
      const size_t pair = split ? lane % half : lane / 2;
      const size_t distance = split ? half : 1;
      const Real other = x[second ? i - distance : i + distance];
      const size_t at = static_cast<size_t>(positions[t]) * half + pair;
      y = x[i] * cos[at] + (second ? other : -other) * sin[at];
      size = std::abs(x[i] * cos[at]) + std::abs(other * sin[at]);
    }
    out.y.push_back(y);
    if (out.c.empty()) out.c.resize(1);
    out.c[0].push_back(size);
  }
  return out;
}

SecondOutput SwiGlu(const Case& c) {
  const auto g = Read(c, "gate"), up = Read(c, "up");
  SecondOutput out;
  out.c.resize(4);
  for (size_t i = 0; i < g.size(); ++i) {
    // exp(-g) may leave the range of double, not that of long double.
    const Real e = std::exp(-g[i]);
    const Real y = std::isinf(e) ? g[i] / e * up[i] : g[i] / (1 + e) * up[i];
    out.y.push_back(y);
    out.c[0].push_back(std::abs(y) * (std::isinf(e) ? 1 : e / (1 + e)));
    out.c[1].push_back(std::abs(y));
    out.c[2].push_back(g[i] < -87 ? std::abs(y) : 0);
    out.c[3].push_back(std::abs(up[i]) + std::abs(g[i]) + 1);
  }
  return out;
}

SecondOutput Add(const Case& c) {
  const auto a = Read(c, "a"), b = Read(c, "b");
  SecondOutput out;
  out.c.resize(1);
  for (size_t i = 0; i < a.size(); ++i) {
    out.y.push_back(a[i] + b[i]);
    out.c[0].push_back(std::abs(a[i] + b[i]));
  }
  return out;
}

SecondOutput ScaleRows(const Case& c) {
  const auto x = Read(c, "x"), scale = Read(c, "scale");
  const size_t n = ShapeOf(c, "x")[1];
  SecondOutput out;
  out.c.resize(1);
  for (size_t i = 0; i < x.size(); ++i) {
    out.y.push_back(x[i] * scale[i / n]);
    out.c[0].push_back(std::abs(out.y.back()));
  }
  return out;
}

SecondOutput Gemm(const Case& c) {
  auto x = Read(c, "x");
  const auto bias = Read(c, "bias");
  Matrix m = ReadMatrix(c, "w");
  const bool quantized = c.Text("act").value_or("") != "f32";
  if (quantized) {
    x = QuantizeRows(x, m.block).x;
  } else {
    for (Real& w : m.w) w = static_cast<Real>(static_cast<float>(w));
  }
  const Real scale = Scalar(c, "scale");
  SecondOutput out;
  // The sum of |x w| is c1, of quantised products c5.
  out.c.resize(quantized ? 5 : 4);
  for (size_t r = 0; r * m.cols < x.size(); ++r) {
    for (size_t n = 0; n < m.rows; ++n) {
      Real sum = 0, size = 0, operands = 0;
      for (size_t k = 0; k < m.cols; ++k) {
        const Real a = x[r * m.cols + k], b = m.w[n * m.cols + k];
        sum += a * b;
        size += std::abs(a * b);
        operands += std::abs(a) + std::abs(b);
      }
      const Real add = bias.empty() ? 0 : bias[n];
      out.y.push_back(sum * scale + add);
      out.c[quantized ? 4 : 0].push_back(std::abs(scale) * size);
      out.c[1].push_back(std::abs(add));
      if (quantized) continue;
      out.c[2].push_back(std::abs(scale) * Real(m.cols) + 2);
      out.c[3].push_back(std::abs(scale) * operands);
    }
  }
  return out;
}

SecondOutput Dequantize(const Case& c) {
  const Matrix m = ReadMatrix(c, "w");
  std::vector<Real> rows = Read(c, "tokens");
  if (c.op == "dequantize") {
    for (size_t r = 0; r < m.rows; ++r) rows.push_back(Real(r));
  }
  SecondOutput out;
  for (const Real r : rows) {
    const size_t first = static_cast<size_t>(r) * m.cols;
    for (size_t i = first; i < first + m.cols; ++i) {
      out.y.push_back(static_cast<Real>(static_cast<float>(m.w[i])));
    }
  }
  return out;
}

SecondOutput Attention(const Case& c) {
  const auto q = Read(c, "q"), k = Read(c, "k"), v = Read(c, "v");
  const Shape qs = ShapeOf(c, "q"), ks = ShapeOf(c, "k");
  const size_t dim = qs[2];
  const auto kv_len = static_cast<size_t>(c.Int("kv_len").value_or(0));
  const bool causal = c.Int("causal").value_or(0) != 0;
  const Real scale = Scalar(c, "scale");
  SecondOutput out;
  out.c.resize(9);
  out.c_slack.resize(9);
  for (size_t row = 0; row < qs[0] * qs[1]; ++row) {
    const size_t t = row / qs[1];
    const size_t kvh = row % qs[1] / (qs[1] / ks[0]);
    const size_t n = causal ? kv_len - qs[0] + t + 1 : kv_len;
    std::vector<Real> s(n), a(n), operands(n);
    for (size_t p = 0; p < n; ++p) {
      const Real* key = k.data() + (kvh * ks[1] + p) * dim;
      Real sum = 0, size = 0;
      for (size_t d = 0; d < dim; ++d) {
        const Real qd = q[row * dim + d];
        sum += qd * key[d];
        size += std::abs(qd * key[d]);
        operands[p] += std::abs(qd) + std::abs(key[d]);
      }
      s[p] = scale * sum;
      a[p] = std::abs(scale) * size +
             0x1p-126L * (1 + std::abs(scale) * Real(dim));
      operands[p] *= std::abs(scale);
    }
    Real max;
    const auto w = Weights(s, max);
    Real worst[3] = {0, 0, 0};
    for (size_t p = 0; p < n; ++p) {
      // Below what double holds the reference's weight is 0.
      if (w[p] < 0x1p-1060L) continue;
      worst[0] = std::max(worst[0], a[p]);
      worst[1] = std::max(worst[1], max - s[p]);
      worst[2] = std::max(worst[2], operands[p]);
    }
    for (size_t d = 0; d < dim; ++d) {
      const auto value = [&](size_t p) {
        return v[(kvh * ks[1] + p) * dim + d];
      };
      Real o = 0;
      for (size_t p = 0; p < n; ++p) o += w[p] * value(p);
      Real m[9] = {0, 0, 0, 0, 0, worst[0], worst[1], 0, worst[2]};
      for (size_t p = 0; p < n; ++p) {
        m[4] = std::max(m[4], std::abs(value(p)));
        if (w[p] == 0) continue;
        const Real centred = w[p] * std::abs(value(p) - o);
        m[0] += centred * a[p];
        m[1] += centred * (max - s[p]);
        m[2] += centred;
        m[3] += w[p] * std::abs(value(p));
        m[7] += centred * operands[p];
      }
      out.y.push_back(o);
      const Real lost = 0x1p-44L * m[4];
      const Real slack[9] = {lost * m[5], lost * m[6], lost,        0, 0,
                             0,           0,           lost * m[8], 0};
      for (size_t j = 0; j < 9; ++j) {
        out.c[j].push_back(m[j]);
        out.c_slack[j].push_back(slack[j]);
      }
    }
  }
  return out;
}

SecondOutput KvWrite(const Case& c) {
  const auto x = Read(c, "x");
  const Shape s = ShapeOf(c, "x");
  SecondOutput out;
  for (size_t h = 0; h < s[1]; ++h) {
    for (size_t t = 0; t < s[0]; ++t) {
      for (size_t d = 0; d < s[2]; ++d) {
        const Real v = x[(t * s[1] + h) * s[2] + d];
        out.y.push_back(c.outputs[0].dtype == DType::kF16 ? RoundToHalf(v) : v);
      }
    }
  }
  return out;
}

SecondOracle Router(const Case& c) {
  const auto logits = Read(c, "logits");
  const Shape s = ShapeOf(c, "logits");
  const auto n_used = static_cast<size_t>(c.Int("n_used").value_or(0));
  SecondOutput experts, weights;
  for (size_t t = 0; t < s[0]; ++t) {
    const Real* row = logits.data() + t * s[1];
    Real max;
    const auto p = Weights({row, row + s[1]}, max);
    std::vector<bool> taken(s[1], false);
    Real sum = 0;
    std::vector<size_t> order;
    for (size_t k = 0; k < n_used; ++k) {
      size_t best = s[1];
      for (size_t e = 0; e < s[1]; ++e) {
        if (!taken[e] && (best == s[1] || row[e] > row[best])) best = e;
      }
      taken[best] = true;
      order.push_back(best);
      sum += p[best];
    }
    const bool normalize = c.Int("normalize").value_or(0) != 0;
    for (const size_t e : order) {
      experts.y.push_back(Real(e));
      weights.y.push_back((normalize ? p[e] / sum : p[e]) * Scalar(c, "scale"));
    }
  }
  return {{"experts", experts}, {"weights", weights}};
}

// Of the ops, each rounded to its output's type, in the order that
// layer_steps.cc has.
SecondOutput Layer(const Case& c) {
  const auto step = [](const Case& s) -> Expected<golden::Tensor> {
    const SecondOracle made = SecondOracleOf(s);
    const auto out = made.find(s.outputs[0].name);
    if (out == made.end()) return InvalidArgument("no oracle of " + s.op);
    golden::Tensor t(s.outputs[0].dtype, s.outputs[0].shape);
    for (size_t i = 0; i < t.n() && i < out->second.y.size(); ++i) {
      const Real y = out->second.y[i];
      if (t.dtype == DType::kF32) {
        t.As<float>()[i] = static_cast<float>(y);
      } else {
        // Rounded to half already.
        t.As<uint16_t>()[i] = HalfBits(y);
      }
    }
    return t;
  };
  SecondOutput out;
  const auto y = golden::RunLayerSteps(c, step);
  if (!y) return out;
  for (const float v : y->As<float>()) out.y.push_back(static_cast<Real>(v));
  return out;
}

}  // namespace

SecondOracle SecondOracleOf(const Case& c) {
  struct Row {
    std::string_view op;
    SecondOutput (*run)(const Case&);
  };
  constexpr Row kRows[] = {
      {"rms_norm", RmsNorm},
      {"softmax", Softmax},
      {"rope", Rope},
      {"swiglu", SwiGlu},
      {"add", Add},
      {"scale_rows", ScaleRows},
      {"gemm", Gemm},
      {"dequantize", Dequantize},
      {"embedding", Dequantize},
      {"attention", Attention},
      {"kv_write", KvWrite},
      {"layer", Layer},
  };
  for (const Row& row : kRows) {
    if (row.op == c.op) return {{c.outputs[0].name, row.run(c)}};
  }
  if (c.op == "moe_router") return Router(c);
  if (c.op == "quantize_q8_k" || c.op == "quantize_q8_0") {
    const Quants q = QuantizeRows(Read(c, "x"), c.op.back() == 'k' ? 256 : 32);
    return {{"d", {q.d, {}, {}}}, {"q", {q.q, {}, {}}}};
  }
  return {};
}

}  // namespace etalon::test
