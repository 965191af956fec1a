// Two judges for attention, both written from its formula and sharing nothing
// with the kernels: the value with a rigorous bound, and the strict order.
#ifndef ETALON_TESTS_OPS_ATTENTION_ORACLE_H_
#define ETALON_TESTS_OPS_ATTENTION_ORACLE_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "simd/exp.h"

namespace etalon::test {

// One query row against n positions: [n, head_dim], dense.
struct AttentionRow {
  const float* q;
  const float* k;
  const float* v;
  size_t n;
  size_t head_dim;
  float scale;
};

// Longest chains of roundings that a term passes, and rescalings of a state.
struct AttentionChains {
  double dot;
  double value;
  double rescales;
};
// Strict: a lane of the dot takes ceil(head_dim / 16) steps, the fold 4; an
// output takes up to 256 steps in its chunk and one per merge.
inline AttentionChains StrictChains(size_t head_dim, size_t n) {
  const double chunks = std::ceil(static_cast<double>(n) / 256.0);
  return {std::ceil(static_cast<double>(head_dim) / 16.0) + 4.0,
          static_cast<double>(std::min<size_t>(n, 256)) + chunks, chunks};
}
inline AttentionChains SequentialChains(size_t head_dim, size_t n) {
  return {2.0 * static_cast<double>(head_dim), 2.0 * static_cast<double>(n),
          0.0};
}

// out[d] and its bound, in long double and two passes. With s the scores,
// M = max s, w = softmax(s), u = 2^-24 and gamma(h) = h u / (1 - h u), a
// computed weight is e_p (1 + theta_p), where the error in its exponent is
//   delta_p = gamma(h_dot + 3) |scale| sum_d |q_d k_pd|     the dot, the scale
//           + 2 u (M - s_p)                                 s - m and merges
//           + (1 + R) a + R u                               exp and rescalings
// with a = 2 u for an exp of 1 ULP, and |theta_p| <= exp(delta_p) - 1. As the
// weights are normalised, an error acts on V centred at the result:
//   B_d = sum_p w_p theta_p |v_pd - o_d| / (1 - sum_p w_p theta_p)
//       + gamma(h_value + 3) (sum_p w_p |v_pd| + |o_d|)
//       + underflow: weights below 2^-149, products below 2^-149.
inline void AttentionBound(const AttentionRow& x, AttentionChains chains,
                           double* out, double* bound) {
  constexpr double u = 0x1p-24;
  constexpr double a = 2.0 * u;
  const auto gamma = [](double h) { return h * u / (1.0 - h * u); };
  std::vector<long double> s(x.n);
  std::vector<double> magnitude(x.n);
  long double m = -std::numeric_limits<long double>::infinity();
  for (size_t p = 0; p < x.n; ++p) {
    long double dot = 0, absolute = 0;
    for (size_t d = 0; d < x.head_dim; ++d) {
      const long double product =
          static_cast<long double>(x.q[d]) * x.k[p * x.head_dim + d];
      dot += product;
      absolute += std::fabs(product);
    }
    s[p] = dot * x.scale;
    magnitude[p] = static_cast<double>(absolute * std::fabs(x.scale));
    if (!(s[p] <= m)) m = s[p];  // keeps NaN once seen: NaN <= m is false
    if (std::isnan(static_cast<double>(s[p]))) break;
  }
  long double sum = 0;
  std::vector<long double> w(x.n);
  std::vector<double> theta(x.n);
  for (size_t p = 0; p < x.n; ++p) {
    w[p] = std::exp(s[p] - m);
    sum += w[p];
    theta[p] = std::expm1(gamma(chains.dot + 3) * magnitude[p] +
                          2 * u * static_cast<double>(m - s[p]) +
                          (1 + chains.rescales) * a + chains.rescales * u);
  }
  double total = 0;
  for (size_t p = 0; p < x.n; ++p) {
    w[p] /= sum;
    total += w[p] == 0 ? 0.0 : static_cast<double>(w[p]) * theta[p];
  }
  for (size_t d = 0; d < x.head_dim; ++d) {
    long double o = 0, absolute = 0;
    for (size_t p = 0; p < x.n; ++p) {
      o += w[p] * x.v[p * x.head_dim + d];
      absolute += w[p] * std::fabs(x.v[p * x.head_dim + d]);
    }
    double centred = 0, largest = 0;
    for (size_t p = 0; p < x.n; ++p) {
      const double distance =
          std::fabs(static_cast<double>(x.v[p * x.head_dim + d] - o));
      largest = std::fmax(largest, distance);
      if (w[p] != 0) centred += static_cast<double>(w[p]) * theta[p] * distance;
    }
    out[d] = static_cast<double>(o);
    bound[d] =
        (total < 0.5 ? centred / (1 - total)
                     : std::numeric_limits<double>::infinity()) +
        gamma(chains.value + 3) * static_cast<double>(absolute + std::fabs(o)) +
        static_cast<double>(x.n + 4) * 0x1p-148 * (1 + largest);
  }
}

// The order of etalon/attention.h, one scalar operation after the other.
inline float Fold(float* lane) {
  for (size_t h = 8; h >= 1; h /= 2) {
    for (size_t j = 0; j < h; ++j) lane[j] += lane[j + h];
  }
  return lane[0];
}
inline float ExpOf(float x) {
  float y;
  simd::Exp(&x, &y, 1);
  return y;
}
inline void AttentionInStrictOrder(const AttentionRow& x, float* out) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  const size_t dim = x.head_dim;
  float m = 0, l = 0;
  std::vector<float> o(dim);
  for (size_t begin = 0; begin < x.n; begin += 256) {
    const size_t n = std::min<size_t>(256, x.n - begin);
    std::vector<float> s(n), part(dim, 0.0f);
    float lanes[16] = {};
    float m2 = -inf;
    for (size_t p = 0; p < n; ++p) {
      float lane[16] = {};
      const float* k = x.k + (begin + p) * dim;
      for (size_t d = 0; d < (dim + 15) / 16 * 16; ++d) {
        lane[d % 16] = std::fma(d < dim ? x.q[d] : 0.0f, d < dim ? k[d] : 0.0f,
                                lane[d % 16]);
      }
      s[p] = Fold(lane) * x.scale;
      m2 = s[p] > m2 ? s[p] : m2;
    }
    const float base2 = m2 == -inf ? 0.0f : m2;
    for (size_t p = 0; p < n; ++p) {
      s[p] = ExpOf(s[p] - base2);
      lanes[p % 16] += s[p];
      for (size_t d = 0; d < dim; ++d) {
        part[d] = std::fma(s[p], x.v[(begin + p) * dim + d], part[d]);
      }
    }
    const float l2 = Fold(lanes);
    if (begin == 0) {
      m = m2;
      l = l2;
      o = part;
      continue;
    }
    const float merged = m2 > m ? m2 : m;
    const float base = merged == -inf ? 0.0f : merged;
    const float a = ExpOf(m - base), b = ExpOf(m2 - base);
    l = std::fma(l2, b, l * a);
    for (size_t d = 0; d < dim; ++d) o[d] = std::fma(part[d], b, o[d] * a);
    m = merged;
  }
  const float inverse = 1.0f / l;
  for (size_t d = 0; d < dim; ++d) out[d] = o[d] * inverse;
}

}  // namespace etalon::test

#endif  // ETALON_TESTS_OPS_ATTENTION_ORACLE_H_
