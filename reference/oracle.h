// Every op in fp64, with its conditioning magnitudes, and the tolerance that
// follows for a profile. The order of values is that of the op's output, row
// by row without padding. Inputs are validated as the op does; nothing is
// written. The order of the magnitudes C1, C2, ... is stated at each oracle;
// docs/numerics.md derives the kappas. "[tiny]" marks the magnitude that an
// underflow's absolute error multiplies.
#ifndef ETALON_REFERENCE_ORACLE_H_
#define ETALON_REFERENCE_ORACLE_H_

#include <cstddef>
#include <span>
#include <vector>

#include "etalon/backend.h"
#include "etalon/status.h"
#include "reference/bounds.h"

namespace etalon::reference {

// Exact values, C none: a port must give the correctly rounded ones.
Expected<Oracle> EmbeddingOracle(const EmbeddingArgs& args);

// C1 |y|; C2 |x w| + |w| + 1 [tiny]; C3 |rstd w| [flush to zero].
Expected<Oracle> RmsNormOracle(const RmsNormArgs& args);
std::vector<double> RmsNormTolerance(const Oracle& oracle, const Profile& p,
                                     size_t n);

// C1 |x0 c| + |x1 s| (or |x0 s| + |x1 c|), 0 for lanes that pass through;
// C2 1 [tiny]. Values are those of args.x after the rotation. Where the angles
// are a port's own, C3 (|angle y'|, y' the other element of the pair) and C4
// (|x0| + |x1|) may be added.
Expected<Oracle> RopeOracle(const RopeArgs& args);
std::vector<double> RopeTolerance(const Oracle& oracle, const Profile& p);

// One part of a GEMM. Quantised activations:
//   C1 |scale| sum_b |d_w d_x S| + |c_w d_x T|, C2 |bias|,
//   C3 |scale| sum_b (|S| + |T| + 2) + 2 [tiny];
//   C4 C1's sum over sub-blocks of 32 (Q6_K: 16), C5 |scale| sum_k |x w|, C6
//   |scale| sum_k |x| + |w|: what coarser grades of kernels need; C7 |scale|
//   times what activations near a rounding boundary add where they are
//   quantised the other way, as inexact division may.
// With f32 activations:
//   C1 |scale| sum_k |x w|, C2 |bias|, C3 |scale| K + 2 [tiny],
//   C4 |scale| sum_k |x| + |w| [rounded operands].
// With `magnitudes` false only the values are computed.
Expected<Oracle> GemmOracle(const GemmArgs& args, size_t part,
                            bool magnitudes = true);
std::vector<double> GemmTolerance(const Oracle& oracle, const Profile& p,
                                  const WeightMatrix& weights,
                                  Activations activations);
// `quantized`: the activations are.
std::vector<double> GemmTolerance(const Oracle& oracle, const Profile& p,
                                  TensorType type, size_t k, bool quantized);

// C1 sum_p w_p A_p |v - o|, A_p = |scale| sum_d |q k|; C2 sum_p w_p (M - s_p)
// |v - o|; C3 sum_p w_p |v - o|; C4 sum_p w_p |v|; C5 max_p |v|; C6 max_p A_p;
// C7 max_p (M - s_p); C8 sum_p w_p D_p |v - o|, D_p = |scale| sum_d |q| + |k|;
// C9 max_p D_p. With a variant also, T_p = |s_p| after a softcap and E_p the
// magnitudes that ALiBi and mask round: C10 sum_p w_p T_p |v - o|; C11 max_p
// T_p; C12 sum_p w_p E_p |v - o|; C13 max_p E_p; C14 and C15 max_p A_p and D_p
// over the softcap, where the A_p in C1 and C6 are damped by its derivative.
// With a gate also C16 |o|, C17 sigmoid, C18 1 - sigmoid, the value being the
// gated one; C1 to C15 are those of o. A sink counts as a position of value 0.
// The tolerance is not linear in them: see there. kv_len 0: all of them are 0.
Expected<Oracle> AttentionOracle(const AttentionArgs& args,
                                 bool magnitudes = true);
// The weights [n_tokens, n_heads, kv_len], 0 where hidden; magnitudes C1 to C15
// to the same effect, judged by the same tolerance. A gate changes nothing.
Expected<Oracle> AttentionProbsOracle(const AttentionArgs& args);
std::vector<double> AttentionTolerance(const Oracle& oracle, const Profile& p,
                                       size_t head_dim, size_t kv_len);

// silu(x Wgate^T) * (x Wup^T), the products rounded to f32 first.
//   C1 its tolerance, which depends on the profile.
Expected<Oracle> GemmSwiGluOracle(const GemmSwiGluArgs& args, const Profile& p);

// C1 |y| (1 - sigmoid(gate)); C2 |y|; C3 |y| where gate < -87 (exp overflows,
// the result may be 0); C4 |up| + |gate| + 1 [tiny].
Expected<Oracle> SwiGluOracle(const SwiGluArgs& args);
std::vector<double> SwiGluTolerance(const Oracle& oracle, const Profile& p);

// C1 |y|; C2 1 [flush to zero].
Expected<Oracle> AddOracle(const AddArgs& args);
std::vector<double> AddTolerance(const Oracle& oracle, const Profile& p);

// C1 |y|; C2 1 + |x| + |scale| [tiny].
Expected<Oracle> ScaleRowsOracle(const ScaleRowsArgs& args);
std::vector<double> ScaleRowsTolerance(const Oracle& oracle, const Profile& p);

// C1 p; C2 p ((M - x) + sum_j p_j (M - x_j)); C3 1 + n p [tiny].
Expected<Oracle> SoftmaxOracle(const SoftmaxArgs& args);
std::vector<double> SoftmaxTolerance(const Oracle& oracle, const Profile& p,
                                     size_t n);

// The router's probabilities, before any decision: a softmax [n_tokens,
// n_experts]. Which experts are taken may differ from the reference only where
// two probabilities lie within their tolerances of each other.
Expected<Oracle> MoeRouterOracle(const MoeRouterArgs& args);

// The expert mixture, teacher-forced by the experts and weights given.
//   C1 the tolerance of everything but the sum over experts (it depends on the
//   profile, which is why it is asked for here); C2 sum_k |w_k y_k|; C3 n_used
//   [tiny].
Expected<Oracle> MoeFfnOracle(const MoeFfnArgs& args, const Profile& p,
                              bool magnitudes = true);
std::vector<double> MoeFfnTolerance(const Oracle& oracle, const Profile& p,
                                    size_t n_used);

}  // namespace etalon::reference

#endif  // ETALON_REFERENCE_ORACLE_H_
