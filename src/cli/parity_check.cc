#include "cli/parity_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <set>

#include "profile/bench_run.h"
#include "reference/oracle.h"

namespace etalon::cli {
namespace {

using reference::Oracle;

// The largest subset of a product that is compared.
constexpr size_t kRowsOfWeights = 16;
constexpr size_t kRowsOfTokens = 2;

// First and last rows: the stride does the choosing.
template <class T>
Span2D<T> Ends(const Span2D<T>& m) {
  if (m.rows <= kRowsOfTokens) return m;
  return {m.data, 2, m.cols, (m.rows - 1) * m.stride};
}

// Up to 16 rows, evenly spread.
struct Few {
  WeightMatrix weights;
  size_t step = 1;
};
Few Spread(WeightMatrix w) {
  const size_t step = std::max<size_t>(1, w.rows / kRowsOfWeights);
  w.rows = std::min(w.rows, kRowsOfWeights);
  w.stride_bytes *= step;
  return {w, step};
}

template <class T>
std::vector<float> Dense(const HeadsView<T>& x) {
  std::vector<float> out;
  for (size_t t = 0; t < x.n_tokens; ++t) {
    for (size_t h = 0; h < x.n_heads; ++h) {
      out.insert(out.end(), x.at(t, h), x.at(t, h) + x.head_dim);
    }
  }
  return out;
}
std::vector<float> Dense(const Span2D<const float>& x) {
  std::vector<float> out;
  for (size_t r = 0; r < x.rows; ++r) {
    out.insert(out.end(), x.row(r).begin(), x.row(r).end());
  }
  return out;
}

const reference::Profile& Strict() { return reference::CpuStrictProfile(); }

class Checker {
 public:
  explicit Checker(const Backend& b) : backend(b) {}

  // Whether this kind is new and nothing has failed yet.
  bool Wants(std::string kind) {
    if (!report.failure.empty() || !seen_.insert(std::move(kind)).second) {
      return false;
    }
    ++report.n_kinds;
    return true;
  }

  void Compare(const std::string& what, std::span<const float> got,
               const Expected<Oracle>& oracle,
               const std::vector<double>& bound) {
    if (!oracle) return Fail(what, oracle.error().message);
    if (oracle->value.size() != got.size()) return Fail(what, "size differs");
    report.n_numbers += got.size();
    for (size_t i = 0; i < got.size(); ++i) {
      const double want = oracle->value[i];
      const double error = std::fabs(static_cast<double>(got[i]) - want);
      if (!(error <= bound[i])) {
        return Fail(what, fmt::format("element {} is {}, the reference says {} "
                                      "+- {}",
                                      i, got[i], want, bound[i]));
      }
      if (error > 0) report.worst = std::max(report.worst, error / bound[i]);
    }
  }

  void Fail(const std::string& what, const std::string& how) {
    if (report.failure.empty()) report.failure = what + ": " + how;
  }

  // One product: out(m, n) over the chosen rows against the oracle.
  void CheckProduct(const Span2D<const float>& x, const GemmPart& part,
                    Activations activations) {
    const std::string what = fmt::format(
        "gemm {} {}x{}, {}", TypeName(part.weights.type), part.weights.rows,
        part.weights.cols, x.rows == 1 ? "one token" : "many tokens");
    if (!Wants(what)) return;
    const Few few = Spread(part.weights);
    const Span2D<const float> rows = Ends(x);
    const Span2D<const float> out = Ends(Span2D<const float>(part.out));
    std::vector<float> got, bias;
    for (size_t m = 0; m < out.rows; ++m) {
      for (size_t n = 0; n < few.weights.rows; ++n) {
        got.push_back(out.row(m)[n * few.step]);
      }
    }
    for (size_t n = 0; n < few.weights.rows && !part.bias.empty(); ++n) {
      bias.push_back(part.bias[n * few.step]);
    }
    std::vector<float> unused(got.size());
    const GemmPart small{few.weights,
                         bias,
                         {unused.data(), rows.rows, few.weights.rows},
                         part.scale};
    const auto oracle =
        reference::GemmOracle({rows, {&small, 1}, activations}, 0);
    Compare(what, got, oracle,
            oracle ? GemmTolerance(*oracle, Strict(), few.weights, activations)
                   : std::vector<double>());
  }

