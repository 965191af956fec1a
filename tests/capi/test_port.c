/* A port in a small form: two ops, compiled as C, loaded as a plug-in. */
#include <math.h>
#include <stddef.h>

#include "etalon/etalon.h"

static etalon_status Add(void* self, const etalon_add_args* args,
                         etalon_context* context) {
  uint64_t r, i;
  (void)context;
  if (args->a.cols != args->out.cols) {
    *(const char**)self = "the columns differ";
    return ETALON_INVALID_ARGUMENT;
  }
  for (r = 0; r < args->out.rows; ++r) {
    for (i = 0; i < args->out.cols; ++i) {
      args->out.data[r * args->out.stride + i] =
          args->a.data[r * args->a.stride + i] +
          args->b.data[r * args->b.stride + i];
    }
  }
  return ETALON_OK;
}

static const float* KvRow(const etalon_const_kv* kv, uint64_t head,
                          uint64_t pos) {
  return (const float*)kv->data + head * kv->head_stride + pos * kv->pos_stride;
}

/* Online softmax over f32 caches; out is rescaled at every new maximum. */
static void AttendHead(const etalon_attention_args* a, uint64_t t, uint64_t h) {
  const uint64_t kv_head = h / (a->q.n_heads / a->k.n_kv_heads);
  const uint64_t dim = a->k.head_dim, dim_v = a->v.head_dim;
  const float* q = a->q.data + t * a->q.token_stride + h * a->q.head_stride;
  float* out = a->out.data + t * a->out.token_stride + h * a->out.head_stride;
  uint64_t n = a->kv_len, p, d;
  float max = -INFINITY, sum = 0;
  if (a->causal != 0) n = n - a->q.n_tokens + t + 1;
  for (d = 0; d < dim_v; ++d) out[d] = 0;
  for (p = 0; p < n; ++p) {
    const float *k = KvRow(&a->k, kv_head, p), *v = KvRow(&a->v, kv_head, p);
    float score = 0, scale, e;
    for (d = 0; d < dim; ++d) score += q[d] * k[d];
    score *= a->scale;
    scale = score > max ? expf(max - score) : 1;
    max = score > max ? score : max;
    e = expf(score - max);
    sum = sum * scale + e;
    for (d = 0; d < dim_v; ++d) out[d] = out[d] * scale + e * v[d];
  }
  for (d = 0; d < dim_v && n > 0; ++d) out[d] /= sum; /* no key: 0 */
}

static etalon_status Attention(void* self, const etalon_attention_args* a,
                               etalon_context* context) {
  uint64_t t, h;
  (void)context;
  if (a->k.type != ETALON_TYPE_F32 || a->v.type != ETALON_TYPE_F32) {
    *(const char**)self = "attention: caches of f32 only";
    return ETALON_UNSUPPORTED;
  }
  for (t = 0; t < a->q.n_tokens; ++t) {
    for (h = 0; h < a->q.n_heads; ++h) AttendHead(a, t, h);
  }
  return ETALON_OK;
}

static etalon_status Softmax(void* self, const etalon_softmax_args* args,
                             etalon_context* context) {
  (void)args;
  (void)context;
  *(const char**)self = "no softmax of this shape yet";
  return ETALON_UNSUPPORTED;
}

static const char* LastError(void* self) { return *(const char**)self; }

#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
const etalon_backend*
etalon_backend_entry(void);

const etalon_backend* etalon_backend_entry(void) {
  static const char* message = "";
  static etalon_backend table;
  table.struct_size = sizeof table;
  table.name = "test-port";
  table.self = &message;
  table.last_error = LastError;
  table.add = Add;
  table.attention = Attention;
  table.softmax = Softmax;
  return &table;
}
