// Attention once more, in two passes over the positions and without tiles:
// plain sequential f32, libm's exp, one thread (requirements B-80 and B-83).
// For whoever wants to see a difference between engines without ours in the
// way; same arguments, errors and masking as Attention. Sequential sums meet
// the same bound with longer chains, but the bits are those of this machine's
// libm.
#ifndef ETALON_OPS_ATTENTION_TWO_PASS_H_
#define ETALON_OPS_ATTENTION_TWO_PASS_H_

#include "etalon/attention.h"

namespace etalon::ops {

Status AttentionTwoPass(const AttentionArgs& args, ExecContext& ctx);

}  // namespace etalon::ops

#endif  // ETALON_OPS_ATTENTION_TWO_PASS_H_
