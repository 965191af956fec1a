#include <algorithm>
#include <limits>

#include "ops/attention_check.h"
#include "ops/attention_rows.h"
#include "simd/exp.h"

namespace etalon::ops {
namespace {

float ThroughF16(float x) { return F16ToF32(F32ToF16(x)); }

float Exp1(float x) {
  float y;
  simd::Exp(&x, &y, 1);
  return y;
}

void AttendOneRow(const AttentionArgs& args, size_t t, size_t h,
                  size_t kv_head) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const HeadRows k(args.k, kv_head), v(args.v, kv_head);
  const RowSight sight(args, t, h);
  const float* q = args.q.at(t, h);
  float* out = args.out.at(t, h);
  const size_t dim = args.v.head_dim;
  std::fill_n(out, dim, 0.0f);
  float m = -kInf, sum = 0.0f;
  for (size_t p = sight.first; p < sight.end; ++p) {
    float dot = 0.0f;
    for (size_t d = 0; d < args.q.head_dim; ++d) {
      dot += ThroughF16(q[d]) * ThroughF16(k(p, d));
    }
    const float s = dot * args.scale;
    float keep = 1.0f, weight = 1.0f;
    if (s > m) {
      keep = m == -kInf ? 0.0f : Exp1(m - s);
      m = s;
      for (size_t d = 0; d < dim; ++d) out[d] = ThroughF16(out[d] * keep);
    } else {
      weight = Exp1(s - (m == -kInf ? 0.0f : m));  // NaN stays NaN
    }
    for (size_t d = 0; d < dim; ++d) {
      out[d] = ThroughF16(out[d] + weight * ThroughF16(v(p, d)));
    }
    sum = sum * keep + weight;
  }
  const float inverse = args.kv_len == 0 ? 0.0f : 1.0f / sum;
  for (size_t d = 0; d < dim; ++d) out[d] *= inverse;
}

}  // namespace

Status AttentionGgmlF16(const AttentionArgs& args, ExecContext&) {
  ETALON_RETURN_IF_ERROR(CheckAttention(args));
  const AttentionVariant& v = args.variant;
  ETALON_ENSURE(!v.ChangesScores() && v.window == 0 && v.sinks.empty() &&
                    args.gate.data == nullptr,
                "attention: the f16 emulation has no variants");
  for (const KvView* x : {&args.k, &args.v}) {
    ETALON_ENSURE(x->type == TensorType::kF32 || x->type == TensorType::kF16,
                  "attention: the f16 emulation takes F32 and F16 caches");
  }
  const size_t q_per_kv = args.q.n_heads / args.k.n_kv_heads;
  for (size_t t = 0; t < args.q.n_tokens; ++t) {
    for (size_t h = 0; h < args.q.n_heads; ++h) {
      AttendOneRow(args, t, h, h / q_per_kv);
    }
  }
  return {};
}

}  // namespace etalon::ops
