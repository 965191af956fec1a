// The dense block of etalon/layer.h in fp64: forward, backward, and the bound
// on a port's backward pass.
#ifndef ETALON_REFERENCE_BACKWARD_LAYER_H_
#define ETALON_REFERENCE_BACKWARD_LAYER_H_

#include <vector>

#include "reference/backward.h"
#include "reference/bounds.h"

namespace etalon::reference {

// Empty matrices: no bias, no QK-norm, no RoPE.
struct Layer {
  AttentionShape attention;
  double eps = 1e-5;
  bool interleaved = false;
  Matrix cos, sin;
  Matrix attn_norm, q, k, v, o, bq, bk, bv, bo, q_norm, k_norm;
  Matrix ffn_norm, gate, up, down, b_gate, b_up, b_down;

  // Every parameter, in one order for a layer and its gradient.
  std::vector<Matrix*> Parameters() {
    return {&attn_norm, &q,  &k,    &v,      &o,      &bq,
            &bk,        &bv, &bo,   &q_norm, &k_norm, &ffn_norm,
            &gate,      &up, &down, &b_gate, &b_up,   &b_down};
  }
};

// What the backward pass reads again.
struct LayerTape {
  Matrix x, h1, q_raw, k_raw, q, k, v, attn, x_mid, h2, gate, up, ffn, out;
};
LayerTape LayerForward(const Layer& layer, const Matrix& x);

struct LayerGradient {
  Matrix x;
  Layer parameters;
};
// On the tape of this forward pass or of a port's: given its own activations, a
// port's backward pass is judged alone.
LayerGradient LayerBackward(const Layer& layer, const LayerTape& tape,
                            const Matrix& d_y);
// The bound on a port's gradients on that tape, d_y exact: the bounds of the
// ops (reference/backward_bounds.h), each carrying the ones before it.
LayerGradient LayerBackwardBound(const Layer& layer, const LayerTape& tape,
                                 const Matrix& d_y, const Profile& profile);

}  // namespace etalon::reference

#endif  // ETALON_REFERENCE_BACKWARD_LAYER_H_
