#include "reference/bounds.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace etalon::reference {

double Profile::Chain(size_t n) const {
  const size_t per_lane = (n + lanes - 1) / lanes;
  const double folds = std::ceil(std::log2(static_cast<double>(lanes)));
  return std::min(static_cast<double>(n),
                  static_cast<double>(per_lane) + folds);
}

double Profile::Rescales(size_t kv_len) const {
  if (kv_chunk == 0) return static_cast<double>(kv_len);
  return static_cast<double>((kv_len + kv_chunk - 1) / kv_chunk);
}

const Profile& CpuStrictProfile() {
  static const Profile profile = [] {
    Profile p;
    p.name = "cpu-strict";
    p.lanes = 16;
    p.fused = true;
    p.f64_norm_sum = true;
    p.kv_chunk = 256;
    p.grad_chunk = 256;
    p.grad_query_block = 64;
    return p;
  }();
  return profile;
}

const Profile& CpuFastProfile() {
  static const Profile profile = [] {
    Profile p = CpuStrictProfile();
    p.name = "cpu-fast";
    p.lanes = 1;
    p.exp_ulp = 25.0;
    p.u_in = p.u_p = 0x1p-8;
    // Queries are rounded after they were scaled, by 2^-16 to 2^16.
    p.in_max = 0x1.fep110;
    p.in_tiny = 0x1p-109;
    p.tiny = 0x1p-126;
    return p;
  }();
  return profile;
}

const Profile& AnyOrderF32Profile() {
  static const Profile profile = [] {
    Profile p;
    p.name = "f32-any-order";
    return p;
  }();
  return profile;
}

double Gamma(double n, double u) {
  if (!(n * u < 1.0)) return std::numeric_limits<double>::infinity();
  return n * u / (1.0 - n * u);
}

double Profile::Accumulated(double n, double v) const {
  const double gamma = Gamma(n, v);
  return statistical ? std::min(gamma, 6.0 * std::sqrt(n) * v) : gamma;
}

std::vector<double> Combine(const Oracle& oracle, const Profile& profile,
                            std::span<const double> kappa) {
  std::vector<double> bound(oracle.value.size(), 0.0);
  const size_t n = std::min(kappa.size(), oracle.c.size());
  for (size_t j = 0; j < n; ++j) {
    if (kappa[j] == 0.0) continue;
    for (size_t i = 0; i < bound.size(); ++i) {
      bound[i] += kappa[j] * oracle.c[j][i];
    }
  }
  for (size_t i = 0; i < bound.size(); ++i) {
    // 0 times an infinite value is no bound.
    if (profile.u_out > 0.0) {
      bound[i] += profile.u_out * std::abs(oracle.value[i]);
    }
    bound[i] *= 1.0 + profile.slack();
  }
  return bound;
}

}  // namespace etalon::reference
