#include "reference/backward_bounds.h"

#include <algorithm>
#include <cmath>

#include "reference/exp.h"

namespace etalon::reference {
namespace {

// (1 + a)(1 + b) - 1: relative errors one after the other.
double Join(double a, double b) { return a + b + a * b; }

Matrix Magnitude(Matrix m) {
  for (double& x : m.v) x = std::abs(x);
  return m;
}
// |d| as it may be in the port.
Matrix Reach(const Measured& d) {
  Matrix m = Magnitude(d.value);
  for (size_t i = 0; i < m.v.size(); ++i) m.v[i] += d.error.v[i];
  return m;
}
void Enlarge(Matrix* m, const Profile& p) {
  for (double& x : m->v) x *= 1 + p.slack();
}

// A sum over n terms, cut into chunks: the terms of the longest chunk and the
// number of chunks, every one of which is added to what came before.
struct Chunks {
  double longest = 0, count = 0;

  void Add(size_t n, size_t chunk) {
    if (n == 0) return;
    const size_t length = chunk == 0 ? n : std::min(n, chunk);
    longest = std::max(longest, static_cast<double>(length));
    count += static_cast<double>((n + length - 1) / length);
  }
  // Relative error that a product picks up on its way through the sum.
  double Gamma(const Profile& p) const {
    const double unfused = p.fused ? 0.0 : 1.0;
    return p.Accumulated(longest + count + unfused, std::max(p.u, p.acc()));
  }
  double HeldGamma(const Profile& p) const {
    return p.Accumulated(count, std::max(p.u, p.acc()));
  }
  // Underflows of n products and their additions.
  static double Tiny(size_t n, const Profile& p) {
    return 2 * static_cast<double>(n) * p.tiny;
  }
};

void AddHeld(const Matrix& held, const Chunks& chunks, const Profile& p,
             Matrix* bound) {
  for (size_t i = 0; i < held.v.size(); ++i) {
    bound->v[i] += chunks.HeldGamma(p) * std::abs(held.v[i]);
  }
}

// B = sum |E w| + gamma sum |D w|, the sums being products of magnitudes.
void AddProduct(const Matrix& carried, const Matrix& size, double gamma,
                double tiny, Matrix* bound) {
  for (size_t i = 0; i < bound->v.size(); ++i) {
    bound->v[i] += carried.v[i] + gamma * size.v[i] + tiny;
  }
}

}  // namespace

Matrix LinearInputBound(std::span<const LinearPart> parts, const Profile& p) {
  Chunks chunks;
  size_t n = 0;
  for (const LinearPart& part : parts) {
    chunks.Add(part.w.rows, p.grad_chunk);
    n += part.w.rows;
  }
  Matrix bound(parts[0].d_y.value.rows, parts[0].w.cols);
  const double tiny = Chunks::Tiny(n, p) / static_cast<double>(parts.size());
  for (const LinearPart& part : parts) {
    const Matrix w = Magnitude(part.w), none(part.d_y.value.rows, part.w.cols);
    AddProduct(LinearBackward(none, w, part.d_y.error).x,
               LinearBackward(none, w, Reach(part.d_y)).x, chunks.Gamma(p),
               tiny, &bound);
  }
  Enlarge(&bound, p);
  return bound;
}

Matrix LinearWeightBound(const Matrix& x, const Measured& d_y, const Profile& p,
                         const Matrix& held) {
  Chunks chunks;
  chunks.Add(x.rows, p.grad_chunk);
  const Matrix size_x = Magnitude(x), none(d_y.value.cols, x.cols);
  Matrix bound(d_y.value.cols, x.cols);
  AddProduct(LinearBackward(size_x, none, d_y.error).w,
             LinearBackward(size_x, none, Reach(d_y)).w, chunks.Gamma(p),
             Chunks::Tiny(x.rows, p), &bound);
  AddHeld(held, chunks, p, &bound);
  Enlarge(&bound, p);
  return bound;
}

Matrix LinearBiasBound(const Measured& d_y, const Profile& p,
                       const Matrix& held) {
  const Matrix ones = [&] {
    Matrix m(d_y.value.rows, 1);
    std::fill(m.v.begin(), m.v.end(), 1.0);
    return m;
  }();
  const Matrix by_weight = LinearWeightBound(ones, d_y, p);
  Matrix bound(1, d_y.value.cols);
  bound.v = by_weight.v;
  Chunks chunks;
  chunks.Add(d_y.value.rows, p.grad_chunk);
  AddHeld(held, chunks, p, &bound);
  return bound;
}

RmsNormGradients RmsNormBackwardBound(const Matrix& x, const Matrix& weight,
                                      double eps, const Measured& d_y,
                                      const Profile& p, const Matrix& held) {
  const size_t n = x.cols;
  const double width = static_cast<double>(n), u = p.u;
  const double e_rstd =
      p.f64_norm_sum
          ? u
          : 0.5 * p.Accumulated(p.Chain(n) + 3, u) + 2 * u * p.rsqrt_ulp;
  const double e_xh = Join(e_rstd, u);
  // The mean: its sum, the division by n, the rounding to f32.
  const double e_mean =
      p.f64_norm_sum ? u : Join(p.Accumulated(p.DotChain(n) + 1, u), p.div());
  Chunks chunks;
  chunks.Add(x.rows, p.grad_chunk);
  const Matrix reach = Reach(d_y);
  RmsNormGradients bound{Matrix(x.rows, n), Matrix(1, n)};
  for (size_t r = 0; r < x.rows; ++r) {
    double squares = 0;
    for (size_t c = 0; c < n; ++c) squares += x(r, c) * x(r, c);
    const double rstd = 1.0 / std::sqrt(squares / width + eps);
    // g = d w; m = mean of g xh and its error.
    const auto g_error = [&](size_t c) {
      return (d_y.error(r, c) + u * reach(r, c)) * std::abs(weight.v[c]) +
             p.tiny;
    };
    double mean = 0, terms = 0, error = 0;
    for (size_t c = 0; c < n; ++c) {
      const double xh = x(r, c) * rstd, g = d_y.value(r, c) * weight.v[c];
      const double g_reach = std::abs(g) + g_error(c);
      mean += g * xh / width;
      terms += (std::abs(xh) * (1 + e_xh) + p.tiny) * g_reach / width;
      error +=
          (std::abs(xh) * (g_error(c) + e_xh * g_reach) + p.tiny * g_reach) /
          width;
    }
    error += e_mean * terms + 2 * p.tiny;
    for (size_t c = 0; c < n; ++c) {
      const double xh = x(r, c) * rstd, size = std::abs(xh);
      const double e_t = size * (Join(e_xh, u) * std::abs(mean) +
                                 (1 + Join(e_xh, u)) * error) +
                         p.tiny * (2 + std::abs(mean) + error);
      const double s = std::abs(d_y.value(r, c) * weight.v[c] - xh * mean);
      const double e_s = (g_error(c) + e_t) * (1 + u) + u * s + p.ftz();
      bound.x(r, c) =
          rstd * (Join(e_rstd, u) * s + (1 + Join(e_rstd, u)) * e_s) + p.tiny;
      bound.weight.v[c] += size * ((1 + e_xh) * d_y.error(r, c) +
                                   e_xh * std::abs(d_y.value(r, c)) +
                                   chunks.Gamma(p) * (1 + e_xh) * reach(r, c)) +
                           p.tiny * (2 + reach(r, c));
    }
  }
  AddHeld(held, chunks, p, &bound.weight);
  Enlarge(&bound.x, p);
  Enlarge(&bound.weight, p);
  return bound;
}

SwiGluGradients SwiGluBackwardBound(const Matrix& gate, const Matrix& up,
                                    const Measured& d_y, const Profile& p) {
  const double u = p.u, unfused = p.fused ? 0.0 : u;
  SwiGluGradients bound{Matrix(gate.rows, gate.cols), Matrix(up.rows, up.cols)};
  for (size_t i = 0; i < gate.v.size(); ++i) {
    const double g = gate.v[i], size_g = std::abs(g),
                 size_u = std::abs(up.v[i]);
    const double d = std::abs(d_y.value.v[i]), e_d = d_y.error.v[i];
    const double s = 1 / (1 + Exp(-g)), t = 1 / (1 + Exp(g));
    // exp's error reaches s damped by t = 1 - s.
    const double e_exp = (p.exp() + p.exp_per_x() * size_g) * t;
    const double e_s = Join(Join(e_exp / (1 - e_exp), Join(u, u * u)), p.div());
    const double e_t = s * e_s + u * (t + s * e_s);
    const double v = std::abs(1 + g * t);
    double e_v = size_g * (e_t + unfused * (t + e_t));
    e_v += u * (v + e_v);
    // slope = s v; a result of s below the normal range is off by `tiny`.
    const double e_slope = Join(e_s, u) * s * v + (1 + Join(e_s, u)) * s * e_v +
                           p.tiny * (2 + v + e_v);
    const double e_du = e_d * size_u + u * (d + e_d) * size_u + p.tiny;
    const double slope = s * v + e_slope;
    bound.gate.v[i] = slope * (1 + u) * e_du +
                      d * size_u * ((1 + u) * e_slope + u * s * v) + 2 * p.tiny;
    bound.up.v[i] = size_g * s * (e_d + Join(e_s, Join(u, u)) * (d + e_d)) +
                    p.tiny * ((1 + size_g) * (d + e_d) + 2);
    // Where exp(-g) overflows s is 0, and so are both gradients.
    if (g < -87) {
      bound.gate.v[i] += (d + e_d) * size_u * s * v;
      bound.up.v[i] += (d + e_d) * size_g * s;
    }
  }
  Enlarge(&bound.gate, p);
  Enlarge(&bound.up, p);
  return bound;
}

Matrix RopeBackwardBound(size_t head_dim, const Matrix& cos, const Matrix& sin,
                         bool interleaved, const Measured& d_y,
                         const Profile& p) {
  Matrix bound = d_y.error;
  const Matrix reach = Reach(d_y);
  const double gamma = p.Accumulated(2, p.u);
  for (size_t t = 0; t < bound.rows; ++t) {
    for (size_t h = 0; h < bound.cols; h += head_dim) {
      for (size_t i = 0; i < cos.cols; ++i) {
        const size_t i0 = h + (interleaved ? 2 * i : i);
        const size_t i1 = h + (interleaved ? 2 * i + 1 : i + cos.cols);
        const double c = std::abs(cos(t, i)), s = std::abs(sin(t, i));
        const double e0 = d_y.error(t, i0), e1 = d_y.error(t, i1);
        const double m0 = reach(t, i0), m1 = reach(t, i1);
        bound(t, i0) = c * e0 + s * e1 + gamma * (c * m0 + s * m1) + 2 * p.tiny;
        bound(t, i1) = s * e0 + c * e1 + gamma * (s * m0 + c * m1) + 2 * p.tiny;
      }
    }
  }
  Enlarge(&bound, p);
  return bound;
}

CrossEntropyBounds CrossEntropyBound(const Matrix& x,
                                     std::span<const int32_t> targets,
                                     double scale, const Profile& p) {
  const double u = p.u, size = std::abs(scale);
  const double sum_gamma = p.Accumulated(p.Chain(x.cols), u);
  CrossEntropyBounds bound{Matrix(x.rows, x.cols), {}};
  for (size_t t = 0; t < x.rows; ++t) {
    bound.losses.push_back(0);
    if (targets[t] < 0) continue;
    const double* row = &x.v[t * x.cols];
    const double max = *std::max_element(row, row + x.cols);
    double sum = 0, e_sum = 0;
    std::vector<double> weight(x.cols), theta(x.cols);
    for (size_t c = 0; c < x.cols; ++c) {
      weight[c] = Exp(row[c] - max);
      theta[c] = std::expm1((u + p.exp_per_x()) * (max - row[c])) + p.exp();
      sum += weight[c];
      e_sum += weight[c] * theta[c] + p.exp_tiny();
    }
    // The sum relative to itself, then 1 / sum and the product with it.
    const double e_total = Join(e_sum / sum, sum_gamma);
    const double e_inverse = Join(e_total / (1 - e_total), p.div());
    bound.losses.back() =
        -std::log1p(-e_total) +
        0x1p-50 * (std::log(sum) + std::abs(max) + std::abs(row[targets[t]]));
    for (size_t c = 0; c < x.cols; ++c) {
      const double q = weight[c] / sum;
      double error =
          q * Join(Join(theta[c], e_inverse), u) + (p.exp_tiny() + p.tiny) * 2;
      double value = q;
      if (static_cast<int64_t>(c) == targets[t]) {
        value = 1 - q;
        error += u * (value + error);
      }
      bound.x(t, c) = size * (error * (1 + u) + u * value) + p.tiny;
    }
  }
  Enlarge(&bound.x, p);
  for (double& b : bound.losses) b *= 1 + p.slack();
  return bound;
}

Measured SumOf(const Measured& a, const Measured& b, const Profile& p) {
  Measured sum = a;
  for (size_t i = 0; i < sum.value.v.size(); ++i) {
    sum.value.v[i] += b.value.v[i];
    sum.error.v[i] += b.error.v[i];
    sum.error.v[i] +=
        p.u * (std::abs(sum.value.v[i]) + sum.error.v[i]) + p.ftz();
  }
  Enlarge(&sum.error, p);
  return sum;
}

}  // namespace etalon::reference
