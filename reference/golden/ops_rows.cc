// Row-wise and element-wise ops.
#include <cmath>

#include "reference/golden/ops_tables.h"
#include "reference/oracle.h"

namespace etalon::golden::internal {
namespace {

using reference::Oracle;

Expected<RmsNormArgs> RmsNormOf(Operands& o) {
  RmsNormArgs args;
  ETALON_ASSIGN_OR_RETURN(args.x, o.Matrix("x"));
  ETALON_ASSIGN_OR_RETURN(args.weight, o.OptionalVector("weight"));
  ETALON_ASSIGN_OR_RETURN(args.eps, o.golden_case().Float("eps"));
  ETALON_ASSIGN_OR_RETURN(args.out, o.OutMatrix(0));
  return args;
}
Status RunRmsNorm(const Subject& s, Operands& o) {
  ETALON_ASSIGN_OR_RETURN(const RmsNormArgs args, RmsNormOf(o));
  return s.backend->rms_norm(args, *s.ctx);
}
Status ExpectRmsNorm(Operands& o, TensorFile& expected) {
  ETALON_ASSIGN_OR_RETURN(const RmsNormArgs args, RmsNormOf(o));
  ETALON_ASSIGN_OR_RETURN(const Oracle oracle, reference::RmsNormOracle(args));
  Emit("out", o.out(0).shape(), oracle, expected);
  return {};
}

Expected<SoftmaxArgs> SoftmaxOf(Operands& o) {
  SoftmaxArgs args;
  ETALON_ASSIGN_OR_RETURN(args.x, o.Matrix("x"));
  ETALON_ASSIGN_OR_RETURN(args.out, o.OutMatrix(0));
  return args;
}
Status RunSoftmax(const Subject& s, Operands& o) {
  ETALON_ASSIGN_OR_RETURN(const SoftmaxArgs args, SoftmaxOf(o));
  return s.backend->softmax(args, *s.ctx);
}
Status ExpectSoftmax(Operands& o, TensorFile& expected) {
  ETALON_ASSIGN_OR_RETURN(const SoftmaxArgs args, SoftmaxOf(o));
  ETALON_ASSIGN_OR_RETURN(const Oracle oracle, reference::SoftmaxOracle(args));
  Emit("out", o.out(0).shape(), oracle, expected);
  return {};
}

// The op rotates in place: x is copied to the output first.
Expected<RopeArgs> RopeOf(Operands& o) {
  RopeArgs args;
  ETALON_ASSIGN_OR_RETURN(const auto x, o.Heads("x"));
  ETALON_ASSIGN_OR_RETURN(args.x, o.OutHeads(0));
  if (args.x.n_tokens != x.n_tokens || args.x.n_heads != x.n_heads ||
      args.x.head_dim != x.head_dim) {
    return BadInput("case " + o.golden_case().id + ": out has not x's shape");
  }
  for (size_t t = 0; t < x.n_tokens; ++t) {
    for (size_t h = 0; h < x.n_heads; ++h) {
      for (size_t d = 0; d < x.head_dim; ++d) {
        args.x.at(t, h)[d] = x.at(t, h)[d];
      }
    }
  }
  ETALON_ASSIGN_OR_RETURN(args.positions, o.Ints("positions"));
  ETALON_ASSIGN_OR_RETURN(args.cos, o.Matrix("cos"));
  ETALON_ASSIGN_OR_RETURN(args.sin, o.Matrix("sin"));
  ETALON_ASSIGN_OR_RETURN(const std::string style,
                          o.golden_case().Text("style"));
  if (style != "half_split" && style != "interleaved") {
    return BadInput("case " + o.golden_case().id + ": unknown RoPE style");
  }
  args.style =
      style == "half_split" ? RopeStyle::kHalfSplit : RopeStyle::kInterleaved;
  return args;
}
Status RunRope(const Subject& s, Operands& o) {
  ETALON_ASSIGN_OR_RETURN(const RopeArgs args, RopeOf(o));
  return s.backend->rope(args, *s.ctx);
}
// Beside the oracle's magnitudes those of angles that a port makes itself:
// c3 = |angle y'|, y' the pair's other element (dy0 / d angle = -y1); c4 =
// |x0| + |x1|. The direction "angle" is dy by the angle's relative error.
Status ExpectRope(Operands& o, TensorFile& expected) {
  ETALON_ASSIGN_OR_RETURN(const RopeArgs args, RopeOf(o));
  ETALON_ASSIGN_OR_RETURN(Oracle oracle, reference::RopeOracle(args));
  const size_t half = args.cos.cols;
  const auto& x = args.x;
  ETALON_ASSIGN_OR_RETURN(const auto freq, o.Vector("freq"));
  ETALON_ASSIGN_OR_RETURN(const int64_t first_row,
                          o.golden_case().Int("first_position"));
  const double first_position = static_cast<double>(first_row);
  if (freq.size() != half) {
    return BadInput("case " + o.golden_case().id + ": freq has not cos's cols");
  }
  std::vector<double> g(oracle.value.size(), 0.0);
  oracle.c.resize(4, std::vector<double>(oracle.value.size(), 0.0));
  for (size_t t = 0; t < x.n_tokens; ++t) {
    for (size_t h = 0; h < x.n_heads; ++h) {
      const size_t first = (t * x.n_heads + h) * x.head_dim;
      for (size_t i = 0; i < half; ++i) {
        const bool split = args.style == RopeStyle::kHalfSplit;
        const size_t i0 = first + (split ? i : 2 * i);
        const size_t i1 = first + (split ? i + half : 2 * i + 1);
        const double angle =
            static_cast<double>(freq[i]) *
            (first_position + static_cast<double>(args.positions[t]));
        const float* head = x.at(t, h);
        g[i0] = -oracle.value[i1] * angle;
        g[i1] = oracle.value[i0] * angle;
        oracle.c[2][i0] = std::abs(g[i0]);
        oracle.c[2][i1] = std::abs(g[i1]);
        oracle.c[3][i0] = oracle.c[3][i1] =
            std::abs(static_cast<double>(head[i0 - first])) +
            std::abs(static_cast<double>(head[i1 - first]));
      }
    }
  }
  Emit("out", o.out(0).shape(), oracle, expected);
  std::vector<float> direction(g.begin(), g.end());
  expected.Add("out.g.angle", Tensor(DType::kF32, o.out(0).shape(),
                                     std::span<const float>(direction)));
  return {};
}

Expected<SwiGluArgs> SwiGluOf(Operands& o) {
  SwiGluArgs args;
  ETALON_ASSIGN_OR_RETURN(args.gate, o.Matrix("gate"));
  ETALON_ASSIGN_OR_RETURN(args.up, o.Matrix("up"));
  ETALON_ASSIGN_OR_RETURN(args.out, o.OutMatrix(0));
  return args;
}
Status RunSwiGlu(const Subject& s, Operands& o) {
  ETALON_ASSIGN_OR_RETURN(const SwiGluArgs args, SwiGluOf(o));
  return s.backend->swiglu(args, *s.ctx);
}
Status ExpectSwiGlu(Operands& o, TensorFile& expected) {
  ETALON_ASSIGN_OR_RETURN(const SwiGluArgs args, SwiGluOf(o));
  ETALON_ASSIGN_OR_RETURN(const Oracle oracle, reference::SwiGluOracle(args));
  Emit("out", o.out(0).shape(), oracle, expected);
  return {};
}

Expected<AddArgs> AddOf(Operands& o) {
  AddArgs args;
  ETALON_ASSIGN_OR_RETURN(args.a, o.Matrix("a"));
  ETALON_ASSIGN_OR_RETURN(args.b, o.Matrix("b"));
  ETALON_ASSIGN_OR_RETURN(args.out, o.OutMatrix(0));
  return args;
}
Status RunAdd(const Subject& s, Operands& o) {
  ETALON_ASSIGN_OR_RETURN(const AddArgs args, AddOf(o));
  return s.backend->add(args, *s.ctx);
}
Status ExpectAdd(Operands& o, TensorFile& expected) {
  ETALON_ASSIGN_OR_RETURN(const AddArgs args, AddOf(o));
  ETALON_ASSIGN_OR_RETURN(const Oracle oracle, reference::AddOracle(args));
  Emit("out", o.out(0).shape(), oracle, expected);
  return {};
}

Expected<ScaleRowsArgs> ScaleRowsOf(Operands& o) {
  ScaleRowsArgs args;
  ETALON_ASSIGN_OR_RETURN(args.x, o.Matrix("x"));
  ETALON_ASSIGN_OR_RETURN(args.scale, o.Vector("scale"));
  ETALON_ASSIGN_OR_RETURN(args.out, o.OutMatrix(0));
  return args;
}
Status RunScaleRows(const Subject& s, Operands& o) {
  ETALON_ASSIGN_OR_RETURN(const ScaleRowsArgs args, ScaleRowsOf(o));
  return s.backend->scale_rows(args, *s.ctx);
}
Status ExpectScaleRows(Operands& o, TensorFile& expected) {
  ETALON_ASSIGN_OR_RETURN(const ScaleRowsArgs args, ScaleRowsOf(o));
  ETALON_ASSIGN_OR_RETURN(const Oracle oracle,
                          reference::ScaleRowsOracle(args));
  Emit("out", o.out(0).shape(), oracle, expected);
  return {};
}

}  // namespace

std::vector<Op> RowOps() {
  return {{"rms_norm", RunRmsNorm, ExpectRmsNorm, {"row", "d"}},
          {"softmax", RunSoftmax, ExpectSoftmax, {"row", "i"}},
          {"rope", RunRope, ExpectRope, {"token", "head", "d"}},
          {"swiglu", RunSwiGlu, ExpectSwiGlu, {"row", "d"}},
          {"add", RunAdd, ExpectAdd, {"row", "d"}},
          {"scale_rows", RunScaleRows, ExpectScaleRows, {"row", "d"}}};
}

}  // namespace etalon::golden::internal
