// The rows of the table of ops, one function per group of files.
#ifndef ETALON_REFERENCE_GOLDEN_OPS_TABLES_H_
#define ETALON_REFERENCE_GOLDEN_OPS_TABLES_H_

#include <vector>

#include "reference/golden/ops.h"

namespace etalon::golden::internal {
std::vector<Op> RowOps();      // rms_norm, softmax, rope, swiglu, ...
std::vector<Op> FormatOps();   // dequantize, embedding, quantize_*
std::vector<Op> ProductOps();  // gemm, gemm_swiglu
std::vector<Op> ExpertOps();   // moe_router, moe_ffn
std::vector<Op> AttentionOps();
std::vector<Op> LayerOps();  // attention, kv_write
}  // namespace etalon::golden::internal

#endif  // ETALON_REFERENCE_GOLDEN_OPS_TABLES_H_
