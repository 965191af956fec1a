// Attention in two passes over fp64: all scores, then the weighted values. The
// magnitudes take a third pass, because they are centred on the result.
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <limits>

#include "reference/attention_scores.h"
#include "reference/attention_validate.h"
#include "reference/attention_values.h"
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

void AddScaled(double factor, const Bends& x, Bends* sum) {
  sum->a += factor * x.a;
  sum->distance += factor * x.distance;
  sum->d += factor * x.d;
  sum->t += factor * x.t;
  sum->e += factor * x.e;
}
Bends Max(const Bends& x, const Bends& y) {
  return {std::max(x.a, y.a), std::max(x.distance, y.distance),
          std::max(x.d, y.d), std::max(x.t, y.t), std::max(x.e, y.e)};
}

// One query: weights of its visible positions, of the sink, and its output.
struct Query {
  QueryScores scores;
  Eigen::VectorXd w;
  double sink_weight = 0.0;
  double sink_distance = 0.0;  // M - sink
  double max = 0.0;
  std::vector<double> o;
  ValueSums sums;

  Query(const AttentionArgs& args, const Keys& keys, const Products& products,
        QueryIndex at)
      : scores(ScoresOf(args, keys, products, at)), sums(0) {
    const size_t h = at.head;
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

  // No weight at all is 0 / 0 unless there is a sink; a NaN sink has no
  // position to act through.
  void StartOutput(size_t dim) {
    const bool none = w.size() == 0 && sink_weight == 0.0;
    o.assign(dim, none ? std::numeric_limits<double>::quiet_NaN() : 0.0);
    if (std::isnan(sink_weight)) o.assign(dim, sink_weight);
  }
  // The sink is a position of exact score whose value is 0.
  void StartMagnitudes() {
    sums = ValueSums(o.size());
    if (sink_weight == 0.0) return;
    for (size_t d = 0; d < o.size(); ++d) {
      sums.all[d] = sink_weight * std::abs(o[d]);
      sums.distance[d] = sums.all[d] * sink_distance;
    }
  }
  // o = sum_p w_p v_p, the part of [begin, end).
  void AddOutputs(const RowMajor& v, size_t begin, size_t end,
                  WeightedRows* scratch) {
    scratch->Clear();
    for (Eigen::Index p = Find(begin); p < Find(end); ++p) {
      scratch->Add(v.row(Pos(p)).data(), w[p], {});
    }
    AddValues(*scratch, o.size(), o.data());
  }
  // The same part of the magnitudes, once the output is known. A weight of 0
  // contributes nothing, however far its score is off.
  void AddMagnitudes(const RowMajor& v, size_t begin, size_t end, bool bent,
                     WeightedRows* scratch) {
    for (const bool weightless : {false, true}) {
      scratch->Clear();
      for (Eigen::Index p = Find(begin); p < Find(end); ++p) {
        if ((w[p] == 0.0) != weightless) continue;
        scratch->Add(v.row(Pos(p)).data(), w[p], At(p));
      }
      if (weightless) {
        sums.AddLargest(*scratch);
      } else {
        sums.Add(*scratch, o.data(), bent);
      }
    }
  }
  // See oracle.h.
  void Emit(size_t first, Oracle& oracle) const {
    Bends most;
    most.distance = sink_distance;
    for (Eigen::Index p = 0; p < w.size(); ++p) {
      if (w[p] != 0.0) most = Max(most, At(p));
    }
    for (size_t d = 0; d < o.size(); ++d) {
      const Bends sum = {sums.a[d], sums.distance[d], sums.d[d], sums.t[d],
                         sums.e[d]};
      Store({sum, sums.all[d], sums.values[d], sums.largest[d], most},
            first + d, oracle);
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
      AddScaled(w[p], At(p), &mean);
      most = Max(most, At(p));
    }
    for (Eigen::Index p = 0; p < w.size(); ++p) {
      Bends sum;
      AddScaled(w[p], mean, &sum);
      if (w[p] != 0.0) AddScaled(w[p], At(p), &sum);
      const size_t at = first + scores.pos[static_cast<size_t>(p)];
      oracle.value[at] = w[p];
      Store({sum, 2 * w[p], w[p], 1.0, most}, at, oracle);
    }
  }

  Bends At(Eigen::Index p) const {
    return {scores.a[p], max - scores.s[p], scores.d[p], scores.t[p],
            scores.e[p]};
  }
  Eigen::Index Pos(Eigen::Index p) const {
    return Index(scores.pos[static_cast<size_t>(p)]);
  }
  // The first visible position from `pos` on.
  Eigen::Index Find(size_t pos) const {
    return std::lower_bound(scores.pos.begin(), scores.pos.end(), pos) -
           scores.pos.begin();
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

// Queries of one kv head, which read its keys and values together.
constexpr size_t kTogether = 8;
// Positions whose values stay in the cache meanwhile.
constexpr size_t kPositions = 64;

void Attend(const AttentionArgs& args, const Keys& keys, const RowMajor& v,
            std::span<const QueryIndex> indices, bool magnitudes,
            Oracle& oracle) {
  const std::vector<Products> products = ProductsOf(args, keys, indices);
  std::vector<Query> queries;
  for (size_t i = 0; i < indices.size(); ++i) {
    queries.emplace_back(args, keys, products[i], indices[i]);
    queries.back().StartOutput(args.v.head_dim);
  }
  WeightedRows scratch;
  for (size_t p = 0; p < args.kv_len; p += kPositions) {
    for (Query& query : queries) {
      query.AddOutputs(v, p, p + kPositions, &scratch);
    }
  }
  const bool bent = oracle.c.size() > kPlain;
  if (magnitudes) {
    for (Query& query : queries) query.StartMagnitudes();
  }
  for (size_t p = 0; magnitudes && p < args.kv_len; p += kPositions) {
    for (Query& query : queries) {
      query.AddMagnitudes(v, p, p + kPositions, bent, &scratch);
    }
  }
  for (size_t i = 0; i < indices.size(); ++i) {
    const auto [t, h] = indices[i];
    const std::vector<double>& o = queries[i].o;
    const size_t first = (t * args.q.n_heads + h) * o.size();
    std::copy(o.begin(), o.end(), oracle.value.data() + first);
    if (magnitudes) queries[i].Emit(first, oracle);
    if (args.gate.data != nullptr) {
      ApplyGate(args.gate.at(t, h), first, o.size(), oracle);
    }
  }
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
    const Keys keys(args.k, kvh, args.kv_len);
    const RowMajor v = ReadCache(args.v, kvh, args.kv_len);
    std::vector<QueryIndex> all;
    for (size_t t = 0; t < q.n_tokens; ++t) {
      for (size_t g = 0; g < q_per_kv; ++g) {
        all.push_back({t, kvh * q_per_kv + g});
      }
    }
    for (size_t i = 0; i < all.size(); i += kTogether) {
      const std::span<const QueryIndex> some =
          std::span(all).subspan(i, std::min(kTogether, all.size() - i));
      Attend(args, keys, v, some, magnitudes, oracle);
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
    const Keys keys(args.k, kvh, args.kv_len);
    for (size_t t = 0; t < q.n_tokens; ++t) {
      for (size_t h = kvh * q_per_kv; h < (kvh + 1) * q_per_kv; ++h) {
        const QueryIndex at = {t, h};
        const Query query(args, keys, ProductsOf(args, keys, {&at, 1})[0], at);
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
