// A dense pre-norm block in fp64, stages rounded to f32: what every other
// layer (src/layer, a port's) is judged by. The order of the ops is written
// down here once more.
#ifndef ETALON_REFERENCE_LAYER_H_
#define ETALON_REFERENCE_LAYER_H_

#include "etalon/layer.h"
#include "reference/bounds.h"

namespace etalon::reference {

// The block's output for x [n_tokens, model_dim]. Caches are read up to
// state.pos and not written. C1 the tolerance, which depends on the profile;
// none without one. Experts, padding and q_scale: kUnsupported.
Expected<Oracle> LayerOracle(const layer::LayerConfig& config,
                             const layer::LayerWeights& weights,
                             const layer::LayerState& state,
                             const Span2D<const float>& x, const Profile* p);

// x = the block's output.
Status Layer(const layer::LayerConfig& config,
             const layer::LayerWeights& weights, const layer::LayerState& state,
             const Span2D<float>& x);

}  // namespace etalon::reference

#endif  // ETALON_REFERENCE_LAYER_H_
