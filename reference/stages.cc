#include "reference/stages.h"

#include <cmath>

#include "reference/oracle.h"

namespace etalon::reference {
namespace {

std::vector<float> Round(const std::vector<double>& v) {
  std::vector<float> out;
  out.reserve(v.size());
  for (const double x : v) out.push_back(static_cast<float>(x));
  return out;
}

}  // namespace

void Stage::AddRounding(const std::vector<double>& exact, double u) {
  for (size_t i = 0; i < exact.size(); ++i) {
    error[i] += u * std::abs(exact[i]) + 0x1p-150;
  }
}

Expected<Stage> Multiply(const Span2D<const float>& x, const WeightMatrix& w,
                         double scale, Activations activations,
                         const Profile* p, std::span<const float> bias) {
  std::vector<float> shape(x.rows * w.rows);
  const GemmPart part = {
      w, bias, {shape.data(), x.rows, w.rows}, static_cast<float>(scale)};
  const GemmArgs args = {x, {&part, 1}, activations};
  ETALON_ASSIGN_OR_RETURN(const Oracle oracle,
                          GemmOracle(args, 0, p != nullptr));
  Stage stage{Round(oracle.value), {}};
  if (p != nullptr) {
    stage.error = GemmTolerance(oracle, *p, w, activations);
    stage.AddRounding(oracle.value, 0x1p-24);
  }
  return stage;
}

Expected<Stage> Activate(const Stage& gate, const Stage& up, size_t rows,
                         size_t cols, const Profile* p) {
  std::vector<float> shape(rows * cols);
  const SwiGluArgs args = {{gate.value.data(), rows, cols},
                           {up.value.data(), rows, cols},
                           {shape.data(), rows, cols}};
  ETALON_ASSIGN_OR_RETURN(const Oracle oracle, SwiGluOracle(args));
  Stage stage{Round(oracle.value), {}};
  if (p != nullptr) {
    stage.error = SwiGluTolerance(oracle, *p);
    for (size_t i = 0; i < stage.error.size(); ++i) {
      const double u = std::abs(static_cast<double>(up.value[i]));
      const double silu = u == 0.0
                              ? std::abs(static_cast<double>(gate.value[i]))
                              : std::abs(oracle.value[i]) / u;
      // |silu'| < 1.1 everywhere.
      const double inherited =
          1.1 * gate.error[i] * (u + up.error[i]) + silu * up.error[i];
      stage.error[i] += inherited * (1.0 + 16 * p->u);
    }
    stage.AddRounding(oracle.value, 0x1p-24);
  }
  return stage;
}

}  // namespace etalon::reference
