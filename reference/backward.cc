#include "reference/backward.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>

namespace etalon::reference {
namespace {

using Eigen::Dynamic;
using Dense = Eigen::Matrix<double, Dynamic, Dynamic, Eigen::RowMajor>;
using View = Eigen::Map<const Dense>;
View AsView(const Matrix& m) {
  return {m.v.data(), static_cast<Eigen::Index>(m.rows),
          static_cast<Eigen::Index>(m.cols)};
}
Matrix FromDense(const Dense& d) {
  Matrix m(static_cast<size_t>(d.rows()), static_cast<size_t>(d.cols()));
  std::copy(d.data(), d.data() + d.size(), m.v.begin());
  return m;
}

double Rstd(const Matrix& x, size_t r, double eps) {
  double sum = 0;
  for (size_t c = 0; c < x.cols; ++c) sum += x(r, c) * x(r, c);
  return 1.0 / std::sqrt(sum / static_cast<double>(x.cols) + eps);
}

// Softmax over the visible positions of token t, head h; 0 beyond.
std::vector<double> Probabilities(const AttentionShape& s, const Matrix& q,
                                  const Matrix& k, size_t t, size_t h) {
  const size_t first = t / s.seq_len * s.seq_len;
  const size_t kv = h / (s.n_heads / s.n_kv_heads);
  std::vector<double> p(t - first + 1);
  for (size_t j = 0; j < p.size(); ++j) {
    double dot = 0;
    for (size_t d = 0; d < s.head_dim; ++d) {
      dot += q(t, h * s.head_dim + d) * k(first + j, kv * s.head_dim + d);
    }
    p[j] = dot * s.scale;
  }
  const double max = *std::max_element(p.begin(), p.end());
  double sum = 0;
  for (double& e : p) sum += e = std::exp(e - max);
  for (double& e : p) e /= sum;
  return p;
}

}  // namespace

Matrix Linear(const Matrix& x, const Matrix& w, const Matrix& b) {
  Dense y = AsView(x) * AsView(w).transpose();
  if (b.cols > 0) y.rowwise() += AsView(b).row(0);
  return FromDense(y);
}

LinearGradients LinearBackward(const Matrix& x, const Matrix& w,
                               const Matrix& d_y) {
  const Dense b = AsView(d_y).colwise().sum();
  return {FromDense(AsView(d_y) * AsView(w)),
          FromDense(AsView(d_y).transpose() * AsView(x)), FromDense(b)};
}

Matrix RmsNormOf(const Matrix& x, const Matrix& weight, double eps) {
  Matrix y(x.rows, x.cols);
  for (size_t r = 0; r < x.rows; ++r) {
    const double rstd = Rstd(x, r, eps);
    for (size_t c = 0; c < x.cols; ++c) y(r, c) = x(r, c) * rstd * weight.v[c];
  }
  return y;
}

RmsNormGradients RmsNormBackward(const Matrix& x, const Matrix& weight,
                                 double eps, const Matrix& d_y) {
  RmsNormGradients g{Matrix(x.rows, x.cols), Matrix(1, x.cols)};
  for (size_t r = 0; r < x.rows; ++r) {
    const double rstd = Rstd(x, r, eps);
    double m = 0;
    for (size_t c = 0; c < x.cols; ++c) {
      m += d_y(r, c) * weight.v[c] * x(r, c) * rstd;
      g.weight.v[c] += d_y(r, c) * x(r, c) * rstd;
    }
    m /= static_cast<double>(x.cols);
    for (size_t c = 0; c < x.cols; ++c) {
      g.x(r, c) = rstd * (d_y(r, c) * weight.v[c] - x(r, c) * rstd * m);
    }
  }
  return g;
}

Matrix SwiGluOf(const Matrix& gate, const Matrix& up) {
  Matrix y(gate.rows, gate.cols);
  for (size_t i = 0; i < y.v.size(); ++i) {
    y.v[i] = gate.v[i] / (1 + std::exp(-gate.v[i])) * up.v[i];
  }
  return y;
}

SwiGluGradients SwiGluBackward(const Matrix& gate, const Matrix& up,
                               const Matrix& d_y) {
  SwiGluGradients g{Matrix(gate.rows, gate.cols), Matrix(up.rows, up.cols)};
  for (size_t i = 0; i < d_y.v.size(); ++i) {
    const double s = 1 / (1 + std::exp(-gate.v[i]));
    g.up.v[i] = d_y.v[i] * gate.v[i] * s;
    g.gate.v[i] = d_y.v[i] * up.v[i] * s * (1 + gate.v[i] * (1 - s));
  }
  return g;
}

Matrix RopeOf(const Matrix& x, size_t head_dim, const Matrix& cos,
              const Matrix& sin, bool interleaved, bool backward) {
  Matrix y = x;
  const size_t half = cos.cols;
  for (size_t t = 0; t < x.rows; ++t) {
    for (size_t h = 0; h < x.cols; h += head_dim) {
      for (size_t i = 0; i < half; ++i) {
        const size_t i0 = h + (interleaved ? 2 * i : i);
        const size_t i1 = h + (interleaved ? 2 * i + 1 : i + half);
        const double c = cos(t, i), s = backward ? -sin(t, i) : sin(t, i);
        y(t, i0) = x(t, i0) * c - x(t, i1) * s;
        y(t, i1) = x(t, i0) * s + x(t, i1) * c;
      }
    }
  }
  return y;
}

Matrix AttentionOf(const AttentionShape& s, const Matrix& q, const Matrix& k,
                   const Matrix& v) {
  Matrix o(q.rows, q.cols);
  for (size_t t = 0; t < q.rows; ++t) {
    const size_t first = t / s.seq_len * s.seq_len;
    for (size_t h = 0; h < s.n_heads; ++h) {
      const size_t kv = h / (s.n_heads / s.n_kv_heads) * s.head_dim;
      const std::vector<double> p = Probabilities(s, q, k, t, h);
      for (size_t j = 0; j < p.size(); ++j) {
        for (size_t d = 0; d < s.head_dim; ++d) {
          o(t, h * s.head_dim + d) += p[j] * v(first + j, kv + d);
        }
      }
    }
  }
  return o;
}

AttentionGradients AttentionBackward(const AttentionShape& s, const Matrix& q,
                                     const Matrix& k, const Matrix& v,
                                     const Matrix& d_o) {
  AttentionGradients g{Matrix(q.rows, q.cols), Matrix(k.rows, k.cols),
                       Matrix(v.rows, v.cols)};
  for (size_t t = 0; t < q.rows; ++t) {
    const size_t first = t / s.seq_len * s.seq_len;
    for (size_t h = 0; h < s.n_heads; ++h) {
      const size_t qc = h * s.head_dim;
      const size_t kc = h / (s.n_heads / s.n_kv_heads) * s.head_dim;
      const std::vector<double> p = Probabilities(s, q, k, t, h);
      std::vector<double> dp(p.size(), 0.0);
      double mean = 0;
      for (size_t j = 0; j < p.size(); ++j) {
        for (size_t d = 0; d < s.head_dim; ++d) {
          dp[j] += d_o(t, qc + d) * v(first + j, kc + d);
          g.v(first + j, kc + d) += p[j] * d_o(t, qc + d);
        }
        mean += p[j] * dp[j];
      }
      for (size_t j = 0; j < p.size(); ++j) {
        const double ds = s.scale * p[j] * (dp[j] - mean);
        for (size_t d = 0; d < s.head_dim; ++d) {
          g.q(t, qc + d) += ds * k(first + j, kc + d);
          g.k(first + j, kc + d) += ds * q(t, qc + d);
        }
      }
    }
  }
  return g;
}

double CrossEntropyOf(const Matrix& x, std::span<const int32_t> targets) {
  double loss = 0;
  for (size_t t = 0; t < x.rows; ++t) {
    if (targets[t] < 0) continue;
    const double* row = &x.v[t * x.cols];
    const double max = *std::max_element(row, row + x.cols);
    double sum = 0;
    for (size_t c = 0; c < x.cols; ++c) sum += std::exp(row[c] - max);
    loss += std::log(sum) + max - row[targets[t]];
  }
  return loss;
}

Matrix CrossEntropyBackward(const Matrix& x, std::span<const int32_t> targets) {
  Matrix g(x.rows, x.cols);
  for (size_t t = 0; t < x.rows; ++t) {
    if (targets[t] < 0) continue;
    const double* row = &x.v[t * x.cols];
    const double max = *std::max_element(row, row + x.cols);
    double sum = 0;
    for (size_t c = 0; c < x.cols; ++c) sum += std::exp(row[c] - max);
    for (size_t c = 0; c < x.cols; ++c) {
      g(t, c) = std::exp(row[c] - max) / sum;
    }
    g(t, static_cast<size_t>(targets[t])) -= 1.0;
  }
  return g;
}

Matrix EmbeddingBackward(size_t n_vocab, std::span<const int32_t> tokens,
                         const Matrix& d_y) {
  Matrix g(n_vocab, d_y.cols);
  for (size_t t = 0; t < tokens.size(); ++t) {
    for (size_t c = 0; c < d_y.cols; ++c) {
      g(static_cast<size_t>(tokens[t]), c) += d_y(t, c);
    }
  }
  return g;
}

}  // namespace etalon::reference
