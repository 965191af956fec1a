// What the reference hands out beside a value: the conditioning magnitudes from
// which a bound on anybody's error follows. A port declares a profile (how it
// computes); the tolerance of output element i is
//   B_i = sum_j kappa_j(profile, shape) * C_j[i],
// kappa_j being derived in docs/numerics.md, never tuned. Oracle and Tolerance
// functions of each op are declared in reference/oracle.h.
#ifndef ETALON_REFERENCE_BOUNDS_H_
#define ETALON_REFERENCE_BOUNDS_H_

#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace etalon::reference {

// How exactly quantised products treat the integers of a block.
enum class QuantizedGrade {
  kBlock,     // exact integers over a whole block, one conversion
  kSubBlock,  // exact integers over 32 elements
  kElement,   // dequantised, then a float product
};

// Relative errors are in units of 1, "ulp" in units of the last place of f32.
struct Profile {
  std::string name;
  double u = 0x1p-24;    // rounding of one multiply, add or fma
  double u_acc = 0.0;    // of an addition inside a product; 0: u
  size_t lanes = 1;      // partial sums of a reduction; 1: any order at all
  bool fused = false;    // products enter sums by fma, unrounded
  double exp_ulp = 1.0;  // error of exp(x): exp_ulp + exp_ulp_per_x * |x|
  double exp_ulp_per_x = 0.0;
  double tanh_ulp = 2.0;
  double div_ulp = 0.5;
  double rsqrt_ulp = 1.0;     // of 1 / sqrt, however it is made
  bool f64_norm_sum = false;  // RMSNorm sums squares in f64, rounds rstd once
  double u_p = 0.0;           // rounding of P before P * V
  double u_out = 0.0;         // rounding of a narrower output
  // Operands of float matrix products are rounded first: relative error,
  // absolute error (subnormals), largest finite operand.
  double u_in = 0.0;
  double in_tiny = 0.0;
  double in_max = std::numeric_limits<double>::infinity();
  QuantizedGrade quantized = QuantizedGrade::kBlock;
  // RoPE with angles of one's own: relative error of the angle, absolute error
  // of its sine and cosine.
  double angle_rel = 0.0;
  double trig_abs = 0.0;
  size_t kv_chunk = 0;     // keys per softmax state; 0: rescales every key
  double tiny = 0x1p-150;  // absolute error of an underflow; 2^-126 with FTZ
  // Sums of gradients are cut into chunks of so many terms, those of keys and
  // values over query tokens into blocks; 0: any order.
  size_t grad_chunk = 0;
  size_t grad_query_block = 0;

  // n roundings are taken to add up to lambda sqrt(n) u, lambda = 6 (Higham and
  // Mary, "A new approach to probabilistic rounding error analysis", 2019): no
  // bound, but what is beyond it is worth a warning.
  bool statistical = false;

  double div() const { return 2 * u * div_ulp; }
  double exp() const { return 2 * u * exp_ulp; }
  double exp_per_x() const { return 2 * u * exp_ulp_per_x; }
  double acc() const { return u_acc > 0.0 ? u_acc : u; }
  // Of the product of two rounded operands.
  double product_in() const { return 2 * u_in + u_in * u_in; }
  // Absolute error of a flushed operand or result; 0 where subnormals live.
  double ftz() const { return tiny > 0x1p-127 ? tiny : 0.0; }
  // Of a subnormal exp: its ulps are 2^-149.
  double exp_tiny() const { return (exp_ulp + 104 * exp_ulp_per_x) * 0x1p-149; }
  double operand_tiny() const { return 2 * in_tiny + ftz(); }
  // Relative error of n roundings of v each: Gamma, or its statistical size.
  double Accumulated(double n, double v) const;
  // Second-order terms, as a share of the bound: products of small relative
  // errors, and exp's error growing with |x| <= 104, squared.
  double slack() const { return 0x1p-19 + 4 * exp() + 256 * exp_per_x(); }
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
// Profile fast of the cpu backend: as strict, but float matrix products of
// attention on bf16 tiles, which round their operands and the weights of
// softmax, sum in any order and take what is below 2^-126 for 0.
const Profile& CpuFastProfile();
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

// (sum_j kappa[j] * c[j] + u_out |y|) (1 + slack): second-order terms and the
// oracle's own error (below 2^-20 of the bound).
std::vector<double> Combine(const Oracle& oracle, const Profile& profile,
                            std::span<const double> kappa);

}  // namespace etalon::reference

#endif  // ETALON_REFERENCE_BOUNDS_H_
