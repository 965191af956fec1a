// Matrix products, and the gated feed-forward's first half.
#include "reference/golden/ops_tables.h"
#include "reference/oracle.h"

namespace etalon::golden::internal {
namespace {

using reference::Oracle;

Expected<Activations> ActivationsOf(const Case& c) {
  ETALON_ASSIGN_OR_RETURN(const std::string act, c.Text("act"));
  if (act == "f32") return Activations::kF32;
  if (act == "q8_k" || act == "q8_0") return Activations::kAuto;
  return BadInput("case " + c.id + ": unknown act " + act);
}

// "type_up" where gate and up differ.
std::string UpType(const Case& c) {
  return c.params.contains("type_up") ? "type_up" : "type";
}

// A factor that may be absent.
Expected<float> Factor(const Case& c, const std::string& name) {
  return c.params.contains(name + "_bits") ? c.Float(name) : 1.0f;
}

struct Product {
  GemmPart part;
  GemmArgs args() const { return {x, {&part, 1}, activations}; }
  Span2D<const float> x;
  Activations activations;
};
Expected<Product> GemmOf(Operands& o) {
  Product p;
  ETALON_ASSIGN_OR_RETURN(p.x, o.Matrix("x"));
  ETALON_ASSIGN_OR_RETURN(p.part.weights, o.Weights("w"));
  ETALON_ASSIGN_OR_RETURN(p.part.bias, o.OptionalVector("bias"));
  ETALON_ASSIGN_OR_RETURN(p.part.scale, o.golden_case().Float("scale"));
  ETALON_ASSIGN_OR_RETURN(p.part.out, o.OutMatrix(0));
  ETALON_ASSIGN_OR_RETURN(p.activations, ActivationsOf(o.golden_case()));
  return p;
}
Status RunGemm(const Subject& s, Operands& o) {
  ETALON_ASSIGN_OR_RETURN(const Product p, GemmOf(o));
  return s.backend->gemm(p.args(), *s.ctx);
}
Status ExpectGemm(Operands& o, TensorFile& expected) {
  ETALON_ASSIGN_OR_RETURN(const Product p, GemmOf(o));
  ETALON_ASSIGN_OR_RETURN(const Oracle oracle,
                          reference::GemmOracle(p.args(), 0));
  Emit("out", o.out(0).shape(), oracle, expected);
  return {};
}

Expected<GemmSwiGluArgs> GemmSwiGluOf(Operands& o) {
  GemmSwiGluArgs args;
  ETALON_ASSIGN_OR_RETURN(args.x, o.Matrix("x"));
  ETALON_ASSIGN_OR_RETURN(args.gate.weights, o.Weights("gate"));
  const Case& c = o.golden_case();
  ETALON_ASSIGN_OR_RETURN(args.up.weights, o.Weights("up", UpType(c)));
  ETALON_ASSIGN_OR_RETURN(args.gate.bias, o.OptionalVector("gate_bias"));
  ETALON_ASSIGN_OR_RETURN(args.up.bias, o.OptionalVector("up_bias"));
  ETALON_ASSIGN_OR_RETURN(args.gate.scale, Factor(c, "gate_scale"));
  ETALON_ASSIGN_OR_RETURN(args.up.scale, Factor(c, "up_scale"));
  ETALON_ASSIGN_OR_RETURN(args.out, o.OutMatrix(0));
  ETALON_ASSIGN_OR_RETURN(args.activations, ActivationsOf(o.golden_case()));
  return args;
}
Status RunGemmSwiGlu(const Subject& s, Operands& o) {
  ETALON_ASSIGN_OR_RETURN(const GemmSwiGluArgs args, GemmSwiGluOf(o));
  return s.backend->gemm_swiglu(args, *s.ctx);
}
Status ExpectGemmSwiGlu(Operands& o, TensorFile& expected) {
  ETALON_ASSIGN_OR_RETURN(const GemmSwiGluArgs args, GemmSwiGluOf(o));
  return EmitStoredBounds(
      o.out(0).shape(),
      [&](const reference::Profile& p) {
        return reference::GemmSwiGluOracle(args, p);
      },
      [](const Oracle& oracle, const reference::Profile& p) {
        const double one[] = {1.0};
        return Combine(oracle, p, one);
      },
      expected);
}

// The mixture of experts.
Expected<MoeFfnArgs> MoeFfnOf(Operands& o) {
  MoeFfnArgs args;
  ETALON_ASSIGN_OR_RETURN(args.x, o.Matrix("x"));
  ETALON_ASSIGN_OR_RETURN(args.experts, o.IntMatrix("experts"));
  ETALON_ASSIGN_OR_RETURN(args.weights, o.Matrix("weights"));
  ETALON_ASSIGN_OR_RETURN(args.gate, o.Experts("gate"));
  ETALON_ASSIGN_OR_RETURN(args.up, o.Experts("up", UpType(o.golden_case())));
  ETALON_ASSIGN_OR_RETURN(args.down, o.Experts("down", "type_down"));
  ETALON_ASSIGN_OR_RETURN(args.gate.scales, o.OptionalVector("gate_scales"));
  ETALON_ASSIGN_OR_RETURN(args.up.scales, o.OptionalVector("up_scales"));
  ETALON_ASSIGN_OR_RETURN(args.down.scales, o.OptionalVector("down_scales"));
  ETALON_ASSIGN_OR_RETURN(args.out, o.OutMatrix(0));
  ETALON_ASSIGN_OR_RETURN(args.activations, ActivationsOf(o.golden_case()));
  return args;
}
Status RunMoeFfn(const Subject& s, Operands& o) {
  ETALON_ASSIGN_OR_RETURN(const MoeFfnArgs args, MoeFfnOf(o));
  return s.backend->moe_ffn(args, *s.ctx);
}
Status ExpectMoeFfn(Operands& o, TensorFile& expected) {
  ETALON_ASSIGN_OR_RETURN(const MoeFfnArgs args, MoeFfnOf(o));
  return EmitStoredBounds(
      o.out(0).shape(),
      [&](const reference::Profile& p) {
        return reference::MoeFfnOracle(args, p);
      },
      [&](const Oracle& oracle, const reference::Profile& p) {
        return reference::MoeFfnTolerance(oracle, p, args.experts.cols);
      },
      expected);
}

}  // namespace

std::vector<Op> ProductOps() {
  return {{"gemm", RunGemm, ExpectGemm, {"row", "column"}},
          {"gemm_swiglu", RunGemmSwiGlu, ExpectGemmSwiGlu, {"row", "column"}},
          {"moe_ffn", RunMoeFfn, ExpectMoeFfn, {"token", "d"}}};
}

}  // namespace etalon::golden::internal
