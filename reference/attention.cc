// Attention in two passes over fp64: all scores, then the weighted values. The
// magnitudes take a third pass, because they are centred on the result.
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstring>

#include "reference/ops.h"
#include "reference/oracle.h"
#include "reference/softmax.h"
#include "reference/validate.h"

namespace etalon::reference {
namespace {

constexpr char kOp[] = "attention";
constexpr size_t kMagnitudes = 9;

using RowMajor =
    Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
Eigen::Index Index(size_t i) { return static_cast<Eigen::Index>(i); }

Status Validate(const AttentionArgs& args) {
  const HeadsView<const float>& q = args.q;
  ETALON_RETURN_IF_ERROR(CheckHeads(kOp, "q", q));
  ETALON_RETURN_IF_ERROR(CheckHeads(kOp, "out", args.out));
  ETALON_RETURN_IF_ERROR(CheckCache(kOp, "k", args.k));
  ETALON_RETURN_IF_ERROR(CheckCache(kOp, "v", args.v));
  ETALON_ENSURE(
      args.out.n_tokens == q.n_tokens && args.out.n_heads == q.n_heads &&
          args.out.head_dim == q.head_dim,
      fmt::format("{}: out is [{}, {}, {}], want q's [{}, {}, {}]", kOp,
                  args.out.n_tokens, args.out.n_heads, args.out.head_dim,
                  q.n_tokens, q.n_heads, q.head_dim));
  for (const KvView* c : {&args.k, &args.v}) {
    ETALON_ENSURE(c->head_dim == q.head_dim,
                  fmt::format("{}: cache has head_dim {}, q has {}", kOp,
                              c->head_dim, q.head_dim));
    ETALON_ENSURE(
        c->n_kv_heads > 0 && q.n_heads % c->n_kv_heads == 0,
        fmt::format("{}: {} query heads are no multiple of {} kv heads", kOp,
                    q.n_heads, c->n_kv_heads));
    ETALON_ENSURE(args.kv_len <= c->kv_capacity,
                  fmt::format("{}: kv_len {} exceeds the cache's capacity {}",
                              kOp, args.kv_len, c->kv_capacity));
  }
  ETALON_ENSURE(args.k.n_kv_heads == args.v.n_kv_heads,
                fmt::format("{}: k has {} heads, v has {}", kOp,
                            args.k.n_kv_heads, args.v.n_kv_heads));
  ETALON_ENSURE(args.kv_len > 0, fmt::format("{}: kv_len is 0", kOp));
  ETALON_ENSURE(!args.causal || args.kv_len >= q.n_tokens,
                fmt::format("{}: causal with kv_len {} below {} query tokens",
                            kOp, args.kv_len, q.n_tokens));
  ETALON_ENSURE(
      std::isfinite(args.scale),
      fmt::format("{}: scale is {}, want a finite number", kOp, args.scale));
  return {};
}

// Positions [0, n) of one head, widened.
RowMajor ReadCache(const KvView& cache, size_t head, size_t n) {
  RowMajor out(Index(n), Index(cache.head_dim));
  for (size_t p = 0; p < n; ++p) {
    const size_t first = head * cache.head_stride + p * cache.pos_stride;
    for (size_t d = 0; d < cache.head_dim; ++d) {
      double& value = out(Index(p), Index(d));
      if (cache.type == TensorType::kF32) {
        float f;
        std::memcpy(&f, cache.data + 4 * (first + d), 4);
        value = static_cast<double>(f);
      } else {
        uint16_t bits;
        std::memcpy(&bits, cache.data + 2 * (first + d), 2);
        value = F16ToDouble(bits);
      }
    }
  }
  return out;
}

// Magnitudes of one query: see oracle.h. `w` and `s` have one entry per visible
// position; a weight of 0 contributes nothing, however far its score is off.
struct QueryMagnitudes {
  const Eigen::VectorXd& w;
  const Eigen::VectorXd& s;
  const Eigen::VectorXd& a;
  const Eigen::VectorXd& operands;  // |scale| sum_d |q| + |k|
  double max;

