// Attention in profile fast: bf16 products for prefill.
#ifndef ETALON_OPS_ATTENTION_FAST_H_
#define ETALON_OPS_ATTENTION_FAST_H_

#include <cstddef>

#include "etalon/attention.h"

namespace etalon::ops {

// Whether these arguments, already checked, should take AttentionFast under
// this configuration: the profile asks for it (and strict_parity not for two
// passes), the active tier has bf16 products, and there are enough rows per kv
// head to fill them.
bool TakesAttentionFast(const AttentionArgs& args, const ExecContext& ctx);

// See simd/attention_bf16.h. Workspace: AttentionFastWorkspaceBytes.
Status AttentionFast(const AttentionArgs& args, ExecContext& ctx);

// Largest for up to n_tokens tokens, any n_kv_heads that divides n_heads.
size_t AttentionFastWorkspaceBytes(size_t n_tokens, size_t n_heads,
                                   size_t head_dim, int n_threads);

}  // namespace etalon::ops

#endif  // ETALON_OPS_ATTENTION_FAST_H_
