// Attention of rows that carry errors. With |s'_p - s_p| <= e_p the weights are
// w_p (1 + theta_p) before they are normalised, |theta_p| <= expm1(e_p), and
// AttentionOracle's argument holds for them as it does for roundings: an error
// acts on v_p - o. The op's own magnitudes are then those of the worst weights,
// scores and values within reach.
#include <algorithm>
#include <cmath>
#include <limits>

#include "reference/exp.h"
#include "reference/oracle.h"
#include "reference/stages.h"

namespace etalon::reference {
namespace {

// At least e^x - 1, x >= 0; no libm, whose last bits differ among machines.
double ExpM1AtMost(double x) { return x < 0.5 ? x / (1.0 - 0.5 * x) : Exp(x); }

// One position that a query sees.
struct Key {
  double s = 0.0;
  double a = 0.0;      // |scale| sum |q k|, of the worst q and k
  double d = 0.0;      // |scale| sum |q| + |k|, likewise
  double error = 0.0;  // of s
  double w = 0.0;
  double theta = 0.0;
  double w_most = 0.0;
};

struct Head {
  const Stage& q;
  const Stage& k;
  const Stage& v;
  size_t dim;

  // The first n positions of the cache rows from `cache`, for the query at
  // `row`.
  std::vector<Key> Keys(size_t row, size_t cache, size_t n,
                        double scale) const {
    std::vector<Key> keys(n);
    double max = -std::numeric_limits<double>::infinity();
    for (size_t p = 0; p < n; ++p) {
      Key& key = keys[p];
      for (size_t d = 0; d < dim; ++d) {
        const size_t qi = row + d;
        const size_t ki = cache + p * dim + d;
        const double x = static_cast<double>(q.value[qi]);
        const double y = static_cast<double>(k.value[ki]);
        const double x_most = std::abs(x) + q.error[qi];
        const double y_most = std::abs(y) + k.error[ki];
        key.s += scale * x * y;
        key.a += std::abs(scale) * x_most * y_most;
        key.d += std::abs(scale) * (x_most + y_most);
        key.error += std::abs(scale) *
                     (std::abs(x) * k.error[ki] + q.error[qi] * y_most);
      }
      max = std::max(max, key.s);
    }
    double sum = 0.0;
    for (Key& key : keys) sum += key.w = Exp(key.s - max);
    double shift = 0.0;
    for (Key& key : keys) {
      key.w /= sum;
      key.theta = ExpM1AtMost(key.error);
      shift += key.w * key.theta;
    }
    for (Key& key : keys) {
      key.w_most =
          shift < 0.5 ? std::min(1.0, key.w * (1.0 + key.theta) / (1.0 - shift))
                      : 1.0;
    }
    return keys;
  }
};

// C1 ... C9 of lane d, enlarged, and what the errors of q, k and v do to o.
struct Lane {
  double o = 0.0;
  double inherited = 0.0;
  double c[9] = {};
};
Lane LaneOf(const Head& head, const std::vector<Key>& keys, size_t cache,
            size_t d) {
  Lane lane;
  double most = 0.0;
  double shift = 0.0;
  double distance = 0.0;
  double max = -std::numeric_limits<double>::infinity();
  double worst = 0.0;
  const auto value = [&](size_t p) {
    return static_cast<double>(head.v.value[cache + p * head.dim + d]);
  };
  const auto error = [&](size_t p) {
    return head.v.error[cache + p * head.dim + d];
  };
  for (size_t p = 0; p < keys.size(); ++p) {
    lane.o += keys[p].w * value(p);
    shift += keys[p].w * keys[p].theta;
    most = std::max(most, std::abs(value(p)) + error(p));
    max = std::max(max, keys[p].s);
    worst = std::max(worst, keys[p].error);
  }
  double by_scores = 0.0;
  double by_values = 0.0;
  for (size_t p = 0; p < keys.size(); ++p) {
    by_scores += keys[p].w * keys[p].theta * std::abs(value(p) - lane.o);
    by_values += keys[p].w_most * error(p);
  }
  // Both outputs lie within the values' range.
  lane.inherited =
      shift < 0.5 ? std::min(2 * most, by_scores / (1.0 - shift) + by_values)
                  : 2 * most;
  for (size_t p = 0; p < keys.size(); ++p) {
    const Key& key = keys[p];
    const double centred =
        key.w_most * (std::abs(value(p) - lane.o) + error(p) + lane.inherited);
    distance = max - key.s + 2 * worst;
    lane.c[0] += centred * key.a;
    lane.c[1] += centred * distance;
    lane.c[2] += centred;
    lane.c[3] += key.w_most * (std::abs(value(p)) + error(p));
    lane.c[5] = std::max(lane.c[5], key.a);
    lane.c[6] = std::max(lane.c[6], distance);
    lane.c[7] += centred * key.d;
    lane.c[8] = std::max(lane.c[8], key.d);
  }
  lane.c[4] = most;
  return lane;
}

}  // namespace

Expected<Stage> Attend(const Stage& q, const Stage& k, const Stage& v,
                       size_t n_heads, size_t n_kv_heads, size_t head_dim,
                       size_t kv_len, float scale, const Profile* p) {
  const size_t n_tokens = q.value.size() / (n_heads * head_dim);
  std::vector<float> shape(q.value.size());
  const auto cache = [&](const Stage& x) {
    return KvView{
        TensorType::kF32, reinterpret_cast<const std::byte*>(x.value.data()),
        n_kv_heads,       kv_len,
        head_dim,         kv_len * head_dim,
        head_dim};
  };
  AttentionArgs args;
  args.q = {q.value.data(), n_tokens,           n_heads,
            head_dim,       n_heads * head_dim, head_dim};
  args.k = cache(k);
  args.v = cache(v);
  args.kv_len = kv_len;
  args.scale = scale;
  args.causal = true;
  args.out = {shape.data(), n_tokens,           n_heads,
              head_dim,     n_heads * head_dim, head_dim};
  ETALON_ASSIGN_OR_RETURN(Oracle oracle,
                          AttentionOracle(args, /*magnitudes=*/false));
  Stage stage;
  for (const double x : oracle.value) {
    stage.value.push_back(static_cast<float>(x));
  }
  if (p == nullptr) return stage;
  const std::vector<double> exact = oracle.value;
  std::vector<double> inherited(exact.size());
  oracle.c.assign(9, std::vector<double>(exact.size()));
  const Head head{q, k, v, head_dim};
  for (size_t t = 0; t < n_tokens; ++t) {
    for (size_t h = 0; h < n_heads; ++h) {
      const size_t row = (t * n_heads + h) * head_dim;
      const size_t first = h / (n_heads / n_kv_heads) * kv_len * head_dim;
      const std::vector<Key> keys = head.Keys(
          row, first, kv_len - n_tokens + t + 1, static_cast<double>(scale));
      for (size_t d = 0; d < head_dim; ++d) {
        const Lane lane = LaneOf(head, keys, first, d);
        inherited[row + d] = lane.inherited;
        for (size_t j = 0; j < 9; ++j) oracle.c[j][row + d] = lane.c[j];
      }
    }
  }
  Enlarge(inherited, oracle.value);
  stage.error = AttentionTolerance(oracle, *p, head_dim, kv_len);
  stage.Add(inherited);
  stage.AddRounding(exact, 0x1p-24);
  return stage;
}

}  // namespace etalon::reference
