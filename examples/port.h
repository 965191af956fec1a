/* What the example ports share: golden.h in front, one function per op behind.
 * A port fills a `port` and calls port_main:  PROGRAM PACK PROFILE.json */
#ifndef ETALON_EXAMPLES_PORT_H_
#define ETALON_EXAMPLES_PORT_H_

#define GOLDEN_IMPLEMENTATION
#include "checkers/golden.h"

typedef struct {
  const float* q;    /* [n_tokens, n_heads, head_dim] */
  const void *k, *v; /* [n_kv_heads, kv_capacity, head_dim] */
  size_t k_bytes, v_bytes;
  uint32_t k_f16, v_f16; /* else f32 */
  uint32_t n_tokens, n_heads, n_kv_heads, head_dim, kv_len, kv_capacity;
  uint32_t causal;
  float scale;
} sdpa_args;

/* out[m, n] = scale sum_k x[m, k] w[n, k] + bias[n]; x in Q8_K blocks of 256:
 * quants and one scale each. */
typedef struct {
  const int8_t* xq;  /* [m, k] */
  const float* xd;   /* [m, k / 256] */
  const uint8_t* w;  /* [n, k / 256 * 144] */
  const float* bias; /* [n], zeros where there is none */
  uint32_t m, n, k;
  float scale;
} q4k_args;

typedef struct {
  void* self;
  /* 0 when the device refuses. out: [n_tokens, n_heads, head_dim], [m, n]. */
  int (*sdpa)(void* self, const sdpa_args* args, float* out);
  int (*q4k_gemv)(void* self, const q4k_args* args, float* out);
} port;

/* A kernel's source or code: the file NAME beside the program, or NULL. The
 * caller frees it. */
static inline void* port_file(const char* program, const char* name,
                              size_t* size) {
  const char* slash = strrchr(program, '/');
  char path[1024];
  void* data = NULL;
  long end;
  FILE* f;
  snprintf(path, sizeof path, "%.*s%s",
           slash != NULL ? (int)(slash - program + 1) : 0, program, name);
  f = fopen(path, "rb");
  if (f != NULL && fseek(f, 0, SEEK_END) == 0 && (end = ftell(f)) > 0 &&
      fseek(f, 0, SEEK_SET) == 0) {
    *size = (size_t)end;
    data = malloc(*size);
    if (data != NULL && fread(data, 1, *size, f) != *size) {
      free(data);
      data = NULL;
    }
  }
  if (f != NULL) fclose(f);
  if (data == NULL) fprintf(stderr, "%s: cannot be read\n", path);
  return data;
}

/* Activations to Q8_K, the rule of docs/golden-packs.md and docs/numerics.md:
 * part of the op, and bit-exact in any language. */
static void quantize_q8_k(const float* x, int8_t* q, float* d) {
  float max = 0, amax = 0, iscale;
  int i, finite = 1;
  for (i = 0; i < 256; ++i) {
    finite &= isfinite(x[i]) != 0;
    if (fabsf(x[i]) > amax) {
      amax = fabsf(x[i]);
      max = x[i];
    }
  }
  memset(q, 0, 256);
  *d = finite ? 0.0f : g_float(0x7FC00000u);
  if (!finite || amax < 0x1p-120f) return;
  iscale = -127.0f / max;
  for (i = 0; i < 256; ++i) {
    const float r = nearbyintf(iscale * x[i]);
    q[i] = (int8_t)(r > 127 ? 127 : r);
  }
  *d = 1.0f / iscale;
}

static int run_sdpa(const port* p, const golden_case* c, float* out) {
  const golden_tensor *q = golden_input(c, "q"), *k = golden_input(c, "k"),
                      *v = golden_input(c, "v");
  sdpa_args a;
  if (q == NULL || k == NULL || v == NULL) return 0;
  a.q = (const float*)q->data;
  a.k = k->data;
  a.v = v->data;
  a.k_f16 = k->dtype == G_F16;
  a.v_f16 = v->dtype == G_F16;
  a.k_bytes = (size_t)k->n * (a.k_f16 ? 2 : 4);
  a.v_bytes = (size_t)v->n * (a.v_f16 ? 2 : 4);
  a.n_tokens = (uint32_t)q->shape[0];
  a.n_heads = (uint32_t)q->shape[1];
  a.head_dim = (uint32_t)q->shape[2];
  a.n_kv_heads = (uint32_t)k->shape[0];
  a.kv_capacity = (uint32_t)k->shape[1];
  a.kv_len = (uint32_t)golden_int(c, "kv_len", 0);
  a.causal = (uint32_t)golden_int(c, "causal", 0);
  a.scale = golden_float(c, "scale_bits", 0);
  return p->sdpa(p->self, &a, out);
}

