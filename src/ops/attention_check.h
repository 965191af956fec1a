// What must hold before attention or a cache write touches memory.
#ifndef ETALON_OPS_ATTENTION_CHECK_H_
#define ETALON_OPS_ATTENTION_CHECK_H_

#include "etalon/attention.h"
#include "etalon/sdpa.h"

namespace etalon::ops {

// In the order that etalon/attention.h states. Ranges of addresses go from the
// first to the last element, gaps included.
Status CheckAttention(const AttentionArgs& args);
// All but the views' memory: extents, types, scale, variants.
Status CheckAttentionShapes(const AttentionArgs& args);
// The same, then, unless kv_len is 0, `probs`: null, alignment, strides, size,
// overlap.
Status CheckAttentionProbs(const AttentionProbsArgs& args);
// Adds the memory of the variant, checked.
class Inputs;
Status AddVariantInputs(const AttentionArgs& args, Inputs& in);
// As etalon/sdpa.h states.
Status CheckSdpa(const SdpaArgs& args);
Status CheckKvWrite(const KvWriteArgs& args);

}  // namespace etalon::ops

#endif  // ETALON_OPS_ATTENTION_CHECK_H_
