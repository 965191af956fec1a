// ETALON_LAYER_DEBUG: one line per stage of a block, with the range of its
// values or how many are NaN or infinite (requirement B-82).
#ifndef ETALON_LAYER_LOG_OBSERVER_H_
#define ETALON_LAYER_LOG_OBSERVER_H_

#include <string>

#include "etalon/layer.h"

namespace etalon::layer {

// "[LAYER_DEBUG] ln1_out                        size=512 range=[-1.5, 2]", or
// "... size=512 nan=1 inf=0".
std::string DescribeStage(std::string_view stage, Span2D<const float> values);

// Each stage as a message of level info.
class LogObserver : public LayerObserver {
 public:
  void OnStage(std::string_view stage, Span2D<const float> values) override;
};

}  // namespace etalon::layer

#endif  // ETALON_LAYER_LOG_OBSERVER_H_
