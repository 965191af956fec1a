#include "ops/attention_two_pass.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/attention_check.h"
#include "quant/f16.h"

namespace etalon::ops {
namespace {

// Element d of position p of one kv head.
class HeadRows {
 public:
  HeadRows(const KvView& x, size_t kv_head)
      : type_(x.type), data_(x.data), stride_(x.pos_stride) {
    head_ = kv_head * x.head_stride;
  }
  float operator()(size_t p, size_t d) const {
    const size_t i = head_ + p * stride_ + d;
    if (type_ == TensorType::kF16) {
      return F16ToF32(reinterpret_cast<const uint16_t*>(data_)[i]);
    }
    return reinterpret_cast<const float*>(data_)[i];
  }

 private:
  TensorType type_;
  const std::byte* data_;
  size_t stride_;
  size_t head_ = 0;
};

void AttendOneRow(const float* q, const HeadRows& k, const HeadRows& v,
                  size_t n, size_t head_dim, float scale, float* scores,
                  float* out) {
  float m = -std::numeric_limits<float>::infinity();
  for (size_t p = 0; p < n; ++p) {
    float dot = 0.0f;
    for (size_t d = 0; d < head_dim; ++d) dot += q[d] * k(p, d);
    scores[p] = dot * scale;
    m = scores[p] > m ? scores[p] : m;
  }
  float sum = 0.0f;
  for (size_t p = 0; p < n; ++p) {
    scores[p] = std::exp(scores[p] - m);
    sum += scores[p];
  }
  const float inverse = 1.0f / sum;
  std::fill_n(out, head_dim, 0.0f);
  for (size_t p = 0; p < n; ++p) {
    const float w = scores[p] * inverse;
    for (size_t d = 0; d < head_dim; ++d) out[d] += w * v(p, d);
  }
}

}  // namespace

Status AttentionTwoPass(const AttentionArgs& args, ExecContext& ctx) {
  ETALON_RETURN_IF_ERROR(CheckAttention(args));
  Workspace::Scope scope(*ctx.workspace);
  ETALON_ASSIGN_OR_RETURN(std::span<float> scores,
                          ctx.workspace->Allocate<float>(args.kv_len));
  const size_t q_per_kv = args.q.n_heads / args.k.n_kv_heads;
  for (size_t t = 0; t < args.q.n_tokens; ++t) {
    const size_t n =
        args.causal ? args.kv_len - args.q.n_tokens + t + 1 : args.kv_len;
    for (size_t h = 0; h < args.q.n_heads; ++h) {
      AttendOneRow(args.q.at(t, h), HeadRows(args.k, h / q_per_kv),
                   HeadRows(args.v, h / q_per_kv), n, args.q.head_dim,
                   args.scale, scores.data(), args.out.at(t, h));
    }
  }
  return {};
}

}  // namespace etalon::ops
