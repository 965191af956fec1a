// A transformer block and its parts as C-Kernel-Engine calls them: its layouts,
// pointers and ints, this library's arithmetic and typed errors where it
// returns silently. For porters who compare like with like; new code calls
// etalon/layer.h, on which all of this is a thin layer.
//
// T tokens, H query heads, Hkv key heads, hd head_dim, ad aligned_head_dim, D
// embed_dim, aD aligned_embed_dim, I aligned_intermediate_dim, all row-major.
// Null pointers that are not optional, extents below 1, aligned widths below
// the real ones and H % Hkv != 0 are errors and nothing is written.
// Pads (lanes [hd, ad) and [D, aD)) become 0 in every output; those of
// activations that come in are never read unless it is said.
// Gradients of parameters are ADDED to what is there, those of activations are
// overwritten (etalon/backward.h): one rule where CKE has two. What comes in is
// only read, d_output too.
#ifndef ETALON_LAYER_ADAPTERS_H_
#define ETALON_LAYER_ADAPTERS_H_

#include "etalon/layer.h"

namespace etalon::adapters::cke {

// --- Rows ---

// out = a + b, [tokens][aD], pads included.
Status ResidualAddTokenMajor(const float* a, const float* b, float* out,
                             int tokens, int aligned_embed_dim,
                             ExecContext& ctx);
// d_a = d_b = d_out; either may be d_out itself.
Status ResidualAddBackward(const float* d_out, float* d_a, float* d_b,
                           int tokens, int aligned_embed_dim);
// x, y [tokens][aD], gamma [D], rstd [tokens] or null. The mean is over D.
Status RmsnormForward(const float* x, const float* gamma, float* y, float* rstd,
                      int tokens, int d_model, int aligned_embed_dim, float eps,
                      ExecContext& ctx);
// d_gamma [D] or null; rstd as the forward pass returned it.
Status RmsnormBackward(const float* d_output, const float* x,
                       const float* gamma, const float* rstd, float* d_input,
                       float* d_gamma, int tokens, int d_model,
                       int aligned_embed_dim, ExecContext& ctx);
// in [tokens][2 dim]: gate, then up; out [tokens][dim].
Status SwigluForward(const float* in, float* out, int tokens, int dim,
                     ExecContext& ctx);
// d_in [tokens][2 dim], which may be `in`.
Status SwigluBackward(const float* in, const float* d_out, float* d_in,
                      int tokens, int dim, ExecContext& ctx);

// cos, sin [max_seq][hd / 2]. scaling: "none" or "linear" (positions divided by
// factor); anything else is an error, never silently "none".
Status RopePrecomputeCache(float* cos, float* sin, int max_seq, int head_dim,
                           float base, const char* scaling, float factor);
struct RopeShape {
  int num_heads = 0;
  int num_kv_heads = 0;
  int num_tokens = 0;
  int head_dim = 0;
  int aligned_head_dim = 0;
  int pos_offset = 0;  // token t uses row pos_offset + t of the tables
  int rotary_dim = 0;  // 0: head_dim; tables are [max_seq][rotary_dim / 2]
};
// q [H][T][ad], k [Hkv][T][ad] in place, pairs (i, i + rotary_dim / 2); pads
// are left alone. Pairwise: pairs (2i, 2i + 1).
Status RopeForwardQk(float* q, float* k, const float* cos, const float* sin,
                     const RopeShape& shape, ExecContext& ctx);
Status RopeForwardQkPairwise(float* q, float* k, const float* cos,
                             const float* sin, const RopeShape& shape,
                             ExecContext& ctx);
// By the negative angle; outputs may be inputs; pads become 0.
Status RopeBackwardQk(const float* d_q_out, const float* d_k_out, float* d_q,
                      float* d_k, const float* cos, const float* sin,
                      const RopeShape& shape, ExecContext& ctx);

// Probabilities are recomputed. q, d_output, d_q [H][T][ad], k, v, d_k, d_v
// [Hkv][T][ad]; scale 1 / sqrt(hd).
Status AttentionBackwardCausalHeadMajorGqa(
    const float* d_output, const float* q, const float* k, const float* v,
    float* d_q, float* d_k, float* d_v, int num_heads, int num_kv_heads,
    int num_tokens, int head_dim, int aligned_head_dim, ExecContext& ctx);

// --- Products: c [M][N] = a [M][K] b [N][K]^T + bias [N] (or null) ---

Status GemmNt(const float* a, const float* b, const float* bias, float* c,
              int m, int n, int k, ExecContext& ctx);
// b of any weight type, a in f32 against exactly dequantised weights.
Status GemmNtQuant(const float* a, const void* b, const float* bias, float* c,
                   int m, int n, int k, TensorType dtype, ExecContext& ctx);
// a as Q8_K blocks [M][K / 256] with |q| <= 127 and true bsums, b as Q4_K
// blocks.
Status GemmNtQ4KQ8K(const void* a_q8, const void* b, const float* bias,
                    float* c, int m, int n, int k, ExecContext& ctx);

struct Matrix {
  const void* data = nullptr;
  TensorType type = TensorType::kF32;
};
// in [T][aD], whose pads are read and must be 0; weights [heads][ad][aD],
// biases [heads][ad] or null; q [H][T][ad]; k, v [Hkv][kv_stride_tokens][ad].
// Rows are quantised once for all three where the types call for it.
struct QkvProjection {
  const float* input = nullptr;
  Matrix wq, wk, wv;
  const float *bq = nullptr, *bk = nullptr, *bv = nullptr;
  float *q = nullptr, *k = nullptr, *v = nullptr;
  int tokens = 0;
  int kv_stride_tokens = 0;  // >= tokens
  int aligned_embed_dim = 0;
  int num_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  int aligned_head_dim = 0;
};
Status QkvProjectHeadMajor(const QkvProjection& p, const Backend& backend,
                           ExecContext& ctx);
// out [T][aD] = attn_out [H][T][ad] times wo, + bo [D]: the one sum over all
// lanes of all heads that etalon/gemm.h states, whatever the layout. wo is
// [H][aD][ad] in f32, [aD][H * ad] in any other type; H * ad may differ from
// aD.
struct OutputProjection {
  const float* attn_out = nullptr;
  Matrix wo;
  const float* bo = nullptr;
  float* out = nullptr;
  int tokens = 0;
  int embed_dim = 0;
  int aligned_embed_dim = 0;
  int num_heads = 0;
  int head_dim = 0;
  int aligned_head_dim = 0;
};
Status AttentionProjectHeadMajor(const OutputProjection& p,
                                 const Backend& backend, ExecContext& ctx);

// --- The block ---

struct LayerParams {
  int tokens = 0;
  int embed_dim = 0;
  int aligned_embed_dim = 0;
  int num_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  int aligned_head_dim = 0;
  int intermediate_dim = 0;
  int aligned_intermediate_dim = 0;
  float eps = 1e-5f;
  int rope_pos_offset = 0;  // token t uses row rope_pos_offset + t
  int max_seq = 0;          // rows of the tables

