#include "reference/golden/machine.h"

#include <bit>
#include <cmath>

#include "reference/exp.h"
#include "reference/formats.h"
#include "reference/golden/recipe.h"

namespace etalon::golden {
namespace {

// To `bits` significant bits, ties to even (or toward zero), as wide a range as
// f32's.
double ToBits(double x, int bits, bool truncate) {
  if (x == 0.0 || !std::isfinite(x)) return x;
  const int e = std::max(std::ilogb(x), -126);
  const double unit = std::ldexp(1.0, e - bits + 1);
  const double scaled = x / unit;
  const double rounded = truncate ? std::trunc(scaled) : std::nearbyint(scaled);
  // Beyond the largest f32 is infinity.
  return static_cast<double>(static_cast<float>(rounded * unit));
}

}  // namespace

double Round(Rounding rounding, double x) {
  switch (rounding) {
    case Rounding::kNone:
      return x;
    case Rounding::kF32:
      return static_cast<double>(static_cast<float>(x));
    case Rounding::kF32Truncate:
      return ToBits(x, 24, true);
    case Rounding::kTf32:
      return ToBits(x, 11, false);
    case Rounding::kF16:
      return reference::RoundedToF16(x);
    case Rounding::kBF16:
      return ToBits(x, 8, false);
    case Rounding::kBF16Truncate:
      return ToBits(x, 8, true);
  }
  return x;
}

double Machine::Perturb(double x, double ulps) const {
  if (!(ulps > 0.0) || !std::isfinite(x) || x == 0.0) return R(x);
  const auto bits = std::bit_cast<uint64_t>(x);
  const Words w = Philox4x32_10(
      {static_cast<uint32_t>(bits), static_cast<uint32_t>(bits >> 32), 1, 2},
      {3, 4});
  const double noise =
      (static_cast<double>(w[0]) * 0x1p-31 - 1.0) * 0.98 * ulps;
  const double ulp = std::ldexp(1.0, std::max(std::ilogb(x), -126) - 23);
  return R(x + noise * ulp);
}

double Machine::Exp(double x) const {
  const double ulps = exp_ulp + exp_ulp_per_x * std::min(std::abs(x), 104.0);
  return Perturb(reference::Exp(x), ulps - 0.5);
}

double Machine::Div(double a, double b) const {
  return Perturb(a / b, div_ulp - 0.5);
}

const Machine& NaiveMachine() {
  static const Machine machine = [] {
    Machine m;
    m.name = "naive f32";
    m.kv_chunk = size_t{1} << 40;
    return m;
  }();
  return machine;
}

const Machine& StrictMachine() {
  static const Machine machine = [] {
    Machine m;
    m.name = "16 lanes, fma, chunks of 256";
    m.lanes = 16;
    m.fused = true;
    m.kv_chunk = 256;
    m.f64_norm_sum = true;
    return m;
  }();
  return machine;
}

const std::vector<EmulatedProfile>& EmulatedProfiles() {
  static const std::vector<EmulatedProfile> all = [] {
    std::vector<EmulatedProfile> v;
    const auto add = [&](const char* profile, auto change) {
      Machine m;
      m.name = profile;
      change(m);
      v.push_back({profile, m});
    };
    add("cpu-strict", [](Machine& m) { m = StrictMachine(); });
    add("cpu-fast", [](Machine& m) {
      m = StrictMachine();
      m.lanes = 4;
      m.in = m.p = Rounding::kBF16;
      m.exp_ulp = 25;
      m.ftz = true;
    });
    add("cuda-f32", [](Machine& m) {
      m.lanes = 32;
      m.fused = true;
      m.exp_ulp = 2;
    });
    add("cuda-fast-math", [](Machine& m) {
      m.exp_ulp = 2;
      m.exp_ulp_per_x = 1.173;
      m.div_ulp = 2;
      m.ftz = true;
    });
    const auto tensor_core = [](Machine& m, Rounding in) {
      m.in = in;
      m.p = in;
      m.acc = Rounding::kF32Truncate;
      m.exp_ulp = 2;
      m.grade = reference::QuantizedGrade::kElement;
    };
    add("tf32", [&](Machine& m) { tensor_core(m, Rounding::kTf32); });
    add("f16-tensor", [&](Machine& m) { tensor_core(m, Rounding::kF16); });
    add("bf16-tensor", [&](Machine& m) { tensor_core(m, Rounding::kBF16); });
    add("metal-precise", [](Machine& m) {
      m.exp_ulp = 4;
      m.ftz = true;
      m.lanes = 32;
    });
    add("metal-fast", [](Machine& m) {
      m.exp_ulp = 3;
      m.exp_ulp_per_x = 2;
      m.div_ulp = 2.5;
      m.ftz = true;
      m.fused = true;
    });
    for (const char* profile : {"vulkan", "wgsl"}) {
      add(profile, [](Machine& m) {
        m.exp_ulp = 3;
        m.exp_ulp_per_x = 2;
        m.div_ulp = 2.5;
        m.ftz = true;
        m.lanes = 8;
      });
    }
    return v;
  }();
  return all;
}

}  // namespace etalon::golden
