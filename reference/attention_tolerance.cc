// What a profile may be off, from the magnitudes that AttentionOracle and
// AttentionProbsOracle emit; docs/numerics.md derives it.
#include <algorithm>
#include <cmath>

#include "reference/oracle.h"

namespace etalon::reference {
namespace {

constexpr size_t kPlain = 9;     // magnitudes without a variant
constexpr size_t kVariant = 15;  // without a gate

// Numbers of a profile that all elements of one call share.
struct Kappas {
  double dot, distance, weight, tanh, value;

  Kappas(const Profile& p, const Oracle& oracle, size_t head_dim,
         size_t kv_len) {
    // A sink is one more state to join.
    const double rescales =
        p.Rescales(kv_len) + (oracle.c.size() > kPlain ? 1.0 : 0.0);
    dot = (1 + p.Accumulated(p.DotChain(head_dim), p.acc())) *
              (1 + p.product_in()) * (1 + p.u) -
          1;
    distance = 2 * p.u + p.exp_per_x();
    weight = (1 + rescales) * p.exp() + rescales * p.u;
    // s / cap, tanh, the product with cap.
    tanh = 2 * p.u * p.tanh_ulp + p.u + p.div();
    const double keys = static_cast<double>(
        p.kv_chunk == 0 ? kv_len : std::min(kv_len, p.kv_chunk));
    value = (1 + p.Accumulated(keys + 2 * rescales + 3 + (p.fused ? 0 : 1),
                               p.acc())) *
                (1 + p.u_p) * (1 + p.u_in) -
            1;
  }
};

}  // namespace

std::vector<double> AttentionTolerance(const Oracle& oracle, const Profile& p,
                                       size_t head_dim, size_t kv_len) {
  // 0 by definition: nothing is computed that could round.
  if (kv_len == 0) return std::vector<double>(oracle.value.size(), 0.0);
  const Kappas k(p, oracle, head_dim, kv_len);
  const bool variant = oracle.c.size() > kPlain;
  const bool gated = oracle.c.size() > kVariant;
  const double exp_of_gate = p.exp() + p.exp_per_x() * 88.0;
  std::vector<double> bound(oracle.value.size());
  for (size_t i = 0; i < bound.size(); ++i) {
    const auto c = [&](size_t j) {
      return j <= oracle.c.size() ? oracle.c[j - 1][i] : 0.0;
    };
    // Errors of the scores enter through exp: |theta| <= expm1(delta). A
    // softcap's derivative grows by at most e^(2 x) over a distance of x.
    const double dot =
        variant
            ? k.dot * std::exp(2 * (k.dot * c(14) + p.operand_tiny() * c(15)))
            : k.dot;
    const double delta = dot * c(6) + k.distance * c(7) + k.weight +
                         p.operand_tiny() * c(9) + k.tanh * c(11) + p.u * c(13);
    const double theta = std::expm1(delta);
    double centred = 2 * c(5);  // both outputs are convex combinations of V
    double values = c(5);
    if (theta < 0.5) {
      const double first_order = dot * c(1) + k.distance * c(2) +
                                 k.weight * c(3) + p.operand_tiny() * c(8) +
                                 k.tanh * c(10) + p.u * c(12);
      centred =
          std::min(centred, first_order * (theta / delta) / (1.0 - theta));
      values = std::min(values, c(4) * (1.0 + 2.0 * theta));
    }
    const double out = gated ? c(16) : std::abs(oracle.value[i]);
    const double n = static_cast<double>(kv_len);
    const double underflow = p.tiny * n * (4 * c(5) + 2.0) +
                             p.exp_tiny() * n * 2 * c(5) +
                             p.in_tiny * (2 * n * c(5) + 2.0);
    bound[i] = (centred + k.value * (values + out) +
                (p.u + p.div() + p.u_out) * out + underflow) *
               (1.0 + 0x1p-19);
    if (!gated) continue;
    // sigmoid: exp's error damped by 1 - sigmoid, 1 + e, the division; then the
    // product. Below -87 exp overflows and the result may be 0.
    const double y = std::abs(oracle.value[i]);
    const bool overflow = c(17) < 0x1.7p-126;  // exp(-87) = 1.40 * 2^-126
    const double sigmoid_error =
        exp_of_gate * c(18) + p.u + p.div() + p.u + (overflow ? 1.0 : 0.0);
    bound[i] = (bound[i] * (c(17) + 2 * p.tiny) * (1.0 + sigmoid_error) +
                sigmoid_error * y + p.tiny * (2.0 + out)) *
               (1.0 + 0x1p-19);
  }
  return bound;
}

}  // namespace etalon::reference
