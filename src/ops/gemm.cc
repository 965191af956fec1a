#include "etalon/gemm.h"

#include <fmt/format.h>

#include <algorithm>

#include "ops/gemm_products.h"

namespace etalon::ops {
namespace {

Status Check(const GemmArgs& args, const ExecContext& ctx) {
  const Span2D<const float>& x = args.x;
  ETALON_ENSURE(ctx.workspace != nullptr, "gemm: no workspace");
  ETALON_ENSURE(x.empty() || x.data != nullptr, "gemm: x is null");
  if (x.rows > 1 && x.stride < x.cols) {
    return InvalidArgument(fmt::format(
        "gemm: stride {} of x is less than its {} columns", x.stride, x.cols));
  }
  for (size_t i = 0; i < args.parts.size(); ++i) {
    const GemmPart& p = args.parts[i];
    const std::string what = fmt::format("gemm: part {}", i);
    ETALON_RETURN_IF_ERROR(CheckWeights(what, p.weights, x.cols));
    if (!p.bias.empty() && p.bias.size() != p.weights.rows) {
      return InvalidArgument(fmt::format("{}: bias of {} for {} rows", what,
                                         p.bias.size(), p.weights.rows));
    }
    if (p.out.rows != x.rows || p.out.cols != p.weights.rows) {
      return InvalidArgument(
          fmt::format("{}: out is [{}, {}], must be [{}, {}]", what, p.out.rows,
                      p.out.cols, x.rows, p.weights.rows));
    }
    ETALON_ENSURE(p.out.empty() || p.out.data != nullptr,
                  what + ": out is null");
    if (p.out.rows > 1 && p.out.stride < p.out.cols) {
      return InvalidArgument(
          fmt::format("{}: stride {} of out is less than its {} columns", what,
                      p.out.stride, p.out.cols));
    }
    ETALON_ENSURE(!Overlaps(p.out, x), what + ": out overlaps x");
    for (size_t j = 0; j < i; ++j) {
      if (Overlaps(p.out, args.parts[j].out)) {
        return InvalidArgument(
            fmt::format("{}: out overlaps that of part {}", what, j));
      }
    }
  }
  return {};
}

// Tokens that are quantised and multiplied at one time. Rows as wide as a large
// model's feed-forward would take more memory than they are worth: unpacking
// the weights once more for 256 tokens costs 3 %.
size_t TokensAtOnce(size_t m, size_t k) {
  constexpr size_t kBytes = size_t{6} << 20;
  constexpr size_t kFewest = 256;
  const size_t most = std::max(kBytes / std::max<size_t>(k, 1), kFewest);
  const size_t n_groups = (m + most - 1) / most;
  return n_groups <= 1 ? m : (m + n_groups - 1) / n_groups;
}

// All parts, for rows [begin, end) of x.
Status Multiply(const GemmArgs& args, size_t begin, size_t end,
                ExecContext& ctx) {
  const Workspace::Scope scope(*ctx.workspace);
  const Span2D<const float> x = args.x.Rows(begin, end);
  ETALON_ASSIGN_OR_RETURN(
      const std::span<GemmProduct> products,
      ctx.workspace->Allocate<GemmProduct>(args.parts.size()));
  // Each kind of quantised row is made once, for all parts that read it.
  simd::GemmActivations q8_k, q8_0;
  for (size_t i = 0; i < args.parts.size(); ++i) {
    const GemmPart& p = args.parts[i];
    GemmProduct& product = *new (&products[i]) GemmProduct();
    product.rows.weights = p.weights;
    product.rows.bias = p.bias.empty() ? nullptr : p.bias.data();
    product.rows.scale = p.scale;
    product.rows.out = p.out.Rows(begin, end);
    product.x = x;
    if (!QuantisesActivations(p.weights.type, args.activations, ctx)) continue;
    const TensorType type = simd::ActivationTypeFor(p.weights.type);
    simd::GemmActivations& q = type == TensorType::kQ8_K ? q8_k : q8_0;
    if (q.rows == 0) {
      ETALON_ASSIGN_OR_RETURN(q, QuantiseRows(type, x, ctx));
    }
    product.q = &q;
  }
  ETALON_ASSIGN_OR_RETURN(
      const std::span<std::byte> scratch,
      ctx.workspace->Allocate<std::byte>(
          ProductScratchBytes(x.rows, x.cols, ctx.n_threads)));
  RunProducts(products, x.rows, x.cols, scratch.data(), ctx.n_threads);
  return {};
}

}  // namespace

Status Gemm(const GemmArgs& args, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(Check(args, ctx));
  if (args.parts.empty()) return {};
  const size_t m = args.x.rows, step = TokensAtOnce(m, args.x.cols);
  for (size_t begin = 0; begin < m; begin += step) {
    ETALON_RETURN_IF_ERROR(
        Multiply(args, begin, std::min(begin + step, m), ctx));
  }
  return {};
}

size_t GemmWorkspaceBytes(size_t m, size_t k, int n_threads, size_t n_forms) {
  constexpr size_t kMaxParts = 64;
  const auto padded = [](size_t bytes) {
    return (bytes + Workspace::kAlignment - 1) / Workspace::kAlignment *
           Workspace::kAlignment;
  };
  return padded(kMaxParts * sizeof(GemmProduct)) +
         n_forms * padded(QuantiseRowsBytes(TokensAtOnce(m, k), k, n_threads)) +
         padded(ProductScratchBytes(m, k, n_threads));
}

}  // namespace etalon::ops
