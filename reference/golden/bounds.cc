// Which formula of the reference bounds an output, and its sizes.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "reference/formats.h"
#include "reference/golden/ops.h"
#include "reference/oracle.h"

namespace etalon::golden {
namespace {

using reference::Oracle;
using reference::Profile;

Expected<Oracle> StoredOracle(const Case& c, const Output& out) {
  const std::string name = c.id + ": " + out.name;
  const Tensor* y = c.expected.Find(out.name + ".y");
  if (y == nullptr || y->dtype != DType::kF64 || y->shape != out.shape) {
    return BadInput(fmt::format("case {}.y: missing or not F64 {}", name,
                                ShapeText(out.shape)));
  }
  Oracle oracle;
  oracle.value.assign(y->As<double>().begin(), y->As<double>().end());
  for (int j = 1;; ++j) {
    const std::string c_name = fmt::format("{}.c{}", out.name, j);
    const Tensor* t = c.expected.Find(c_name);
    if (t == nullptr) break;
    ETALON_ASSIGN_OR_RETURN(
        auto values,
        internal::Expand(*t, out.shape, "case " + c.id + ": " + c_name));
    oracle.c.push_back(std::move(values));
  }
  return oracle;
}

Status WantMagnitudes(const Case& c, const Output& out, const Oracle& oracle,
                      size_t n) {
  if (oracle.c.size() == n) return {};
  return BadInput(fmt::format("case {}: {} has {} magnitudes, bound {} has {}",
                              c.id, out.name, oracle.c.size(), out.bound, n));
}

Expected<size_t> LastExtent(const Case& c, std::string_view input) {
  ETALON_ASSIGN_OR_RETURN(const Input* i, c.GetInput(input));
  if (i->shape.empty() || i->shape.back() == 0) {
    return BadInput(fmt::format("case {}: {} is empty", c.id, input));
  }
  return i->shape.back();
}

Expected<std::vector<double>> StoredBound(const Case& c, const Output& out,
                                          const PortProfile& profile) {
  const std::string name = out.name + ".bound." + profile.bound_of;
  const Tensor* t = c.expected.Find(name);
  if (t == nullptr) {
    return BadInput(fmt::format(
        "case {}: no {}; name a shipped profile in bound_of", c.id, name));
  }
  return internal::Expand(*t, out.shape, "case " + c.id + ": " + name);
}

TensorType TypeOf(const std::string& name) {
  for (const TensorType t :
       {TensorType::kQ4_0, TensorType::kQ4_1, TensorType::kQ5_0,
        TensorType::kQ5_1, TensorType::kQ8_0, TensorType::kQ4_K,
        TensorType::kQ5_K, TensorType::kQ6_K}) {
    if (reference::FormatName(t) == name) return t;
  }
  return TensorType::kF32;
}

}  // namespace

Expected<std::vector<double>> Bounds(const Case& c, const Output& out,
                                     const PortProfile& profile,
                                     bool statistical) {
  if (out.bound == "stored") return StoredBound(c, out, profile);
  Profile p = profile.p;
  p.statistical = statistical;
  ETALON_ASSIGN_OR_RETURN(const Oracle oracle, StoredOracle(c, out));
  const std::string& b = out.bound;
  const auto want = [&](size_t n) { return WantMagnitudes(c, out, oracle, n); };
  if (b == "gemm_f32" || b == "gemm_quantized") {
    const bool quantized = b == "gemm_quantized";
    ETALON_RETURN_IF_ERROR(want(quantized ? 7 : 4));
    ETALON_ASSIGN_OR_RETURN(const size_t k, LastExtent(c, "x"));
    ETALON_ASSIGN_OR_RETURN(const std::string type, c.Text("type"));
    if (quantized && TypeOf(type) == TensorType::kF32) {
      return BadInput(
          fmt::format("case {}: type {} is no block type", c.id, type));
    }
    return reference::GemmTolerance(oracle, p, TypeOf(type), k, quantized);
  }
  if (b == "rms_norm") {
    ETALON_RETURN_IF_ERROR(want(3));
    ETALON_ASSIGN_OR_RETURN(const size_t n, LastExtent(c, "x"));
    return reference::RmsNormTolerance(oracle, p, n);
  }
  if (b == "softmax") {
    ETALON_RETURN_IF_ERROR(want(3));
    ETALON_ASSIGN_OR_RETURN(const size_t n, LastExtent(c, "x"));
    return reference::SoftmaxTolerance(oracle, p, n);
  }
  if (b == "rope") {
    ETALON_RETURN_IF_ERROR(want(4));
    return reference::RopeTolerance(oracle, p);
  }
  if (b == "swiglu") {
    ETALON_RETURN_IF_ERROR(want(4));
    return reference::SwiGluTolerance(oracle, p);
  }
  if (b == "add") {
    ETALON_RETURN_IF_ERROR(want(2));
    return reference::AddTolerance(oracle, p);
  }
  if (b == "scale_rows") {
    ETALON_RETURN_IF_ERROR(want(2));
    return reference::ScaleRowsTolerance(oracle, p);
  }
  if (b == "attention" || b == "attention_variant") {
    const bool gated = b == "attention_variant" && oracle.c.size() == 18;
    if (!gated) ETALON_RETURN_IF_ERROR(want(b == "attention" ? 9 : 15));
    ETALON_ASSIGN_OR_RETURN(const size_t d, LastExtent(c, "q"));
    ETALON_ASSIGN_OR_RETURN(const int64_t kv_len, c.Int("kv_len"));
    if (kv_len < 0) {
      return BadInput(fmt::format("case {}: kv_len is {}", c.id, kv_len));
    }
    return reference::AttentionTolerance(oracle, p, d,
                                         static_cast<size_t>(kv_len));
  }
  if (b == "router_weights") {
    ETALON_RETURN_IF_ERROR(want(3));
    ETALON_ASSIGN_OR_RETURN(const size_t n, LastExtent(c, "logits"));
    const double n_used = static_cast<double>(out.shape.back());
    const double kappa[] = {
        4 * p.exp() + 2 * p.Accumulated(p.Chain(n) + 1, p.u) +
            p.Accumulated(n_used + 1, p.u) + 3 * p.div() + 3 * p.u,
        p.u + p.exp_per_x(), 4 * p.tiny + p.exp_tiny()};
    return Combine(oracle, p, kappa);
  }
  if (b == "scales") {
    ETALON_RETURN_IF_ERROR(want(1));
    const double inexact = std::max(0.0, p.div_ulp - 0.5);
    std::vector<double> bound;
    for (size_t i = 0; i < oracle.value.size(); ++i) {
      bound.push_back(8 * p.u * inexact * std::abs(oracle.value[i]) +
                      (inexact > 0.0 ? oracle.c[0][i] : 0.0));
    }
    return bound;
  }
  return BadInput(
      fmt::format("case {}: {}: unknown bound \"{}\"", c.id, out.name, b));
}

namespace internal {

Status EmitStoredBounds(
    const Shape& shape,
    const std::function<Expected<Oracle>(const Profile&)>& oracle_of,
    const std::function<std::vector<double>(const Oracle&, const Profile&)>&
        tolerance_of,
    TensorFile& expected) {
  bool first = true;
  for (const ShippedProfile& shipped : ShippedProfiles()) {
    ETALON_ASSIGN_OR_RETURN(const PortProfile profile,
                            FindShippedProfile(shipped.name));
    ETALON_ASSIGN_OR_RETURN(const Oracle oracle, oracle_of(profile.p));
    if (first) {
      expected.Add("out.y", Tensor(DType::kF64, shape,
                                   std::span<const double>(oracle.value)));
    }
    first = false;
    const std::vector<double> bound = tolerance_of(oracle, profile.p);
    expected.Add("out.bound." + profile.p.name, RoundedUp(bound, shape));
  }
  return {};
}

}  // namespace internal

}  // namespace etalon::golden
