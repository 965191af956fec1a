// The args structs of etalon.h and those of the C++ headers, in both
// directions: a C caller reaches a C++ table and a C++ caller a port's C table.
#ifndef ETALON_CAPI_CONVERT_H_
#define ETALON_CAPI_CONVERT_H_

#include <vector>

#include "etalon/backend.h"
#include "etalon/etalon.h"

namespace etalon::capi {

// Pairs an args struct with its name in C.
#define ETALON_CAPI_OPS(X)       \
  X(embedding, EmbeddingArgs)    \
  X(rms_norm, RmsNormArgs)       \
  X(rope, RopeArgs)              \
  X(gemm, GemmArgs)              \
  X(gemm_swiglu, GemmSwiGluArgs) \
  X(kv_write, KvWriteArgs)       \
  X(attention, AttentionArgs)    \
  X(swiglu, SwiGluArgs)          \
  X(add, AddArgs)                \
  X(scale_rows, ScaleRowsArgs)   \
  X(softmax, SoftmaxArgs)        \
  X(moe_router, MoeRouterArgs)   \
  X(moe_ffn, MoeFfnArgs)

// Whatever the converted struct points to beside the caller's memory.
struct CppParts {
  std::vector<GemmPart> gemm;
};
struct CParts {
  std::vector<etalon_gemm_part> gemm;
};

// Errors name the field that C could get wrong and C++ could not: a NULL with
// a size, an unknown enumerator, a reserved field that is not 0.
#define ETALON_CAPI_DECLARE(op, Args)                                    \
  Expected<Args> ToCpp(const etalon_##op##_args* args, CppParts* parts); \
  Expected<etalon_##op##_args> ToC(const Args& args, CParts* parts);
ETALON_CAPI_OPS(ETALON_CAPI_DECLARE)
#undef ETALON_CAPI_DECLARE

}  // namespace etalon::capi

#endif  // ETALON_CAPI_CONVERT_H_
