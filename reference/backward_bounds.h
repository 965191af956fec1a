// How far a gradient that a port computes may be from reference/backward.h,
// element by element; derived in docs/numerics.md, section 3. Every input but
// d_y is exact. d_y may be a gradient that the port computed before: then it
// carries its own bound, and the result's includes what becomes of it, so that
// bounds follow a whole backward pass.
#ifndef ETALON_REFERENCE_BACKWARD_BOUNDS_H_
#define ETALON_REFERENCE_BACKWARD_BOUNDS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "reference/backward.h"
#include "reference/bounds.h"

namespace etalon::reference {

// A gradient and the bound on a port's error in it.
struct Measured {
  Matrix value;
  Matrix error;

  // Exact: no error.
  explicit Measured(Matrix exact)
      : value(std::move(exact)), error(value.rows, value.cols) {}
  Measured(Matrix v, Matrix e) : value(std::move(v)), error(std::move(e)) {}
};

// Products that read the same x are one long sum in d_x.
struct LinearPart {
  const Matrix& w;
  const Measured& d_y;
};
Matrix LinearInputBound(std::span<const LinearPart> parts, const Profile& p);

// Gradients of parameters are added to `held`, what the caller's buffer holds
// before; an empty matrix is one of zeros.
Matrix LinearWeightBound(const Matrix& x, const Measured& d_y, const Profile& p,
                         const Matrix& held = {});
Matrix LinearBiasBound(const Measured& d_y, const Profile& p,
                       const Matrix& held = {});

// 1/rms is what the port's own forward pass made of x.
RmsNormGradients RmsNormBackwardBound(const Matrix& x, const Matrix& weight,
                                      double eps, const Measured& d_y,
                                      const Profile& p,
                                      const Matrix& held = {});

SwiGluGradients SwiGluBackwardBound(const Matrix& gate, const Matrix& up,
                                    const Measured& d_y, const Profile& p);

Matrix RopeBackwardBound(size_t head_dim, const Matrix& cos, const Matrix& sin,
                         bool interleaved, const Measured& d_y,
                         const Profile& p);

AttentionGradients AttentionBackwardBound(const AttentionShape& s,
                                          const Matrix& q, const Matrix& k,
                                          const Matrix& v, const Measured& d_o,
                                          const Profile& p);

// Of scale * CrossEntropyBackward, and of each row's loss.
struct CrossEntropyBounds {
  Matrix x;
  std::vector<double> losses;
};
CrossEntropyBounds CrossEntropyBound(const Matrix& x,
                                     std::span<const int32_t> targets,
                                     double scale, const Profile& p);

// a + b, rounded once.
Measured SumOf(const Measured& a, const Measured& b, const Profile& p);

}  // namespace etalon::reference

#endif  // ETALON_REFERENCE_BACKWARD_BOUNDS_H_
