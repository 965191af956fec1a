#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "core/parallel.h"
#include "etalon/moe.h"
#include "ops/gemm_products.h"
#include "ops/moe_routing.h"
#include "simd/activation_rows.h"
#include "simd/elementwise.h"
#include "simd/gemm_combine.h"
#include "simd/quantize_row.h"

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

// Rows of activations in the forms that the weight types at hand read.
struct Rows {
  simd::GemmActivations q8_k, q8_0;
  Span2D<const float> x;
};

// What the tokens are turned into once, before waves pick their rows.
struct TokenRows {
  simd::MutableActivationRows q8_k, q8_0;  // without rows: not wanted
  bool f32 = false;
};

Expected<TokenRows> QuantiseTokens(const MoeFfnArgs& a, ExecContext& ctx) {
  TokenRows r;
  for (const ExpertWeights* w : {&a.gate, &a.up}) {
    const TensorType weights = w->first.type;
    if (!QuantisesActivations(weights, a.activations, ctx)) {
      r.f32 = true;
      continue;
    }
    const TensorType type = simd::ActivationTypeFor(weights);
    auto& rows = type == TensorType::kQ8_K ? r.q8_k : r.q8_0;
    if (rows.rows > 0) continue;
    ETALON_ASSIGN_OR_RETURN(
        const std::span<std::byte> memory,
        ctx.workspace->Allocate<std::byte>(
            simd::ActivationRowsBytes(type, a.x.rows, a.x.cols)));
    rows = simd::PlaceActivationRows(type, a.x.rows, a.x.cols, memory.data());
    ParallelFor(
        a.x.rows, ctx.n_threads,
        [&](size_t t, int) {
          simd::QuantizeActivationRow(a.x.data + t * a.x.stride, t, rows);
        },
        Schedule::kStatic);
  }
  return r;
}

