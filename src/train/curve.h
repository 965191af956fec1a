// The loss over the steps, as a table and as a picture.
#ifndef ETALON_TRAIN_CURVE_H_
#define ETALON_TRAIN_CURVE_H_

#include <cstdint>
#include <span>
#include <string>

namespace etalon::train {

struct CurvePoint {
  uint64_t step = 0;       // steps done
  double train_loss = 0;   // of this step's batch, nats per token
  double valid_loss = -1;  // < 0: not measured at this step
  double gradient_norm = 0;
  double learning_rate = 0;
};

// "step,tokens,train_loss,valid_loss,gradient_norm,learning_rate" and one line
// per point.
std::string CurveCsv(std::span<const CurvePoint> curve,
                     uint64_t tokens_per_step);
// A self-contained picture: training loss (smoothed and raw), validation loss.
std::string CurveSvg(std::span<const CurvePoint> curve,
                     const std::string& title);

}  // namespace etalon::train

#endif  // ETALON_TRAIN_CURVE_H_
