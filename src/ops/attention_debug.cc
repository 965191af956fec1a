#include "ops/attention_debug.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace etalon::ops {
namespace {

// Sums over head 0 of one tensor.
struct Sums {
  double sum = 0.0, squares = 0.0, n = 0.0;

  explicit Sums(const HeadsView<const float>& x) {
    for (size_t t = 0; t < x.n_tokens; ++t) {
      for (size_t d = 0; d < x.head_dim; ++d) {
        const double value = static_cast<double>(x.at(t, 0)[d]);
        sum += value;
        squares += value * value;
      }
    }
    n = static_cast<double>(x.n_tokens * x.head_dim);
  }
  double mean() const { return sum / n; }
  double rms() const { return std::sqrt(squares / n); }
};

double Dot(const HeadsView<const float>& q, size_t i,
           const HeadsView<const float>& k, size_t j) {
  double dot = 0.0;
  for (size_t d = 0; d < q.head_dim; ++d) {
    dot +=
        static_cast<double>(q.at(i, 0)[d]) * static_cast<double>(k.at(j, 0)[d]);
  }
  return dot;
}

}  // namespace

std::array<std::string, 4> DescribeHead0(const HeadsView<const float>& q,
                                         const HeadsView<const float>& k,
                                         const HeadsView<const float>& v,
                                         float scale,
                                         const HeadsView<const float>& out) {
  constexpr char kHead[] = "[DEBUG-ATTN] head 0: ";
  constexpr double kInf = std::numeric_limits<double>::infinity();
  double sum = 0.0, largest = -kInf, largest_of_row = -kInf;
  for (size_t i = 0; i < q.n_tokens; ++i) {
    for (size_t j = 0; j < k.n_tokens; ++j) {
      const double s = Dot(q, i, k, j);
      sum += s;
      largest = std::max(largest, s);
      if (i == 0) {
        largest_of_row =
            std::max(largest_of_row, s * static_cast<double>(scale));
      }
    }
  }
  // The first row's weights; they sum to 1 but for NaN and rounding.
  double denominator = 0.0, weights = 0.0;
  const auto e = [&](size_t j) {
    return std::exp(Dot(q, 0, k, j) * static_cast<double>(scale) -
                    largest_of_row);
  };
  for (size_t j = 0; j < k.n_tokens; ++j) denominator += e(j);
  for (size_t j = 0; j < k.n_tokens; ++j) weights += e(j) / denominator;
  const double n_keys = static_cast<double>(k.n_tokens);
  const double pairs = static_cast<double>(q.n_tokens) * n_keys;
  const Sums o(out);
  return {
      fmt::format("{}Q mean={:.6f} K mean={:.6f} V mean={:.6f}", kHead,
                  Sums(q).mean(), Sums(k).mean(), Sums(v).mean()),
      fmt::format("{}raw scores mean={:.6f} max={:.6f}", kHead, sum / pairs,
                  largest),
      fmt::format("{}weights of row 0 sum={:.6f} mean={:.6f}", kHead, weights,
                  weights / n_keys),
      fmt::format("{}output mean={:.6f} rms={:.6f}", kHead, o.mean(), o.rms())};
}

}  // namespace etalon::ops
