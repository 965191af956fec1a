#include "reference/attention_values.h"

#include <algorithm>
#include <cmath>

namespace etalon::reference {
namespace {

// Elements side by side, whose sums stay in registers over a block.
constexpr size_t kWide = 4;

template <size_t kWidth>
struct Lanes {
  double x[kWidth];

  explicit Lanes(const double* p) { std::copy_n(p, kWidth, x); }
  void Store(double* p) const { std::copy_n(x, kWidth, p); }
};

template <size_t kWidth>
void AddValuesAt(const WeightedRows& rows, size_t first, double* o) {
  Lanes<kWidth> sum(o + first);
  const size_t n = rows.v.size();
  for (size_t i = 0; i < n; ++i) {
    const double* v = rows.v[i] + first;
    const double w = rows.w[i];
    for (size_t j = 0; j < kWidth; ++j) sum.x[j] += w * v[j];
  }
  sum.Store(o + first);
}

template <size_t kWidth>
void AddSumsAt(const WeightedRows& rows, const double* o, size_t first,
               ValueSums* s) {
  Lanes<kWidth> a(&s->a[first]), distance(&s->distance[first]), d(&s->d[first]),
      all(&s->all[first]), values(&s->values[first]);
  const Lanes<kWidth> out(o + first);
  const size_t n = rows.v.size();
  for (size_t i = 0; i < n; ++i) {
    const double* v = rows.v[i] + first;
    const double w = rows.w[i];
    const Bends& x = rows.bends[i];
    for (size_t j = 0; j < kWidth; ++j) {
      const double centred = w * std::abs(v[j] - out.x[j]);
      a.x[j] += centred * x.a;
      distance.x[j] += centred * x.distance;
      d.x[j] += centred * x.d;
      all.x[j] += centred;
      values.x[j] += w * std::abs(v[j]);
    }
  }
  a.Store(&s->a[first]);
  distance.Store(&s->distance[first]);
  d.Store(&s->d[first]);
  all.Store(&s->all[first]);
  values.Store(&s->values[first]);
}

template <size_t kWidth>
void AddBentAt(const WeightedRows& rows, const double* o, size_t first,
               ValueSums* s) {
  Lanes<kWidth> t(&s->t[first]), e(&s->e[first]);
  const Lanes<kWidth> out(o + first);
  const size_t n = rows.v.size();
  for (size_t i = 0; i < n; ++i) {
    const double* v = rows.v[i] + first;
    const double w = rows.w[i];
    const Bends& x = rows.bends[i];
    for (size_t j = 0; j < kWidth; ++j) {
      const double centred = w * std::abs(v[j] - out.x[j]);
      t.x[j] += centred * x.t;
      e.x[j] += centred * x.e;
    }
  }
  t.Store(&s->t[first]);
  e.Store(&s->e[first]);
}

}  // namespace

void AddValues(const WeightedRows& rows, size_t dim, double* o) {
  size_t i = 0;
  for (; i + kWide <= dim; i += kWide) AddValuesAt<kWide>(rows, i, o);
  for (; i < dim; ++i) AddValuesAt<1>(rows, i, o);
}

void ValueSums::Add(const WeightedRows& rows, const double* o, bool bent) {
  const size_t dim = all.size();
  size_t i = 0;
  for (; i + kWide <= dim; i += kWide) {
    AddSumsAt<kWide>(rows, o, i, this);
    if (bent) AddBentAt<kWide>(rows, o, i, this);
  }
  for (; i < dim; ++i) {
    AddSumsAt<1>(rows, o, i, this);
    if (bent) AddBentAt<1>(rows, o, i, this);
  }
  AddLargest(rows);
}

void ValueSums::AddLargest(const WeightedRows& rows) {
  const size_t dim = largest.size();
  double* x = largest.data();
  for (const double* v : rows.v) {
    for (size_t i = 0; i < dim; ++i) x[i] = std::max(x[i], std::abs(v[i]));
  }
}

}  // namespace etalon::reference
