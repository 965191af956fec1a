// Forward and backward passes in fp64, on matrices of doubles: the judge of
// src/ops' backward passes, itself judged by finite differences (which need
// inputs finer than f32). Written from the formulas of etalon/backward.h;
// gradients are returned, not accumulated.
#ifndef ETALON_REFERENCE_BACKWARD_H_
#define ETALON_REFERENCE_BACKWARD_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace etalon::reference {

struct Matrix {
  size_t rows = 0, cols = 0;
  std::vector<double> v;

  Matrix() = default;
  Matrix(size_t r, size_t c) : rows(r), cols(c), v(r * c, 0.0) {}
  double& operator()(size_t r, size_t c) { return v[r * cols + c]; }
  double operator()(size_t r, size_t c) const { return v[r * cols + c]; }
};

// y = x W^T + b; b [1, N] or empty.
Matrix Linear(const Matrix& x, const Matrix& w, const Matrix& b);
struct LinearGradients {
  Matrix x, w, b;
};
LinearGradients LinearBackward(const Matrix& x, const Matrix& w,
                               const Matrix& d_y);

// Rows of `width` lanes each get their own norm: width = cols for a layer norm,
// head_dim for QK-norm. weight [1, width].
Matrix RmsNormOf(const Matrix& x, const Matrix& weight, double eps);
struct RmsNormGradients {
  Matrix x, weight;
};
RmsNormGradients RmsNormBackward(const Matrix& x, const Matrix& weight,
                                 double eps, const Matrix& d_y);

Matrix SwiGluOf(const Matrix& gate, const Matrix& up);
struct SwiGluGradients {
  Matrix gate, up;
};
SwiGluGradients SwiGluBackward(const Matrix& gate, const Matrix& up,
                               const Matrix& d_y);

// x [n_tokens, heads * head_dim], tables [n_tokens, rotary_dim / 2]; the
// backward pass is the rotation by the negative angle.
Matrix RopeOf(const Matrix& x, size_t head_dim, const Matrix& cos,
              const Matrix& sin, bool interleaved, bool backward = false);

struct AttentionShape {
  size_t n_heads = 0, n_kv_heads = 0, head_dim = 0, seq_len = 0;
  double scale = 0;
};
// q [n_tokens, n_heads * head_dim], k, v [n_tokens, n_kv_heads * head_dim];
// causal, each sequence of seq_len tokens by itself.
Matrix AttentionOf(const AttentionShape& s, const Matrix& q, const Matrix& k,
                   const Matrix& v);
struct AttentionGradients {
  Matrix q, k, v;
};
AttentionGradients AttentionBackward(const AttentionShape& s, const Matrix& q,
                                     const Matrix& k, const Matrix& v,
                                     const Matrix& d_o);

// Sum over rows of log(sum exp) - x[target], and its gradient; -1 is no term.
double CrossEntropyOf(const Matrix& x, std::span<const int32_t> targets);
Matrix CrossEntropyBackward(const Matrix& x, std::span<const int32_t> targets);

// d_table of rows `tokens`.
Matrix EmbeddingBackward(size_t n_vocab, std::span<const int32_t> tokens,
                         const Matrix& d_y);

}  // namespace etalon::reference

#endif  // ETALON_REFERENCE_BACKWARD_H_
