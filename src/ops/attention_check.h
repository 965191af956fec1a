// What must hold before attention or a cache write touches memory.
#ifndef ETALON_OPS_ATTENTION_CHECK_H_
#define ETALON_OPS_ATTENTION_CHECK_H_

#include "etalon/attention.h"

namespace etalon::ops {

// In this order: head_dim, n_heads, n_kv_heads and their ratio, n_tokens,
// kv_len, kv_capacity, causal length, scale, types, shapes that disagree, then
// per view null data, alignment, strides and size, and last that `out` overlaps
// no input (by address range: first to last element, gaps included).
Status CheckAttention(const AttentionArgs& args);
Status CheckKvWrite(const KvWriteArgs& args);

}  // namespace etalon::ops

#endif  // ETALON_OPS_ATTENTION_CHECK_H_
