#include "ops/attention_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <utility>

#include "ops/attention_layout.h"

namespace etalon::ops {
namespace {

Status CheckKvType(std::string_view name, TensorType type) {
  ETALON_ENSURE(type == TensorType::kF32 || type == TensorType::kF16 ||
                    type == TensorType::kBF16 || type == TensorType::kQ8_0,
                fmt::format("{}: type {} is not F32, F16, BF16 or Q8_0", name,
                            static_cast<uint32_t>(type)));
  return {};
}

// No text is made unless something is wrong.
Status CheckEqual(std::string_view name, std::string_view field, size_t got,
                  size_t expected) {
  ETALON_ENSURE(got == expected, fmt::format("{}: {} is {}, expected {}", name,
                                             field, got, expected));
  return {};
}

// [n_tokens, n_heads, head_dim_v], as the output has it.
template <class T>
Status CheckLikeOut(std::string_view name, const HeadsView<T>& x,
                    const AttentionArgs& args) {
  ETALON_RETURN_IF_ERROR(
      CheckEqual(name, "n_tokens", x.n_tokens, args.q.n_tokens));
  ETALON_RETURN_IF_ERROR(
      CheckEqual(name, "n_heads", x.n_heads, args.q.n_heads));
  return CheckEqual(name, "head_dim", x.head_dim, args.v.head_dim);
}

Status CheckHeadDim(std::string_view name, size_t head_dim) {
  ETALON_ENSURE(
      head_dim <= kMaxHeadDim,
      fmt::format("{}: head_dim {} exceeds {}", name, head_dim, kMaxHeadDim));
  return {};
}

Status CheckPerHead(std::string_view name, std::span<const float> x,
                    size_t n_heads) {
  if (x.empty()) return {};
  return CheckEqual(name, "size", x.size(), n_heads);
}

Status CheckVariant(const AttentionArgs& args) {
  const AttentionVariant& v = args.variant;
  ETALON_ENSURE(v.window == 0 || args.causal,
                fmt::format("attention: window {} without causal", v.window));
  ETALON_ENSURE(std::isfinite(v.softcap) && v.softcap >= 0.0f,
                fmt::format("attention: softcap {} is not a finite number from "
                            "0 on",
                            v.softcap));
  ETALON_RETURN_IF_ERROR(
      CheckPerHead("attention alibi_slopes", v.alibi_slopes, args.q.n_heads));
  ETALON_RETURN_IF_ERROR(
      CheckPerHead("attention sinks", v.sinks, args.q.n_heads));
  if (!v.alibi_slopes.empty()) {
    // Distances must fit an int32 and have a meaning.
    ETALON_ENSURE(
        args.kv_len >= args.q.n_tokens,
        fmt::format("attention: ALiBi with kv_len {} below n_tokens {}",
                    args.kv_len, args.q.n_tokens));
    ETALON_ENSURE(args.kv_len <= size_t{std::numeric_limits<int32_t>::max()},
                  fmt::format("attention: ALiBi with kv_len {} above 2^31 - 1",
                              args.kv_len));
  }
  return {};
}

}  // namespace

Status AddVariantInputs(const AttentionArgs& args, Inputs& in) {
  const AttentionVariant& v = args.variant;
  for (const auto& [name, x] :
       {std::pair{"attention alibi_slopes", v.alibi_slopes},
        std::pair{"attention sinks", v.sinks}}) {
    if (x.empty()) continue;
    ETALON_ASSIGN_OR_RETURN(const AddressRange range,
                            RangeOf(name, x.data(), 1, 0, 1, 0, x.size()));
    in.Add(name, range);
  }
  if (v.mask.data != nullptr && args.kv_len > 0) {
    ETALON_ASSIGN_OR_RETURN(
        const AddressRange range,
        RangeOf("attention mask", v.mask.data, args.q.n_tokens,
                v.mask.token_stride, args.q.n_heads, v.mask.head_stride,
                args.kv_len));
    in.Add("attention mask", range);
  }
  return {};
}

namespace {

// All that is read, checked on the way.
Expected<Inputs> InputsOf(const AttentionArgs& args) {
  Inputs in;
  for (const Layout& x :
       {LayoutOf("attention q", args.q), LayoutOf("attention k", args.k),
        LayoutOf("attention v", args.v)}) {
    if (x.n1 == 0) continue;  // a cache without positions has no memory
    ETALON_ASSIGN_OR_RETURN(const AddressRange range, CheckLayout(x));
    in.Add(x.name, range);
  }
  ETALON_RETURN_IF_ERROR(AddVariantInputs(args, in));
  if (args.gate.data != nullptr) {
    ETALON_ASSIGN_OR_RETURN(const AddressRange range,
                            CheckLayout(LayoutOf("attention gate", args.gate)));
    in.Add("attention gate", range);
  }
  return in;
}

}  // namespace

Status CheckAttentionShapes(const AttentionArgs& args) {
  const HeadsView<const float>& q = args.q;
  ETALON_ENSURE(q.head_dim > 0, "attention: head_dim is 0");
  ETALON_ENSURE(q.n_heads > 0, "attention: n_heads is 0");
  ETALON_ENSURE(args.k.n_kv_heads > 0, "attention: n_kv_heads is 0");
  ETALON_ENSURE(q.n_heads % args.k.n_kv_heads == 0,
                fmt::format("attention: n_heads {} is not a multiple of "
                            "n_kv_heads {}",
                            q.n_heads, args.k.n_kv_heads));
  ETALON_ENSURE(q.n_tokens > 0, "attention: n_tokens is 0");
  for (const KvView* x : {&args.k, &args.v}) {
    ETALON_ENSURE(args.kv_len <= x->kv_capacity,
                  fmt::format("attention: kv_len {} exceeds kv_capacity {}",
                              args.kv_len, x->kv_capacity));
  }
  ETALON_ENSURE(!args.causal || args.kv_len >= q.n_tokens,
                fmt::format("attention: causal with kv_len {} below n_tokens "
                            "{}",
                            args.kv_len, q.n_tokens));
  ETALON_ENSURE(std::isfinite(args.scale),
                fmt::format("attention: scale {} is not finite", args.scale));
  ETALON_RETURN_IF_ERROR(CheckHeadDim("attention", q.head_dim));
  ETALON_ENSURE(args.v.head_dim > 0, "attention v: head_dim is 0");
  ETALON_RETURN_IF_ERROR(CheckHeadDim("attention v", args.v.head_dim));
  ETALON_RETURN_IF_ERROR(CheckKvType("attention k", args.k.type));
  ETALON_RETURN_IF_ERROR(CheckKvType("attention v", args.v.type));
  ETALON_RETURN_IF_ERROR(
      CheckEqual("attention k", "head_dim", args.k.head_dim, q.head_dim));
  ETALON_RETURN_IF_ERROR(CheckEqual("attention v", "n_kv_heads",
                                    args.v.n_kv_heads, args.k.n_kv_heads));
  ETALON_RETURN_IF_ERROR(CheckLikeOut("attention out", args.out, args));
  ETALON_RETURN_IF_ERROR(CheckVariant(args));
  if (args.gate.data == nullptr) return {};
  return CheckLikeOut("attention gate", args.gate, args);
}

Status CheckAttention(const AttentionArgs& args) {
  ETALON_RETURN_IF_ERROR(CheckAttentionShapes(args));
  ETALON_ASSIGN_OR_RETURN(const Inputs in, InputsOf(args));
  ETALON_ASSIGN_OR_RETURN(const AddressRange out,
                          CheckLayout(LayoutOf("attention out", args.out)));
  return in.CheckDisjoint({"attention out", out});
}

Status CheckAttentionProbs(const AttentionProbsArgs& args) {
  const AttentionArgs& a = args.attention;
  ETALON_RETURN_IF_ERROR(CheckAttention(a));
  if (a.kv_len == 0) return {};  // no weight to write
  const size_t t = a.q.n_tokens, h = a.q.n_heads;
  // Rows may not share elements: as CheckLayout has it, rows of kv_len.
  const Layout layout = {"attention probs", args.probs,     1,
                         sizeof(float),     alignof(float), t,
                         args.token_stride, "token_stride", h,
                         args.head_stride,  "head_stride",  a.kv_len};
  ETALON_ASSIGN_OR_RETURN(const AddressRange probs, CheckLayout(layout));
  ETALON_ASSIGN_OR_RETURN(Inputs in, InputsOf(a));
  ETALON_ASSIGN_OR_RETURN(const AddressRange out,
                          CheckLayout(LayoutOf("attention out", a.out)));
  in.Add("attention out", out);
  return in.CheckDisjoint({"attention probs", probs});
}

Status CheckKvWrite(const KvWriteArgs& args) {
  const HeadsView<const float>& x = args.x;
  const MutableKvView& cache = args.cache;
  ETALON_ENSURE(x.head_dim > 0, "kv_write: head_dim is 0");
  ETALON_ENSURE(x.n_heads > 0, "kv_write: n_kv_heads is 0");
  ETALON_ENSURE(x.n_tokens > 0, "kv_write: n_tokens is 0");
  ETALON_ENSURE(args.pos <= cache.kv_capacity &&
                    x.n_tokens <= cache.kv_capacity - args.pos,
                fmt::format("kv_write: {} tokens at pos {} exceed kv_capacity "
                            "{}",
                            x.n_tokens, args.pos, cache.kv_capacity));
  ETALON_RETURN_IF_ERROR(CheckKvType("kv_write cache", cache.type));
  ETALON_RETURN_IF_ERROR(
      CheckEqual("kv_write cache", "n_kv_heads", cache.n_kv_heads, x.n_heads));
  ETALON_RETURN_IF_ERROR(
      CheckEqual("kv_write cache", "head_dim", cache.head_dim, x.head_dim));
  const size_t padded = args.padded_head_dim;
  ETALON_ENSURE(padded == 0 || padded >= x.head_dim,
                fmt::format("kv_write: padded_head_dim {} is below head_dim {}",
                            padded, x.head_dim));
  MutableKvView written = cache;
  written.head_dim = std::max(padded, x.head_dim);
  ETALON_ASSIGN_OR_RETURN(const AddressRange in,
                          CheckLayout(LayoutOf("kv_write x", x)));
  ETALON_ASSIGN_OR_RETURN(const AddressRange out,
                          CheckLayout(LayoutOf("kv_write cache", written)));
  ETALON_ENSURE(!out.Overlaps(in), "kv_write: x overlaps the cache");
  return {};
}

}  // namespace etalon::ops