static int run_q4k(const port* p, const golden_case* c, float* out) {
  const golden_tensor *x = golden_input(c, "x"), *w = golden_input(c, "w"),
                      *bias = golden_input(c, "bias");
  q4k_args a;
  float *d, *zeros;
  int8_t* q;
  size_t b;
  int ok;
  if (x == NULL || w == NULL) return 0;
  a.m = (uint32_t)x->shape[0];
  a.k = (uint32_t)x->shape[1];
  a.n = (uint32_t)w->shape[0];
  q = (int8_t*)malloc((size_t)x->n + 1);
  d = (float*)malloc(((size_t)x->n / 256 + 1) * sizeof *d);
  zeros = (float*)calloc(a.n + 1, sizeof *zeros);
  for (b = 0; b < x->n / 256; ++b) {
    quantize_q8_k((const float*)x->data + 256 * b, q + 256 * b, d + b);
  }
  a.xq = q;
  a.xd = d;
  a.w = (const uint8_t*)w->data;
  a.bias = bias != NULL ? (const float*)bias->data : zeros;
  a.scale = golden_float(c, "scale_bits", 1);
  ok = p->q4k_gemv(p->self, &a, out);
  free(q);
  free(d);
  free(zeros);
  return ok;
}

/* The op of a case that this port has, or NULL and why not. A parameter that
 * it does not know would make its answer a guess. */
static int (*port_op(const golden_case* c,
                     const char** why))(const port*, const golden_case*,
                                        float*) {
  const char *type = golden_string(c, "type"), *act = golden_string(c, "act");
  if (strcmp(c->op, "attention") == 0) {
    *why = "attention with a parameter that this port does not know";
    return golden_knows(c, "kv_len scale_bits causal") ? run_sdpa : NULL;
  }
  if (strcmp(c->op, "gemm") == 0 && type != NULL && act != NULL &&
      strcmp(type, "Q4_K") == 0 && strcmp(act, "q8_k") == 0) {
    *why = "gemm of Q4_K x Q8_K with a parameter that is not known";
    return golden_knows(c, "type act scale_bits") ? run_q4k : NULL;
  }
  *why = "of other ops";
  if (strcmp(c->op, "gemm") == 0) *why = "gemm of other types";
  if (strcmp(c->op, "attention_variant") == 0) {
    *why =
        "attention_variant: no window, softcap, slopes, mask, sinks, gate or "
        "quantised cache here";
  }
  return NULL;
}

static int port_main(const port* p, int argc, char** argv) {
  static const char* const kNames[] = {"pass", "warn", "fail", "error",
                                       "skipped"};
  const char* skipped[8]; /* why, each reason once */
  size_t n_skipped[8] = {0};
  size_t i, k, count[GOLDEN_N_STATUSES] = {0};
  double worst = 0;
  golden_pack pack;
  golden_profile profile;
  const char *error, *what;
  if (argc != 3) {
    return fprintf(stderr, "usage: %s PACK PROFILE.json\n", argv[0]), 1;
  }
  error = golden_open(&pack, what = argv[1]);
  if (error == NULL) error = golden_read_profile(&profile, what = argv[2]);
  if (error != NULL) {
    fprintf(stderr, "error: %s: %s\n", what, error);
    return golden_close(&pack), 2;
  }
  for (i = 0; i < pack.n_cases; ++i) {
    golden_case* c = &pack.cases[i];
    int (*run)(const port*, const golden_case*, float*) = port_op(c, &what);
    golden_tensor out;
    golden_verdict v;
    size_t n_outputs = 0;
    if (run == NULL) {
      for (k = 0; n_skipped[k] > 0 && skipped[k] != what;) ++k;
      skipped[k] = what;
      ++n_skipped[k];
      continue;
    }
    memset(&out, 0, sizeof out);
    if (golden_load(c)) {
      float* data;
      out = c->outputs[0];
      data = (float*)calloc((size_t)out.n + 1, sizeof(float));
      out.data = data;
      n_outputs = data != NULL && run(p, c, data) ? 1 : 0;
    }
    v = golden_judge(c, &profile, &out, n_outputs);
    free((void*)(uintptr_t)out.data);
    count[v.status]++;
    if (v.ratio > worst) worst = v.ratio;
    if (v.status == GOLDEN_FAIL || v.status == GOLDEN_ERROR) {
      printf("%s %s: %s\n", kNames[v.status], c->id, v.message);
    }
    golden_unload(c);
  }
  for (k = 0; n_skipped[k] > 0; ++k) {
    printf("not run: %lu cases, %s\n", (unsigned long)n_skipped[k], skipped[k]);
  }
  printf("%lu pass, %lu warn, %lu fail, %lu error, %lu skipped; worst r %.3g\n",
         (unsigned long)count[0], (unsigned long)count[1],
         (unsigned long)count[2], (unsigned long)count[3],
         (unsigned long)count[4], worst);
  golden_close(&pack);
  return count[GOLDEN_FAIL] + count[GOLDEN_ERROR] == 0 &&
                 count[GOLDEN_PASS] + count[GOLDEN_WARN] > 0
             ? 0
             : 6;
}

#endif /* ETALON_EXAMPLES_PORT_H_ */
