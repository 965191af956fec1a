// docs/numerics.md, section 3, derives what is computed here.
#include <algorithm>
#include <cmath>

#include "reference/backward_bounds.h"
#include "reference/exp.h"

namespace etalon::reference {
namespace {

double Join(double a, double b) { return a + b + a * b; }

// Roundings of a term in a sum of n terms that is cut into chunks; parts such
// sums make one.
double Chain(size_t n, size_t chunk, size_t parts, const Profile& p) {
  const size_t length = chunk == 0 ? n : std::min(n, chunk);
  const size_t chunks = (n + length - 1) / length;
  return static_cast<double>(length + parts * chunks) + (p.fused ? 0.0 : 1.0);
}

// One query row of one head and the keys it sees: probabilities and dS = scale
// P (dP - mean), both with absolute errors.
struct Row {
  std::vector<double> p, e_p, ds, e_ds;
  double e_total = 0;  // |sum of the port's probabilities - 1|
};

class Rows {
 public:
  Rows(const AttentionShape& s, const Matrix& q, const Matrix& k,
       const Matrix& v, const Measured& d_o, const Profile& p)
      : s_(s), q_(q), k_(k), v_(v), d_o_(d_o), p_(p) {
    const double h = Chain(s.head_dim, p.grad_chunk, 1, p);
    product_ = p.Accumulated(h, p.u);
    score_ = p.Accumulated(h + 1, p.u);
  }

  Row Of(size_t t, size_t h) const {
    const size_t first = t / s_.seq_len * s_.seq_len, n = t - first + 1;
    Row row;
    AddProbabilities(t, h, first, n, &row);
    const size_t qc = h * s_.head_dim, kc = KvColumn(h);
    std::vector<double> dp(n, 0.0), e_dp(n, 0.0);
    for (size_t j = 0; j < n; ++j) {
      for (size_t d = 0; d < s_.head_dim; ++d) {
        const double v = v_(first + j, kc + d), g = d_o_.value(t, qc + d);
        const double e = d_o_.error(t, qc + d);
        dp[j] += g * v;
        e_dp[j] +=
            std::abs(v) * (e + product_ * (std::abs(g) + e)) + 2 * p_.tiny;
      }
    }
    double mean = 0;
    for (size_t j = 0; j < n; ++j) mean += row.p[j] * dp[j];
    const double gamma = p_.Accumulated(p_.DotChain(n), p_.u);
    double e_mean = row.e_total * std::abs(mean);
    for (size_t j = 0; j < n; ++j) {
      const double size = std::abs(dp[j]) + e_dp[j];
      e_mean += row.e_p[j] * std::abs(dp[j] - mean) +
                (row.p[j] + row.e_p[j]) * (e_dp[j] + gamma * size) +
                p_.tiny * (1 + size);
    }
    row.ds.resize(n), row.e_ds.resize(n);
    const double three = p_.Accumulated(3, p_.u), scale = std::abs(s_.scale);
    for (size_t j = 0; j < n; ++j) {
      const double centred = dp[j] - mean, error = e_dp[j] + e_mean;
      const double reach = (row.p[j] + row.e_p[j]) * (1 + three);
      row.ds[j] = s_.scale * row.p[j] * centred;
      row.e_ds[j] =
          scale * (reach * error + (reach - row.p[j]) * std::abs(centred)) +
          p_.tiny * (2 + scale) * (1 + std::abs(centred) + error);
    }
    return row;
  }

  size_t KvColumn(size_t h) const {
    return h / (s_.n_heads / s_.n_kv_heads) * s_.head_dim;
  }

