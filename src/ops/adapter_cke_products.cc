#include <numeric>
#include <vector>

#include "etalon/layer_adapters.h"
#include "ops/cke_layout.h"
#include "ops/gemm_products.h"
#include "quant/block_formats.h"

namespace etalon::adapters::cke {
namespace {

WeightMatrix Weights(const Matrix& m, size_t rows, size_t cols) {
  return {m.type, static_cast<const std::byte*>(m.data), rows, cols,
          RowBytes(m.type, cols)};
}
std::span<const float> Bias(const float* bias, size_t n) {
  return bias == nullptr ? std::span<const float>()
                         : std::span<const float>(bias, n);
}

Status Product(const float* a, const void* b, const float* bias, float* c,
               int m, int n, int k, TensorType type, ExecContext& ctx) {
  constexpr char kOp[] = "gemm_nt";
  ETALON_RETURN_IF_ERROR(NeedPointers(kOp, {{"a", a}, {"b", b}, {"c", c}}));
  ETALON_RETURN_IF_ERROR(NeedExtents(kOp, {{"m", m}, {"n", n}, {"k", k}}));
  ETALON_RETURN_IF_ERROR(NeedBlocks(kOp, "b", type, k));
  const GemmPart part = {Weights({b, type}, Size(n), Size(k)),
                         Bias(bias, Size(n)),
                         {c, Size(m), Size(n)}};
  return ops::Gemm({{a, Size(m), Size(k)}, {&part, 1}, Activations::kF32}, ctx);
}

}  // namespace

Status GemmNt(const float* a, const float* b, const float* bias, float* c,
              int m, int n, int k, ExecContext& ctx) {
  return Product(a, b, bias, c, m, n, k, TensorType::kF32, ctx);
}

Status GemmNtQuant(const float* a, const void* b, const float* bias, float* c,
                   int m, int n, int k, TensorType dtype, ExecContext& ctx) {
  return Product(a, b, bias, c, m, n, k, dtype, ctx);
}

Status GemmNtQ4KQ8K(const void* a_q8, const void* b, const float* bias,
                    float* c, int m, int n, int k, ExecContext& ctx) {
  constexpr char kOp[] = "gemm_nt_q4_k_q8_k";
  ETALON_RETURN_IF_ERROR(
      NeedPointers(kOp, {{"a_q8", a_q8}, {"b", b}, {"c", c}}));
  ETALON_RETURN_IF_ERROR(NeedExtents(kOp, {{"m", m}, {"n", n}, {"k", k}}));
  ETALON_RETURN_IF_ERROR(NeedBlocks(kOp, "b", TensorType::kQ4_K, k));
  const size_t rows = Size(m), cols = Size(k), row_blocks = cols / kQkK;
  const WeightMatrix weights = Weights({b, TensorType::kQ4_K}, Size(n), cols);
  ETALON_RETURN_IF_ERROR(ops::CheckWeights(kOp, weights, cols));
  ETALON_ENSURE(ctx.workspace != nullptr, "gemm_nt_q4_k_q8_k: no workspace");
  const Workspace::Scope scope(*ctx.workspace);
  constexpr TensorType kQ8K = TensorType::kQ8_K;
  ETALON_ASSIGN_OR_RETURN(const std::span<std::byte> row_memory,
                          ctx.workspace->Allocate<std::byte>(
                              simd::ActivationRowsBytes(kQ8K, 1, cols)));
  ETALON_ASSIGN_OR_RETURN(const std::span<std::byte> memory,
                          ctx.workspace->Allocate<std::byte>(
                              simd::GemmActivationsBytes(kQ8K, rows, cols)));
  const int n_threads = ctx.n_threads;
  ETALON_ASSIGN_OR_RETURN(const std::span<std::byte> scratch,
                          ctx.workspace->Allocate<std::byte>(
                              ops::ProductScratchBytes(rows, cols, n_threads)));
  const simd::MutableActivationRows row =
      simd::PlaceActivationRows(kQ8K, 1, cols, row_memory.data());
  const simd::GemmActivations q =
      simd::PlaceGemmActivations(kQ8K, rows, cols, memory.data());
  const auto* blocks = static_cast<const BlockQ8_K*>(a_q8);
  for (size_t r = 0; r < rows; ++r) {
    for (size_t i = 0; i < row_blocks; ++i) {
      const BlockQ8_K& block = blocks[r * row_blocks + i];
      row.d[i] = block.d;
      for (size_t j = 0; j < kQkK; ++j) {
        ETALON_ENSURE(block.qs[j] != -128,
                      fmt::format("{}: a_q8 row {} element {} is -128, need "
                                  "at least -127",
                                  kOp, r, i * kQkK + j));
        row.qs[i * kQkK + j] = block.qs[j];
      }
      for (size_t s = 0; s < kQkK / 16; ++s) {
        const int8_t* const qs = block.qs + 16 * s;
        const int sum = std::accumulate(qs, qs + 16, 0);
        ETALON_ENSURE(block.bsums[s] == sum,
                      fmt::format("{}: a_q8 row {} block {} bsums[{}] is {}, "
                                  "need {}, the sum of its elements",
                                  kOp, r, i, s, block.bsums[s], sum));
        row.bsums[i * (kQkK / 16) + s] = block.bsums[s];
      }
    }
    simd::PackActivationRow(row.View(), 0, r, q);
  }
  ops::GemmProduct product;
  product.rows.weights = weights;
  product.rows.bias = bias;
  product.rows.scale = 1.0f;
  product.rows.out = {c, rows, Size(n)};
  product.q = &q;
  ops::RunProducts({&product, 1}, rows, cols, scratch.data(), n_threads);
  return {};
}

Status QkvProjectHeadMajor(const QkvProjection& p, const Backend& backend,
                           ExecContext& ctx) {
  constexpr char kOp[] = "qkv_project";
  ETALON_RETURN_IF_ERROR(NeedPointers(kOp, {{"input", p.input},
                                            {"wq", p.wq.data},
                                            {"wk", p.wk.data},
                                            {"wv", p.wv.data},
                                            {"q", p.q},
                                            {"k", p.k},
                                            {"v", p.v}}));
  ETALON_RETURN_IF_ERROR(
      NeedExtents(kOp, {{"tokens", p.tokens},
                        {"aligned_embed_dim", p.aligned_embed_dim},
                        {"num_heads", p.num_heads},
                        {"num_kv_heads", p.num_kv_heads}}));
  ETALON_RETURN_IF_ERROR(NeedAligned(kOp, {"head_dim", p.head_dim},
                                     {"aligned_head_dim", p.aligned_head_dim}));
  ETALON_RETURN_IF_ERROR(NeedAligned(kOp, {"tokens", p.tokens},
                                     {"kv_stride_tokens", p.kv_stride_tokens}));
  ETALON_RETURN_IF_ERROR(NeedBlocks(kOp, "wq", p.wq.type, p.aligned_embed_dim));
  ETALON_RETURN_IF_ERROR(NeedBlocks(kOp, "wk", p.wk.type, p.aligned_embed_dim));
  ETALON_RETURN_IF_ERROR(NeedBlocks(kOp, "wv", p.wv.type, p.aligned_embed_dim));
  const size_t n = Size(p.tokens), ad = Size(p.aligned_head_dim);
  const size_t cols = Size(p.aligned_embed_dim);
  std::vector<GemmPart> parts;  // one per head: its rows, its slab
  const auto add = [&](const Matrix& w, const float* bias, float* out,
                       int heads, size_t stride_tokens) {
    const WeightMatrix all = Weights(w, Size(heads) * ad, cols);
    for (size_t h = 0; h < Size(heads); ++h) {
      WeightMatrix head = all;
      head.rows = ad;
      head.data += h * ad * all.stride_bytes;
      parts.push_back({head,
                       Bias(bias == nullptr ? nullptr : bias + h * ad, ad),
                       {out + h * stride_tokens * ad, n, ad}});
    }
  };
  const size_t kv_stride = Size(p.kv_stride_tokens);
  add(p.wq, p.bq, p.q, p.num_heads, n);
  add(p.wk, p.bk, p.k, p.num_kv_heads, kv_stride);
  add(p.wv, p.bv, p.v, p.num_kv_heads, kv_stride);
  ETALON_RETURN_IF_ERROR(
      backend.gemm({{p.input, n, cols}, parts, Activations::kAuto}, ctx));
  for (const GemmPart& part : parts) {
    ClearHeadMajor(part.out.data, 1, n, Size(p.head_dim), ad);
  }
  return {};
}

Status AttentionProjectHeadMajor(const OutputProjection& p,
                                 const Backend& backend, ExecContext& ctx) {
  constexpr char kOp[] = "attention_project";
  ETALON_RETURN_IF_ERROR(NeedPointers(
      kOp, {{"attn_out", p.attn_out}, {"wo", p.wo.data}, {"out", p.out}}));
  ETALON_RETURN_IF_ERROR(
      NeedExtents(kOp, {{"tokens", p.tokens}, {"num_heads", p.num_heads}}));
  ETALON_RETURN_IF_ERROR(NeedAligned(kOp, {"head_dim", p.head_dim},
                                     {"aligned_head_dim", p.aligned_head_dim}));
  ETALON_RETURN_IF_ERROR(
      NeedAligned(kOp, {"embed_dim", p.embed_dim},
                  {"aligned_embed_dim", p.aligned_embed_dim}));
  ETALON_RETURN_IF_ERROR(
      NeedBlocks(kOp, "wo", p.wo.type, p.num_heads * p.aligned_head_dim));
  ETALON_ENSURE(ctx.workspace != nullptr, "attention_project: no workspace");
  const size_t n = Size(p.tokens), heads = Size(p.num_heads);
  const size_t hd = Size(p.head_dim), ad = Size(p.aligned_head_dim);
  const size_t d = Size(p.embed_dim), a = Size(p.aligned_embed_dim);
  const size_t cols = heads * ad;
  const Workspace::Scope scope(*ctx.workspace);
  ETALON_ASSIGN_OR_RETURN(const std::span<float> rows,
                          ctx.workspace->Allocate<float>(n * cols));
  FlattenHeads(p.attn_out, heads, n, n, hd, ad, rows.data());
  WeightMatrix wo = Weights(p.wo, d, cols);
  if (p.wo.type == TensorType::kF32) {
    ETALON_ASSIGN_OR_RETURN(const std::span<float> flat,
                            ctx.workspace->Allocate<float>(d * cols));
    FlattenHeads(static_cast<const float*>(p.wo.data), heads, d, a, hd, ad,
                 flat.data());
    wo.data = reinterpret_cast<const std::byte*>(flat.data());
  }
  const GemmPart part = {wo, Bias(p.bo, d), {p.out, n, d, a}};
  ETALON_RETURN_IF_ERROR(backend.gemm(
      {{rows.data(), n, cols}, {&part, 1}, Activations::kAuto}, ctx));
  ClearHeadMajor(p.out, 1, n, d, a);
  return {};
}

}  // namespace etalon::adapters::cke
