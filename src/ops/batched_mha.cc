#include <fmt/format.h>

#include <algorithm>

#include "core/parallel.h"
#include "etalon/gemm.h"
#include "etalon/sdpa.h"
#include "ops/row_chunks.h"

namespace etalon::ops {
namespace {

// a * b * c, or an error where it does not fit.
Expected<size_t> Product(std::string_view op, size_t a, size_t b, size_t c) {
  size_t ab = 0, abc = 0;
  ETALON_ENSURE(
      !__builtin_mul_overflow(a, b, &ab) &&
          !__builtin_mul_overflow(ab, c, &abc),
      fmt::format("{}: {} x {} x {} elements exceed the address space", op, a,
                  b, c));
  return abc;
}

Status CheckLength(std::string_view op, std::string_view name, size_t got,
                   size_t expected) {
  ETALON_ENSURE(got == expected, fmt::format("{}: {} has {} elements, expected "
                                             "{}",
                                             op, name, got, expected));
  return {};
}

Status CheckMaps(std::string_view op, std::span<const float> in, size_t n_in,
                 std::span<float> out, size_t n_out) {
  ETALON_RETURN_IF_ERROR(CheckLength(op, "in", in.size(), n_in));
  ETALON_RETURN_IF_ERROR(CheckLength(op, "out", out.size(), n_out));
  const bool apart = in.data() + in.size() <= out.data() ||
                     out.data() + out.size() <= in.data();
  ETALON_ENSURE(apart || n_in == 0 || n_out == 0,
                fmt::format("{}: out overlaps in", op));
  return {};
}

// Elements of all heads, if `head` is one of them.
Expected<size_t> SizeAroundHead(std::string_view op, size_t n_heads,
                                size_t head_dim, size_t seq_len, size_t head) {
  ETALON_ENSURE(head < n_heads, fmt::format("{}: head {} is not below n_heads "
                                            "{}",
                                            op, head, n_heads));
  return Product(op, n_heads, head_dim, seq_len);
}

}  // namespace

Status BatchedMha(const BatchedMhaArgs& args, ExecContext& ctx) {
  constexpr char kOp[] = "batched_mha";
  for (const auto& [name, value] : {std::pair{"n_heads", args.n_heads},
                                    std::pair{"head_dim", args.head_dim},
                                    std::pair{"seq_len", args.seq_len}}) {
    ETALON_ENSURE(value > 0, fmt::format("{}: {} is 0", kOp, name));
  }
  ETALON_ASSIGN_OR_RETURN(
      const size_t n, Product(kOp, args.seq_len, args.n_heads, args.head_dim));
  ETALON_RETURN_IF_ERROR(CheckLength(kOp, "q", args.q.size(), n));
  ETALON_RETURN_IF_ERROR(CheckLength(kOp, "k", args.k.size(), n));
  ETALON_RETURN_IF_ERROR(CheckLength(kOp, "v", args.v.size(), n));
  ETALON_RETURN_IF_ERROR(CheckLength(kOp, "out", args.out.size(), n));
  const bool interleaved = args.layout == MhaLayout::kInterleaved;
  const size_t token_stride =
      interleaved ? args.n_heads * args.head_dim : args.head_dim;
  const size_t head_stride =
      interleaved ? args.head_dim : args.seq_len * args.head_dim;
  const auto cache = [&](std::span<const float> x) {
    return KvView{
        TensorType::kF32, reinterpret_cast<const std::byte*>(x.data()),
        args.n_heads,     args.seq_len,
        args.head_dim,    head_stride,
        token_stride};
  };
  AttentionArgs a;
  a.q = {args.q.data(), args.seq_len, args.n_heads,
         args.head_dim, token_stride, head_stride};
  a.k = cache(args.k);
  a.v = cache(args.v);
  a.kv_len = args.seq_len;
  a.scale = args.scale;
  a.causal = false;
  a.out = {args.out.data(), args.seq_len, args.n_heads,
           args.head_dim,   token_stride, head_stride};
  return Attention(a, ctx);
}

Status InterleavedToBatched(std::span<const float> in, size_t n_heads,
                            size_t head_dim, size_t seq_len,
                            std::span<float> out) {
  constexpr char kOp[] = "interleaved_to_batched";
  ETALON_ASSIGN_OR_RETURN(const size_t n,
                          Product(kOp, n_heads, head_dim, seq_len));
  ETALON_RETURN_IF_ERROR(CheckMaps(kOp, in, n, out, n));
  for (size_t s = 0; s < seq_len; ++s) {
    for (size_t h = 0; h < n_heads; ++h) {
      std::copy_n(in.data() + (s * n_heads + h) * head_dim, head_dim,
                  out.data() + (h * seq_len + s) * head_dim);
    }
  }
  return {};
}

Status BatchedToInterleaved(std::span<const float> in, size_t n_heads,
                            size_t head_dim, size_t seq_len,
                            std::span<float> out) {
  constexpr char kOp[] = "batched_to_interleaved";
  ETALON_ASSIGN_OR_RETURN(const size_t n,
                          Product(kOp, n_heads, head_dim, seq_len));
  ETALON_RETURN_IF_ERROR(CheckMaps(kOp, in, n, out, n));
  for (size_t h = 0; h < n_heads; ++h) {
    for (size_t s = 0; s < seq_len; ++s) {
      std::copy_n(in.data() + (h * seq_len + s) * head_dim, head_dim,
                  out.data() + (s * n_heads + h) * head_dim);
    }
  }
  return {};
}

Status ExtractHead(std::span<const float> in, size_t n_heads, size_t head_dim,
                   size_t seq_len, size_t head, std::span<float> out) {
  constexpr char kOp[] = "extract_head";
  ETALON_ASSIGN_OR_RETURN(
      const size_t n, SizeAroundHead(kOp, n_heads, head_dim, seq_len, head));
  ETALON_RETURN_IF_ERROR(CheckMaps(kOp, in, n, out, n / n_heads));
  for (size_t s = 0; s < seq_len; ++s) {
    std::copy_n(in.data() + (s * n_heads + head) * head_dim, head_dim,
                out.data() + s * head_dim);
  }
  return {};
}

Status CopyHead(std::span<const float> in, size_t n_heads, size_t head_dim,
                size_t seq_len, size_t head, std::span<float> out) {
  constexpr char kOp[] = "copy_head";
  ETALON_ASSIGN_OR_RETURN(
      const size_t n, SizeAroundHead(kOp, n_heads, head_dim, seq_len, head));
  ETALON_RETURN_IF_ERROR(CheckMaps(kOp, in, n / n_heads, out, n));
  for (size_t s = 0; s < seq_len; ++s) {
    std::copy_n(in.data() + s * head_dim, head_dim,
                out.data() + (s * n_heads + head) * head_dim);
  }
  return {};
}

Status BatchedTranspose(std::span<const float> in, size_t n_batch, size_t rows,
                        size_t cols, std::span<float> out) {
  constexpr char kOp[] = "batched_transpose";
  ETALON_ASSIGN_OR_RETURN(const size_t n, Product(kOp, n_batch, rows, cols));
  ETALON_RETURN_IF_ERROR(CheckMaps(kOp, in, n, out, n));
  for (size_t b = 0; b < n_batch; ++b) {
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < cols; ++c) {
        out[(b * cols + c) * rows + r] = in[(b * rows + r) * cols + c];
      }
    }
  }
  return {};
}