  void Emit(const RowMajor& v, const Eigen::VectorXd& o, size_t first,
            Oracle& oracle) const {
    double max_a = 0.0;
    double max_distance = 0.0;
    double max_operands = 0.0;
    for (Eigen::Index p = 0; p < w.size(); ++p) {
      if (w[p] == 0.0) continue;
      max_a = std::max(max_a, a[p]);
      max_distance = std::max(max_distance, max - s[p]);
      max_operands = std::max(max_operands, operands[p]);
    }
    for (Eigen::Index d = 0; d < o.size(); ++d) {
      double c[kMagnitudes] = {0, 0,           0, 0, 0, max_a, max_distance,
                               0, max_operands};
      for (Eigen::Index p = 0; p < w.size(); ++p) {
        c[4] = std::max(c[4], std::abs(v(p, d)));
        if (w[p] == 0.0) continue;
        const double centred = w[p] * std::abs(v(p, d) - o[d]);
        c[0] += centred * a[p];
        c[1] += centred * (max - s[p]);
        c[2] += centred;
        c[3] += w[p] * std::abs(v(p, d));
        c[7] += centred * operands[p];
      }
      for (size_t j = 0; j < kMagnitudes; ++j) {
        oracle.c[j][first + static_cast<size_t>(d)] = c[j];
      }
    }
  }
};

}  // namespace

Expected<Oracle> AttentionOracle(const AttentionArgs& args, bool magnitudes) {
  ETALON_RETURN_IF_ERROR(Validate(args));
  const HeadsView<const float>& q = args.q;
  const size_t q_per_kv = q.n_heads / args.k.n_kv_heads;
  const double scale = static_cast<double>(args.scale);
  const size_t n = q.n_tokens * q.n_heads * q.head_dim;
  Oracle oracle;
  oracle.value.resize(n);
  if (magnitudes) oracle.c.assign(kMagnitudes, std::vector<double>(n));
  for (size_t kvh = 0; kvh < args.k.n_kv_heads; ++kvh) {
    const RowMajor k = ReadCache(args.k, kvh, args.kv_len);
    const RowMajor v = ReadCache(args.v, kvh, args.kv_len);
    for (size_t t = 0; t < q.n_tokens; ++t) {
      const size_t n_visible =
          args.causal ? args.kv_len - q.n_tokens + t + 1 : args.kv_len;
      const auto keys = k.topRows(Index(n_visible));
      for (size_t h = kvh * q_per_kv; h < (kvh + 1) * q_per_kv; ++h) {
        const Eigen::VectorXd qh =
            Eigen::Map<const Eigen::VectorXf>(q.at(t, h), Index(q.head_dim))
                .cast<double>();
        const Eigen::VectorXd s = scale * keys.lazyProduct(qh);
        Eigen::VectorXd w = s;
        const double max = SoftmaxInPlace({w.data(), n_visible});
        const Eigen::VectorXd o =
            v.topRows(Index(n_visible)).transpose().lazyProduct(w);
        const size_t first = (t * q.n_heads + h) * q.head_dim;
        std::copy(o.data(), o.data() + o.size(), oracle.value.data() + first);
        if (!magnitudes) continue;
        // Products below 2^-126 lose up to 2^-150 each: u times the added term.
        const double floor =
            0x1p-126 *
            (1.0 + std::abs(scale) * static_cast<double>(q.head_dim));
        const Eigen::VectorXd a =
            (std::abs(scale) * keys.cwiseAbs().lazyProduct(qh.cwiseAbs()))
                .array() +
            floor;
        const Eigen::VectorXd operands =
            std::abs(scale) *
            (keys.cwiseAbs().rowwise().sum().array() + qh.cwiseAbs().sum());
        QueryMagnitudes{w, s, a, operands, max}.Emit(v, o, first, oracle);
      }
    }
  }
  return oracle;
}

std::vector<double> AttentionTolerance(const Oracle& oracle, const Profile& p,
                                       size_t head_dim, size_t kv_len) {
  const double rescales = p.Rescales(kv_len);
  const double k1 = (1 + p.Accumulated(p.DotChain(head_dim), p.acc())) *
                        (1 + p.product_in()) * (1 + p.u) -
                    1;
  const double k2 = 2 * p.u + p.exp_per_x();
  const double k3 = (1 + rescales) * p.exp() + rescales * p.u;
  const double keys = static_cast<double>(
      p.kv_chunk == 0 ? kv_len : std::min(kv_len, p.kv_chunk));
  const double k4 =
      (1 +
       p.Accumulated(keys + 2 * rescales + 3 + (p.fused ? 0 : 1), p.acc())) *
          (1 + p.u_p) * (1 + p.u_in) -
      1;
  std::vector<double> bound(oracle.value.size());
  for (size_t i = 0; i < bound.size(); ++i) {
    const auto c = [&](size_t j) { return oracle.c[j - 1][i]; };
    // Errors of the scores enter through exp: |theta| <= expm1(delta).
    const double delta = k1 * c(6) + k2 * c(7) + k3 + p.operand_tiny() * c(9);
    const double theta = std::expm1(delta);
    double centred = 2 * c(5);  // both outputs are convex combinations of V
    double values = c(5);
    if (theta < 0.5) {
      const double first_order =
          k1 * c(1) + k2 * c(2) + k3 * c(3) + p.operand_tiny() * c(8);
      centred =
          std::min(centred, first_order * (theta / delta) / (1.0 - theta));
      values = std::min(values, c(4) * (1.0 + 2.0 * theta));
    }
    const double out = std::abs(oracle.value[i]);
    const double underflow =
        p.tiny * static_cast<double>(kv_len) * (4 * c(5) + 2.0) +
        p.in_tiny * (2 * static_cast<double>(kv_len) * c(5) + 2.0);
    bound[i] = (centred + k4 * (values + out) +
                (p.u + p.div() + p.u_out) * out + underflow) *
               (1.0 + 0x1p-19);
  }
  return bound;
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
