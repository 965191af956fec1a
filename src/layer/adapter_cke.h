// What the adapters of the block's forward and backward passes share.
#ifndef ETALON_LAYER_ADAPTER_CKE_H_
#define ETALON_LAYER_ADAPTER_CKE_H_

#include "etalon/layer_adapters.h"

namespace etalon::adapters::cke {

// Pointers and extents; without `tokens` for one token.
Status CheckLayer(std::string_view op, const LayerParams& p, bool one_token);

layer::LayerConfig ConfigOf(const LayerParams& p);

// Weights as the layer takes them. `flat_wo` [D][H * ad] receives the slabs of
// an f32 wo; matrices over the model width are views of their first D columns
// where they are not made of blocks.
layer::LayerWeights WeightsOf(const LayerParams& p, std::span<float> flat_wo);

// Rows rope_pos_offset, + 1, ... of the tables.
Status FillPositions(std::string_view op, const LayerParams& p,
                     std::span<int32_t> positions);

}  // namespace etalon::adapters::cke

#endif  // ETALON_LAYER_ADAPTER_CKE_H_
