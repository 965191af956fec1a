// What the reference hands out beside a value: the conditioning magnitudes from
// which a bound on anybody's error follows. A port declares a profile (how it
// computes); the tolerance of output element i is
//   B_i = sum_j kappa_j(profile, shape) * C_j[i],
// kappa_j being derived in docs/numerics.md, never tuned. Oracle and Tolerance
// functions of each op are declared in reference/oracle.h.
#ifndef ETALON_REFERENCE_BOUNDS_H_
#define ETALON_REFERENCE_BOUNDS_H_

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace etalon::reference {

// Relative errors are in units of 1, "ulp" in units of the last place of f32.
struct Profile {
  std::string_view name;
  double u = 0x1p-24;    // rounding of one multiply, add or fma
  size_t lanes = 1;      // partial sums of a reduction; 1: any order at all
  bool fused = false;    // products enter sums by fma, unrounded
  double exp_ulp = 1.0;  // error of exp(x): exp_ulp + exp_ulp_per_x * |x|
  double exp_ulp_per_x = 0.0;
  double div_ulp = 0.5;
  double rsqrt_ulp = 1.0;     // of 1 / sqrt, however it is made
  bool f64_norm_sum = false;  // RMSNorm sums squares in f64, rounds rstd once
  double u_p = 0.0;           // rounding of P before P * V
  double u_out = 0.0;         // rounding of a narrower output
  size_t kv_chunk = 0;        // keys per softmax state; 0: rescales every key
  double tiny = 0x1p-150;     // absolute error of an underflow; 2^-126 with FTZ

  double div() const { return 2 * u * div_ulp; }
  // Longest chain of additions that a term of an n-term sum passes.
  double Chain(size_t n) const;
  // Roundings that a term of an n-term dot product passes.
  double DotChain(size_t n) const { return Chain(n) + (fused ? 0.0 : 1.0); }
  // Times a term of attention's sums may be rescaled.
  double Rescales(size_t kv_len) const;
};

// The default profile of the cpu backend: 16 lanes, f64 norm sums, chunks of
// 256 keys.
const Profile& CpuStrictProfile();
// IEEE f32 in any order, an exp of 1 ulp: what a careful naive port does.
const Profile& AnyOrderF32Profile();

// n u / (1 - n u): the relative error of n successive roundings. Infinite when
// n u >= 1.
double Gamma(double n, double u);

// Values of one op in fp64, row-major without padding, and its magnitudes.
struct Oracle {
  std::vector<double> value;
  std::vector<std::vector<double>> c;  // [magnitude][element]
};

// sum_j kappa[j] * c[j], times 1 + 2^-19 for second-order terms and the
// oracle's own error (below 2^-20 of the bound).
std::vector<double> Combine(const Oracle& oracle,
                            std::span<const double> kappa);

}  // namespace etalon::reference

#endif  // ETALON_REFERENCE_BOUNDS_H_
