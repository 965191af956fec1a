// Stages of a chain of ops: values rounded to f32, and how far a port's may be
// from them. Shared by the gated feed-forward and the mixture of experts.
#ifndef ETALON_REFERENCE_STAGES_H_
#define ETALON_REFERENCE_STAGES_H_

#include <span>
#include <vector>

#include "etalon/gemm.h"
#include "etalon/status.h"
#include "reference/bounds.h"

namespace etalon::reference {

struct Stage {
  std::vector<float> value;
  std::vector<double> error;  // empty without a profile

  // The reference's own rounding of `exact` to f32.
  void AddRounding(const std::vector<double>& exact, double u);
};

// x W^T * scale, [x.rows, w.rows]. p null: no errors.
Expected<Stage> Multiply(const Span2D<const float>& x, const WeightMatrix& w,
                         double scale, Activations activations,
                         const Profile* p, std::span<const float> bias = {});

// silu(gate) * up with the errors of both.
Expected<Stage> Activate(const Stage& gate, const Stage& up, size_t rows,
                         size_t cols, const Profile* p);

}  // namespace etalon::reference

#endif  // ETALON_REFERENCE_STAGES_H_
