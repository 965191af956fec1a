// The scores of one query in fp64, variants included, and the magnitudes of
// their errors.
#ifndef ETALON_REFERENCE_ATTENTION_SCORES_H_
#define ETALON_REFERENCE_ATTENTION_SCORES_H_

#include <Eigen/Core>
#include <cstddef>
#include <span>
#include <vector>

#include "etalon/attention.h"

namespace etalon::reference {

using RowMajor =
    Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

inline Eigen::Index Index(size_t i) { return static_cast<Eigen::Index>(i); }

// Positions [0, n) of one head, widened.
RowMajor ReadCache(const KvView& cache, size_t head, size_t n);

// Keys [0, n) of one head in blocks of positions, each transposed: the products
// of a query with neighbouring keys are sums side by side, each over ascending
// elements.
class Keys {
 public:
  static constexpr size_t kBlock = 64;

  Keys(const KvView& cache, size_t head, size_t n);
  // The numbers of element d at positions b kBlock + 0, 1, ...
  const double* At(size_t b, size_t d) const {
    return numbers_.data() + (b * dim_ + d) * kBlock;
  }
  size_t dim() const { return dim_; }
  double abs_sum(size_t pos) const { return abs_sum_[pos]; }

 private:
  size_t dim_;
  std::vector<double> numbers_;
  std::vector<double> abs_sum_;
};

struct QueryIndex {
  size_t token, head;
};
// The products of some queries with the keys that each may see.
struct Products {
  size_t begin = 0, end = 0;  // positions
  std::vector<double> s;      // sum_d q k
  std::vector<double> a;      // sum_d |q k|
};
std::vector<Products> ProductsOf(const AttentionArgs& args, const Keys& keys,
                                 std::span<const QueryIndex> queries);

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

QueryScores ScoresOf(const AttentionArgs& args, const Keys& keys,
                     const Products& products, QueryIndex query);

}  // namespace etalon::reference

#endif  // ETALON_REFERENCE_ATTENTION_SCORES_H_
