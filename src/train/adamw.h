// AdamW (Loshchilov, Hutter 2019) with a global clip of the gradient's norm,
// and the learning rate's schedule: linear warm-up, then half a cosine down to
// a tenth. Elementwise in f32, norms in f64 over fixed pieces: the same bits on
// every tier and thread count.
//   g' = g * min(1, clip / |g|)
//   m = b1 m + (1 - b1) g',  v = b2 v + (1 - b2) g'^2
//   p = p (1 - lr decay) - lr (m / c1) / (sqrt(v / c2) + eps), c = 1 - b^t
// Matrices decay, vectors (norms) do not.
#ifndef ETALON_TRAIN_ADAMW_H_
#define ETALON_TRAIN_ADAMW_H_

#include <cstdint>
#include <span>
#include <vector>

#include "train/net.h"

namespace etalon::train {

struct AdamWOptions {
  float learning_rate = 1e-3f;
  float min_ratio = 0.1f;  // of the learning rate, at the end
  size_t warmup_steps = 100;
  float beta1 = 0.9f;
  float beta2 = 0.95f;
  float eps = 1e-8f;
  float weight_decay = 0.1f;
  float clip = 1.0f;
};

// Of step 0, 1, ..., n_steps - 1.
float LearningRate(const AdamWOptions& options, size_t step, size_t n_steps);

struct AdamWState {
  std::vector<float> m, v;  // as Net::values()
};

// Step `step` (from 0) with the net's gradients, which it leaves alone. Returns
// their norm before clipping; a norm that is not finite changes nothing.
double AdamWUpdate(const AdamWOptions& options, size_t step, float rate,
                   Net& net, AdamWState& state, int n_threads);

}  // namespace etalon::train

#endif  // ETALON_TRAIN_ADAMW_H_
