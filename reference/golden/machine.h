// A machine in software: how it rounds, sums, divides and exponentiates. What
// GPUs do is tried out here without one, and kernels with planted bugs run on
// it. Values are doubles that hold what the machine's registers would; a sum or
// product of two f32 rounded to f32 through double is rounded once (53 >= 2 *
// 24 + 2), an fma up to one in 2^29 cases.
#ifndef ETALON_REFERENCE_GOLDEN_MACHINE_H_
#define ETALON_REFERENCE_GOLDEN_MACHINE_H_

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "reference/bounds.h"

namespace etalon::golden {

enum class Rounding {
  kNone,
  kF32,
  kF32Truncate,
  kTf32,
  kF16,
  kBF16,
  kBF16Truncate
};
double Round(Rounding rounding, double x);

struct Machine {
  std::string name;
  Rounding op = Rounding::kF32;    // of one operation
  Rounding acc = Rounding::kF32;   // of additions inside products
  Rounding in = Rounding::kNone;   // of operands of float products
  Rounding p = Rounding::kNone;    // of attention's weights before P V
  Rounding out = Rounding::kNone;  // of results
  bool ftz = false;
  double exp_ulp = 0.5;  // error of exp beyond its rounding, see Exp
  double exp_ulp_per_x = 0.0;
  double div_ulp = 0.5;
  size_t lanes = 1;
  bool fused = false;
  size_t kv_chunk = 0;  // 0: online, key by key
  reference::QuantizedGrade grade = reference::QuantizedGrade::kBlock;
  bool f64_norm_sum = false;

  double R(double x) const { return Flush(Round(op, x)); }
  double A(double x) const { return Flush(Round(acc, x)); }
  double In(double x) const { return Flush(Round(in, x)); }
  double Out(double x) const { return Flush(Round(out, x)); }
  double Flush(double x) const {
    return ftz && x < 0x1p-126 && x > -0x1p-126 ? 0.0 : x;
  }
  // Off by a pseudo-random share of the allowed error.
  double Exp(double x) const;
  double Div(double a, double b) const;

  // term(i), i < n, in `lanes` partial sums.
  template <class F>
  double Sum(size_t n, const F& term) const {
    std::vector<double> lane(lanes, 0.0);
    for (size_t i = 0; i < n; ++i) {
      lane[i % lanes] = A(lane[i % lanes] + term(i));
    }
    return Fold(lane);
  }
  template <class F, class G>
  double Dot(size_t n, const F& a, const G& b) const {
    const bool exact = fused || in != Rounding::kNone;
    return Sum(n, [&](size_t i) {
      const double product = In(a(i)) * In(b(i));
      return exact ? product : R(product);
    });
  }

 private:
  double Fold(std::vector<double>& lane) const {
    for (size_t h = lanes / 2; h > 0; h /= 2) {
      for (size_t j = 0; j < h; ++j) lane[j] = A(lane[j] + lane[j + h]);
    }
    return lane[0];
  }
  double Perturb(double x, double ulps) const;
};

// Naive f32; strict's order; online with lanes; and each shipped profile's.
const Machine& NaiveMachine();
const Machine& StrictMachine();
struct EmulatedProfile {
  std::string profile;
  Machine machine;
};
const std::vector<EmulatedProfile>& EmulatedProfiles();

}  // namespace etalon::golden

#endif  // ETALON_REFERENCE_GOLDEN_MACHINE_H_
