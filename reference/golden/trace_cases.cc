#include "reference/golden/trace_cases.h"

#include <fmt/format.h>

#include <cstring>

#include "reference/golden/case.h"
#include "reference/golden/operands.h"

namespace etalon::golden::internal {
namespace {

template <class T>
Tensor Dense(Span2D<const T> rows, DType dtype) {
  Tensor t(dtype, {rows.rows, rows.cols});
  for (size_t r = 0; r < rows.rows; ++r) {
    std::copy_n(rows.data + r * rows.stride, rows.cols,
                t.As<T>().begin() + static_cast<std::ptrdiff_t>(r * rows.cols));
  }
  return t;
}
Tensor Dense(Span2D<const float> rows) { return Dense(rows, DType::kF32); }
Tensor Dense(Span2D<const int32_t> rows) { return Dense(rows, DType::kI32); }

template <class T>
Tensor Dense(HeadsView<T> x) {
  Tensor t(DType::kF32, {x.n_tokens, x.n_heads, x.head_dim});
  float* to = t.As<float>().data();
  for (size_t token = 0; token < x.n_tokens; ++token) {
    for (size_t h = 0; h < x.n_heads; ++h, to += x.head_dim) {
      std::copy_n(x.at(token, h), x.head_dim, to);
    }
  }
  return t;
}

// Positions [begin, end) of a cache, [n_kv_heads, end - begin, head_dim].
Tensor Dense(const KvView& cache, size_t begin, size_t end) {
  const DType dtype =
      cache.type == TensorType::kF16 ? DType::kF16 : DType::kF32;
  const size_t size = DTypeSize(dtype);
  Tensor t(dtype, {cache.n_kv_heads, end - begin, cache.head_dim});
  std::byte* to = t.bytes.data();
  for (size_t h = 0; h < cache.n_kv_heads; ++h) {
    for (size_t p = begin; p < end; ++p, to += cache.head_dim * size) {
      std::memcpy(
          to,
          cache.data + (h * cache.head_stride + p * cache.pos_stride) * size,
          cache.head_dim * size);
    }
  }
  return t;
}
Status CheckCache(TensorType type) {
  if (type == TensorType::kF32 || type == TensorType::kF16) return {};
  return Fail(ErrorCode::kUnsupported,
              fmt::format("a cache of type {} has no golden cases, want F32 "
                          "or F16",
                          TypeName(type)));
}

// [n_matrices, rows, row], or [rows, row] of a single one.
Tensor Dense(const WeightMatrix& w, size_t n_matrices, size_t stride_bytes,
             bool stacked) {
  const DType dtype = StorageOf(w.type);
  const size_t row_bytes = RowBytes(w.type, w.cols);
  Shape shape = {w.rows, row_bytes / DTypeSize(dtype)};
  if (stacked) shape.insert(shape.begin(), n_matrices);
  Tensor t(dtype, shape);
  std::byte* to = t.bytes.data();
  for (size_t e = 0; e < n_matrices; ++e) {
    for (size_t r = 0; r < w.rows; ++r, to += row_bytes) {
      std::memcpy(to, w.data + e * stride_bytes + r * w.stride_bytes,
                  row_bytes);
    }
  }
  return t;
}

class Builder {
 public:
  explicit Builder(std::string op) { c_.op = std::move(op); }

  Builder& In(std::string name, Tensor data) {
    Input i;
    i.name = std::move(name);
    i.dtype = data.dtype;
    i.shape = data.shape;
    i.data = std::move(data);
    c_.inputs.push_back(std::move(i));
    return *this;
  }
  template <class T>
  Builder& Vector(std::string name, std::span<const T> x) {
    constexpr DType kType =
        std::is_same_v<T, float> ? DType::kF32 : DType::kI32;
    return In(std::move(name), Tensor(kType, {x.size()}, x));
  }
  template <class T>
  Builder& Optional(std::string name, std::span<const T> x) {
    return x.empty() ? *this : Vector(std::move(name), x);
  }
  Builder& Weights(std::string name, const WeightMatrix& w,
                   const std::string& type_param) {
    c_.params[type_param] = std::string(TypeName(w.type));
    return In(std::move(name), Dense(w, 1, 0, false));
  }
  Builder& Experts(std::string name, const ExpertWeights& w,
                   const std::string& type_param) {
    c_.params[type_param] = std::string(TypeName(w.first.type));
    Optional(name + "_scales", w.scales);
    return In(std::move(name),
              Dense(w.first, w.n_experts, w.expert_stride_bytes, true));
  }
  Builder& Int(const std::string& name, size_t value) {
    c_.params[name] = static_cast<int64_t>(value);
    return *this;
  }
  Builder& Text(const std::string& name, std::string value) {
    c_.params[name] = std::move(value);
    return *this;
  }
  Builder& Float(const std::string& name, float value) {
    c_.SetFloat(name, value);
    return *this;
  }
  // Only where it is not 1, which a reader takes it for.
  Builder& Factor(const std::string& name, float value) {
    return value == 1.0f ? *this : Float(name, value);
  }
  Builder& Act(const WeightMatrix& w, Activations activations) {
    const bool f32 = activations == Activations::kF32 || !IsQuantized(w.type);
    const bool k = w.type == TensorType::kQ4_K || w.type == TensorType::kQ5_K ||
                   w.type == TensorType::kQ6_K;
    return Text("act", f32 ? "f32" : k ? "q8_k" : "q8_0");
  }
  Builder& Out(std::string name, Shape shape, std::string bound,
               Judge judge = Judge::kBound, DType dtype = DType::kF32) {
    Output o;
    o.name = std::move(name);
    o.dtype = dtype;
    o.shape = std::move(shape);
    o.judge = judge;
    o.bound = std::move(bound);
    c_.outputs.push_back(std::move(o));
    return *this;
  }
  Case Take() { return std::move(c_); }
  Expected<std::vector<Case>> One() {
    std::vector<Case> cases;
    cases.push_back(Take());
    return cases;
  }

