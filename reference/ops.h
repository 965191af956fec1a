// The entries of ReferenceBackend(): each op's oracle, rounded to f32.
#ifndef ETALON_REFERENCE_OPS_H_
#define ETALON_REFERENCE_OPS_H_

#include "etalon/backend.h"

namespace etalon::reference {

Status Embedding(const EmbeddingArgs& args, ExecContext& ctx);
Status RmsNorm(const RmsNormArgs& args, ExecContext& ctx);
Status Rope(const RopeArgs& args, ExecContext& ctx);
Status Gemm(const GemmArgs& args, ExecContext& ctx);
Status KvWrite(const KvWriteArgs& args, ExecContext& ctx);
Status Attention(const AttentionArgs& args, ExecContext& ctx);
Status GemmSwiGlu(const GemmSwiGluArgs& args, ExecContext& ctx);
Status SwiGlu(const SwiGluArgs& args, ExecContext& ctx);
Status Add(const AddArgs& args, ExecContext& ctx);
Status ScaleRows(const ScaleRowsArgs& args, ExecContext& ctx);
Status Softmax(const SoftmaxArgs& args, ExecContext& ctx);
Status MoeRouter(const MoeRouterArgs& args, ExecContext& ctx);
Status MoeFfn(const MoeFfnArgs& args, ExecContext& ctx);

}  // namespace etalon::reference

#endif  // ETALON_REFERENCE_OPS_H_
