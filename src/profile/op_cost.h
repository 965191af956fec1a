// What an op has to do, from its arguments: the bytes it must move and the
// operations it must make, whatever the kernel. A roofline needs both.
//   streamed     weights as stored and the KV cache: each once a call
//   activations  f32 inputs and outputs, each once a call
//   operations   a multiplication, an addition, a division, an exp: one each
// Per op (M rows, N outputs, K inputs; d the head's width, n a row's):
//   gemm         2 M N K a part; + M N with a bias, + M N with a scale
//   gemm_swiglu  4 M N K + 4 M N
//   moe_ffn      per token and expert 6 N K + 4 N + 2 K; the weights of the
//                experts that are used, once
//   attention    4 d a visible key and query head, d the mean of the widths of
//                keys and values; the cache: the positions some token sees
//   rms_norm     4 an element;  rope 3 a rotated element;  swiglu 4;  add 1
//   scale_rows   1;  softmax and moe_router 4 an element;  others 0
#ifndef ETALON_PROFILE_OP_COST_H_
#define ETALON_PROFILE_OP_COST_H_

#include <array>
#include <cstdint>
#include <string>

#include "etalon/backend.h"

namespace etalon::profile {

enum class Op : uint8_t {
  kEmbedding,
  kRmsNorm,
  kRope,
  kGemm,
  kGemmSwiGlu,
  kKvWrite,
  kAttention,
  kSwiGlu,
  kAdd,
  kScaleRows,
  kSoftmax,
  kMoeRouter,
  kMoeFfn,
};
inline constexpr size_t kNumOps = 13;
const char* OpName(Op op);  // as in the table of ops

struct OpCost {
  double streamed = 0;
  double activations = 0;
  double operations = 0;

  double bytes() const { return streamed + activations; }
};

// Calls that are counted together: the same op on the same types and shapes.
struct OpKey {
  static constexpr size_t kMaxTypes = 4;
  Op op = Op::kAdd;
  bool many_rows = false;  // more than one token
  bool integer = false;    // products of quantised activations
  bool bf16 = false;       // products of f32 rounded to bf16
  uint8_t n_types = 0;     // distinct ones, in order of appearance
  std::array<TensorType, kMaxTypes> types{};
  size_t n = 0, k = 0;  // outputs of all parts, inputs; width else

  auto operator<=>(const OpKey&) const = default;
  std::string TypeText() const;   // "Q4_K+Q6_K", "F32"
  std::string ShapeText() const;  // "4096x1024", "1024"
};

struct OpCall {
  OpKey key;
  OpCost cost;
};

OpCall Describe(const EmbeddingArgs& args);
OpCall Describe(const RmsNormArgs& args);
OpCall Describe(const RopeArgs& args);
OpCall Describe(const GemmArgs& args);
OpCall Describe(const GemmSwiGluArgs& args);
OpCall Describe(const KvWriteArgs& args);
OpCall Describe(const AttentionArgs& args);
OpCall Describe(const SwiGluArgs& args);
OpCall Describe(const AddArgs& args);
OpCall Describe(const ScaleRowsArgs& args);
OpCall Describe(const SoftmaxArgs& args);
OpCall Describe(const MoeRouterArgs& args);
OpCall Describe(const MoeFfnArgs& args);

}  // namespace etalon::profile

#endif  // ETALON_PROFILE_OP_COST_H_
