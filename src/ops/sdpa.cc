#include "etalon/sdpa.h"

#include <algorithm>
#include <cstring>

#include "ops/attention_check.h"
#include "ops/attention_layout.h"
#include "quant/f16.h"

namespace etalon::ops {
namespace {

size_t ElementBytes(TensorType type) {
  return type == TensorType::kF32 ? 4 : 2;
}

Status CheckFloatType(std::string_view name, TensorType type) {
  ETALON_ENSURE(type == TensorType::kF32 || type == TensorType::kF16 ||
                    type == TensorType::kBF16,
                fmt::format("{}: type {} is not F32, F16 or BF16", name,
                            static_cast<uint32_t>(type)));
  return {};
}

// One batch item of a view; the rest of the batch repeats it.
template <class Byte>
Layout ItemOf(std::string_view name, const BasicBatchedHeads<Byte>& x) {
  const size_t bytes = ElementBytes(x.type);
  return {name,           x.data,         1,
          bytes,          bytes,          x.n_tokens,
          x.token_stride, "token_stride", x.n_heads,
          x.head_stride,  "head_stride",  x.head_dim};
}

// From the first item to the last; outputs of the batch may not overlap.
Expected<NamedRange> BatchRange(const Layout& item, size_t n_batch,
                                size_t batch_stride, bool written) {
  ETALON_ASSIGN_OR_RETURN(AddressRange range, CheckLayout(item));
  ETALON_ENSURE(batch_stride % item.block == 0,
                fmt::format("{}: batch_stride {} is not a multiple of the "
                            "block of {}",
                            item.name, batch_stride, item.block));
  size_t step = 0, all = 0;
  const size_t bytes = range.end - range.begin;
  const bool fits = !__builtin_mul_overflow(batch_stride / item.block,
                                            item.block_bytes, &step) &&
                    Extent(n_batch, step, bytes, &all) &&
                    all <= std::numeric_limits<uintptr_t>::max() - range.begin;
  ETALON_ENSURE(fits,
                fmt::format("{}: a batch of {} at batch_stride {} exceeds "
                            "the address space",
                            item.name, n_batch, batch_stride));
  ETALON_ENSURE(!written || n_batch == 1 || step >= bytes,
                fmt::format("{}: batch_stride {} is below one item's extent",
                            item.name, batch_stride));
  range.end = range.begin + all;
  return NamedRange{item.name, range};
}

// The call of batch item b, but for q and out.
AttentionArgs ItemArgs(const SdpaArgs& args, size_t b) {
  AttentionArgs a;
  a.k = args.k;
  a.v = args.v;
  const auto advance = [b](KvView& x, size_t stride) {
    const TypeTraits& type = GetTypeTraits(x.type);
    x.data += b * stride / type.block_size * type.block_bytes;
  };
  if (b > 0 && args.kv_len > 0) {
    advance(a.k, args.k_batch_stride);
    advance(a.v, args.v_batch_stride);
  }
  a.kv_len = args.kv_len;
  a.scale = args.scale;
  a.causal = args.causal;
  a.variant = args.variant;
  return a;
}

}  // namespace

Status CheckSdpa(const SdpaArgs& args) {
  ETALON_ENSURE(args.q.n_batch > 0, "sdpa: n_batch is 0");
  ETALON_ENSURE(args.out.n_batch == args.q.n_batch,
                fmt::format("sdpa out: n_batch is {}, expected {}",
                            args.out.n_batch, args.q.n_batch));
  AttentionArgs shapes = ItemArgs(args, 0);
  shapes.q = {nullptr, args.q.n_tokens, args.q.n_heads, args.q.head_dim, 0, 0};
  shapes.out = {
      nullptr, args.out.n_tokens, args.out.n_heads, args.out.head_dim, 0, 0};
  ETALON_RETURN_IF_ERROR(CheckAttentionShapes(shapes));
  ETALON_RETURN_IF_ERROR(CheckFloatType("sdpa q", args.q.type));
  ETALON_RETURN_IF_ERROR(CheckFloatType("sdpa out", args.out.type));
  const size_t n = args.q.n_batch;
  Inputs in;
  for (const auto& [item, batch_stride] :
       {std::pair{ItemOf("sdpa q", args.q), args.q.batch_stride},
        std::pair{LayoutOf("sdpa k", args.k), args.k_batch_stride},
        std::pair{LayoutOf("sdpa v", args.v), args.v_batch_stride}}) {
    if (item.n1 == 0) continue;  // a cache without positions has no memory
    ETALON_ASSIGN_OR_RETURN(const NamedRange range,
                            BatchRange(item, n, batch_stride, false));
    in.Add(range.name, range.range);
  }
  ETALON_ASSIGN_OR_RETURN(
      const NamedRange out,
      BatchRange(ItemOf("sdpa out", args.out), n, args.out.batch_stride, true));
  ETALON_RETURN_IF_ERROR(AddVariantInputs(shapes, in));
  return in.CheckDisjoint(out);
}

namespace {

float Widen(TensorType type, const std::byte* p) {
  if (type == TensorType::kF32) {
    float x;
    std::memcpy(&x, p, 4);
    return x;
  }
  uint16_t bits;
  std::memcpy(&bits, p, 2);
  return type == TensorType::kF16 ? F16ToF32(bits) : BF16ToF32(bits);
}

void Narrow(float x, TensorType type, std::byte* p) {
  if (type == TensorType::kF32) {
    std::memcpy(p, &x, 4);
    return;
  }
  const uint16_t bits = type == TensorType::kF16 ? F32ToF16(x) : F32ToBF16(x);
  std::memcpy(p, &bits, 2);
}

// element(byte pointer, index in a dense [n_tokens, n_heads, head_dim]).
template <class Byte, class Fn>
void ForEachElement(const BasicBatchedHeads<Byte>& x, size_t b,
                    const Fn& element) {
  const size_t bytes = ElementBytes(x.type);
  size_t i = 0;
  for (size_t t = 0; t < x.n_tokens; ++t) {
    for (size_t h = 0; h < x.n_heads; ++h) {
      Byte* row =
          x.data +
          (b * x.batch_stride + t * x.token_stride + h * x.head_stride) * bytes;
      for (size_t d = 0; d < x.head_dim; ++d) element(row + d * bytes, i++);
    }
  }
}

template <class T>
HeadsView<T> Dense(T* data, size_t n_tokens, size_t n_heads, size_t head_dim) {
  return {data, n_tokens, n_heads, head_dim, n_heads * head_dim, head_dim};
}

}  // namespace

Status Sdpa(const SdpaArgs& args, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(CheckSdpa(args));
  ETALON_ENSURE(ctx.workspace != nullptr, "sdpa: no workspace");
  ETALON_ENSURE(ctx.n_threads >= 1, "sdpa: n_threads below 1");
  const BatchedHeads& q = args.q;
  const MutableBatchedHeads& out = args.out;
  const bool q_is_f32 = q.type == TensorType::kF32;
  const bool out_is_f32 = out.type == TensorType::kF32;
  Workspace::Scope scope(*ctx.workspace);
  // All memory before anything is written.
  const size_t rows = q.n_tokens * q.n_heads;
  ETALON_ASSIGN_OR_RETURN(
      std::span<float> wide_q,
      ctx.workspace->Allocate<float>(q_is_f32 ? 0 : rows * q.head_dim));
  ETALON_ASSIGN_OR_RETURN(
      std::span<float> wide_out,
      ctx.workspace->Allocate<float>(out_is_f32 ? 0 : rows * out.head_dim));
  for (size_t b = 0; b < q.n_batch; ++b) {
    AttentionArgs a = ItemArgs(args, b);
    if (q_is_f32) {
      a.q = {reinterpret_cast<const float*>(q.data) + b * q.batch_stride,
             q.n_tokens,
             q.n_heads,
             q.head_dim,
             q.token_stride,
             q.head_stride};
    } else {
      ForEachElement(q, b, [&](const std::byte* p, size_t i) {
        wide_q[i] = Widen(q.type, p);
      });
      a.q =
          Dense<const float>(wide_q.data(), q.n_tokens, q.n_heads, q.head_dim);
    }
    if (out_is_f32) {
      a.out = {reinterpret_cast<float*>(out.data) + b * out.batch_stride,
               out.n_tokens,
               out.n_heads,
               out.head_dim,
               out.token_stride,
               out.head_stride};
    } else {
      a.out = Dense(wide_out.data(), out.n_tokens, out.n_heads, out.head_dim);
    }
    ETALON_RETURN_IF_ERROR(Attention(a, ctx));
    if (out_is_f32) continue;
    ForEachElement(out, b, [&](std::byte* p, size_t i) {
      Narrow(wide_out[i], out.type, p);
    });
  }
  return {};
}

size_t SdpaWorkspaceBytes(size_t n_tokens, size_t n_heads, size_t head_dim,
                          size_t kv_len, int n_threads) {
  const size_t wide =
      (n_tokens * n_heads * head_dim * sizeof(float) + 63) / 64 * 64;
  return AttentionWorkspaceBytes(n_tokens, n_heads, head_dim, kv_len,
                                 n_threads) +
         2 * wide;
}

}  // namespace etalon::ops