 private:
  Case c_;
};

Shape ShapeOf(Span2D<const float> x) { return {x.rows, x.cols}; }
template <class T>
Shape ShapeOf(HeadsView<T> x) {
  return {x.n_tokens, x.n_heads, x.head_dim};
}

CallOutput Matrix(Span2D<const float> out) {
  CallOutput o;
  o.address = out.data;
  o.tensors.Add("out", Dense(out));
  return o;
}
CallOutput OfHeads(HeadsView<float> out) {
  CallOutput o;
  o.address = out.data;
  o.tensors.Add("out", Dense(out));
  return o;
}

}  // namespace

Expected<std::vector<Case>> CasesOf(const EmbeddingArgs& a) {
  return Builder("embedding")
      .Weights("w", a.table, "type")
      .Vector("tokens", a.tokens)
      .Out("out", ShapeOf(a.out), "", Judge::kExact)
      .One();
}
CallOutput OutputOf(const EmbeddingArgs& a, size_t) { return Matrix(a.out); }

Expected<std::vector<Case>> CasesOf(const RmsNormArgs& a) {
  return Builder("rms_norm")
      .In("x", Dense(a.x))
      .Optional("weight", a.weight)
      .Float("eps", a.eps)
      .Out("out", ShapeOf(a.out), "rms_norm")
      .One();
}
CallOutput OutputOf(const RmsNormArgs& a, size_t) { return Matrix(a.out); }

Expected<std::vector<Case>> CasesOf(const RopeArgs& a) {
  const bool split = a.style == RopeStyle::kHalfSplit;
  return Builder("rope")
      .In("x", Dense(a.x))
      .Vector("positions", a.positions)
      .In("cos", Dense(a.cos))
      .In("sin", Dense(a.sin))
      .Text("style", split ? "half_split" : "interleaved")
      .Int("first_position", 0)
      .Out("out", ShapeOf(a.x), "rope")
      .One();
}
CallOutput OutputOf(const RopeArgs& a, size_t) { return OfHeads(a.x); }

Expected<std::vector<Case>> CasesOf(const GemmArgs& a) {
  std::vector<Case> cases;
  for (const GemmPart& part : a.parts) {
    Builder b("gemm");
    b.In("x", Dense(a.x))
        .Weights("w", part.weights, "type")
        .Optional("bias", part.bias)
        .Float("scale", part.scale)
        .Act(part.weights, a.activations);
    Case c = b.Take();
    const bool f32 = std::get<std::string>(c.params["act"]) == "f32";
    Output out;
    out.name = "out";
    out.shape = ShapeOf(part.out);
    out.bound = f32 ? "gemm_f32" : "gemm_quantized";
    c.outputs.push_back(std::move(out));
    cases.push_back(std::move(c));
  }
  return cases;
}
CallOutput OutputOf(const GemmArgs& a, size_t i) {
  return Matrix(a.parts[i].out);
}

Expected<std::vector<Case>> CasesOf(const GemmSwiGluArgs& a) {
  Builder b("gemm_swiglu");
  b.In("x", Dense(a.x))
      .Weights("gate", a.gate.weights, "type")
      .Weights("up", a.up.weights,
               a.up.weights.type == a.gate.weights.type ? "type" : "type_up")
      .Optional("gate_bias", a.gate.bias)
      .Optional("up_bias", a.up.bias)
      .Factor("gate_scale", a.gate.scale)
      .Factor("up_scale", a.up.scale)
      .Act(a.gate.weights, a.activations)
      .Out("out", ShapeOf(a.out), "stored");
  return b.One();
}
CallOutput OutputOf(const GemmSwiGluArgs& a, size_t) { return Matrix(a.out); }

Expected<std::vector<Case>> CasesOf(const KvWriteArgs& a) {
  ETALON_RETURN_IF_ERROR(CheckCache(a.cache.type));
  const bool half = a.cache.type == TensorType::kF16;
  return Builder("kv_write")
      .In("x", Dense(a.x))
      .Int("pos", a.pos)
      .Int("kv_capacity", a.cache.kv_capacity)
      .Text("type", half ? "F16" : "F32")
      .Out("cache", {a.x.n_heads, a.x.n_tokens, a.x.head_dim}, "",
           Judge::kExact, half ? DType::kF16 : DType::kF32)
      .One();
}
CallOutput OutputOf(const KvWriteArgs& a, size_t) {
  const MutableKvView& c = a.cache;
  const KvView view{c.type,     c.data,        c.n_kv_heads, c.kv_capacity,
                    c.head_dim, c.head_stride, c.pos_stride};
  CallOutput o;
  o.address = c.data;
  o.tensors.Add("cache", Dense(view, a.pos, a.pos + a.x.n_tokens));
  return o;
}

Expected<std::vector<Case>> CasesOf(const AttentionArgs& a) {
  ETALON_RETURN_IF_ERROR(CheckCache(a.k.type));
  ETALON_RETURN_IF_ERROR(CheckCache(a.v.type));
  const AttentionVariant& variant = a.variant;
  const bool plain = variant.window == 0 && !variant.ChangesScores() &&
                     variant.sinks.empty() && a.gate.data == nullptr &&
                     a.k.head_dim == a.v.head_dim;
  const std::string op = plain ? "attention" : "attention_variant";
  Builder b(op);
  b.In("q", Dense(a.q))
      .In("k", Dense(a.k, 0, a.kv_len))
      .In("v", Dense(a.v, 0, a.kv_len))
      .Int("kv_len", a.kv_len)
      .Int("causal", a.causal ? 1 : 0)
      .Float("scale", a.scale)
      .Optional("alibi_slopes", variant.alibi_slopes)
      .Optional("sinks", variant.sinks);
  if (variant.window != 0) b.Int("window", variant.window);
  if (variant.softcap != 0.0f) b.Float("softcap", variant.softcap);
  if (variant.mask.data != nullptr) {
    const HeadsView<const float> mask{variant.mask.data,
                                      a.q.n_tokens,
                                      a.q.n_heads,
                                      a.kv_len,
                                      variant.mask.token_stride,
                                      variant.mask.head_stride};
    b.In("mask", Dense(mask));
  }
  if (a.gate.data != nullptr) b.In("gate", Dense(a.gate));
  return b.Out("out", ShapeOf(a.out), op).One();
}
CallOutput OutputOf(const AttentionArgs& a, size_t) { return OfHeads(a.out); }

Expected<std::vector<Case>> CasesOf(const SwiGluArgs& a) {
  return Builder("swiglu")
      .In("gate", Dense(a.gate))
      .In("up", Dense(a.up))
      .Out("out", ShapeOf(a.out), "swiglu")
      .One();
}
CallOutput OutputOf(const SwiGluArgs& a, size_t) { return Matrix(a.out); }

Expected<std::vector<Case>> CasesOf(const AddArgs& a) {
  return Builder("add")
      .In("a", Dense(a.a))
      .In("b", Dense(a.b))
      .Out("out", ShapeOf(a.out), "add")
      .One();
}
CallOutput OutputOf(const AddArgs& a, size_t) { return Matrix(a.out); }

Expected<std::vector<Case>> CasesOf(const ScaleRowsArgs& a) {
  return Builder("scale_rows")
      .In("x", Dense(a.x))
      .Vector("scale", a.scale)
      .Out("out", ShapeOf(a.out), "scale_rows")
      .One();
}
CallOutput OutputOf(const ScaleRowsArgs& a, size_t) { return Matrix(a.out); }

Expected<std::vector<Case>> CasesOf(const SoftmaxArgs& a) {
  return Builder("softmax")
      .In("x", Dense(a.x))
      .Out("out", ShapeOf(a.out), "softmax")
      .One();
}
CallOutput OutputOf(const SoftmaxArgs& a, size_t) { return Matrix(a.out); }

Expected<std::vector<Case>> CasesOf(const MoeRouterArgs& a) {
  const Shape shape = ShapeOf(a.weights);
  return Builder("moe_router")
      .In("logits", Dense(a.logits))
      .Int("normalize", a.normalize ? 1 : 0)
      .Int("n_used", a.weights.cols)
      .Float("scale", a.scale)
      .Out("experts", shape, "", Judge::kTopK, DType::kI32)
      .Out("weights", shape, "router_weights")
      .One();
}
CallOutput OutputOf(const MoeRouterArgs& a, size_t) {
  CallOutput o;
  o.address = a.experts.data;
  o.tensors.Add("experts", Dense(Span2D<const int32_t>(a.experts)));
  o.tensors.Add("weights", Dense(Span2D<const float>(a.weights)));
  return o;
}

Expected<std::vector<Case>> CasesOf(const MoeFfnArgs& a) {
  Builder b("moe_ffn");
  b.In("x", Dense(a.x))
      .In("experts", Dense(a.experts))
      .In("weights", Dense(a.weights))
      .Experts("gate", a.gate, "type")
      .Experts("up", a.up,
               a.up.first.type == a.gate.first.type ? "type" : "type_up")
      .Experts("down", a.down, "type_down")
      .Act(a.gate.first, a.activations)
      .Out("out", ShapeOf(a.out), "stored");
  return b.One();
}
CallOutput OutputOf(const MoeFfnArgs& a, size_t) { return Matrix(a.out); }

}  // namespace etalon::golden::internal
