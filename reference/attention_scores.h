// The scores of one query in fp64, variants included, and the magnitudes of
// their errors.
#ifndef ETALON_REFERENCE_ATTENTION_SCORES_H_
#define ETALON_REFERENCE_ATTENTION_SCORES_H_

#include <Eigen/Core>
#include <cstddef>
#include <vector>

#include "etalon/attention.h"

namespace etalon::reference {

using RowMajor =
    Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

inline Eigen::Index Index(size_t i) { return static_cast<Eigen::Index>(i); }

// Positions [0, n) of one head, widened.
RowMajor ReadCache(const KvView& cache, size_t head, size_t n);

// One query's visible positions, in ascending order. An error of score i is at
// most
//   (dot a[i]) e^(2 x) + tiny d[i] + tanh_error t[i] + u e[i],
// x = dot a_per_cap + tiny d_per_cap, dot the relative error of a product sum
// and tiny the absolute one of an operand.
struct QueryScores {
  std::vector<size_t> pos;
  Eigen::VectorXd s;
  Eigen::VectorXd a;  // |scale| sum_d |q k|, damped by the softcap's derivative
  Eigen::VectorXd t;  // |s| after the softcap, 0 without one
  Eigen::VectorXd e;  // what ALiBi and mask round: their terms and sums
  Eigen::VectorXd d;  // |scale| sum_d |q| + |k|
  double a_per_cap = 0.0;  // largest a / softcap before damping
  double d_per_cap = 0.0;
};

// Of token t and head h; `keys` as ReadCache gives those of its kv head.
QueryScores ScoresOf(const AttentionArgs& args, const RowMajor& keys, size_t t,
                     size_t h);

}  // namespace etalon::reference

#endif  // ETALON_REFERENCE_ATTENTION_SCORES_H_
