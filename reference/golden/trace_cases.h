// Cases from the arguments of a call: inputs copied before it, outputs after.
#ifndef ETALON_REFERENCE_GOLDEN_TRACE_CASES_H_
#define ETALON_REFERENCE_GOLDEN_TRACE_CASES_H_

#include <span>
#include <vector>

#include "etalon/backend.h"
#include "reference/golden/case.h"

namespace etalon::golden::internal {

// One case per output matrix of the call. Error kUnsupported: something that
// no pack describes.
Expected<std::vector<Case>> CasesOf(const EmbeddingArgs& args);
Expected<std::vector<Case>> CasesOf(const RmsNormArgs& args);
Expected<std::vector<Case>> CasesOf(const RopeArgs& args);
Expected<std::vector<Case>> CasesOf(const GemmArgs& args);
Expected<std::vector<Case>> CasesOf(const GemmSwiGluArgs& args);
Expected<std::vector<Case>> CasesOf(const KvWriteArgs& args);
Expected<std::vector<Case>> CasesOf(const AttentionArgs& args);
Expected<std::vector<Case>> CasesOf(const SwiGluArgs& args);
Expected<std::vector<Case>> CasesOf(const AddArgs& args);
Expected<std::vector<Case>> CasesOf(const ScaleRowsArgs& args);
Expected<std::vector<Case>> CasesOf(const SoftmaxArgs& args);
Expected<std::vector<Case>> CasesOf(const MoeRouterArgs& args);
Expected<std::vector<Case>> CasesOf(const MoeFfnArgs& args);

// The outputs of case number i of the call, once it has run, and where the
// first of them lies.
struct CallOutput {
  const void* address = nullptr;
  TensorFile tensors;
};
CallOutput OutputOf(const EmbeddingArgs& args, size_t i);
CallOutput OutputOf(const RmsNormArgs& args, size_t i);
CallOutput OutputOf(const RopeArgs& args, size_t i);
CallOutput OutputOf(const GemmArgs& args, size_t i);
CallOutput OutputOf(const GemmSwiGluArgs& args, size_t i);
CallOutput OutputOf(const KvWriteArgs& args, size_t i);
CallOutput OutputOf(const AttentionArgs& args, size_t i);
CallOutput OutputOf(const SwiGluArgs& args, size_t i);
CallOutput OutputOf(const AddArgs& args, size_t i);
CallOutput OutputOf(const ScaleRowsArgs& args, size_t i);
CallOutput OutputOf(const SoftmaxArgs& args, size_t i);
CallOutput OutputOf(const MoeRouterArgs& args, size_t i);
CallOutput OutputOf(const MoeFfnArgs& args, size_t i);

}  // namespace etalon::golden::internal

#endif  // ETALON_REFERENCE_GOLDEN_TRACE_CASES_H_
