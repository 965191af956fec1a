#include "etalon/rope.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "ops/row_chunks.h"
#include "ops/span_checks.h"
#include "simd/rope.h"

namespace etalon::ops {
namespace {

// Heads of one token, or tokens of one head, must not share elements: the
// dimension with the smaller stride has to fit into the larger one.
Status CheckHeads(const HeadsView<float>& x) {
  if (x.n_tokens == 0 || x.n_heads == 0) return {};
  const bool token_major = x.token_stride >= x.head_stride;
  const size_t inner_count = token_major ? x.n_heads : x.n_tokens;
  const size_t outer_count = token_major ? x.n_tokens : x.n_heads;
  const size_t inner = token_major ? x.head_stride : x.token_stride;
  const size_t outer = token_major ? x.token_stride : x.head_stride;
  const char* inner_name = token_major ? "head_stride" : "token_stride";
  const char* outer_name = token_major ? "token_stride" : "head_stride";
  constexpr size_t kMaxElements =
      std::numeric_limits<ptrdiff_t>::max() / sizeof(float);
  size_t width = x.head_dim;  // of one step of the outer dimension
  if (inner_count > 1) {
    ETALON_ENSURE(inner >= x.head_dim,
                  fmt::format("rope: x {} {} < head_dim {}", inner_name, inner,
                              x.head_dim));
    ETALON_ENSURE(x.head_dim <= kMaxElements &&
                      inner <= (kMaxElements - x.head_dim) / (inner_count - 1),
                  fmt::format("rope: x {} {} x {} exceeds the address space",
                              inner_name, inner, inner_count));
    width += (inner_count - 1) * inner;
  }
  return CheckSpan("rope", {outer_name, {x.data, outer_count, width, outer}});
}

Status CheckRope(const RopeArgs& args) {
  const HeadsView<float>& x = args.x;
  const NamedSpan cos = {"cos", args.cos};
  const NamedSpan sin = {"sin", args.sin};
  ETALON_RETURN_IF_ERROR(CheckSpan("rope", cos));
  ETALON_RETURN_IF_ERROR(CheckSpan("rope", sin));
  ETALON_RETURN_IF_ERROR(CheckSameShape("rope", cos, sin));
  ETALON_ENSURE(args.cos.cols <= x.head_dim / 2,
                fmt::format("rope: rotary_dim {} (2 x width of cos) exceeds "
                            "head_dim {}",
                            2 * args.cos.cols, x.head_dim));
  ETALON_RETURN_IF_ERROR(CheckHeads(x));
  ETALON_ENSURE(args.positions.size() == x.n_tokens,
                fmt::format("rope: {} positions, need n_tokens {}",
                            args.positions.size(), x.n_tokens));
  for (size_t t = 0; t < args.positions.size(); ++t) {
    const int32_t pos = args.positions[t];
    ETALON_ENSURE(
        pos >= 0 && static_cast<size_t>(pos) < args.cos.rows,
        fmt::format("rope: positions[{}] = {} is not in [0, {}), the rows of "
                    "the table",
                    t, pos, args.cos.rows));
  }
  ETALON_ENSURE(
      args.style == RopeStyle::kHalfSplit ||
          args.style == RopeStyle::kInterleaved,
      fmt::format("rope: unknown style {}", static_cast<int>(args.style)));
  return {};
}

}  // namespace

Status Rope(const RopeArgs& args, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(CheckRope(args));
  const HeadsView<float>& x = args.x;
  const size_t half = args.cos.cols;
  if (half == 0 || x.n_heads == 0) return {};
  const auto rotate = args.style == RopeStyle::kHalfSplit
                          ? simd::RopeHalfSplit
                          : simd::RopeInterleaved;
  ForRowChunks(x.n_tokens, x.n_heads * 2 * half, ctx.n_threads,
               [&](size_t begin, size_t end) {
                 for (size_t t = begin; t < end; ++t) {
                   const size_t row = static_cast<size_t>(args.positions[t]);
                   rotate(x.at(t, 0), x.n_heads, x.head_stride,
                          args.cos.row(row).data(), args.sin.row(row).data(),
                          half);
                 }
               });
  return {};
}

}  // namespace etalon::ops
