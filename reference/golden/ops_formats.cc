// Ops whose results are exact: dequantisation, and the quantisation of
// activation rows (exact too where division is IEEE's).
#include <numeric>

#include "reference/formats.h"
#include "reference/golden/ops_tables.h"
#include "reference/oracle.h"
#include "reference/quantize.h"

namespace etalon::golden::internal {
namespace {

using reference::Oracle;

// The correctly rounded f32.
Status EmitExact(const EmbeddingArgs& args, const Shape& shape,
                 TensorFile& expected) {
  ETALON_ASSIGN_OR_RETURN(const Oracle oracle,
                          reference::EmbeddingOracle(args));
  const std::vector<float> y(oracle.value.begin(), oracle.value.end());
  expected.Add("out.y", Tensor(DType::kF32, shape, std::span<const float>(y)));
  return {};
}

Expected<EmbeddingArgs> EmbeddingOf(Operands& o) {
  EmbeddingArgs args;
  ETALON_ASSIGN_OR_RETURN(args.table, o.Weights("w"));
  ETALON_ASSIGN_OR_RETURN(args.tokens, o.Ints("tokens"));
  ETALON_ASSIGN_OR_RETURN(args.out, o.OutMatrix(0));
  return args;
}
Status RunEmbedding(const Subject& s, Operands& o) {
  ETALON_ASSIGN_OR_RETURN(const EmbeddingArgs args, EmbeddingOf(o));
  return s.backend->embedding(args, *s.ctx);
}
Status ExpectEmbedding(Operands& o, TensorFile& expected) {
  ETALON_ASSIGN_OR_RETURN(const EmbeddingArgs args, EmbeddingOf(o));
  return EmitExact(args, o.out(0).shape(), expected);
}

// All rows of a matrix: the embedding of 0, 1, 2, ...
Expected<EmbeddingArgs> DequantizeOf(Operands& o, std::vector<int32_t>& rows) {
  EmbeddingArgs args;
  ETALON_ASSIGN_OR_RETURN(args.table, o.Weights("w"));
  rows.resize(args.table.rows);
  std::iota(rows.begin(), rows.end(), 0);
  args.tokens = rows;
  ETALON_ASSIGN_OR_RETURN(args.out, o.OutMatrix(0));
  return args;
}
Status RunDequantize(const Subject& s, Operands& o) {
  std::vector<int32_t> rows;
  ETALON_ASSIGN_OR_RETURN(const EmbeddingArgs args, DequantizeOf(o, rows));
  return s.backend->embedding(args, *s.ctx);
}
Status ExpectDequantize(Operands& o, TensorFile& expected) {
  std::vector<int32_t> rows;
  ETALON_ASSIGN_OR_RETURN(const EmbeddingArgs args, DequantizeOf(o, rows));
  return EmitExact(args, o.out(0).shape(), expected);
}

template <size_t kBlock>
Status CheckQuantize(Operands& o, const Span2D<const float>& x) {
  const Case& c = o.golden_case();
  if (c.outputs.size() != 2 || c.outputs[0].dtype != DType::kF32 ||
      c.outputs[1].dtype != DType::kI8 || x.cols % kBlock != 0 ||
      c.outputs[0].shape != Shape{x.rows, x.cols / kBlock} ||
      c.outputs[1].shape != Shape{x.rows, x.cols} || c.outputs[0].layout ||
      c.outputs[1].layout) {
    return BadInput("case " + c.id + ": outputs do not fit x");
  }
  return {};
}

template <size_t kBlock>
Status RunQuantize(const Subject& s, Operands& o) {
  ETALON_ASSIGN_OR_RETURN(const auto x, o.Matrix("x"));
  ETALON_RETURN_IF_ERROR(CheckQuantize<kBlock>(o, x));
  const auto& quantize = kBlock == 256 ? s.quantize_q8_k : s.quantize_q8_0;
  if (!quantize) {
    return Fail(ErrorCode::kUnsupported, s.name + " quantises no activations");
  }
  auto* d = reinterpret_cast<float*>(o.out(0).data());
  auto* q = reinterpret_cast<int8_t*>(o.out(1).data());
  const size_t blocks = x.cols / kBlock;
  for (size_t r = 0; r < x.rows; ++r) {
    quantize(x.row(r), {d + r * blocks, blocks}, {q + r * x.cols, x.cols});
  }
  return {};
}

template <size_t kBlock>
Status ExpectQuantize(Operands& o, TensorFile& expected) {
  ETALON_ASSIGN_OR_RETURN(const auto x, o.Matrix("x"));
  ETALON_RETURN_IF_ERROR(CheckQuantize<kBlock>(o, x));
  Oracle d;
  d.c.resize(1);
  std::vector<int8_t> q;
  std::vector<float> margin;
  for (size_t r = 0; r < x.rows; ++r) {
    const reference::QuantizedRow row = kBlock == 256
                                            ? reference::QuantizeQ8K(x.row(r))
                                            : reference::QuantizeQ8_0(x.row(r));
    d.value.insert(d.value.end(), row.d.begin(), row.d.end());
    d.c[0].insert(d.c[0].end(), row.d_step.begin(), row.d_step.end());
    for (const int16_t v : row.q) q.push_back(static_cast<int8_t>(v));
    margin.insert(margin.end(), row.margin.begin(), row.margin.end());
  }
  Emit("d", o.out(0).shape(), d, expected);
  expected.Add(
      "q.y", Tensor(DType::kI8, o.out(1).shape(), std::span<const int8_t>(q)));
  expected.Add("q.margin", Tensor(DType::kF32, o.out(1).shape(),
                                  std::span<const float>(margin)));
  return {};
}

}  // namespace

std::vector<Op> FormatOps() {
  return {
      {"dequantize", RunDequantize, ExpectDequantize, {"row", "d"}},
      {"embedding", RunEmbedding, ExpectEmbedding, {"token", "d"}},
      {"quantize_q8_k", RunQuantize<256>, ExpectQuantize<256>, {"row", "i"}},
      {"quantize_q8_0", RunQuantize<32>, ExpectQuantize<32>, {"row", "i"}}};
}

}  // namespace etalon::golden::internal
