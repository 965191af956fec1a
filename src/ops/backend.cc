#include "etalon/backend.h"

namespace etalon {

const Backend& CpuBackend() {
  static constexpr Backend kCpu = {
      .name = "cpu",
      .embedding = ops::Embedding,
      .rms_norm = ops::RmsNorm,
      .rope = ops::Rope,
      .gemm = ops::Gemm,
      .gemm_swiglu = ops::GemmSwiGlu,
      .kv_write = ops::KvWrite,
      .attention = ops::Attention,
      .swiglu = ops::SwiGlu,
      .add = ops::Add,
      .scale_rows = ops::ScaleRows,
      .softmax = ops::Softmax,
      .moe_router = ops::MoeRouter,
      .moe_ffn = ops::MoeFfn,
  };
  return kCpu;
}

}  // namespace etalon