// Row i of the result is that of token[i].
Expected<Rows> GatherTokens(Span2D<const float> x, const TokenRows& tokens,
                            std::span<const size_t> token, ExecContext& ctx) {
  Rows r;
  for (const auto& [from, to] :
       {std::pair{&tokens.q8_k, &r.q8_k}, std::pair{&tokens.q8_0, &r.q8_0}}) {
    if (from->rows == 0) continue;
    const TensorType type =
        from == &tokens.q8_k ? TensorType::kQ8_K : TensorType::kQ8_0;
    ETALON_ASSIGN_OR_RETURN(
        const std::span<std::byte> memory,
        ctx.workspace->Allocate<std::byte>(
            simd::GemmActivationsBytes(type, token.size(), x.cols)));
    *to = simd::PlaceGemmActivations(type, token.size(), x.cols, memory.data());
    ParallelFor(
        token.size(), ctx.n_threads,
        [&, rows = from->View(), packed = *to](size_t i, int) {
          simd::PackActivationRow(rows, token[i], i, packed);
        },
        Schedule::kStatic);
  }
  if (tokens.f32) {
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

// One product per expert of the wave that has pairs. Rows of `rows` and `out`
// are the wave's pairs.
size_t AddProducts(const ExpertWeights& weights, const Routing& routing,
                   const Wave& wave, const Rows& rows, Activations mode,
                   const ExecContext& ctx, Span2D<float> out,
                   std::span<simd::GemmActivations> slices,
                   std::span<GemmProduct> products) {
  const bool quantised = QuantisesActivations(weights.first.type, mode, ctx);
  size_t n = 0;
  for (size_t e = wave.first; e < wave.last; ++e) {
    const size_t begin = routing.begin[e] - wave.begin;
    const size_t end = routing.begin[e + 1] - wave.begin;
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

// The hidden rows of all pairs, as the down weights read them: f32, or blocks
// by way of one row per thread.
struct Hidden {
  Rows rows;
  Span2D<float> f32;
  simd::GemmActivations packed;
  simd::MutableActivationRows row_of_thread;
};

Expected<Span2D<float>> Matrix(size_t rows, size_t cols, ExecContext& ctx) {
  ETALON_ASSIGN_OR_RETURN(const std::span<float> memory,
                          ctx.workspace->Allocate<float>(rows * cols));
  return Span2D<float>(memory.data(), rows, cols);
}

// Rows [begin, end) of every expert's matrix.
ExpertWeights RowsOf(ExpertWeights w, size_t begin, size_t end) {
  w.first.data += begin * w.first.stride_bytes;
  w.first.rows = end - begin;
  return w;
}

// Outputs of one pass of the down products: as many as 8 MiB hold for all
// pairs, in whole tasks.
size_t DownColumns(size_t n_pairs, size_t model_dim) {
  constexpr size_t kFloats = size_t{2} << 20;
  const size_t n_tasks = std::max<size_t>(kFloats / n_pairs / kMaxTaskRows, 1);
  return std::min(model_dim, n_tasks * kMaxTaskRows);
}

// What all waves share.
struct Plan {
  Routing routing;
  std::span<GemmProduct> products;
  std::span<simd::GemmActivations> slices;
  size_t max_group = 0;  // pairs of the busiest expert
  size_t max_k = 0;
  std::span<std::byte> scratch;

  void Run(size_t n_products, int n_threads) const {
    RunProducts(products.first(n_products), max_group, max_k, scratch.data(),
                n_threads);
  }
};

Expected<Plan> MakePlan(const MoeFfnArgs& a, ExecContext& ctx) {
  Workspace& workspace = *ctx.workspace;
  const size_t n_experts = a.gate.n_experts;
  const size_t n_pairs = a.experts.rows * a.experts.cols;
  Plan p;
  ETALON_ASSIGN_OR_RETURN(p.routing,
                          GroupByExpert(a.experts, n_experts, workspace));
  const std::span<const size_t> begin = p.routing.begin;
  for (size_t e = 0; e < n_experts; ++e) {
    p.max_group = std::max(p.max_group, begin[e + 1] - begin[e]);
  }
  const size_t n_products = 2 * std::min(n_experts, n_pairs);
  ETALON_ASSIGN_OR_RETURN(p.products,
                          workspace.Allocate<GemmProduct>(n_products));
  ETALON_ASSIGN_OR_RETURN(
      p.slices, workspace.Allocate<simd::GemmActivations>(n_products));
  p.max_k = std::max(a.gate.first.cols, a.down.first.cols);
  ETALON_ASSIGN_OR_RETURN(
      p.scratch, workspace.Allocate<std::byte>(
                     ProductScratchBytes(p.max_group, p.max_k, ctx.n_threads)));
  return p;
}

Expected<Hidden> AllocateHidden(const MoeFfnArgs& a, size_t n_pairs,
                                ExecContext& ctx) {
  Hidden h;
  const size_t ffn_dim = a.gate.first.rows;
  if (!QuantisesActivations(a.down.first.type, a.activations, ctx)) {
    ETALON_ASSIGN_OR_RETURN(h.f32, Matrix(n_pairs, ffn_dim, ctx));
    h.rows.x = h.f32;
    return h;
  }
  const TensorType type = simd::ActivationTypeFor(a.down.first.type);
  const size_t n_threads = static_cast<size_t>(std::max(ctx.n_threads, 1));
  ETALON_ASSIGN_OR_RETURN(
      const std::span<std::byte> row_memory,
      ctx.workspace->Allocate<std::byte>(
          simd::ActivationRowsBytes(type, n_threads, ffn_dim)));
  ETALON_ASSIGN_OR_RETURN(
      const std::span<std::byte> memory,
      ctx.workspace->Allocate<std::byte>(
          simd::GemmActivationsBytes(type, n_pairs, ffn_dim)));
  h.row_of_thread =
      simd::PlaceActivationRows(type, n_threads, ffn_dim, row_memory.data());
  h.packed = simd::PlaceGemmActivations(type, n_pairs, ffn_dim, memory.data());
  (type == TensorType::kQ8_K ? h.rows.q8_k : h.rows.q8_0) = h.packed;
  return h;
}

// hidden = silu(gate x) * up x for the pairs of one wave of experts.
Status GateAndUp(const MoeFfnArgs& a, const Plan& plan, const Wave& wave,
                 const TokenRows& tokens, const Hidden& hidden,
                 ExecContext& ctx) {
  const Workspace::Scope scope(*ctx.workspace);
  const size_t ffn_dim = a.gate.first.rows;
  ETALON_ASSIGN_OR_RETURN(
      const Rows rows,
      GatherTokens(a.x, tokens,
                   plan.routing.token.subspan(wave.begin, wave.n_pairs()),
                   ctx));
  ETALON_ASSIGN_OR_RETURN(const Span2D<float> gate,
                          Matrix(wave.n_pairs(), ffn_dim, ctx));
  ETALON_ASSIGN_OR_RETURN(const Span2D<float> up,
                          Matrix(wave.n_pairs(), ffn_dim, ctx));
  size_t n = AddProducts(a.gate, plan.routing, wave, rows, a.activations, ctx,
                         gate, plan.slices, plan.products);
  n += AddProducts(a.up, plan.routing, wave, rows, a.activations, ctx, up,
                   plan.slices.subspan(n), plan.products.subspan(n));
  plan.Run(n, ctx.n_threads);
  ParallelFor(
      wave.n_pairs(), ctx.n_threads,
      [&](size_t i, int thread) {
        const size_t pair = wave.begin + i;
        float* const row = hidden.f32.empty() ? gate.row(i).data()
                                              : hidden.f32.row(pair).data();
        simd::SwiGlu(gate.row(i).data(), up.row(i).data(), row, ffn_dim);
        if (!hidden.f32.empty()) return;
        const size_t mine = static_cast<size_t>(thread);
        simd::QuantizeActivationRow(row, mine, hidden.row_of_thread);
        simd::PackActivationRow(hidden.row_of_thread.View(), mine, pair,
                                hidden.packed);
      },
      Schedule::kStatic);
  return {};
}

// Columns [begin, end) of out: all experts' down products, then their sums.
Status DownAndSum(const MoeFfnArgs& a, const Plan& plan, const Hidden& hidden,
                  size_t begin, size_t end, ExecContext& ctx) {
  const Workspace::Scope scope(*ctx.workspace);
  const size_t n_used = a.experts.cols;
  const Wave all{0, a.down.n_experts, 0, a.experts.rows * n_used};
  ETALON_ASSIGN_OR_RETURN(const Span2D<float> y,
                          Matrix(all.n_pairs(), end - begin, ctx));
  plan.Run(
      AddProducts(RowsOf(a.down, begin, end), plan.routing, all, hidden.rows,
                  a.activations, ctx, y, plan.slices, plan.products),
      ctx.n_threads);
  ParallelFor(
      a.x.rows, ctx.n_threads,
      [&](size_t t, int) {
        simd::WeightedRowSum(
            y.data, y.stride, plan.routing.pair.subspan(t * n_used, n_used),
            a.weights.row(t), a.out.row(t).subspan(begin, end - begin));
      },
      Schedule::kStatic);
  return {};
}

}  // namespace

// Every weight is read once. Experts go in waves of gate and up, outputs in
// waves of down, so that what is f32 never takes more than some MiB: prompts
// then fit in few long chunks, and a chunk's tokens share an expert's weights.
Status MoeFfn(const MoeFfnArgs& args, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(Check(args, ctx));
  const size_t n_tokens = args.x.rows;
  const size_t model_dim = args.x.cols;
  const size_t n_pairs = n_tokens * args.experts.cols;
  if (n_pairs == 0) {
    for (size_t t = 0; t < n_tokens; ++t) {
      std::fill_n(args.out.row(t).begin(), model_dim, 0.0f);
    }
    return {};
  }

  const Workspace::Scope scope(*ctx.workspace);
  ETALON_ASSIGN_OR_RETURN(const Plan plan, MakePlan(args, ctx));
  ETALON_ASSIGN_OR_RETURN(const Hidden hidden,
                          AllocateHidden(args, n_pairs, ctx));
  {
    const Workspace::Scope gate_and_up(*ctx.workspace);
    ETALON_ASSIGN_OR_RETURN(const TokenRows tokens, QuantiseTokens(args, ctx));
    Wave wave;
    while (wave.last < args.gate.n_experts) {
      wave = NextWave(plan.routing, wave.last, MaxWavePairs(n_tokens));
      ETALON_RETURN_IF_ERROR(GateAndUp(args, plan, wave, tokens, hidden, ctx));
    }
  }
  const size_t columns = DownColumns(n_pairs, model_dim);
  for (size_t begin = 0; begin < model_dim; begin += columns) {
    ETALON_RETURN_IF_ERROR(DownAndSum(
        args, plan, hidden, begin, std::min(begin + columns, model_dim), ctx));
  }
  return {};
}

size_t MoeFfnWorkspaceBytes(size_t n_tokens, size_t n_used, size_t model_dim,
                            size_t ffn_dim, size_t n_experts, int n_threads) {
  const auto padded = [](size_t bytes) {
    return (bytes + Workspace::kAlignment - 1) / Workspace::kAlignment *
           Workspace::kAlignment;
  };
  const auto floats = [&](size_t rows, size_t cols) {
    return padded(rows * cols * sizeof(float));
  };
  const size_t n_pairs = n_tokens * n_used;
  const size_t n_products = 2 * std::min(n_experts, n_pairs);
  const size_t wave = std::min(n_pairs, MaxWavePairs(n_tokens));
  const size_t plan = RoutingBytes(n_pairs, n_experts) +
                      padded(n_products * sizeof(GemmProduct)) +
                      padded(n_products * sizeof(simd::GemmActivations)) +
                      padded(ProductScratchBytes(
                          n_pairs, std::max(model_dim, ffn_dim), n_threads));
  const size_t hidden =
      std::max(floats(n_pairs, ffn_dim),
               padded(QuantiseRowsBytes(n_pairs, ffn_dim, n_threads)));
  // Tokens, as blocks of one kind, of both, or of one kind and f32; each kind
  // once by token and once by pair.
  const size_t blocks =
      padded(QuantiseRowsBytes(wave, model_dim, static_cast<int>(n_tokens)));
  const size_t gate_and_up = blocks +
                             std::max(blocks, floats(wave, model_dim)) +
                             2 * floats(wave, ffn_dim);
  const size_t down =
      n_pairs == 0 ? 0 : floats(n_pairs, DownColumns(n_pairs, model_dim));
  return plan + hidden + std::max(gate_and_up, down);
}

}  // namespace etalon::ops
