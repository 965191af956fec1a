#include "ops/attention_check.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string_view>

namespace etalon::ops {
namespace {

// A view of any kind: [n0, n1, head_dim], element strides s0 and s1.
struct Layout {
  std::string_view name;
  const void* data;
  size_t element_bytes;
  size_t n0, s0;
  std::string_view s0_name;
  size_t n1, s1;
  std::string_view s1_name;
  size_t head_dim;
};

template <class T>
Layout LayoutOf(std::string_view name, const HeadsView<T>& x) {
  return {name,           x.data,         sizeof(T), x.n_tokens,
          x.token_stride, "token_stride", x.n_heads, x.head_stride,
          "head_stride",  x.head_dim};
}
template <class Byte>
Layout LayoutOf(std::string_view name, const BasicKvView<Byte>& x) {
  const size_t bytes = x.type == TensorType::kF16 ? 2 : 4;
  return {name,          x.data,        bytes,         x.n_kv_heads,
          x.head_stride, "head_stride", x.kv_capacity, x.pos_stride,
          "pos_stride",  x.head_dim};
}

struct AddressRange {
  uintptr_t begin = 0;
  uintptr_t end = 0;
  bool Overlaps(const AddressRange& o) const {
    return begin < o.end && o.begin < end;
  }
};

// (n - 1) * stride + inner, false when it does not fit.
bool Extent(size_t n, size_t stride, size_t inner, size_t* out) {
  size_t product;
  return !__builtin_mul_overflow(n - 1, stride, &product) &&
         !__builtin_add_overflow(product, inner, out);
}

// Rows may not share elements: one of the two dimensions must lie wholly
// inside a step of the other. Precondition: no extent is 0.
Expected<AddressRange> CheckLayout(const Layout& x) {
  ETALON_ENSURE(x.data != nullptr, fmt::format("{}: data is null", x.name));
  const auto begin = reinterpret_cast<uintptr_t>(x.data);
  ETALON_ENSURE(begin % x.element_bytes == 0,
                fmt::format("{}: data is not aligned to its {}-byte elements",
                            x.name, x.element_bytes));
  ETALON_ENSURE(x.n0 == 1 || x.s0 >= x.head_dim,
                fmt::format("{}: {} {} is below head_dim {}", x.name, x.s0_name,
                            x.s0, x.head_dim));
  ETALON_ENSURE(x.n1 == 1 || x.s1 >= x.head_dim,
                fmt::format("{}: {} {} is below head_dim {}", x.name, x.s1_name,
                            x.s1, x.head_dim));
  size_t e0 = 0, e1 = 0, elements = 0, bytes = 0;
  const bool fits =
      Extent(x.n0, x.s0, x.head_dim, &e0) &&
      Extent(x.n1, x.s1, x.head_dim, &e1) &&
      Extent(x.n0, x.s0, e1, &elements) &&
      !__builtin_mul_overflow(elements, x.element_bytes, &bytes) &&
      bytes <= std::numeric_limits<uintptr_t>::max() - begin;
  ETALON_ENSURE(fits, fmt::format("{}: {} x {} rows at strides {} and {} "
                                  "exceed the address space",
                                  x.name, x.n0, x.n1, x.s0, x.s1));
  ETALON_ENSURE(
      x.n0 == 1 || x.n1 == 1 || x.s0 >= e1 || x.s1 >= e0,
      fmt::format("{}: rows overlap: {} {} and {} {} for {} x {} rows of {}",
                  x.name, x.s0_name, x.s0, x.s1_name, x.s1, x.n0, x.n1,
                  x.head_dim));
  return AddressRange{begin, begin + bytes};
}

Status CheckKvType(std::string_view name, TensorType type) {
  ETALON_ENSURE(type == TensorType::kF32 || type == TensorType::kF16,
                fmt::format("{}: type {} is not F32 or F16", name,
                            static_cast<uint32_t>(type)));
  return {};
}

Status CheckEqual(std::string_view what, size_t got, size_t expected) {
  ETALON_ENSURE(got == expected,
                fmt::format("{} is {}, expected {}", what, got, expected));
  return {};
}

Status CheckKvShape(std::string_view name, const KvView& x, const KvView& k) {
  ETALON_RETURN_IF_ERROR(CheckEqual(fmt::format("{}: n_kv_heads", name),
                                    x.n_kv_heads, k.n_kv_heads));
  return CheckEqual(fmt::format("{}: head_dim", name), x.head_dim, k.head_dim);
}

}  // namespace

Status CheckAttention(const AttentionArgs& args) {
  const HeadsView<const float>& q = args.q;
  ETALON_ENSURE(q.head_dim > 0, "attention: head_dim is 0");
  ETALON_ENSURE(q.n_heads > 0, "attention: n_heads is 0");
  ETALON_ENSURE(args.k.n_kv_heads > 0, "attention: n_kv_heads is 0");
  ETALON_ENSURE(q.n_heads % args.k.n_kv_heads == 0,
                fmt::format("attention: n_heads {} is not a multiple of "
                            "n_kv_heads {}",
                            q.n_heads, args.k.n_kv_heads));
  ETALON_ENSURE(q.n_tokens > 0, "attention: n_tokens is 0");
  ETALON_ENSURE(args.kv_len > 0, "attention: kv_len is 0");
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
  ETALON_RETURN_IF_ERROR(CheckKvType("attention k", args.k.type));
  ETALON_RETURN_IF_ERROR(CheckKvType("attention v", args.v.type));
  ETALON_RETURN_IF_ERROR(
      CheckEqual("attention k: head_dim", args.k.head_dim, q.head_dim));
  ETALON_RETURN_IF_ERROR(CheckKvShape("attention v", args.v, args.k));
  ETALON_RETURN_IF_ERROR(
      CheckEqual("attention out: n_tokens", args.out.n_tokens, q.n_tokens));
  ETALON_RETURN_IF_ERROR(
      CheckEqual("attention out: n_heads", args.out.n_heads, q.n_heads));
  ETALON_RETURN_IF_ERROR(
      CheckEqual("attention out: head_dim", args.out.head_dim, q.head_dim));

  const Layout inputs[] = {LayoutOf("attention q", q),
                           LayoutOf("attention k", args.k),
                           LayoutOf("attention v", args.v)};
  const Layout output = LayoutOf("attention out", args.out);
  AddressRange in[3];
  for (size_t i = 0; i < 3; ++i) {
    ETALON_ASSIGN_OR_RETURN(in[i], CheckLayout(inputs[i]));
  }
  ETALON_ASSIGN_OR_RETURN(const AddressRange out, CheckLayout(output));
  for (size_t i = 0; i < 3; ++i) {
    ETALON_ENSURE(!out.Overlaps(in[i]),
                  fmt::format("{} overlaps {}", output.name, inputs[i].name));
  }
  return {};
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
      CheckEqual("kv_write cache: n_kv_heads", cache.n_kv_heads, x.n_heads));
  ETALON_RETURN_IF_ERROR(
      CheckEqual("kv_write cache: head_dim", cache.head_dim, x.head_dim));
  ETALON_ASSIGN_OR_RETURN(const AddressRange in,
                          CheckLayout(LayoutOf("kv_write x", x)));
  ETALON_ASSIGN_OR_RETURN(const AddressRange out,
                          CheckLayout(LayoutOf("kv_write cache", cache)));
  ETALON_ENSURE(!out.Overlaps(in), "kv_write: x overlaps the cache");
  return {};
}

}  // namespace etalon::ops
