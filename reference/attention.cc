// Attention in two passes over fp64: all scores, then the weighted values. The
// magnitudes take a third pass, because they are centred on the result.
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <limits>

#include "reference/attention_scores.h"
#include "reference/attention_validate.h"
#include "reference/exp.h"
#include "reference/ops.h"
#include "reference/oracle.h"
#include "reference/softmax.h"

namespace etalon::reference {
namespace {

constexpr size_t kPlain = 9;     // C1..C9
constexpr size_t kVariant = 15;  // C10..C15 with variants
constexpr size_t kGated = 18;    // C16..C18 with a gate

size_t MagnitudesOf(const AttentionArgs& args) {
  if (args.gate.data != nullptr) return kGated;
  const AttentionVariant& v = args.variant;
  return v.ChangesScores() || !v.sinks.empty() ? kVariant : kPlain;
}

// What bends the score of one position, or sums and maxima of it.
struct Bends {
  double a = 0.0, distance = 0.0, d = 0.0, t = 0.0, e = 0.0;

  void Add(double factor, const Bends& x) {
    a += factor * x.a;
    distance += factor * x.distance;
    d += factor * x.d;
    t += factor * x.t;
    e += factor * x.e;
  }
};
Bends Max(const Bends& x, const Bends& y) {
  return {std::max(x.a, y.a), std::max(x.distance, y.distance),
          std::max(x.d, y.d), std::max(x.t, y.t), std::max(x.e, y.e)};
}

// One query: weights of its visible positions, and of the sink.
struct Query {
  QueryScores scores;
  Eigen::VectorXd w;
  double sink_weight = 0.0;
  double sink_distance = 0.0;  // M - sink
  double max = 0.0;

  Query(const AttentionArgs& args, const RowMajor& keys, size_t t, size_t h)
      : scores(ScoresOf(args, keys, t, h)) {
    const bool sink = !args.variant.sinks.empty();
    const Eigen::Index n = scores.s.size();
    Eigen::VectorXd all(n + (sink ? 1 : 0));
    all.head(n) = scores.s;
    if (sink) all[n] = static_cast<double>(args.variant.sinks[h]);
    const double last = sink ? all[n] : 0.0;
    max = SoftmaxInPlace({all.data(), static_cast<size_t>(all.size())});
    w = all.head(n);
    if (!sink) return;
    sink_weight = all[n];
    if (sink_weight != 0.0) sink_distance = max - last;
  }

  // sum_p w_p v_p; no weight at all is 0 / 0 unless there is a sink.
  Eigen::VectorXd Output(const RowMajor& v) const {
    const bool none = w.size() == 0 && sink_weight == 0.0;
    Eigen::VectorXd o = Eigen::VectorXd::Constant(
        v.cols(), none ? std::numeric_limits<double>::quiet_NaN() : 0.0);
    // A NaN sink has no position to act through.
    if (std::isnan(sink_weight)) o.setConstant(sink_weight);
    for (Eigen::Index i = 0; i < w.size(); ++i) {
      o += w[i] * v.row(Index(scores.pos[static_cast<size_t>(i)])).transpose();
    }
    return o;
  }

  // See oracle.h; a weight of 0 contributes nothing, however far its score is
  // off. The sink is a position of exact score whose value is 0.
  void Emit(const RowMajor& v, const Eigen::VectorXd& o, size_t first,
            Oracle& oracle) const {
    Bends most;
    most.distance = sink_distance;
    for (Eigen::Index p = 0; p < w.size(); ++p) {
      if (w[p] != 0.0) most = Max(most, At(p));
    }
    for (Eigen::Index d = 0; d < o.size(); ++d) {
      Bends sum;
      double all = 0.0, values = 0.0, largest = 0.0;
      const double sink_centred = sink_weight * std::abs(o[d]);
      if (sink_weight != 0.0) {
        sum.distance += sink_centred * sink_distance;
        all += sink_centred;
      }
      for (Eigen::Index p = 0; p < w.size(); ++p) {
        const double value = v(Index(scores.pos[static_cast<size_t>(p)]), d);
        largest = std::max(largest, std::abs(value));
        if (w[p] == 0.0) continue;
        const double centred = w[p] * std::abs(value - o[d]);
        sum.Add(centred, At(p));
        all += centred;
        values += w[p] * std::abs(value);
      }
      Store({sum, all, values, largest, most}, first + static_cast<size_t>(d),
            oracle);
    }
  }

  // The weights themselves: an error is a position's own and the mean of all,
  // the sink's too, as if |v| were 1 and the centred value were both.
  void EmitWeights(size_t first, Oracle& oracle) const {
    Bends mean, most;
    mean.distance = sink_weight * sink_distance;
    most.distance = sink_distance;
    for (Eigen::Index p = 0; p < w.size(); ++p) {
      if (w[p] == 0.0) continue;
      mean.Add(w[p], At(p));
      most = Max(most, At(p));
    }
    for (Eigen::Index p = 0; p < w.size(); ++p) {
      Bends sum;
      sum.Add(w[p], mean);
      if (w[p] != 0.0) sum.Add(w[p], At(p));
      const size_t at = first + scores.pos[static_cast<size_t>(p)];
      oracle.value[at] = w[p];
      Store({sum, 2 * w[p], w[p], 1.0, most}, at, oracle);
    }
  }

