#include <cmath>
#include <cstring>
#include <numeric>
#include <string>

#include "etalon/backward.h"
#include "etalon/layer_adapters.h"
#include "ops/cke_layout.h"

namespace etalon::adapters::cke {
namespace {

Status Check(std::string_view op, const RopeShape& s) {
  ETALON_RETURN_IF_ERROR(NeedExtents(op, {{"num_heads", s.num_heads},
                                          {"num_kv_heads", s.num_kv_heads},
                                          {"num_tokens", s.num_tokens}}));
  ETALON_RETURN_IF_ERROR(NeedAligned(op, {"head_dim", s.head_dim},
                                     {"aligned_head_dim", s.aligned_head_dim}));
  ETALON_ENSURE(
      s.pos_offset >= 0,
      fmt::format("{}: pos_offset is {}, need at least 0", op, s.pos_offset));
  const int rotary = s.rotary_dim == 0 ? s.head_dim : s.rotary_dim;
  ETALON_ENSURE(rotary > 0 && rotary % 2 == 0 && rotary <= s.head_dim,
                fmt::format("{}: {} rotated lanes of head_dim {}, need an even "
                            "number of at most as many",
                            op, rotary, s.head_dim));
  return {};
}

// Calls rotate(args) for q and k.
template <class Op>
Status RotateBoth(float* q, float* k, const float* cos, const float* sin,
                  const RopeShape& s, RopeStyle style, Op op,
                  ExecContext& ctx) {
  ETALON_ENSURE(ctx.workspace != nullptr, "rope: no workspace");
  const size_t n = Size(s.num_tokens), offset = Size(s.pos_offset);
  const size_t half = Size(s.rotary_dim == 0 ? s.head_dim : s.rotary_dim) / 2;
  const Workspace::Scope scope(*ctx.workspace);
  ETALON_ASSIGN_OR_RETURN(const std::span<int32_t> positions,
                          ctx.workspace->Allocate<int32_t>(n));
  std::iota(positions.begin(), positions.end(), s.pos_offset);
  struct Rows {
    float* data;
    int heads;
  };
  for (const Rows& rows : {Rows{q, s.num_heads}, Rows{k, s.num_kv_heads}}) {
    ETALON_RETURN_IF_ERROR(
        op(RopeArgs{HeadMajor(rows.data, Size(rows.heads), n, Size(s.head_dim),
                              Size(s.aligned_head_dim)),
                    positions,
                    {cos, offset + n, half},
                    {sin, offset + n, half},
                    style},
           ctx));
  }
  return {};
}

}  // namespace

Status ResidualAddTokenMajor(const float* a, const float* b, float* out,
                             int tokens, int aligned_embed_dim,
                             ExecContext& ctx) {
  constexpr char kOp[] = "residual_add";
  ETALON_RETURN_IF_ERROR(NeedPointers(kOp, {{"a", a}, {"b", b}, {"out", out}}));
  ETALON_RETURN_IF_ERROR(NeedExtents(
      kOp, {{"tokens", tokens}, {"aligned_embed_dim", aligned_embed_dim}}));
  const size_t n = Size(tokens), cols = Size(aligned_embed_dim);
  return ops::Add({{a, n, cols}, {b, n, cols}, {out, n, cols}}, ctx);
}

Status ResidualAddBackward(const float* d_out, float* d_a, float* d_b,
                           int tokens, int aligned_embed_dim) {
  constexpr char kOp[] = "residual_add_backward";
  ETALON_RETURN_IF_ERROR(
      NeedPointers(kOp, {{"d_out", d_out}, {"d_a", d_a}, {"d_b", d_b}}));
  ETALON_RETURN_IF_ERROR(NeedExtents(
      kOp, {{"tokens", tokens}, {"aligned_embed_dim", aligned_embed_dim}}));
  const size_t bytes = Size(tokens) * Size(aligned_embed_dim) * sizeof(float);
  for (float* d : {d_a, d_b}) {
    if (d != d_out) std::memmove(d, d_out, bytes);
  }
  return {};
}

Status RmsnormForward(const float* x, const float* gamma, float* y, float* rstd,
                      int tokens, int d_model, int aligned_embed_dim, float eps,
                      ExecContext& ctx) {
  constexpr char kOp[] = "rmsnorm";
  ETALON_RETURN_IF_ERROR(
      NeedPointers(kOp, {{"x", x}, {"gamma", gamma}, {"y", y}}));
  ETALON_RETURN_IF_ERROR(NeedExtents(kOp, {{"tokens", tokens}}));
  ETALON_RETURN_IF_ERROR(NeedAligned(kOp, {"d_model", d_model},
                                     {"aligned_embed_dim", aligned_embed_dim}));
  const size_t n = Size(tokens), d = Size(d_model), a = Size(aligned_embed_dim);
  ETALON_RETURN_IF_ERROR(ops::RmsNorm(
      {{x, n, d, a},
       {gamma, d},
       eps,
       {y, n, d, a},
       rstd == nullptr ? std::span<float>() : std::span<float>(rstd, n)},
      ctx));
  ClearHeadMajor(y, 1, n, d, a);
  return {};
}

Status RmsnormBackward(const float* d_output, const float* x,
                       const float* gamma, const float* rstd, float* d_input,
                       float* d_gamma, int tokens, int d_model,
                       int aligned_embed_dim, ExecContext& ctx) {
  constexpr char kOp[] = "rmsnorm_backward";
  ETALON_RETURN_IF_ERROR(NeedPointers(kOp, {{"d_output", d_output},
                                            {"x", x},
                                            {"gamma", gamma},
                                            {"rstd", rstd},
                                            {"d_input", d_input}}));
  ETALON_RETURN_IF_ERROR(NeedExtents(kOp, {{"tokens", tokens}}));
  ETALON_RETURN_IF_ERROR(NeedAligned(kOp, {"d_model", d_model},
                                     {"aligned_embed_dim", aligned_embed_dim}));
  const size_t n = Size(tokens), d = Size(d_model), a = Size(aligned_embed_dim);
  ETALON_RETURN_IF_ERROR(ops::RmsNormBackward(
      {{x, n, d, a},
       {gamma, d},
       {rstd, n},
       {d_output, n, d, a},
       {d_input, n, d, a},
       d_gamma == nullptr ? std::span<float>() : std::span<float>(d_gamma, d)},
      ctx));
  ClearHeadMajor(d_input, 1, n, d, a);
  return {};
}

Status SwigluForward(const float* in, float* out, int tokens, int dim,
                     ExecContext& ctx) {
  constexpr char kOp[] = "swiglu";
  ETALON_RETURN_IF_ERROR(NeedPointers(kOp, {{"in", in}, {"out", out}}));
  ETALON_RETURN_IF_ERROR(NeedExtents(kOp, {{"tokens", tokens}, {"dim", dim}}));
  const size_t t = Size(tokens), n = Size(dim);
  return ops::SwiGlu({{in, t, n, 2 * n}, {in + n, t, n, 2 * n}, {out, t, n}},
                     ctx);
}

Status SwigluBackward(const float* in, const float* d_out, float* d_in,
                      int tokens, int dim, ExecContext& ctx) {
  constexpr char kOp[] = "swiglu_backward";
  ETALON_RETURN_IF_ERROR(
      NeedPointers(kOp, {{"in", in}, {"d_out", d_out}, {"d_in", d_in}}));
  ETALON_RETURN_IF_ERROR(NeedExtents(kOp, {{"tokens", tokens}, {"dim", dim}}));
  const size_t t = Size(tokens), n = Size(dim);
  return ops::SwiGluBackward({{in, t, n, 2 * n},
                              {in + n, t, n, 2 * n},
                              {d_out, t, n},
                              {d_in, t, n, 2 * n},
                              {d_in + n, t, n, 2 * n}},
                             ctx);
}

Status RopePrecomputeCache(float* cos, float* sin, int max_seq, int head_dim,
                           float base, const char* scaling, float factor) {
  constexpr char kOp[] = "rope_precompute_cache";
  ETALON_RETURN_IF_ERROR(
      NeedPointers(kOp, {{"cos", cos}, {"sin", sin}, {"scaling", scaling}}));
  ETALON_RETURN_IF_ERROR(
      NeedExtents(kOp, {{"max_seq", max_seq}, {"head_dim", head_dim}}));
  RopeParams params;
  params.rotary_dim = Size(head_dim);
  params.freq_base = base;
  const std::string_view name = scaling;
  if (name == "linear") {
    params.scaling = RopeScaling::kLinear;
    params.factor = factor;
  } else if (name != "none") {
    return Fail(
        ErrorCode::kUnsupported,
        fmt::format("{}: scaling \"{}\", need none or linear", kOp, name));
  }
  ETALON_ASSIGN_OR_RETURN(const RopeFrequencies frequencies,
                          MakeRopeFrequencies(params));
  FillRopeRows(frequencies, 0, {cos, Size(max_seq), Size(head_dim) / 2},
               {sin, Size(max_seq), Size(head_dim) / 2});
  return {};
}

Status RopeForwardQk(float* q, float* k, const float* cos, const float* sin,
                     const RopeShape& shape, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(
      NeedPointers("rope", {{"q", q}, {"k", k}, {"cos", cos}, {"sin", sin}}));
  ETALON_RETURN_IF_ERROR(Check("rope", shape));
  return RotateBoth(q, k, cos, sin, shape, RopeStyle::kHalfSplit, ops::Rope,
                    ctx);
}

Status RopeForwardQkPairwise(float* q, float* k, const float* cos,
                             const float* sin, const RopeShape& shape,
                             ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(
      NeedPointers("rope", {{"q", q}, {"k", k}, {"cos", cos}, {"sin", sin}}));
  ETALON_RETURN_IF_ERROR(Check("rope", shape));
  return RotateBoth(q, k, cos, sin, shape, RopeStyle::kInterleaved, ops::Rope,
                    ctx);
}

Status RopeBackwardQk(const float* d_q_out, const float* d_k_out, float* d_q,
                      float* d_k, const float* cos, const float* sin,
                      const RopeShape& s, ExecContext& ctx) {
  constexpr char kOp[] = "rope_backward";
  ETALON_RETURN_IF_ERROR(NeedPointers(kOp, {{"d_q_out", d_q_out},
                                            {"d_k_out", d_k_out},
                                            {"d_q", d_q},
                                            {"d_k", d_k},
                                            {"cos", cos},
                                            {"sin", sin}}));
  ETALON_RETURN_IF_ERROR(Check(kOp, s));
  const size_t n = Size(s.num_tokens), hd = Size(s.head_dim);
  const size_t ad = Size(s.aligned_head_dim);
  struct Rows {
    const float* from;
    float* to;
    size_t heads;
  };
  for (const Rows& r : {Rows{d_q_out, d_q, Size(s.num_heads)},
                        Rows{d_k_out, d_k, Size(s.num_kv_heads)}}) {
    if (r.from != r.to) {
      std::memmove(r.to, r.from, r.heads * n * ad * sizeof(float));
    }
    ClearHeadMajor(r.to, r.heads, n, hd, ad);
  }
  return RotateBoth(d_q, d_k, cos, sin, s, RopeStyle::kHalfSplit,
                    ops::RopeBackward, ctx);
}

Status AttentionBackwardCausalHeadMajorGqa(
    const float* d_output, const float* q, const float* k, const float* v,
    float* d_q, float* d_k, float* d_v, int num_heads, int num_kv_heads,
    int num_tokens, int head_dim, int aligned_head_dim, ExecContext& ctx) {
  constexpr char kOp[] = "attention_backward";
  ETALON_RETURN_IF_ERROR(NeedPointers(kOp, {{"d_output", d_output},
                                            {"q", q},
                                            {"k", k},
                                            {"v", v},
                                            {"d_q", d_q},
                                            {"d_k", d_k},
                                            {"d_v", d_v}}));
  ETALON_RETURN_IF_ERROR(NeedExtents(kOp, {{"num_heads", num_heads},
                                           {"num_kv_heads", num_kv_heads},
                                           {"num_tokens", num_tokens}}));
  ETALON_RETURN_IF_ERROR(NeedAligned(kOp, {"head_dim", head_dim},
                                     {"aligned_head_dim", aligned_head_dim}));
  const size_t h = Size(num_heads), hkv = Size(num_kv_heads);
  const size_t n = Size(num_tokens), hd = Size(head_dim);
  const size_t ad = Size(aligned_head_dim);
  ETALON_RETURN_IF_ERROR(ops::AttentionBackward(
      {HeadMajor(q, h, n, hd, ad), HeadMajor(k, hkv, n, hd, ad),
       HeadMajor(v, hkv, n, hd, ad), n,
       static_cast<float>(1.0 / std::sqrt(static_cast<double>(hd))),
       HeadMajor(d_output, h, n, hd, ad), HeadMajor(d_q, h, n, hd, ad),
       HeadMajor(d_k, hkv, n, hd, ad), HeadMajor(d_v, hkv, n, hd, ad)},
      ctx));
  ClearHeadMajor(d_q, h, n, hd, ad);
  ClearHeadMajor(d_k, hkv, n, hd, ad);
  ClearHeadMajor(d_v, hkv, n, hd, ad);
  return {};
}

}  // namespace etalon::adapters::cke
