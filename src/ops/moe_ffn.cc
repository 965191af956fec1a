#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/parallel.h"
#include "etalon/moe.h"
#include "ops/gemm_products.h"
#include "simd/elementwise.h"
#include "simd/gemm_combine.h"

namespace etalon::ops {
namespace {

Status CheckExperts(std::string_view what, const ExpertWeights& e, size_t rows,
                    size_t cols, size_t n_experts) {
  ETALON_RETURN_IF_ERROR(CheckWeights(what, e.first, cols));
  if (e.first.rows != rows) {
    return InvalidArgument(
        fmt::format("{}: {} rows, must be {}", what, e.first.rows, rows));
  }
  if (e.n_experts != n_experts) {
    return InvalidArgument(fmt::format("{}: {} experts, gate has {}", what,
                                       e.n_experts, n_experts));
  }
  if (!e.scales.empty() && e.scales.size() != n_experts) {
    return InvalidArgument(fmt::format("{}: {} scales for {} experts", what,
                                       e.scales.size(), n_experts));
  }
  const size_t bytes = rows == 0 ? 0
                                 : (rows - 1) * e.first.stride_bytes +
                                       RowBytes(e.first.type, cols);
  if (n_experts > 1 && e.expert_stride_bytes < bytes) {
    return InvalidArgument(
        fmt::format("{}: expert stride of {} bytes is less than a matrix of {}",
                    what, e.expert_stride_bytes, bytes));
  }
  return {};
}

template <class T>
Status CheckView(std::string_view what, const Span2D<T>& s, size_t rows,
                 size_t cols) {
  if (s.rows != rows || s.cols != cols) {
    return InvalidArgument(fmt::format("moe: {} is [{}, {}], must be [{}, {}]",
                                       what, s.rows, s.cols, rows, cols));
  }
  ETALON_ENSURE(s.empty() || s.data != nullptr,
                fmt::format("moe: {} is null", what));
  if (s.rows > 1 && s.stride < s.cols) {
    return InvalidArgument(
        fmt::format("moe: stride {} of {} is less than its {} columns",
                    s.stride, what, s.cols));
  }
  return {};
}

Status Check(const MoeFfnArgs& a, const ExecContext& ctx) {
  ETALON_ENSURE(ctx.workspace != nullptr, "moe: no workspace");
  const size_t n = a.x.rows, model_dim = a.x.cols;
  const size_t ffn_dim = a.gate.first.rows;
  ETALON_RETURN_IF_ERROR(CheckView("x", a.x, n, model_dim));
  ETALON_RETURN_IF_ERROR(CheckView("out", a.out, n, model_dim));
  ETALON_RETURN_IF_ERROR(CheckView("experts", a.experts, n, a.experts.cols));
  ETALON_RETURN_IF_ERROR(CheckView("weights", a.weights, n, a.experts.cols));
  const size_t n_experts = a.gate.n_experts;
  ETALON_RETURN_IF_ERROR(
      CheckExperts("moe: gate", a.gate, ffn_dim, model_dim, n_experts));
  ETALON_RETURN_IF_ERROR(
      CheckExperts("moe: up", a.up, ffn_dim, model_dim, n_experts));
  ETALON_RETURN_IF_ERROR(
      CheckExperts("moe: down", a.down, model_dim, ffn_dim, n_experts));
  ETALON_ENSURE(!Overlaps(a.out, a.x), "moe: out overlaps x");
  for (size_t t = 0; t < n; ++t) {
    for (const int32_t e : a.experts.row(t)) {
      if (e < 0 || static_cast<size_t>(e) >= n_experts) {
        return InvalidArgument(fmt::format(
            "moe: token {} is routed to expert {} of {}", t, e, n_experts));
      }
    }
  }
  return {};
}

// Every (token, slot) pair, grouped by expert; tokens ascend inside a group.
struct Routing {
  std::span<size_t> begin;  // [n_experts + 1]: first pair of each expert
  std::span<size_t> token;  // [n_pairs]
  std::span<size_t> pair;   // [n_tokens * n_used]: where a slot's pair is
};

Expected<Routing> GroupByExpert(Span2D<const int32_t> experts, size_t n_experts,
                                Workspace& workspace) {
  Routing r;
  const size_t n_pairs = experts.rows * experts.cols;
  ETALON_ASSIGN_OR_RETURN(r.begin, workspace.Allocate<size_t>(n_experts + 1));
  ETALON_ASSIGN_OR_RETURN(r.token, workspace.Allocate<size_t>(n_pairs));
  ETALON_ASSIGN_OR_RETURN(r.pair, workspace.Allocate<size_t>(n_pairs));
  std::fill(r.begin.begin(), r.begin.end(), 0);
  for (size_t t = 0; t < experts.rows; ++t) {
    for (const int32_t e : experts.row(t))
      ++r.begin[static_cast<size_t>(e) + 1];
  }
  for (size_t e = 0; e < n_experts; ++e) r.begin[e + 1] += r.begin[e];
  // Counting sort: begin[e] runs up to begin[e + 1], then is put back.
  for (size_t t = 0; t < experts.rows; ++t) {
    for (size_t k = 0; k < experts.cols; ++k) {
      const size_t at = r.begin[static_cast<size_t>(experts.row(t)[k])]++;
      r.token[at] = t;
      r.pair[t * experts.cols + k] = at;
    }
  }
  for (size_t e = n_experts; e > 0; --e) r.begin[e] = r.begin[e - 1];
  r.begin[0] = 0;
  return r;
}

// The activations of all pairs in group order, in the forms that the weight
// types at hand read.
struct PairRows {
  simd::GemmActivations q8_k, q8_0;
  Span2D<const float> x;
};

// Which forms of activations products with these weights read.
struct Forms {
  bool q8_k = false, q8_0 = false, f32 = false;
  void Add(TensorType weights, Activations mode, const ExecContext& ctx) {
    if (!QuantisesActivations(weights, mode, ctx)) {
      f32 = true;
    } else if (simd::ActivationTypeFor(weights) == TensorType::kQ8_K) {
      q8_k = true;
    } else {
      q8_0 = true;
    }
  }
};

Expected<PairRows> GatherTokens(Span2D<const float> x, const Forms& forms,
                                const Routing& routing, size_t n_used,
                                ExecContext& ctx) {
  PairRows r;
  const std::span<const size_t> token = routing.token;
  if (forms.q8_k) {
    ETALON_ASSIGN_OR_RETURN(
        r.q8_k, QuantiseRows(TensorType::kQ8_K, x, ctx, routing.pair, n_used));
  }
  if (forms.q8_0) {
    ETALON_ASSIGN_OR_RETURN(
        r.q8_0, QuantiseRows(TensorType::kQ8_0, x, ctx, routing.pair, n_used));
  }
  if (forms.f32) {
    ETALON_ASSIGN_OR_RETURN(
        const std::span<float> memory,
        ctx.workspace->Allocate<float>(token.size() * x.cols));
    for (size_t i = 0; i < token.size(); ++i) {
      std::memcpy(&memory[i * x.cols], x.data + token[i] * x.stride,
                  x.cols * sizeof(float));
    }
    r.x = {memory.data(), token.size(), x.cols};
  }
  return r;
}

// One product per expert that has tokens: out rows are pairs.
size_t AddProducts(const ExpertWeights& weights, const Routing& routing,
                   const PairRows& rows, Activations mode,
                   const ExecContext& ctx, Span2D<float> out,
                   std::span<simd::GemmActivations> slices,
                   std::span<GemmProduct> products) {
  const bool quantised = QuantisesActivations(weights.first.type, mode, ctx);
  size_t n = 0;
  for (size_t e = 0; e < weights.n_experts; ++e) {
    const size_t begin = routing.begin[e], end = routing.begin[e + 1];
    if (begin == end) continue;
    GemmProduct& p = *new (&products[n]) GemmProduct();
    p.rows.weights = weights.expert(e);
    p.rows.scale = weights.scales.empty() ? 1.0f : weights.scales[e];
    p.rows.out = out.Rows(begin, end);
    if (quantised) {
      const bool super =
          simd::ActivationTypeFor(weights.first.type) == TensorType::kQ8_K;
      slices[n] = (super ? rows.q8_k : rows.q8_0).Slice(begin, end);
      p.q = &slices[n];
    } else {
      p.x = rows.x.Rows(begin, end);
    }
    ++n;
  }
  return n;
}

}  // namespace

Status MoeFfn(const MoeFfnArgs& args, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(Check(args, ctx));
  const size_t n_tokens = args.x.rows, n_used = args.experts.cols;
  const size_t model_dim = args.x.cols, ffn_dim = args.gate.first.rows;
  const size_t n_pairs = n_tokens * n_used;
  const size_t n_experts = args.gate.n_experts;
  if (n_pairs == 0) {
    for (size_t t = 0; t < n_tokens; ++t) {
      std::fill_n(args.out.row(t).begin(), model_dim, 0.0f);
    }
    return {};
  }

  Workspace& workspace = *ctx.workspace;
  const Workspace::Scope scope(workspace);
  ETALON_ASSIGN_OR_RETURN(const Routing routing,
                          GroupByExpert(args.experts, n_experts, workspace));
  size_t max_group = 0;
  for (size_t e = 0; e < n_experts; ++e) {
    max_group = std::max(max_group, routing.begin[e + 1] - routing.begin[e]);
  }
  const size_t max_used = std::min(n_experts, n_pairs);
  ETALON_ASSIGN_OR_RETURN(const std::span<GemmProduct> products,
                          workspace.Allocate<GemmProduct>(2 * max_used));
  ETALON_ASSIGN_OR_RETURN(
      const std::span<simd::GemmActivations> slices,
      workspace.Allocate<simd::GemmActivations>(2 * max_used));
  const auto matrix = [&](size_t cols) -> Expected<Span2D<float>> {
    ETALON_ASSIGN_OR_RETURN(const std::span<float> memory,
                            workspace.Allocate<float>(n_pairs * cols));
    return Span2D<float>(memory.data(), n_pairs, cols);
  };
  ETALON_ASSIGN_OR_RETURN(const Span2D<float> gate, matrix(ffn_dim));
  ETALON_ASSIGN_OR_RETURN(const Span2D<float> up, matrix(ffn_dim));
  ETALON_ASSIGN_OR_RETURN(const Span2D<float> y, matrix(model_dim));
  const size_t max_k = std::max(model_dim, ffn_dim);
  ETALON_ASSIGN_OR_RETURN(const std::span<std::byte> scratch,
                          workspace.Allocate<std::byte>(ProductScratchBytes(
                              max_group, max_k, ctx.n_threads)));

  Forms forms;
  forms.Add(args.gate.first.type, args.activations, ctx);
  forms.Add(args.up.first.type, args.activations, ctx);
  ETALON_ASSIGN_OR_RETURN(const PairRows tokens,
                          GatherTokens(args.x, forms, routing, n_used, ctx));
  size_t n = AddProducts(args.gate, routing, tokens, args.activations, ctx,
                         gate, slices, products);
  n += AddProducts(args.up, routing, tokens, args.activations, ctx, up,
                   slices.subspan(n), products.subspan(n));
  RunProducts(products.first(n), max_group, max_k, scratch.data(),
              ctx.n_threads);

  ParallelFor(
      n_pairs, ctx.n_threads,
      [&](size_t i, int) {
        simd::SwiGlu(gate.row(i).data(), up.row(i).data(), gate.row(i).data(),
                     ffn_dim);
      },
      Schedule::kStatic);

  PairRows hidden;
  hidden.x = gate;
  const TensorType down_type = args.down.first.type;
  if (QuantisesActivations(down_type, args.activations, ctx)) {
    const TensorType type = simd::ActivationTypeFor(down_type);
    simd::GemmActivations& q =
        type == TensorType::kQ8_K ? hidden.q8_k : hidden.q8_0;
    ETALON_ASSIGN_OR_RETURN(q, QuantiseRows(type, gate, ctx));
  }
  n = AddProducts(args.down, routing, hidden, args.activations, ctx, y, slices,
                  products);
  RunProducts(products.first(n), max_group, max_k, scratch.data(),
              ctx.n_threads);

  ParallelFor(
      n_tokens, ctx.n_threads,
      [&](size_t t, int) {
        simd::WeightedRowSum(y.data, y.stride,
                             routing.pair.subspan(t * n_used, n_used),
                             args.weights.row(t), args.out.row(t));
      },
      Schedule::kStatic);
  return {};
}

size_t MoeFfnWorkspaceBytes(size_t n_tokens, size_t n_used, size_t model_dim,
                            size_t ffn_dim, size_t n_experts, int n_threads) {
  const auto padded = [](size_t bytes) {
    return (bytes + Workspace::kAlignment - 1) / Workspace::kAlignment *
           Workspace::kAlignment;
  };
  const size_t n_pairs = n_tokens * n_used;
  const size_t max_used = std::min(n_experts, n_pairs);
  return padded((n_experts + 1) * sizeof(size_t)) +
         2 * padded(n_pairs * sizeof(size_t)) +
         padded(2 * max_used * sizeof(GemmProduct)) +
         padded(2 * max_used * sizeof(simd::GemmActivations)) +
         2 * padded(n_pairs * ffn_dim * sizeof(float)) +
         2 * padded(n_pairs * model_dim * sizeof(float)) +
         padded(ProductScratchBytes(n_pairs, std::max(model_dim, ffn_dim),
                                    n_threads)) +
         2 * padded(QuantiseRowsBytes(n_tokens, n_used, model_dim, n_threads)) +
         padded(QuantiseRowsBytes(n_pairs, 1, ffn_dim, n_threads));
}

}  // namespace etalon::ops