Status BatchedGemm(std::span<const float> x, std::span<const float> y,
                   size_t n_batch, size_t m, size_t k, size_t n,
                   std::span<float> out, ExecContext& ctx) {
  constexpr char kOp[] = "batched_gemm";
  ETALON_ASSIGN_OR_RETURN(const size_t x_size, Product(kOp, n_batch, m, k));
  ETALON_ASSIGN_OR_RETURN(const size_t y_size, Product(kOp, n_batch, k, n));
  ETALON_ASSIGN_OR_RETURN(const size_t out_size, Product(kOp, n_batch, m, n));
  ETALON_ENSURE(out_size > 0 && k > 0,
                fmt::format("{}: an extent of [{}] [{}, {}] [{}, {}] is 0", kOp,
                            n_batch, m, k, k, n));
  ETALON_RETURN_IF_ERROR(CheckMaps(kOp, x, x_size, out, out_size));
  ETALON_RETURN_IF_ERROR(CheckMaps(kOp, y, y_size, out, out_size));
  ETALON_ENSURE(ctx.workspace != nullptr, fmt::format("{}: no workspace", kOp));
  Workspace::Scope scope(*ctx.workspace);
  ETALON_ASSIGN_OR_RETURN(std::span<float> transposed,
                          ctx.workspace->Allocate<float>(n * k));
  for (size_t b = 0; b < n_batch; ++b) {
    ETALON_RETURN_IF_ERROR(
        BatchedTranspose(y.subspan(b * k * n, k * n), 1, k, n, transposed));
    GemmPart part;
    part.weights = {TensorType::kF32,
                    reinterpret_cast<const std::byte*>(transposed.data()), n, k,
                    k * sizeof(float)};
    part.out = {out.data() + b * m * n, m, n};
    ETALON_RETURN_IF_ERROR(Gemm(
        {{x.data() + b * m * k, m, k}, {&part, 1}, Activations::kF32}, ctx));
  }
  return {};
}

}  // namespace etalon::ops
