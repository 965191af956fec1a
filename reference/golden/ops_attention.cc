// Attention, its variants and the KV cache.
#include <cmath>

#include "reference/formats.h"
#include "reference/golden/ops_tables.h"
#include "reference/oracle.h"

namespace etalon::golden::internal {
namespace {

using reference::Oracle;

Expected<AttentionArgs> AttentionOf(Operands& o) {
  AttentionArgs args;
  ETALON_ASSIGN_OR_RETURN(args.q, o.Heads("q"));
  ETALON_ASSIGN_OR_RETURN(args.out, o.OutHeads(0));
  ETALON_ASSIGN_OR_RETURN(args.k, o.Cache("k", args.q.head_dim));
  ETALON_ASSIGN_OR_RETURN(args.v, o.Cache("v", args.out.head_dim));
  ETALON_ASSIGN_OR_RETURN(const int64_t kv_len, o.golden_case().Int("kv_len"));
  ETALON_ASSIGN_OR_RETURN(const int64_t causal, o.golden_case().Int("causal"));
  if (kv_len < 0) {
    return BadInput("case " + o.golden_case().id + ": kv_len is negative");
  }
  args.kv_len = static_cast<size_t>(kv_len);
  args.causal = causal != 0;
  ETALON_ASSIGN_OR_RETURN(args.scale, o.golden_case().Float("scale"));
  const Case& c = o.golden_case();
  if (c.op == "attention") return args;
  AttentionVariant& variant = args.variant;
  if (c.params.contains("window")) {
    ETALON_ASSIGN_OR_RETURN(const int64_t window, c.Int("window"));
    if (window < 0) return BadInput("case " + c.id + ": window is negative");
    variant.window = static_cast<size_t>(window);
  }
  if (c.params.contains("softcap_bits")) {
    ETALON_ASSIGN_OR_RETURN(variant.softcap, c.Float("softcap"));
  }
  ETALON_ASSIGN_OR_RETURN(variant.alibi_slopes,
                          o.OptionalVector("alibi_slopes"));
  ETALON_ASSIGN_OR_RETURN(variant.sinks, o.OptionalVector("sinks"));
  if (o.Has("mask")) {
    ETALON_ASSIGN_OR_RETURN(const auto mask, o.Heads("mask"));
    if (mask.n_tokens != args.q.n_tokens || mask.n_heads != args.q.n_heads ||
        mask.head_dim != args.kv_len) {
      return BadInput("case " + c.id + ": mask is not [tokens, heads, kv_len]");
    }
    variant.mask = {mask.data, mask.token_stride, mask.head_stride};
  }
  if (o.Has("gate")) {
    ETALON_ASSIGN_OR_RETURN(args.gate, o.Heads("gate"));
  }
  return args;
}
Status RunAttention(const Subject& s, Operands& o) {
  ETALON_ASSIGN_OR_RETURN(const AttentionArgs args, AttentionOf(o));
  return s.backend->attention(args, *s.ctx);
}
// The direction "scale" is do by d ln(scale) = sum_p w_p s_p (v_p - o), taken
// as a central difference of the oracle: the step of 2^-10 leaves 2^-20.
Status ExpectAttention(Operands& o, TensorFile& expected) {
  ETALON_ASSIGN_OR_RETURN(AttentionArgs args, AttentionOf(o));
  ETALON_ASSIGN_OR_RETURN(Oracle oracle, reference::AttentionOracle(args));
  // A variant without magnitudes of its own (window, types) has them as 0: what
  // the file holds says which formula applies.
  if (o.golden_case().op != "attention" && oracle.c.size() < 15) {
    oracle.c.resize(15, std::vector<double>(oracle.value.size(), 0.0));
  }
  Emit("out", o.out(0).shape(), oracle, expected);
  const float scale = args.scale;
  args.scale = scale * (1.0f + 0x1p-10f);
  ETALON_ASSIGN_OR_RETURN(const Oracle above,
                          reference::AttentionOracle(args, false));
  const double up = static_cast<double>(args.scale);
  args.scale = scale * (1.0f - 0x1p-10f);
  ETALON_ASSIGN_OR_RETURN(const Oracle below,
                          reference::AttentionOracle(args, false));
  const double step =
      (up - static_cast<double>(args.scale)) / static_cast<double>(scale);
  std::vector<float> g;
  for (size_t i = 0; i < oracle.value.size(); ++i) {
    g.push_back(static_cast<float>((above.value[i] - below.value[i]) / step));
  }
  expected.Add("out.g.scale", Tensor(DType::kF32, o.out(0).shape(),
                                     std::span<const float>(g)));
  return {};
}

// The output holds the positions written, [n_kv_heads, n_tokens, head_dim]; the
// cache around them is checked here.
Status RunKvWrite(const Subject& s, Operands& o) {
  const Case& c = o.golden_case();
  ETALON_ASSIGN_OR_RETURN(const auto x, o.Heads("x"));
  ETALON_ASSIGN_OR_RETURN(const int64_t pos, c.Int("pos"));
  ETALON_ASSIGN_OR_RETURN(const int64_t capacity, c.Int("kv_capacity"));
  const Shape shape = {x.n_heads, x.n_tokens, x.head_dim};
  const bool half = c.outputs[0].dtype == DType::kF16;
  if (pos < 0 || capacity < 0 || capacity > 1 << 20 ||
      c.outputs[0].shape != shape || c.outputs[0].layout ||
      (!half && c.outputs[0].dtype != DType::kF32)) {
    return BadInput("case " + c.id + ": pos, capacity and cache do not fit x");
  }
  const size_t kv_capacity = static_cast<size_t>(capacity);
  Strided cache(c.outputs[0].dtype, {x.n_heads, kv_capacity, x.head_dim},
                std::nullopt);
  KvWriteArgs args;
  args.x = x;
  args.pos = static_cast<size_t>(pos);
  args.cache = {half ? TensorType::kF16 : TensorType::kF32,
                cache.data(),
                x.n_heads,
                kv_capacity,
                x.head_dim,
                kv_capacity * x.head_dim,
                x.head_dim};
  ETALON_RETURN_IF_ERROR(s.backend->kv_write(args, *s.ctx));
  const Tensor all = cache.Gather();
  const size_t size = DTypeSize(all.dtype);
  std::byte poison[4];
  PutPoison(all.dtype, poison);
  std::byte* out = o.out(0).data();
  for (size_t i = 0; i < all.n(); ++i) {
    const std::byte* element = all.bytes.data() + i * size;
    const size_t p = i / x.head_dim % kv_capacity;
    if (p >= args.pos && p < args.pos + x.n_tokens) {
      std::memcpy(out, element, size);
      out += size;
    } else if (std::memcmp(element, poison, size) != 0) {
      return InvalidArgument("case " + c.id + ": wrote to position " +
                             std::to_string(p));
    }
  }
  return {};
}
Status ExpectKvWrite(Operands& o, TensorFile& expected) {
  const Case& c = o.golden_case();
  ETALON_ASSIGN_OR_RETURN(const auto x, o.Heads("x"));
  const Output& out = c.outputs[0];
  Tensor y(out.dtype, {x.n_heads, x.n_tokens, x.head_dim});
  size_t i = 0;
  for (size_t h = 0; h < x.n_heads; ++h) {
    for (size_t t = 0; t < x.n_tokens; ++t) {
      for (size_t d = 0; d < x.head_dim; ++d, ++i) {
        const float value = x.at(t, h)[d];
        if (out.dtype == DType::kF32) {
          y.As<float>()[i] = value;
        } else {
          y.As<uint16_t>()[i] =
              reference::DoubleToF16(static_cast<double>(value));
        }
      }
    }
  }
  expected.Add("cache.y", std::move(y));
  return {};
}

}  // namespace

std::vector<Op> AttentionOps() {
  return {{"attention", RunAttention, ExpectAttention, {"token", "head", "d"}},
          {"attention_variant",
           RunAttention,
           ExpectAttention,
           {"token", "head", "d"}},
          {"kv_write", RunKvWrite, ExpectKvWrite, {"head", "token", "d"}}};
}

}  // namespace etalon::golden::internal
