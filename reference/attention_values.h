// Sums over the positions of a kv head for all elements of outputs, where the
// time of AttentionOracle goes: positions come in blocks that stay in the
// cache while several queries use them. Each element's terms are added in
// ascending order of positions.
#ifndef ETALON_REFERENCE_ATTENTION_VALUES_H_
#define ETALON_REFERENCE_ATTENTION_VALUES_H_

#include <cstddef>
#include <vector>

namespace etalon::reference {

// What bends the score of one position, or sums and maxima of it.
struct Bends {
  double a = 0.0, distance = 0.0, d = 0.0, t = 0.0, e = 0.0;
};

// Some positions of one query: rows of the values, their weights and bends.
struct WeightedRows {
  std::vector<const double*> v;
  std::vector<double> w;
  std::vector<Bends> bends;

  void Clear() {
    v.clear();
    w.clear();
    bends.clear();
  }
  void Add(const double* row, double weight, const Bends& bend) {
    v.push_back(row);
    w.push_back(weight);
    bends.push_back(bend);
  }
};

// o[d] += w v[d].
void AddValues(const WeightedRows& rows, size_t dim, double* o);

// For each element of an output o, over positions: the bends times
// w |v - o|, that itself, w |v|, and the largest |v|.
struct ValueSums {
  std::vector<double> a, distance, d, t, e, all, values, largest;

  explicit ValueSums(size_t dim) {
    for (auto* x : {&a, &distance, &d, &t, &e, &all, &values, &largest}) {
      x->assign(dim, 0.0);
    }
  }
  // `bent`: t and e are wanted.
  void Add(const WeightedRows& rows, const double* o, bool bent);
  // Positions without weight.
  void AddLargest(const WeightedRows& rows);
};

}  // namespace etalon::reference

#endif  // ETALON_REFERENCE_ATTENTION_VALUES_H_