  Bends At(Eigen::Index p) const {
    return {scores.a[p], max - scores.s[p], scores.d[p], scores.t[p],
            scores.e[p]};
  }
  struct Magnitudes {
    Bends sum;                    // weighted and centred
    double all, values, largest;  // C3, C4, C5
    Bends most;
  };
  void Store(const Magnitudes& m, size_t at, Oracle& oracle) const {
    const double c[kVariant] = {
        m.sum.a,   m.sum.distance,   m.all,           m.values,
        m.largest, m.most.a,         m.most.distance, m.sum.d,
        m.most.d,  m.sum.t,          m.most.t,        m.sum.e,
        m.most.e,  scores.a_per_cap, scores.d_per_cap};
    for (size_t j = 0; j < std::min(kVariant, oracle.c.size()); ++j) {
      oracle.c[j][at] = c[j];
    }
  }
};

// value = o * sigmoid(gate), C16 |o|, C17 sigmoid, C18 1 - sigmoid.
void ApplyGate(const float* gate, size_t first, size_t n, Oracle& oracle) {
  for (size_t d = 0; d < n; ++d) {
    const double g = static_cast<double>(gate[d]);
    const double e = Exp(-g);
    double& value = oracle.value[first + d];
    const double o = value;
    value *= 1.0 / (1.0 + e);
    if (oracle.c.empty()) continue;
    oracle.c[15][first + d] = std::abs(o);
    oracle.c[16][first + d] = 1.0 / (1.0 + e);
    oracle.c[17][first + d] = 1.0 / (1.0 + Exp(g));
  }
}

// kv_len 0: 0 by definition, exactly, so no magnitude. A sink or gate that is
// no number shows.
Oracle OfNothing(const AttentionArgs& args, bool magnitudes) {
  const size_t dim = args.v.head_dim;
  Oracle oracle;
  for (size_t t = 0; t < args.q.n_tokens; ++t) {
    for (size_t h = 0; h < args.q.n_heads; ++h) {
      const size_t first = oracle.value.size();
      oracle.value.resize(first + dim, 0.0);
      if (!args.variant.sinks.empty()) {
        const double sink = static_cast<double>(args.variant.sinks[h]);
        if (std::isnan(sink) || (std::isinf(sink) && sink > 0.0)) {
          std::fill_n(&oracle.value[first], dim,
                      std::numeric_limits<double>::quiet_NaN());
        }
      }
      if (args.gate.data != nullptr) {
        ApplyGate(args.gate.at(t, h), first, dim, oracle);
      }
    }
  }
  if (magnitudes) {
    oracle.c.assign(MagnitudesOf(args),
                    std::vector<double>(oracle.value.size(), 0.0));
  }
  return oracle;
}

}  // namespace

Expected<Oracle> AttentionOracle(const AttentionArgs& args, bool magnitudes) {
  ETALON_RETURN_IF_ERROR(ValidateAttention(args));
  if (args.kv_len == 0) return OfNothing(args, magnitudes);
  const HeadsView<const float>& q = args.q;
  const size_t q_per_kv = q.n_heads / args.k.n_kv_heads;
  const size_t dim = args.v.head_dim;
  const size_t n = q.n_tokens * q.n_heads * dim;
  Oracle oracle;
  oracle.value.resize(n);
  if (magnitudes) {
    oracle.c.assign(MagnitudesOf(args), std::vector<double>(n));
  }
  for (size_t kvh = 0; kvh < args.k.n_kv_heads; ++kvh) {
    const RowMajor k = ReadCache(args.k, kvh, args.kv_len);
    const RowMajor v = ReadCache(args.v, kvh, args.kv_len);
    for (size_t t = 0; t < q.n_tokens; ++t) {
      for (size_t h = kvh * q_per_kv; h < (kvh + 1) * q_per_kv; ++h) {
        const Query query(args, k, t, h);
        const Eigen::VectorXd o = query.Output(v);
        const size_t first = (t * q.n_heads + h) * dim;
        std::copy(o.data(), o.data() + o.size(), oracle.value.data() + first);
        if (magnitudes) query.Emit(v, o, first, oracle);
        if (args.gate.data != nullptr) {
          ApplyGate(args.gate.at(t, h), first, dim, oracle);
        }
      }
    }
  }
  return oracle;
}

Expected<Oracle> AttentionProbsOracle(const AttentionArgs& args) {
  ETALON_RETURN_IF_ERROR(ValidateAttention(args));
  const HeadsView<const float>& q = args.q;
  const size_t q_per_kv = q.n_heads / args.k.n_kv_heads;
  const size_t n = q.n_tokens * q.n_heads * args.kv_len;
  Oracle oracle;
  oracle.value.assign(n, 0.0);
  oracle.c.assign(kVariant, std::vector<double>(n, 0.0));
  for (size_t kvh = 0; kvh < args.k.n_kv_heads; ++kvh) {
    const RowMajor k = ReadCache(args.k, kvh, args.kv_len);
    for (size_t t = 0; t < q.n_tokens; ++t) {
      for (size_t h = kvh * q_per_kv; h < (kvh + 1) * q_per_kv; ++h) {
        const Query query(args, k, t, h);
        query.EmitWeights((t * q.n_heads + h) * args.kv_len, oracle);
      }
    }
  }
  return oracle;
}

Status Attention(const AttentionArgs& args, ExecContext&) {
  ETALON_ASSIGN_OR_RETURN(const Oracle oracle,
                          AttentionOracle(args, /*magnitudes=*/false));
  const double* value = oracle.value.data();
  for (size_t t = 0; t < args.out.n_tokens; ++t) {
    for (size_t h = 0; h < args.out.n_heads; ++h) {
      for (size_t d = 0; d < args.out.head_dim; ++d) {
        args.out.at(t, h)[d] = static_cast<float>(*value++);
      }
    }
  }
  return {};
}

}  // namespace etalon::reference
