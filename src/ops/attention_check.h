// What must hold before attention or a cache write touches memory.
#ifndef ETALON_OPS_ATTENTION_CHECK_H_
#define ETALON_OPS_ATTENTION_CHECK_H_

#include "etalon/attention.h"

namespace etalon::ops {

// In the order that etalon/attention.h states. Ranges of addresses go from the
// first to the last element, gaps included.
Status CheckAttention(const AttentionArgs& args);
// The same, then `probs`: null, alignment, strides, size, overlap.
Status CheckAttentionProbs(const AttentionProbsArgs& args);
Status CheckKvWrite(const KvWriteArgs& args);

}  // namespace etalon::ops

#endif  // ETALON_OPS_ATTENTION_CHECK_H_