 private:
  void AddProbabilities(size_t t, size_t h, size_t first, size_t n,
                        Row* row) const {
    const double u = p_.u;
    std::vector<double> score(n, 0.0), size(n, 0.0);
    const size_t qc = h * s_.head_dim, kc = KvColumn(h);
    for (size_t j = 0; j < n; ++j) {
      for (size_t d = 0; d < s_.head_dim; ++d) {
        const double x = s_.scale * q_(t, qc + d) * k_(first + j, kc + d);
        score[j] += x, size[j] += std::abs(x);
      }
    }
    const double max = *std::max_element(score.begin(), score.end());
    double sum = 0, shift = 0;
    row->p.resize(n), row->e_p.resize(n);
    for (size_t j = 0; j < n; ++j) {
      row->p[j] = Exp(score[j] - max);
      sum += row->p[j];
      const double delta =
          score_ * size[j] + (u + p_.exp_per_x()) * (max - score[j]) +
          p_.tiny * static_cast<double>(s_.head_dim) * (1 + std::abs(s_.scale));
      row->e_p[j] = Join(std::expm1(delta), p_.exp());
    }
    for (size_t j = 0; j < n; ++j) {
      row->p[j] /= sum;
      shift += row->p[j] * row->e_p[j];
    }
    // The sum's additions, 1 / sum, the product with it.
    const double e = Join(Join(p_.Accumulated(p_.Chain(n), u), u), p_.div());
    row->e_total = e / (1 - e);
    for (size_t j = 0; j < n; ++j) {
      row->e_p[j] = row->p[j] * Join(Join(row->e_p[j], shift / (1 - shift)),
                                     row->e_total) +
                    2 * (p_.exp_tiny() + p_.tiny);
    }
  }

  const AttentionShape& s_;
  const Matrix &q_, &k_, &v_;
  const Measured& d_o_;
  const Profile& p_;
  double product_ = 0, score_ = 0;
};

}  // namespace

AttentionGradients AttentionBackwardBound(const AttentionShape& s,
                                          const Matrix& q, const Matrix& k,
                                          const Matrix& v, const Measured& d_o,
                                          const Profile& p) {
  AttentionGradients b{Matrix(q.rows, q.cols), Matrix(k.rows, k.cols),
                       Matrix(v.rows, v.cols)};
  const Rows rows(s, q, k, v, d_o, p);
  // Keys and values add up over the queries of their sequence and over the
  // query heads of their group.
  const size_t group = s.n_heads / s.n_kv_heads;
  const double chain_kv = p.grad_query_block == 0
                              ? Chain(s.seq_len * group, 0, 1, p)
                              : Chain(s.seq_len, p.grad_query_block, group, p);
  const double gamma_kv = p.Accumulated(chain_kv, p.u);
  for (size_t t = 0; t < q.rows; ++t) {
    const size_t first = t / s.seq_len * s.seq_len;
    for (size_t h = 0; h < s.n_heads; ++h) {
      const Row row = rows.Of(t, h);
      const size_t n = row.p.size(), qc = h * s.head_dim;
      const size_t kc = rows.KvColumn(h);
      const double gamma_q = p.Accumulated(Chain(n, p.grad_chunk, 1, p), p.u);
      for (size_t j = 0; j < n; ++j) {
        const double size = std::abs(row.ds[j]) + row.e_ds[j];
        const double for_q = row.e_ds[j] + gamma_q * size;
        const double for_k = row.e_ds[j] + gamma_kv * size;
        for (size_t d = 0; d < s.head_dim; ++d) {
          const double g = std::abs(d_o.value(t, qc + d));
          const double e = d_o.error(t, qc + d);
          b.q(t, qc + d) += std::abs(k(first + j, kc + d)) * for_q + 2 * p.tiny;
          b.k(first + j, kc + d) += std::abs(q(t, qc + d)) * for_k + 2 * p.tiny;
          b.v(first + j, kc + d) +=
              row.p[j] * e + row.e_p[j] * (g + e) +
              gamma_kv * (row.p[j] + row.e_p[j]) * (g + e) + 2 * p.tiny;
        }
      }
    }
  }
  for (Matrix* m : {&b.q, &b.k, &b.v}) {
    for (double& x : m->v) x *= 1 + p.slack();
  }
  return b;
}

}  // namespace etalon::reference