  const float* input = nullptr;  // [T][aD]
  const float* ln1_gamma = nullptr;
  const float* ln2_gamma = nullptr;  // [D]
  // [hd]; null: no QK-norm.
  const float *q_gamma = nullptr, *k_gamma = nullptr;
  // [max_seq][hd / 2], both or neither (no RoPE).
  const float *rope_cos = nullptr, *rope_sin = nullptr;
  Matrix wq, wk, wv;  // [heads][ad][aD]
  Matrix wo;          // as OutputProjection
  Matrix w1;          // [2 I][aD]: gate rows, then up rows
  Matrix w2;          // [aD][I]
  const float *bq = nullptr, *bk = nullptr, *bv = nullptr;  // [heads][ad]
  const float* bo = nullptr;                                // [D]
  const float* b1 = nullptr;                                // [2 I]
  const float* b2 = nullptr;                                // [D]

  // Keys and values are the cache: [Hkv][T][ad] in prefill, [Hkv][cap][ad] in
  // decode.
  float *k = nullptr, *v = nullptr;
  float* output = nullptr;  // [T][aD], must not overlap input
  // What else is wanted, or null.
  float *ln1_rstd = nullptr, *ln2_rstd = nullptr;  // [T]
  float *ln1_out = nullptr, *proj_tmp = nullptr;   // [T][aD]
  float *residual1 = nullptr, *ln2_out = nullptr, *mlp_out = nullptr;
  float *q = nullptr, *attn_out = nullptr;  // [H][T][ad], q after RoPE
  float* swiglu_out = nullptr;              // [T][I], not with fused
};

// Prefill of any mix of weight types; with the reference backend the "_ref"
// form. Activations of quantised weights: ctx.config (requirement B-81).
Status LayerForward(const LayerParams& p, const Backend& backend,
                    ExecContext& ctx);
// One token (p.tokens is not looked at) into slot token_index of caches that
// hold [0, token_index); its RoPE row is rope_pos_offset. `fused`: FusedMlp.
Status LayerDecode(const LayerParams& p, int token_index, int cache_capacity,
                   bool fused, const Backend& backend, ExecContext& ctx);

// Gradients in the layouts of the parameters, null: not wanted.
struct LayerGradientPointers {
  float *d_ln1_gamma = nullptr, *d_ln2_gamma = nullptr;
  float *d_q_gamma = nullptr, *d_k_gamma = nullptr;
  float *d_wq = nullptr, *d_wk = nullptr, *d_wv = nullptr, *d_wo = nullptr;
  float *d_w1 = nullptr, *d_w2 = nullptr;
  float *d_bq = nullptr, *d_bk = nullptr, *d_bv = nullptr, *d_bo = nullptr;
  float *d_b1 = nullptr, *d_b2 = nullptr;
};
// f32 weights. Runs the forward pass once more for what it needs, from p.input;
// k, v and output of p are not touched. d_output, d_input [T][aD].
Status LayerBackward(const LayerParams& p, const float* d_output,
                     float* d_input, const LayerGradientPointers& gradients,
                     ExecContext& ctx);

}  // namespace etalon::adapters::cke

#endif  // ETALON_LAYER_ADAPTERS_H_
