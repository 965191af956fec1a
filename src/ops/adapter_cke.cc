#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "etalon/adapters.h"
#include "etalon/config.h"

namespace etalon::adapters::cke {
namespace {

struct Extent {
  const char* name;
  int value;
};
Status CheckArguments(const char* op,
                      std::initializer_list<const void*> pointers,
                      std::initializer_list<Extent> extents) {
  for (const void* p : pointers) {
    ETALON_ENSURE(p != nullptr, fmt::format("{}: a pointer is null", op));
  }
  for (const Extent& e : extents) {
    ETALON_ENSURE(e.value > 0,
                  fmt::format("{}: {} is {}", op, e.name, e.value));
  }
  return {};
}

Status CheckPadding(const char* op, int head_dim, int aligned_head_dim) {
  ETALON_ENSURE(aligned_head_dim >= head_dim,
                fmt::format("{}: aligned_head_dim {} is below head_dim {}", op,
                            aligned_head_dim, head_dim));
  return {};
}

// A head-major buffer [heads][tokens][row], lanes < head_dim used.
struct HeadMajor {
  size_t heads, tokens, head_dim, row;

  KvView Cache(const float* data) const {
    return {TensorType::kF32,
            reinterpret_cast<const std::byte*>(data),
            heads,
            tokens,
            head_dim,
            tokens * row,
            row};
  }
  template <class T>
  HeadsView<T> Heads(T* data) const {
    return {data, tokens, heads, head_dim, row, tokens * row};
  }
  void ClearPads(float* data) const {
    for (size_t r = 0; r < heads * tokens; ++r) {
      std::fill(data + r * row + head_dim, data + (r + 1) * row, 0.0f);
    }
  }
};
HeadMajor Shape(int heads, int tokens, int head_dim, int row) {
  return {static_cast<size_t>(heads), static_cast<size_t>(tokens),
          static_cast<size_t>(head_dim), static_cast<size_t>(row)};
}

// One token against head-major caches.
Expected<AttentionArgs> DecodeArgs(const char* op, const float* q,
                                   const float* k, const float* v, float* out,
                                   int num_heads, int num_kv_heads,
                                   int kv_tokens, int capacity, int head_dim,
                                   int aligned_head_dim) {
  ETALON_RETURN_IF_ERROR(CheckArguments(op, {q, k, v, out},
                                        {{"num_heads", num_heads},
                                         {"num_kv_heads", num_kv_heads},
                                         {"kv_tokens", kv_tokens},
                                         {"cache_capacity", capacity}}));
  ETALON_ENSURE(kv_tokens <= capacity,
                fmt::format("{}: kv_tokens {} exceeds cache_capacity {}", op,
                            kv_tokens, capacity));
  ETALON_RETURN_IF_ERROR(CheckArguments(
      op, {},
      {{"head_dim", head_dim}, {"aligned_head_dim", aligned_head_dim}}));
  ETALON_RETURN_IF_ERROR(CheckPadding(op, head_dim, aligned_head_dim));
  const HeadMajor cache =
      Shape(num_kv_heads, capacity, head_dim, aligned_head_dim);
  const HeadMajor rows = Shape(num_heads, 1, head_dim, aligned_head_dim);
  AttentionArgs a;
  a.q = rows.Heads(q);
  a.k = cache.Cache(k);
  a.v = cache.Cache(v);
  a.kv_len = static_cast<size_t>(kv_tokens);
  a.scale = AttentionScale(static_cast<size_t>(head_dim));
  a.out = rows.Heads(out);
  return a;
}

}  // namespace

Status AttentionFlashDecode(float* out, const float* q, const float* k,
                            const float* v, int t_q, int t_k, int h, int d_h,
                            float scale, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(
      CheckArguments("attention_flash_decode", {out, q, k, v},
                     {{"T_q", t_q}, {"T_k", t_k}, {"H", h}, {"D_h", d_h}}));
  const size_t heads = static_cast<size_t>(h), dim = static_cast<size_t>(d_h);
  const size_t n_q = static_cast<size_t>(t_q), n_k = static_cast<size_t>(t_k);
  const auto cache = [&](const float* x) {
    return KvView{TensorType::kF32,
                  reinterpret_cast<const std::byte*>(x),
                  heads,
                  n_k,
                  dim,
                  dim,
                  heads * dim};
  };
  AttentionArgs a;
  a.q = {q, n_q, heads, dim, heads * dim, dim};
  a.k = cache(k);
  a.v = cache(v);
  a.kv_len = n_k;
  a.scale = scale;
  a.out = {out, n_q, heads, dim, heads * dim, dim};
  return ops::Attention(a, ctx);
}

Status AttentionFlashDecodeWrapper(const float* q_token, const float* k_cache,
                                   const float* v_cache, float* out_token,
                                   int num_heads, int num_kv_heads,
                                   int kv_tokens, int cache_capacity,
                                   int head_dim, int aligned_head_dim,
                                   ExecContext& ctx) {
  ETALON_ASSIGN_OR_RETURN(
      const AttentionArgs a,
      DecodeArgs("attention_flash_decode_wrapper", q_token, k_cache, v_cache,
                 out_token, num_heads, num_kv_heads, kv_tokens, cache_capacity,
                 head_dim, aligned_head_dim));
  ETALON_RETURN_IF_ERROR(ops::FlashDecode(a, ctx));
  Shape(num_heads, 1, head_dim, aligned_head_dim).ClearPads(out_token);
  return {};
}

Status AttentionForwardDecodeHeadMajorGqaRegular(
    const float* q_token, const float* k_cache, const float* v_cache,
    float* out_token, int num_heads, int num_kv_heads, int kv_tokens,
    int cache_capacity, int head_dim, int aligned_head_dim, ExecContext& ctx) {
  ETALON_ASSIGN_OR_RETURN(
      const AttentionArgs a,
      DecodeArgs("attention_forward_decode_head_major_gqa_regular", q_token,
                 k_cache, v_cache, out_token, num_heads, num_kv_heads,
                 kv_tokens, cache_capacity, head_dim, aligned_head_dim));
  if (ctx.config != nullptr && ctx.config->strict_parity) {
    ETALON_RETURN_IF_ERROR(ops::AttentionGgmlF16(a, ctx));
  } else {
    Config without_tiles = ctx.config == nullptr ? Config() : *ctx.config;
    without_tiles.flash_attn_strict = true;
    ExecContext regular = ctx;
    regular.config = &without_tiles;
    ETALON_RETURN_IF_ERROR(ops::FlashDecode(a, regular));
  }
  Shape(num_heads, 1, head_dim, aligned_head_dim).ClearPads(out_token);
  return {};
}

Status AttentionForwardCausalHeadMajorGqa(const float* q, const float* k,
                                          const float* v, float* scores,
                                          float* output, int num_heads,
                                          int num_kv_heads, int num_tokens,
                                          int head_dim, int aligned_head_dim,
                                          int aligned_context_window,
                                          ExecContext& ctx) {
  constexpr char kOp[] = "attention_forward_causal_head_major_gqa";
  ETALON_RETURN_IF_ERROR(
      CheckArguments(kOp, {q, k, v, output},
                     {{"num_heads", num_heads},
                      {"num_kv_heads", num_kv_heads},
                      {"num_tokens", num_tokens},
                      {"head_dim", head_dim},
                      {"aligned_head_dim", aligned_head_dim}}));
  ETALON_RETURN_IF_ERROR(CheckPadding(kOp, head_dim, aligned_head_dim));
  const HeadMajor rows =
      Shape(num_heads, num_tokens, head_dim, aligned_head_dim);
  const HeadMajor cache =
      Shape(num_kv_heads, num_tokens, head_dim, aligned_head_dim);
  AttentionArgs a;
  a.q = rows.Heads(q);
  a.k = cache.Cache(k);
  a.v = cache.Cache(v);
  a.kv_len = rows.tokens;
  a.scale = AttentionScale(rows.head_dim);
  a.out = rows.Heads(output);
  if (scores == nullptr) {
    ETALON_RETURN_IF_ERROR(ops::Attention(a, ctx));
  } else {
    ETALON_ENSURE(
        aligned_context_window >= num_tokens,
        fmt::format("{}: aligned_context_window {} is below num_tokens {}", kOp,
                    aligned_context_window, num_tokens));
    const size_t window = static_cast<size_t>(aligned_context_window);
    ETALON_RETURN_IF_ERROR(
        ops::AttentionWithProbs({a, scores, window, window * window}, ctx));
  }
  rows.ClearPads(output);
  return {};
}

Status KvCacheWriteHeadMajor(const float* k_token, const float* v_token,
                             float* k_cache, float* v_cache, int num_kv_heads,
                             int token_index, int cache_capacity, int head_dim,
                             int aligned_head_dim, ExecContext& ctx) {
  constexpr char kOp[] = "kv_cache_write_head_major";
  ETALON_RETURN_IF_ERROR(
      CheckArguments(kOp, {k_token, v_token, k_cache, v_cache},
                     {{"num_kv_heads", num_kv_heads},
                      {"cache_capacity", cache_capacity},
                      {"head_dim", head_dim},
                      {"aligned_head_dim", aligned_head_dim}}));
  ETALON_RETURN_IF_ERROR(CheckPadding(kOp, head_dim, aligned_head_dim));
  ETALON_ENSURE(token_index >= 0 && token_index < cache_capacity,
                fmt::format("{}: token_index {} is not in [0, {})", kOp,
                            token_index, cache_capacity));
  const HeadMajor cache =
      Shape(num_kv_heads, cache_capacity, head_dim, aligned_head_dim);
  const HeadMajor rows = Shape(num_kv_heads, 1, head_dim, aligned_head_dim);
  const auto write = [&](const float* from, float* to) {
    const MutableKvView view = {
        TensorType::kF32, reinterpret_cast<std::byte*>(to),
        cache.heads,      cache.tokens,
        cache.head_dim,   cache.tokens * cache.row,
        cache.row};
    return ops::KvWrite(
        {rows.Heads(from), static_cast<size_t>(token_index), view, cache.row},
        ctx);
  };
  ETALON_RETURN_IF_ERROR(write(k_token, k_cache));
  return write(v_token, v_cache);
}

Status KvCacheRepackHeadMajorInplace(float* buf, int num_heads, int tokens,
                                     int cache_capacity, int aligned_head_dim) {
  ETALON_RETURN_IF_ERROR(
      CheckArguments("kv_cache_repack_head_major_inplace", {buf},
                     {{"num_heads", num_heads},
                      {"tokens", tokens},
                      {"cache_capacity", cache_capacity},
                      {"aligned_head_dim", aligned_head_dim}}));
  return ops::KvRepack(
      {reinterpret_cast<std::byte*>(buf), static_cast<size_t>(num_heads),
       static_cast<size_t>(tokens), static_cast<size_t>(cache_capacity),
       static_cast<size_t>(aligned_head_dim) * sizeof(float)});
}

}  // namespace etalon::adapters::cke