  const Backend& backend;
  ParityReport report;

 private:
  std::set<std::string> seen_;
};

// The table's functions have no object: this one runs on this thread.
thread_local Checker* checker = nullptr;

Status Embedding(const EmbeddingArgs& a, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(checker->backend.embedding(a, ctx));
  if (checker->Wants("embedding")) {
    const auto oracle = reference::EmbeddingOracle(a);
    std::vector<double> bound;
    if (oracle) {
      // Exact: f32 is wider than any stored type.
      for (const double v : oracle->value) {
        bound.push_back(0x1p-24 * std::fabs(v));
      }
    }
    checker->Compare("embedding", Dense(a.out), oracle, bound);
  }
  return {};
}

Status RmsNorm(const RmsNormArgs& a, ExecContext& ctx) {
  const std::string what = fmt::format("rms_norm of {}, {} rows", a.x.cols,
                                       a.x.rows == 1 ? "one" : "many");
  if (!checker->Wants(what)) return checker->backend.rms_norm(a, ctx);
  std::vector<float> x = Dense(a.x);  // out may be x
  ETALON_RETURN_IF_ERROR(checker->backend.rms_norm(a, ctx));
  RmsNormArgs copy = a;
  std::vector<float> unused(x.size());
  copy.x = {x.data(), a.x.rows, a.x.cols};
  copy.out = {unused.data(), a.x.rows, a.x.cols};
  copy.rstd = {};
  const auto oracle = reference::RmsNormOracle(copy);
  checker->Compare(what, Dense(a.out), oracle,
                   oracle ? RmsNormTolerance(*oracle, Strict(), a.x.cols)
                          : std::vector<double>());
  return {};
}

Status Rope(const RopeArgs& a, ExecContext& ctx) {
  const std::string what = fmt::format("rope of {} heads, {}", a.x.n_heads,
                                       a.x.n_tokens == 1 ? "one" : "many");
  if (!checker->Wants(what)) return checker->backend.rope(a, ctx);
  std::vector<float> x = Dense(a.x);
  ETALON_RETURN_IF_ERROR(checker->backend.rope(a, ctx));
  RopeArgs copy = a;
  copy.x = {x.data(),
            a.x.n_tokens,
            a.x.n_heads,
            a.x.head_dim,
            a.x.n_heads * a.x.head_dim,
            a.x.head_dim};
  const auto oracle = reference::RopeOracle(copy);
  checker->Compare(
      what, Dense(a.x), oracle,
      oracle ? RopeTolerance(*oracle, Strict()) : std::vector<double>());
  return {};
}

Status Gemm(const GemmArgs& a, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(checker->backend.gemm(a, ctx));
  for (const GemmPart& part : a.parts) {
    checker->CheckProduct(a.x, part, a.activations);
  }
  return {};
}

// The bits of Gemm, Gemm and SwiGlu, says its contract; those are judged.
Status GemmSwiGlu(const GemmSwiGluArgs& a, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(checker->backend.gemm_swiglu(a, ctx));
  const std::string what =
      fmt::format("gemm_swiglu {} {}x{}, {}", TypeName(a.gate.weights.type),
                  a.gate.weights.rows, a.gate.weights.cols,
                  a.x.rows == 1 ? "one token" : "many tokens");
  if (!checker->Wants(what)) return {};
  const Span2D<const float> rows = Ends(a.x);
  const Span2D<const float> out = Ends(Span2D<const float>(a.out));
  std::array<std::vector<float>, 3> y;  // gate, up, out
  size_t n = 0, step = 1;
  for (size_t i = 0; i < 2; ++i) {
    const GemmPart& part = i == 0 ? a.gate : a.up;
    const Few few = Spread(part.weights);
    n = few.weights.rows;
    step = few.step;
    y[i].resize(rows.rows * n);
    std::vector<float> bias;
    for (size_t r = 0; r < n && !part.bias.empty(); ++r) {
      bias.push_back(part.bias[r * step]);
    }
    const GemmPart small{
        few.weights, bias, {y[i].data(), rows.rows, n}, part.scale};
    ETALON_RETURN_IF_ERROR(
        checker->backend.gemm({rows, {&small, 1}, a.activations}, ctx));
    checker->CheckProduct(rows, small, a.activations);
  }
  y[2].resize(rows.rows * n);
  const SwiGluArgs swiglu{{y[0].data(), rows.rows, n},
                          {y[1].data(), rows.rows, n},
                          {y[2].data(), rows.rows, n}};
  ETALON_RETURN_IF_ERROR(checker->backend.swiglu(swiglu, ctx));
  const auto oracle = reference::SwiGluOracle(swiglu);
  checker->Compare(
      what, y[2], oracle,
      oracle ? SwiGluTolerance(*oracle, Strict()) : std::vector<double>());
  for (size_t m = 0; m < rows.rows; ++m) {
    for (size_t r = 0; r < n; ++r) {
      const float got = out.row(m)[r * step];
      if (std::memcmp(&got, &y[2][m * n + r], sizeof got) != 0) {
        checker->Fail(what, "differs from its parts");
      }
    }
  }
  return {};
}

Status KvWrite(const KvWriteArgs& a, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(checker->backend.kv_write(a, ctx));
  const std::string what =
      fmt::format("kv_write {}, {}", TypeName(a.cache.type),
                  a.x.n_tokens == 1 ? "one" : "many");
  if (!checker->Wants(what)) return {};
  const size_t size = RowBytes(a.cache.type, 1);
  const size_t n = a.x.n_tokens, d = a.x.head_dim;
  std::vector<std::byte> want(a.x.n_heads * n * d * size);
  KvWriteArgs copy = a;
  copy.pos = 0;
  copy.cache = {a.cache.type, want.data(), a.x.n_heads, n, d, n * d, d};
  ETALON_RETURN_IF_ERROR(ReferenceBackend().kv_write(copy, ctx));
  for (size_t h = 0; h < a.x.n_heads; ++h) {
    for (size_t t = 0; t < n; ++t) {
      const std::byte* got =
          a.cache.data +
          (h * a.cache.head_stride + (a.pos + t) * a.cache.pos_stride) * size;
      if (std::memcmp(got, &want[(h * n + t) * d * size], d * size) != 0) {
        checker->Fail(what, fmt::format("token {}, head {} differs", t, h));
      }
    }
  }
  checker->report.n_numbers += a.x.n_heads * n * d;
  return {};
}

Status Attention(const AttentionArgs& a, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(checker->backend.attention(a, ctx));
  const std::string what =
      fmt::format("attention over {} cache, {}", TypeName(a.k.type),
                  a.q.n_tokens == 1 ? "one" : "many");
  if (!checker->Wants(what)) return {};
  const bool fast =
      ctx.config != nullptr && ctx.config->profile == etalon::Profile::kFast;
  const reference::Profile& profile =
      fast ? reference::CpuFastProfile() : Strict();
  const auto oracle = reference::AttentionOracle(a);
  checker->Compare(
      what, Dense(a.out), oracle,
      oracle ? AttentionTolerance(*oracle, profile, a.q.head_dim, a.kv_len)
             : std::vector<double>());
  return {};
}

Status Add(const AddArgs& a, ExecContext& ctx) {
  if (!checker->Wants("add")) return checker->backend.add(a, ctx);
  std::vector<float> x = Dense(a.a), y = Dense(a.b);
  ETALON_RETURN_IF_ERROR(checker->backend.add(a, ctx));
  std::vector<float> unused(x.size());
  const auto oracle =
      reference::AddOracle({{x.data(), a.a.rows, a.a.cols},
                            {y.data(), a.a.rows, a.a.cols},
                            {unused.data(), a.a.rows, a.a.cols}});
  checker->Compare(
      "add", Dense(a.out), oracle,
      oracle ? AddTolerance(*oracle, Strict()) : std::vector<double>());
  return {};
}

// The probabilities of the experts taken. Which ones are taken may differ from
// the reference where two are within their tolerances of each other.
Status MoeRouter(const MoeRouterArgs& a, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(checker->backend.moe_router(a, ctx));
  if (!checker->Wants("moe_router")) return {};
  const auto oracle = reference::MoeRouterOracle(a);
  if (!oracle) {
    checker->Fail("moe_router", oracle.error().message);
    return {};
  }
  const size_t n = a.logits.cols, n_used = a.experts.cols;
  const std::vector<double> tol = SoftmaxTolerance(*oracle, Strict(), n);
  std::vector<float> got;
  Oracle want;
  std::vector<double> bound;
  for (size_t t = 0; t < a.logits.rows; ++t) {
    const double* p = &oracle->value[t * n];
    std::vector<double> sorted(p, p + n);
    std::sort(sorted.rbegin(), sorted.rend());
    double sum = 0, sum_tol = 0;
    for (const int32_t e : a.experts.row(t)) {
      const auto i = static_cast<size_t>(e);
      sum += p[i];
      sum_tol += tol[t * n + i];
      if (p[i] + 2 * tol[t * n + i] < sorted[n_used - 1]) {
        checker->Fail("moe_router",
                      fmt::format("token {} takes expert {}, which is not "
                                  "among the first",
                                  t, e));
      }
    }
    for (size_t k = 0; k < n_used; ++k) {
      const auto i = static_cast<size_t>(a.experts.row(t)[k]);
      const double scale = static_cast<double>(a.scale);
      const double w = scale * (a.normalize ? p[i] / sum : p[i]);
      // Errors of p and of the sum, and a rounding for each step.
      const double relative =
          tol[t * n + i] / p[i] + (a.normalize ? sum_tol / sum : 0.0) +
          reference::Gamma(static_cast<double>(n_used) + 3, 0x1p-24);
      got.push_back(a.weights.row(t)[k]);
      want.value.push_back(w);
      bound.push_back(w * relative * (1 + 0x1p-10));
    }
  }
  checker->Compare("moe_router", got, want, bound);
  return {};
}

Status MoeFfn(const MoeFfnArgs& a, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(checker->backend.moe_ffn(a, ctx));
  const std::string what =
      fmt::format("moe_ffn {} and {}", TypeName(a.gate.first.type),
                  TypeName(a.down.first.type));
  if (!checker->Wants(what)) return {};
  MoeFfnArgs one = a;  // the first token: the sum over its experts
  one.x.rows = one.experts.rows = one.weights.rows = one.out.rows = 1;
  const auto oracle = reference::MoeFfnOracle(one, Strict());
  checker->Compare(what, Dense(one.out), oracle,
                   oracle ? MoeFfnTolerance(*oracle, Strict(), a.experts.cols)
                          : std::vector<double>());
  return {};
}

Backend CheckingBackend(const Backend& backend) {
  // Ops that no model runs by themselves go through unchecked.
  Backend b = backend;
  b.name = "checking";
  b.embedding = Embedding;
  b.rms_norm = RmsNorm;
  b.rope = Rope;
  b.gemm = Gemm;
  b.gemm_swiglu = GemmSwiGlu;
  b.kv_write = KvWrite;
  b.attention = Attention;
  b.add = Add;
  b.moe_router = MoeRouter;
  b.moe_ffn = MoeFfn;
  return b;
}

}  // namespace

Expected<ParityReport> CheckParity(const model::Model& model,
                                   const model::SessionOptions& options) {
  // Tiles of 16 and of 32 tokens, and a remainder.
  constexpr size_t kPrompt = 37;
  const Backend checking = CheckingBackend(*options.backend);
  model::SessionOptions o = options;
  o.backend = &checking;
  o.n_ctx = kPrompt + 1;
  o.n_batch = 0;
  ETALON_ASSIGN_OR_RETURN(const auto session, model::Session::Create(model, o));
  const size_t n_vocab = model.hyperparameters().n_vocab;
  const std::vector<int32_t> tokens =
      profile::BenchTokens(0, kPrompt + 1, n_vocab);
  std::vector<float> logits(n_vocab);
  const Span2D<float> row(logits.data(), 1, n_vocab);
  Checker own(*options.backend);
  checker = &own;
  Status status = session->Append(std::span(tokens).first(kPrompt), row);
  if (status) status = session->Append(std::span(tokens).last(1), row);
  checker = nullptr;
  // A wrong op may end in an error of the session: the op is the news.
  if (!status && own.report.failure.empty()) {
    return tl::unexpected(std::move(status).error());
  }
  return std::move(own.report);
}

}  // namespace etalon::cli
