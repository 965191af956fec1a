#include "reference/golden/emulator.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "reference/formats.h"
#include "reference/golden/emulator_kernels.h"
#include "reference/golden/layer_steps.h"

namespace etalon::golden {
namespace internal {

Tensor Emulation::Result(size_t i, const std::vector<double>& values) const {
  const Output& out = c.outputs[i];
  Tensor t(out.dtype, out.shape);
  for (size_t k = 0; k < std::min(values.size(), t.n()); ++k) {
    switch (out.dtype) {
      case DType::kF32:
        t.As<float>()[k] = static_cast<float>(values[k]);
        break;
      case DType::kF16:
        t.As<uint16_t>()[k] = reference::DoubleToF16(values[k]);
        break;
      case DType::kI32:
        t.As<int32_t>()[k] = static_cast<int32_t>(values[k]);
        break;
      case DType::kI8:
        t.As<int8_t>()[k] =
            static_cast<int8_t>(std::clamp(values[k], -128.0, 127.0));
        break;
      default:
        break;
    }
  }
  return t;
}

namespace {
struct Kernel {
  std::string_view op;
  std::vector<double> (*run)(const Emulation&);
};
constexpr Kernel kKernels[] = {
    {"rms_norm", EmulateRmsNorm},
    {"softmax", EmulateSoftmax},
    {"rope", EmulateRope},
    {"swiglu", EmulateSwiGlu},
    {"add", EmulateAdd},
    {"scale_rows", EmulateScaleRows},
    {"gemm", EmulateGemm},
    {"dequantize", EmulateDequantize},
    {"embedding", EmulateDequantize},
    {"attention", EmulateAttention},
    {"kv_write", EmulateKvWrite},
};
}  // namespace

}  // namespace internal

bool CanEmulate(const Case& c) {
  if (c.op == "attention") {
    // Windows, masks, sinks, gates and the like are parameters or inputs more.
    for (const auto& [name, value] : c.params) {
      if (name != "kv_len" && name != "causal" && name != "scale_bits") {
        return false;
      }
    }
    const Input* q = c.FindInput("q");
    const Input* k = c.FindInput("k");
    const Input* v = c.FindInput("v");
    return c.inputs.size() == 3 && q != nullptr && k != nullptr &&
           v != nullptr && q->shape.size() == 3 && k->shape.size() == 3 &&
           k->shape == v->shape && k->shape[2] == q->shape[2] &&
           k->dtype != DType::kU8 && v->dtype != DType::kU8;
  }
  return c.op == "layer" || c.op == "moe_router" || c.op == "quantize_q8_k" ||
         c.op == "quantize_q8_0" ||
         std::any_of(
             std::begin(internal::kKernels), std::end(internal::kKernels),
             [&](const internal::Kernel& kernel) { return kernel.op == c.op; });
}

Expected<TensorFile> Emulate(const Case& c, const Machine& machine,
                             std::string_view bug) {
  if (!CanEmulate(c)) {
    return InvalidArgument(fmt::format("{}: no emulated kernel", c.id));
  }
  const internal::Emulation e{c, machine, bug};
  TensorFile out;
  for (const auto& kernel : internal::kKernels) {
    if (kernel.op != c.op) continue;
    out.Add(c.outputs[0].name, e.Result(0, kernel.run(e)));
    return out;
  }
  if (c.op == "layer") {
    const auto step = [&](const Case& s) -> Expected<Tensor> {
      ETALON_ASSIGN_OR_RETURN(TensorFile made, Emulate(s, machine, bug));
      return std::move(made.tensors[0].second);
    };
    ETALON_ASSIGN_OR_RETURN(Tensor made, RunLayerSteps(c, step, bug));
    out.Add(c.outputs[0].name, std::move(made));
    return out;
  }
  std::vector<double> first;
  std::vector<double> second;
  if (c.op == "moe_router") {
    internal::EmulateRouter(e, first, second);
  } else {
    internal::EmulateQuantize(e, first, second);
  }
  out.Add(c.outputs[0].name, e.Result(0, first));
  out.Add(c.outputs[1].name, e.Result(1, second));
  return out;
}

}  // namespace etalon::golden
