#include <fmt/format.h>

#include <algorithm>

#include "core/parallel.h"
#include "etalon/backward.h"
#include "ops/outer_products.h"
#include "simd/backward.h"
#include "simd/elementwise.h"

namespace etalon::ops {
namespace {

constexpr char kOp[] = "attention_backward";
// Query rows whose probabilities are held at a time.
constexpr size_t kBlock = 64;

template <class T>
Status CheckShape(std::string_view name, const HeadsView<T>& x, size_t n_tokens,
                  size_t n_heads, size_t head_dim) {
  ETALON_ENSURE(
      x.n_tokens == n_tokens && x.n_heads == n_heads && x.head_dim == head_dim,
      fmt::format("{}: {} is [{}, {}, {}], must be [{}, {}, {}]", kOp, name,
                  x.n_tokens, x.n_heads, x.head_dim, n_tokens, n_heads,
                  head_dim));
  ETALON_ENSURE(n_tokens == 0 || x.data != nullptr,
                fmt::format("{}: {} is null", kOp, name));
  ETALON_ENSURE(n_heads < 2 || x.head_stride >= head_dim,
                fmt::format("{}: {} head_stride {} < head_dim {}", kOp, name,
                            x.head_stride, head_dim));
  ETALON_ENSURE(n_tokens < 2 || x.token_stride >= head_dim,
                fmt::format("{}: {} token_stride {} < head_dim {}", kOp, name,
                            x.token_stride, head_dim));
  return {};
}

Status Check(const AttentionBackwardArgs& a, const ExecContext& ctx) {
  ETALON_ENSURE(ctx.workspace != nullptr, fmt::format("{}: no workspace", kOp));
  const size_t n = a.q.n_tokens, heads = a.q.n_heads, kv = a.k.n_heads;
  const size_t dim = a.q.head_dim;
  ETALON_ENSURE(dim > 0, fmt::format("{}: head_dim is 0", kOp));
  ETALON_ENSURE(kv > 0 && heads > 0 && heads % kv == 0,
                fmt::format("{}: {} query heads are no multiple of {} kv heads",
                            kOp, heads, kv));
  ETALON_ENSURE(a.seq_len > 0 && n % a.seq_len == 0,
                fmt::format("{}: {} tokens are no multiple of seq_len {}", kOp,
                            n, a.seq_len));
  ETALON_RETURN_IF_ERROR(CheckShape("q", a.q, n, heads, dim));
  ETALON_RETURN_IF_ERROR(CheckShape("k", a.k, n, kv, dim));
  ETALON_RETURN_IF_ERROR(CheckShape("v", a.v, n, kv, dim));
  ETALON_RETURN_IF_ERROR(CheckShape("d_out", a.d_out, n, heads, dim));
  ETALON_RETURN_IF_ERROR(CheckShape("d_q", a.d_q, n, heads, dim));
  ETALON_RETURN_IF_ERROR(CheckShape("d_k", a.d_k, n, kv, dim));
  return CheckShape("d_v", a.d_v, n, kv, dim);
}

// A matrix whose element (i, j) is data[i * row + j * col].
struct Strided {
  const float* data;
  size_t row, col;
};
Strided Transposed(Strided x) { return {x.data, x.col, x.row}; }
template <class T>
Strided Rows(const HeadsView<T>& x, size_t token, size_t head) {
  return {x.data + token * x.token_stride + head * x.head_stride,
          x.token_stride, 1};
}

void Multiply(size_t m, size_t n, size_t k, Strided a, Strided b, float* c,
              size_t c_row, bool accumulate, float* scratch) {
  simd::OuterProductArgs p;
  p.m = m, p.n = n, p.k = k;
  p.a = a.data, p.a_row = a.row, p.a_col = a.col;
  p.b = b.data, p.b_row = b.row, p.b_col = b.col;
  p.c = c, p.c_row = c_row;
  p.accumulate = accumulate;
  RunOuterProductHere(p, scratch);
}

// Query rows [begin, begin + rows) of one head of one sequence.
void Block(const AttentionBackwardArgs& a, size_t first, size_t begin,
           size_t rows, size_t head, float* memory) {
  const size_t kv_head = head / (a.q.n_heads / a.k.n_heads);
  const size_t dim = a.q.head_dim, len = begin + rows;
  float* p = memory;
  float* ds = p + kBlock * a.seq_len;
  float* scratch = ds + kBlock * a.seq_len;
  const Strided q = Rows(a.q, first + begin, head);
  const Strided d_out = Rows(a.d_out, first + begin, head);
  const Strided k = Rows(a.k, first, kv_head), v = Rows(a.v, first, kv_head);
  Multiply(rows, len, dim, q, Transposed(k), p, len, false, scratch);
  Multiply(rows, len, dim, d_out, Transposed(v), ds, len, false, scratch);
  for (size_t r = 0; r < rows; ++r) {
    const size_t visible = begin + r + 1;
    float* pr = p + r * len;
    float* dr = ds + r * len;
    simd::Scale(pr, a.scale, pr, visible);
    simd::SoftmaxInPlace(pr, visible);
    simd::SoftmaxBackwardRow(pr, dr, visible);
    simd::Scale(dr, a.scale, dr, visible);
    std::fill(pr + visible, pr + len, 0.0f);
    std::fill(dr + visible, dr + len, 0.0f);
  }
  const Strided ps = {p, len, 1}, dss = {ds, len, 1};
  float* d_q = a.d_q.at(first + begin, head);
  Multiply(rows, dim, len, dss, k, d_q, a.d_q.token_stride, false, scratch);
  float* d_k = a.d_k.at(first, kv_head);
  float* d_v = a.d_v.at(first, kv_head);
  Multiply(len, dim, rows, Transposed(dss), q, d_k, a.d_k.token_stride, true,
           scratch);
  Multiply(len, dim, rows, Transposed(ps), d_out, d_v, a.d_v.token_stride, true,
           scratch);
}

}  // namespace

Status AttentionBackward(const AttentionBackwardArgs& a, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(Check(a, ctx));
  if (a.q.n_tokens == 0) return {};
  const size_t n_kv = a.k.n_heads, group = a.q.n_heads / n_kv;
  const size_t n_tasks = a.q.n_tokens / a.seq_len * n_kv;
  const size_t n_workers =
      std::min(n_tasks, static_cast<size_t>(std::max(ctx.n_threads, 1)));
  const size_t worker_floats =
      2 * kBlock * a.seq_len + simd::kOuterScratchFloats;
  const Workspace::Scope scope(*ctx.workspace);
  ETALON_ASSIGN_OR_RETURN(
      const std::span<float> memory,
      ctx.workspace->Allocate<float>(n_workers * worker_floats));
  ParallelFor(n_tasks, static_cast<int>(n_workers),
              [&](size_t task, int worker) {
                const size_t first = task / n_kv * a.seq_len;
                const size_t kv_head = task % n_kv;
                for (size_t t = first; t < first + a.seq_len; ++t) {
                  for (const auto& d : {a.d_k, a.d_v}) {
                    float* row = d.at(t, kv_head);
                    std::fill(row, row + a.q.head_dim, 0.0f);
                  }
                }
                float* mine =
                    memory.data() + static_cast<size_t>(worker) * worker_floats;
                for (size_t g = 0; g < group; ++g) {
                  for (size_t t = 0; t < a.seq_len; t += kBlock) {
                    Block(a, first, t, std::min(kBlock, a.seq_len - t),
                          kv_head * group + g, mine);
                  }
                }
              });
  return {};
}

}  // namespace etalon::ops
