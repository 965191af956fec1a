// Attention twice more, row by row without tiles: plain sequential f32 on one
// thread. Same arguments, errors and masking as Attention.
#ifndef ETALON_OPS_ATTENTION_TWO_PASS_H_
#define ETALON_OPS_ATTENTION_TWO_PASS_H_

#include "etalon/attention.h"

namespace etalon::ops {

// Two passes over the positions, libm's exp (requirements B-80 and B-83). For
// whoever wants to see a difference between engines without ours in the way.
// Sequential sums meet the same bound with longer chains, but the bits are
// those of this machine's libm. Precondition: CheckAttention.
Status AttentionTwoPass(const AttentionArgs& args, ExecContext& ctx);

}  // namespace etalon::ops

#endif  // ETALON_OPS_ATTENTION_TWO_PASS_H_
