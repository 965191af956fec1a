// What golden packs know of each op: how to run it on a backend, how to make
// its expected values, and which bound holds. A new op is one row of the table
// in ops.cc (docs/golden-packs.md, "Ops").
#ifndef ETALON_REFERENCE_GOLDEN_OPS_H_
#define ETALON_REFERENCE_GOLDEN_OPS_H_

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "etalon/backend.h"
#include "etalon/layer.h"
#include "reference/bounds.h"
#include "reference/golden/case.h"
#include "reference/golden/operands.h"
#include "reference/golden/profile.h"

namespace etalon::golden {

// Whoever is judged in this process: a backend, and the quantisers of
// activation rows, which no backend exports.
struct Subject {
  // Fills d [n / block] and q [n].
  using QuantizeRow = std::function<void(
      std::span<const float> x, std::span<float> d, std::span<int8_t> q)>;

  std::string name;
  const Backend* backend = nullptr;
  QuantizeRow quantize_q8_k;
  QuantizeRow quantize_q8_0;
  // A block in place, by its own order of the ops; empty: layers are not run.
  using RunLayer = std::function<Status(
      const layer::LayerConfig& config, const layer::LayerWeights& weights,
      const layer::LayerState& state, Span2D<float> x, ExecContext& ctx)>;
  RunLayer layer;
  ExecContext* ctx = nullptr;
};
// The fp64 reference; ctx is not used.
Subject ReferenceSubject();

struct Op {
  std::string_view name;
  // Runs the op on the operands' outputs.
  Status (*run)(const Subject& subject, Operands& operands);
  // Adds y, magnitudes, margins and sensitivities to `expected`.
  Status (*expect)(Operands& operands, TensorFile& expected);
  // Names of the axes of each output, for reports.
  std::vector<std::string> axes;
};
// nullptr: unknown.
const Op* FindOp(std::string_view name);
std::span<const Op> Ops();

// The outputs of a case, dense. Error kInvalidArgument names an output whose
// padding was written.
Expected<TensorFile> Run(const Case& c, const Subject& subject);

// Fills c.expected.
Status Expect(Case& c);

// B of every element of an output for a profile, from the case alone.
// `statistical`: what is worth a warning instead.
Expected<std::vector<double>> Bounds(const Case& c, const Output& output,
                                     const PortProfile& profile,
                                     bool statistical);

// Helpers of the ops_*.cc files.
namespace internal {
// NAME.y and NAME.c1, ...
void Emit(const std::string& name, const Shape& shape,
          const reference::Oracle& oracle, TensorFile& expected);
// f32, rounded up; one value for all elements or one per row of the last axis
// where they are all the same.
Tensor RoundedUp(std::span<const double> values, const Shape& shape);
// NAME.y and NAME.bound.PROFILE for every shipped profile, of an op whose
// oracle depends on the profile.
Status EmitStoredBounds(
    const Shape& shape,
    const std::function<Expected<reference::Oracle>(const reference::Profile&)>&
        oracle_of,
    const std::function<std::vector<double>(
        const reference::Oracle&, const reference::Profile&)>& tolerance_of,
    TensorFile& expected);
// The other way: one value per element. Error: neither n, n / last nor 1.
Expected<std::vector<double>> Expand(const Tensor& t, const Shape& shape,
                                     const std::string& name);
}  // namespace internal

}  // namespace etalon::golden

#endif  // ETALON_REFERENCE_GOLDEN_OPS_H_
