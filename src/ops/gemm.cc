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

}  // namespace

Status Gemm(const GemmArgs& args, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(Check(args, ctx));
  const Span2D<const float>& x = args.x;
  if (x.rows == 0 || args.parts.empty()) return {};

  const Workspace::Scope scope(*ctx.workspace);
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
    product.rows.out = p.out;
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

size_t GemmWorkspaceBytes(size_t m, size_t k, int n_threads) {
  constexpr size_t kMaxParts = 64;
  const auto padded = [](size_t bytes) {
    return (bytes + Workspace::kAlignment - 1) / Workspace::kAlignment *
           Workspace::kAlignment;
  };
  return padded(kMaxParts * sizeof(GemmProduct)) +
         2 * padded(QuantiseRowsBytes(m, 1, k, n_threads)) +
         padded(ProductScratchBytes(m, k, n_threads));
}

}  // namespace etalon::ops
