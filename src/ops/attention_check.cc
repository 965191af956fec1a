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

namespace etalon::ops {
namespace {

// A view of any kind: [n0, n1, head_dim], element strides s0 and s1. Elements
// come in blocks (of 1 but for Q8_0), whose last one a row may not fill.
struct Layout {
  std::string_view name;
  const void* data;
  size_t block;
  size_t block_bytes;
  size_t alignment;
  size_t n0, s0;
  std::string_view s0_name;
  size_t n1, s1;
  std::string_view s1_name;
  size_t head_dim;
};

template <class T>
Layout LayoutOf(std::string_view name, const HeadsView<T>& x) {
  return {name,           x.data,         1,
          sizeof(T),      sizeof(T),      x.n_tokens,
          x.token_stride, "token_stride", x.n_heads,
          x.head_stride,  "head_stride",  x.head_dim};
}
template <class Byte>
Layout LayoutOf(std::string_view name, const BasicKvView<Byte>& x) {
  const TypeTraits& type = GetTypeTraits(x.type);  // CheckKvType came first
  return {name,
          x.data,
          type.block_size,
          type.block_bytes,
          x.type == TensorType::kF32 ? size_t{4} : size_t{2},
          x.n_kv_heads,
          x.head_stride,
          "head_stride",
          x.kv_capacity,
          x.pos_stride,
          "pos_stride",
          x.head_dim};
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
  ETALON_ENSURE(begin % x.alignment == 0,
                fmt::format("{}: data is not aligned to its {}-byte elements",
                            x.name, x.alignment));
  for (const auto& [name, stride] :
       {std::pair{x.s0_name, x.s0}, std::pair{x.s1_name, x.s1}}) {
    ETALON_ENSURE(stride % x.block == 0,
                  fmt::format("{}: {} {} is not a multiple of the block of {}",
                              x.name, name, stride, x.block));
  }
  const size_t row = (x.head_dim + x.block - 1) / x.block * x.block;
  ETALON_ENSURE(x.n0 == 1 || x.s0 >= row,
                fmt::format("{}: {} {} is below head_dim {}", x.name, x.s0_name,
                            x.s0, x.head_dim));
  ETALON_ENSURE(x.n1 == 1 || x.s1 >= row,
                fmt::format("{}: {} {} is below head_dim {}", x.name, x.s1_name,
                            x.s1, x.head_dim));
  size_t e0 = 0, e1 = 0, elements = 0, bytes = 0;
  const bool fits =
      Extent(x.n0, x.s0, row, &e0) && Extent(x.n1, x.s1, row, &e1) &&
      Extent(x.n0, x.s0, e1, &elements) &&
      !__builtin_mul_overflow(elements / x.block, x.block_bytes, &bytes) &&
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

// First to last byte of rows of n elements at two strides, which may be 0.
template <class T>
Expected<AddressRange> RangeOf(std::string_view name, T* data, size_t n0,
                               size_t s0, size_t n1, size_t s1, size_t n) {
  ETALON_ENSURE(data != nullptr, fmt::format("{}: data is null", name));
  const auto begin = reinterpret_cast<uintptr_t>(data);
  ETALON_ENSURE(begin % alignof(T) == 0,
                fmt::format("{}: data is not aligned to its {}-byte elements",
                            name, sizeof(T)));
  size_t e1 = 0, elements = 0, bytes = 0;
  const bool fits = Extent(n1, s1, n, &e1) && Extent(n0, s0, e1, &elements) &&
                    !__builtin_mul_overflow(elements, sizeof(T), &bytes) &&
                    bytes <= std::numeric_limits<uintptr_t>::max() - begin;
  ETALON_ENSURE(fits, fmt::format("{}: {} x {} rows at strides {} and {} "
                                  "exceed the address space",
                                  name, n0, n1, s0, s1));
  return AddressRange{begin, begin + bytes};
}

struct NamedRange {
  std::string_view name;
  AddressRange range;
};

// What a call reads; as many as there can be.
class Inputs {
 public:
  void Add(std::string_view name, const AddressRange& range) {
    ranges_[n_++] = {name, range};
  }
  Status CheckDisjoint(const NamedRange& out) const {
    for (size_t i = 0; i < n_; ++i) {
      ETALON_ENSURE(!out.range.Overlaps(ranges_[i].range),
                    fmt::format("{} overlaps {}", out.name, ranges_[i].name));
    }
    return {};
  }

 private:
  std::array<NamedRange, 8> ranges_;
  size_t n_ = 0;
};

// All that is read, checked on the way.
Expected<Inputs> InputsOf(const AttentionArgs& args) {
  Inputs in;
  for (const Layout& x :
       {LayoutOf("attention q", args.q), LayoutOf("attention k", args.k),
        LayoutOf("attention v", args.v)}) {
    ETALON_ASSIGN_OR_RETURN(const AddressRange range, CheckLayout(x));
    in.Add(x.name, range);
  }
  const AttentionVariant& v = args.variant;
  for (const auto& [name, x] :
       {std::pair{"attention alibi_slopes", v.alibi_slopes},
        std::pair{"attention sinks", v.sinks}}) {
    if (x.empty()) continue;
    ETALON_ASSIGN_OR_RETURN(const AddressRange range,
                            RangeOf(name, x.data(), 1, 0, 1, 0, x.size()));
    in.Add(name, range);
  }
  if (v.mask.data != nullptr) {
    ETALON_ASSIGN_OR_RETURN(
        const AddressRange range,
        RangeOf("attention mask", v.mask.data, args.q.n_tokens,
                v.mask.token_stride, args.q.n_heads, v.mask.head_stride,
                args.kv_len));
    in.Add("attention mask", range);
  }
  if (args.gate.data != nullptr) {
    ETALON_ASSIGN_OR_RETURN(const AddressRange range,
                            CheckLayout(LayoutOf("attention gate", args.gate)));
    in.Add("attention gate", range);
  }
  return in;
}

Status CheckShapes(const AttentionArgs& args) {
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

}  // namespace

Status CheckAttention(const AttentionArgs& args) {
  ETALON_RETURN_IF_ERROR(CheckShapes(args));
  ETALON_ASSIGN_OR_RETURN(const Inputs in, InputsOf(args));
  ETALON_ASSIGN_OR_RETURN(const AddressRange out,
                          CheckLayout(LayoutOf("attention out", args.out)));
  return in.CheckDisjoint({"attention out", out});
}

Status CheckAttentionProbs(const AttentionProbsArgs& args) {
  const AttentionArgs& a = args.attention;
  ETALON_RETURN_IF_ERROR(CheckAttention(a));
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
