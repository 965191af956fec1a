#include <fmt/format.h>

#include "etalon/adapters.h"

namespace etalon::adapters::moeflux {
namespace {

Status CheckLength(const char* name, size_t got, size_t expected) {
  ETALON_ENSURE(got == expected,
                fmt::format("sdpa_cpu: {} has {} elements, expected {}", name,
                            got, expected));
  return {};
}

}  // namespace

Status SdpaCpu(const Variant& variant, int32_t kv_len, std::span<const float> q,
               std::span<const float> q_gate, std::span<const float> k_cache,
               std::span<const float> v_cache, std::span<float> out,
               ExecContext& ctx) {
  ETALON_ENSURE(kv_len > 0,
                fmt::format("sdpa_cpu: EmptyCache: kv_len is {}", kv_len));
  const size_t n = static_cast<size_t>(kv_len);
  size_t row = 0, kv_row = 0, cache = 0;
  ETALON_ENSURE(
      !__builtin_mul_overflow(variant.num_attn_heads, variant.head_dim, &row) &&
          !__builtin_mul_overflow(variant.num_kv_heads, variant.head_dim,
                                  &kv_row) &&
          !__builtin_mul_overflow(kv_row, n, &cache),
      "sdpa_cpu: the variant's extents exceed the address space");
  ETALON_RETURN_IF_ERROR(CheckLength("q", q.size(), row));
  if (!q_gate.empty()) {
    ETALON_RETURN_IF_ERROR(CheckLength("q_gate", q_gate.size(), row));
  }
  ETALON_RETURN_IF_ERROR(CheckLength("k_cache", k_cache.size(), cache));
  ETALON_RETURN_IF_ERROR(CheckLength("v_cache", v_cache.size(), cache));
  ETALON_RETURN_IF_ERROR(CheckLength("out", out.size(), row));
  const auto view = [&](std::span<const float> x) {
    return KvView{TensorType::kF32,
                  reinterpret_cast<const std::byte*>(x.data()),
                  variant.num_kv_heads,
                  n,
                  variant.head_dim,
                  variant.head_dim,
                  kv_row};
  };
  AttentionArgs a;
  a.q = {q.data(),         1,   variant.num_attn_heads,
         variant.head_dim, row, variant.head_dim};
  a.k = view(k_cache);
  a.v = view(v_cache);
  a.kv_len = n;
  a.scale = AttentionScale(variant.head_dim);
  a.out = {out.data(),       1,   variant.num_attn_heads,
           variant.head_dim, row, variant.head_dim};
  if (q_gate.empty()) return ops::FlashDecode(a, ctx);
  a.gate = {q_gate.data(),    1,   variant.num_attn_heads,
            variant.head_dim, row, variant.head_dim};
  return ops::GatedSdpa(a, ctx);
}

}  // namespace etalon::adapters::moeflux
