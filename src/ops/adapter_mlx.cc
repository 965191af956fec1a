#include <fmt/format.h>

#include <cmath>

#include "etalon/adapters.h"
#include "ops/attention_check.h"

namespace etalon::adapters::mlx {
namespace {

Status CheckParams(const SdpaParams& p) {
  ETALON_ENSURE(p.head_dim > 0, "sdpa: head_dim is 0");
  ETALON_ENSURE(p.n_heads > 0, "sdpa: n_heads is 0");
  ETALON_ENSURE(p.n_kv_heads > 0, "sdpa: n_kv_heads is 0");
  ETALON_ENSURE(p.n_heads % p.n_kv_heads == 0,
                fmt::format("sdpa: n_heads {} is not a multiple of n_kv_heads "
                            "{}",
                            p.n_heads, p.n_kv_heads));
  ETALON_ENSURE(p.seq_len > 0, "sdpa: seq_len is 0");
  ETALON_ENSURE(p.kv_seq_len > 0, "sdpa: kv_seq_len is 0");
  return {};
}

Status CheckSameType(const char* name, TensorType type, TensorType q) {
  ETALON_ENSURE(type == q, fmt::format("sdpa: {} has dtype {}, Q has {}", name,
                                       static_cast<uint32_t>(type),
                                       static_cast<uint32_t>(q)));
  return {};
}

Status CheckMore(const SdpaParams& p, uint32_t batch, uint32_t capacity) {
  ETALON_ENSURE(batch > 0, "sdpa: batch is 0");
  ETALON_ENSURE(capacity >= p.kv_seq_len,
                fmt::format("sdpa: kv_capacity {} is below kv_seq_len {}",
                            capacity, p.kv_seq_len));
  ETALON_ENSURE(p.do_causal == 0 || p.kv_seq_len >= p.seq_len,
                fmt::format("sdpa: causal with kv_seq_len {} below seq_len {}",
                            p.kv_seq_len, p.seq_len));
  ETALON_ENSURE(
      p.head_dim <= kMaxHeadDim,
      fmt::format("sdpa: head_dim {} exceeds {}", p.head_dim, kMaxHeadDim));
  ETALON_ENSURE(std::isfinite(p.scale),
                fmt::format("sdpa: scale {} is not finite", p.scale));
  return {};
}

// [batch][heads][tokens][head_dim] in bytes; four factors below 2^32 each and
// an element of 4 bytes may exceed 64 bits.
Status CheckSize(const char* name, size_t bytes, uint32_t batch, uint32_t heads,
                 uint32_t tokens, uint32_t head_dim, size_t element) {
  size_t expected = size_t{batch} * heads;
  ETALON_ENSURE(!__builtin_mul_overflow(expected, size_t{tokens}, &expected) &&
                    !__builtin_mul_overflow(
                        expected, size_t{head_dim} * element, &expected),
                fmt::format("sdpa: {} exceeds the address space", name));
  ETALON_ENSURE(bytes >= expected,
                fmt::format("sdpa: {} buffer too small: expected {} bytes, got "
                            "{}",
                            name, expected, bytes));
  return {};
}

template <class Byte>
BasicBatchedHeads<Byte> Heads(const SdpaParams& p, uint32_t batch,
                              const Buffer<Byte>& x) {
  const size_t dim = p.head_dim, tokens = p.seq_len;
  return {x.dtype, x.bytes.data(),           batch, tokens,      p.n_heads,
          dim,     p.n_heads * tokens * dim, dim,   tokens * dim};
}

}  // namespace

Expected<SdpaPlan> PlanSdpa(const SdpaParams& params, uint32_t batch,
                            const Buffer<const std::byte>& q,
                            const Buffer<const std::byte>& k,
                            const Buffer<const std::byte>& v,
                            const Buffer<std::byte>& out) {
  const SdpaParams& p = params;
  ETALON_RETURN_IF_ERROR(CheckParams(p));
  ETALON_RETURN_IF_ERROR(CheckSameType("K", k.dtype, q.dtype));
  ETALON_RETURN_IF_ERROR(CheckSameType("V", v.dtype, q.dtype));
  ETALON_RETURN_IF_ERROR(CheckSameType("output", out.dtype, q.dtype));
  ETALON_ENSURE(q.dtype == TensorType::kF32 || q.dtype == TensorType::kBF16,
                fmt::format("sdpa: dtype {} is not F32 or BF16",
                            static_cast<uint32_t>(q.dtype)));
  const uint32_t capacity = p.kv_capacity == 0 ? p.kv_seq_len : p.kv_capacity;
  ETALON_RETURN_IF_ERROR(CheckMore(p, batch, capacity));
  const size_t element = q.dtype == TensorType::kF32 ? 4 : 2;
  ETALON_RETURN_IF_ERROR(CheckSize("Q", q.bytes.size(), batch, p.n_heads,
                                   p.seq_len, p.head_dim, element));
  ETALON_RETURN_IF_ERROR(CheckSize("K", k.bytes.size(), batch, p.n_kv_heads,
                                   capacity, p.head_dim, element));
  ETALON_RETURN_IF_ERROR(CheckSize("V", v.bytes.size(), batch, p.n_kv_heads,
                                   capacity, p.head_dim, element));
  ETALON_RETURN_IF_ERROR(CheckSize("output", out.bytes.size(), batch, p.n_heads,
                                   p.seq_len, p.head_dim, element));
  const size_t head = size_t{capacity} * p.head_dim;
  const auto cache = [&](const Buffer<const std::byte>& x) {
    return KvView{x.dtype,    x.bytes.data(), p.n_kv_heads, capacity,
                  p.head_dim, head,           p.head_dim};
  };
  SdpaArgs args;
  args.q = Heads(p, batch, q);
  args.k = cache(k);
  args.v = cache(v);
  args.k_batch_stride = args.v_batch_stride = p.n_kv_heads * head;
  args.kv_len = p.kv_seq_len;
  args.scale = p.scale;
  args.causal = p.do_causal != 0;
  args.out = Heads(p, batch, out);
  ETALON_RETURN_IF_ERROR(ops::CheckSdpa(args));
  return SdpaPlan{args};
}

Status Execute(const SdpaPlan& plan, ExecContext& ctx) {
  return ops::Sdpa(plan.args, ctx);
}

Status Sdpa(const SdpaParams& params, uint32_t batch,
            const Buffer<const std::byte>& q, const Buffer<const std::byte>& k,
            const Buffer<const std::byte>& v, const Buffer<std::byte>& out,
            ExecContext& ctx) {
  ETALON_ASSIGN_OR_RETURN(const SdpaPlan plan,
                          PlanSdpa(params, batch, q, k, v, out));
  return Execute(plan, ctx);
}

}  // namespace etalon::adapters::mlx
