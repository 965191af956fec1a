#include "ops/attention_two_pass.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/attention_rows.h"

namespace etalon::ops {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

float Score(const AttentionArgs& args, const RowSight& sight, const float* q,
            const HeadRows& k, size_t h, size_t p) {
  const AttentionVariant& v = args.variant;
  float dot = 0.0f;
  for (size_t d = 0; d < args.q.head_dim; ++d) dot += q[d] * k(p, d);
  float s = dot * args.scale;
  if (v.softcap != 0.0f) s = v.softcap * std::tanh(s / v.softcap);
  if (!v.alibi_slopes.empty()) {
    const size_t distance = p > sight.pos ? p - sight.pos : sight.pos - p;
    s -= v.alibi_slopes[h] * static_cast<float>(distance);
  }
  if (sight.mask != nullptr) s += sight.mask[p];
  return s;
}

void AttendOneRow(const AttentionArgs& args, size_t t, size_t h, size_t kv_head,
                  float* scores) {
  const HeadRows k(args.k, kv_head), v(args.v, kv_head);
  const RowSight sight(args, t, h);
  const float* q = args.q.at(t, h);
  float* out = args.out.at(t, h);
  const bool sink = !args.variant.sinks.empty();
  float m = sink ? args.variant.sinks[h] : -kInf;
  for (size_t p = sight.first; p < sight.end; ++p) {
    if (sight.Hides(p)) continue;
    scores[p] = Score(args, sight, q, k, h, p);
    m = scores[p] > m ? scores[p] : m;
  }
  const float base = m == -kInf ? 0.0f : m;
  float sum = sink ? std::exp(args.variant.sinks[h] - base) : 0.0f;
  for (size_t p = sight.first; p < sight.end; ++p) {
    if (sight.Hides(p)) continue;
    scores[p] = std::exp(scores[p] - base);
    sum += scores[p];
  }
  const float inverse = 1.0f / sum;
  const size_t dim = args.v.head_dim;
  // 0 / 0 where nothing is seen.
  std::fill_n(out, dim, 0.0f * inverse);
  for (size_t p = sight.first; p < sight.end; ++p) {
    if (sight.Hides(p)) continue;
    const float w = scores[p] * inverse;
    for (size_t d = 0; d < dim; ++d) out[d] += w * v(p, d);
  }
  if (args.gate.data == nullptr) return;
  const float* gate = args.gate.at(t, h);
  for (size_t d = 0; d < dim; ++d) out[d] *= 1.0f / (1.0f + std::exp(-gate[d]));
}

}  // namespace

Status AttentionTwoPass(const AttentionArgs& args, ExecContext& ctx) {
  Workspace::Scope scope(*ctx.workspace);
  ETALON_ASSIGN_OR_RETURN(std::span<float> scores,
                          ctx.workspace->Allocate<float>(args.kv_len));
  const size_t q_per_kv = args.q.n_heads / args.k.n_kv_heads;
  for (size_t t = 0; t < args.q.n_tokens; ++t) {
    for (size_t h = 0; h < args.q.n_heads; ++h) {
      AttendOneRow(args, t, h, h / q_per_kv, scores.data());
    }
  }
  return {};
}

}  // namespace etalon::ops
