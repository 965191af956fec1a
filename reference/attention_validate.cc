#include "reference/attention_validate.h"

#include <cmath>

#include "reference/validate.h"

namespace etalon::reference {
namespace {

constexpr char kOp[] = "attention";

template <class T>
Status CheckLikeOut(const char* name, const HeadsView<T>& x,
                    const AttentionArgs& args) {
  const HeadsView<const float>& q = args.q;
  ETALON_ENSURE(x.n_tokens == q.n_tokens && x.n_heads == q.n_heads &&
                    x.head_dim == args.v.head_dim,
                fmt::format("{}: {} is [{}, {}, {}], want [{}, {}, {}]", kOp,
                            name, x.n_tokens, x.n_heads, x.head_dim, q.n_tokens,
                            q.n_heads, args.v.head_dim));
  return {};
}

Status CheckVariant(const AttentionArgs& args) {
  const AttentionVariant& variant = args.variant;
  ETALON_ENSURE(
      variant.window == 0 || args.causal,
      fmt::format("{}: window {} without causal", kOp, variant.window));
  ETALON_ENSURE(std::isfinite(variant.softcap) && variant.softcap >= 0.0f,
                fmt::format("{}: softcap is {}, want a finite number from 0 on",
                            kOp, variant.softcap));
  for (const auto& [name, per_head] :
       {std::pair{"alibi_slopes", variant.alibi_slopes},
        std::pair{"sinks", variant.sinks}}) {
    ETALON_ENSURE(per_head.empty() || per_head.size() == args.q.n_heads,
                  fmt::format("{}: {} has {} elements, want {}", kOp, name,
                              per_head.size(), args.q.n_heads));
  }
  ETALON_ENSURE(variant.alibi_slopes.empty() || args.kv_len >= args.q.n_tokens,
                fmt::format("{}: ALiBi with kv_len {} below {} query tokens",
                            kOp, args.kv_len, args.q.n_tokens));
  return {};
}

}  // namespace

Status ValidateAttention(const AttentionArgs& args) {
  const HeadsView<const float>& q = args.q;
  ETALON_RETURN_IF_ERROR(CheckHeads(kOp, "q", q));
  ETALON_RETURN_IF_ERROR(CheckHeads(kOp, "out", args.out));
  for (const auto& [name, cache] :
       {std::pair{"k", &args.k}, std::pair{"v", &args.v}}) {
    KvView view = *cache;
    constexpr std::byte kNone = {};
    if (view.kv_capacity == 0) view.data = &kNone;  // it needs no memory
    ETALON_RETURN_IF_ERROR(CheckCache(kOp, name, view));
    ETALON_ENSURE(cache->head_dim > 0 && cache->head_dim <= kMaxHeadDim,
                  fmt::format("{}: {} has head_dim {}, want 1 to {}", kOp, name,
                              cache->head_dim, kMaxHeadDim));
    ETALON_ENSURE(
        cache->n_kv_heads > 0 && q.n_heads % cache->n_kv_heads == 0,
        fmt::format("{}: {} query heads are no multiple of {} kv heads", kOp,
                    q.n_heads, cache->n_kv_heads));
    ETALON_ENSURE(args.kv_len <= cache->kv_capacity,
                  fmt::format("{}: kv_len {} exceeds the cache's capacity {}",
                              kOp, args.kv_len, cache->kv_capacity));
  }
  ETALON_ENSURE(args.k.head_dim == q.head_dim,
                fmt::format("{}: cache has head_dim {}, q has {}", kOp,
                            args.k.head_dim, q.head_dim));
  ETALON_RETURN_IF_ERROR(CheckLikeOut("out", args.out, args));
  ETALON_ENSURE(args.k.n_kv_heads == args.v.n_kv_heads,
                fmt::format("{}: k has {} heads, v has {}", kOp,
                            args.k.n_kv_heads, args.v.n_kv_heads));
  ETALON_ENSURE(!args.causal || args.kv_len >= q.n_tokens,
                fmt::format("{}: causal with kv_len {} below {} query tokens",
                            kOp, args.kv_len, q.n_tokens));
  ETALON_ENSURE(
      std::isfinite(args.scale),
      fmt::format("{}: scale is {}, want a finite number", kOp, args.scale));
  ETALON_RETURN_IF_ERROR(CheckVariant(args));
  if (args.gate.data == nullptr) return {};
  return CheckLikeOut("gate", args.gate, args);
}

}  // namespace etalon::reference
