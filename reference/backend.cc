#include "etalon/backend.h"

#include "reference/ops.h"

namespace etalon {

const Backend& ReferenceBackend() {
  static constexpr Backend kBackend = {
      .name = "reference",
      .embedding = reference::Embedding,
      .rms_norm = reference::RmsNorm,
      .rope = reference::Rope,
      .gemm = reference::Gemm,
      .gemm_swiglu = reference::GemmSwiGlu,
      .kv_write = reference::KvWrite,
      .attention = reference::Attention,
      .swiglu = reference::SwiGlu,
      .add = reference::Add,
      .scale_rows = reference::ScaleRows,
      .softmax = reference::Softmax,
      .moe_router = reference::MoeRouter,
      .moe_ffn = reference::MoeFfn,
  };
  return kBackend;
}

}  // namespace etalon
