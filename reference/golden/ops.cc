#include "reference/golden/ops.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <limits>

#include "reference/golden/ops_tables.h"
#include "reference/layer.h"
#include "reference/quantize.h"

namespace etalon::golden {
namespace {

void Quantize(const reference::QuantizedRow& row, std::span<float> d,
              std::span<int8_t> q) {
  for (size_t i = 0; i < d.size(); ++i) d[i] = row.d[i];
  for (size_t i = 0; i < q.size(); ++i) q[i] = static_cast<int8_t>(row.q[i]);
}

const std::vector<Op>& Table() {
  static const std::vector<Op> table = [] {
    std::vector<Op> all;
    for (auto* group :
         {internal::RowOps, internal::FormatOps, internal::ProductOps,
          internal::ExpertOps, internal::AttentionOps, internal::LayerOps}) {
      for (Op& op : group()) all.push_back(std::move(op));
    }
    return all;
  }();
  return table;
}

}  // namespace

Subject ReferenceSubject() {
  Subject s;
  s.name = "reference";
  s.backend = &ReferenceBackend();
  s.quantize_q8_k = [](std::span<const float> x, std::span<float> d,
                       std::span<int8_t> q) {
    Quantize(reference::QuantizeQ8K(x), d, q);
  };
  s.quantize_q8_0 = [](std::span<const float> x, std::span<float> d,
                       std::span<int8_t> q) {
    Quantize(reference::QuantizeQ8_0(x), d, q);
  };
  s.layer = [](const layer::LayerConfig& config,
               const layer::LayerWeights& weights,
               const layer::LayerState& state, Span2D<float> x, ExecContext&) {
    return reference::Layer(config, weights, state, x);
  };
  static ExecContext unused;
  s.ctx = &unused;
  return s;
}

std::span<const Op> Ops() { return Table(); }

const Op* FindOp(std::string_view name) {
  for (const Op& op : Table()) {
    if (op.name == name) return &op;
  }
  return nullptr;
}

Expected<TensorFile> Run(const Case& c, const Subject& subject) {
  const Op* op = FindOp(c.op);
  if (op == nullptr) {
    return BadInput(fmt::format("case {}: unknown op \"{}\"", c.id, c.op));
  }
  Operands operands(c);
  ETALON_RETURN_IF_ERROR(op->run(subject, operands));
  TensorFile out;
  for (size_t i = 0; i < c.outputs.size(); ++i) {
    if (!operands.out(i).PaddingIntact()) {
      return InvalidArgument(
          fmt::format("case {}: {} wrote into the padding of {}", c.id,
                      subject.name, c.outputs[i].name));
    }
    out.Add(c.outputs[i].name, operands.out(i).Gather());
  }
  return out;
}

Status Expect(Case& c) {
  const Op* op = FindOp(c.op);
  if (op == nullptr) {
    return BadInput(fmt::format("case {}: unknown op \"{}\"", c.id, c.op));
  }
  Operands operands(c);
  TensorFile expected;
  ETALON_RETURN_IF_ERROR(op->expect(operands, expected));
  c.expected = std::move(expected);
  return {};
}

namespace internal {
namespace {

float RoundUp(double x) {
  const float f = static_cast<float>(x);
  if (static_cast<double>(f) >= x || std::isnan(x)) return f;
  return std::nextafter(f, std::numeric_limits<float>::infinity());
}

// Do runs of `length` elements hold one value each?
bool ConstantRuns(std::span<const float> x, size_t length) {
  for (size_t i = 0; i < x.size(); ++i) {
    if (std::bit_cast<uint32_t>(x[i]) !=
        std::bit_cast<uint32_t>(x[i / length * length])) {
      return false;
    }
  }
  return true;
}

}  // namespace

Tensor RoundedUp(std::span<const double> values, const Shape& shape) {
  std::vector<float> x;
  x.reserve(values.size());
  for (const double v : values) x.push_back(RoundUp(v));
  Shape stored = shape;
  size_t run = 1;
  if (x.size() > 1 && ConstantRuns(x, x.size())) {
    run = x.size();
    stored = {1};
  } else if (x.size() > 1 && shape.back() > 1 &&
             ConstantRuns(x, shape.back())) {
    run = shape.back();
    stored.back() = 1;
  }
  Tensor t(DType::kF32, stored);
  const std::span<float> out = t.As<float>();
  for (size_t i = 0; i < out.size(); ++i) out[i] = x[i * run];
  return t;
}

Expected<std::vector<double>> Expand(const Tensor& t, const Shape& shape,
                                     const std::string& name) {
  const size_t n = Elements(shape);
  const size_t last = shape.empty() ? 1 : shape.back();
  const size_t stored = t.n();
  size_t run = 1;
  if (stored != n) {
    run = stored == 1 ? n : last;
    if (run == 0 || stored * run != n) {
      return BadInput(fmt::format("{}: {} for an output of {}", name,
                                  ShapeText(t.shape), ShapeText(shape)));
    }
  }
  if (t.dtype != DType::kF32) {
    return BadInput(fmt::format("{}: {}, want F32", name, DTypeName(t.dtype)));
  }
  std::vector<double> out(n);
  const std::span<const float> x = t.As<float>();
  for (size_t i = 0; i < n; ++i) out[i] = static_cast<double>(x[i / run]);
  return out;
}

void Emit(const std::string& name, const Shape& shape,
          const reference::Oracle& oracle, TensorFile& expected) {
  expected.Add(name + ".y", Tensor(DType::kF64, shape,
                                   std::span<const double>(oracle.value)));
  for (size_t j = 0; j < oracle.c.size(); ++j) {
    expected.Add(fmt::format("{}.c{}", name, j + 1),
                 RoundedUp(oracle.c[j], shape));
  }
}

}  // namespace internal

}  // namespace etalon::golden
