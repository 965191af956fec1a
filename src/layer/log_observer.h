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

// The same for the scales of blocks: "[LAYER_DEBUG] wq                 Q4_K
// size=.. d=[-0.25, 0.5] nan=0 inf=0 dmin=[0, 0.25] nan=0 inf=0", dmin where
// the type has one. Types without scales: the size only.
std::string DescribeBlocks(std::string_view stage, const WeightMatrix& blocks);

// Each stage as a message of level info.
class LogObserver : public LayerObserver {
 public:
  void OnLayer(size_t layer) override;
  void OnBlocks(std::string_view stage, const WeightMatrix& blocks) override;
  void OnStage(std::string_view stage, Span2D<const float> values) override;
};

}  // namespace etalon::layer

#endif  // ETALON_LAYER_LOG_OBSERVER_H_
