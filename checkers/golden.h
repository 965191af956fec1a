/* golden.h: reads golden packs and judges a kernel's outputs. One C99 file, no dependency but libc and libm; format and
 * formulas are those of docs/golden-packs.md of Etalon, whose own checker gives the same verdicts. golden_check.c is an
 * example. Define GOLDEN_IMPLEMENTATION in one file that includes this. Everything hostile (short files, wrong types,
 * NaN) ends in a status that is no pass. Link with -lm. Do not compile with -ffast-math. Little-endian. */
#ifndef GOLDEN_H_
#define GOLDEN_H_

#include <math.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
  GOLDEN_PASS,
  GOLDEN_WARN,    /* within the rigorous bound, beyond the statistical one */
  GOLDEN_FAIL,    /* an element is wrong */
  GOLDEN_ERROR,   /* case or output cannot be read, wrong dtype or shape */
  GOLDEN_SKIPPED, /* the profile says nothing about this case */
  GOLDEN_N_STATUSES
} golden_status;
typedef enum { G_F64, G_F32, G_F16, G_BF16, G_I32, G_I8, G_U8 } golden_dtype;
typedef struct { /* dense, row-major */
  const char* name;
  golden_dtype dtype;
  int rank;
  uint64_t shape[8], n; /* n: elements */
  const void* data;
} golden_tensor;
typedef struct {
  const char *id, *op, *error; /* error: why it is not loaded, or NULL */
  /* Of a loaded case: what to compute from; what to make of it (no data). */
  golden_tensor *inputs, *outputs, *file;
  size_t n_inputs, n_outputs, n_file; /* the file and what follows is the reader's own */
  const char* folder;
  const struct golden_node* json;
  struct golden_memory* memory;
} golden_case;
typedef struct {
  golden_case* cases;
  size_t n_cases;
  struct golden_memory* memory;
} golden_pack;
/* The fields of a profile; what they are where it does not say. */
/* clang-format off */
#define GOLDEN_FIELDS(F) F(u, 0x1p-24) F(u_acc, p->u) F(u_in, 0) F(u_p, 0) F(u_out, 0) F(tiny, 0x1p-150) \
  F(lanes, 1) F(fused, 0) F(exp_ulp, 1) F(exp_ulp_per_x, 0) F(tanh_ulp, 2) F(div_ulp, 0.5) F(rsqrt_ulp, 1) \
  F(f64_norm_sum, 0) F(in_tiny, 0) F(in_max, HUGE_VAL) F(kv_chunk, 0) F(angle_rel, 0) F(trig_abs, 0)
/* clang-format on */
#define GOLDEN_MEMBER(name, missing) double name;
typedef struct {
  GOLDEN_FIELDS(GOLDEN_MEMBER)
  double e, b, div, q, in, ftz, t_in, e_tiny, unfused; /* of the formulas */
  char quantized, bound_of[64];                        /* quantized: its first letter */
  int statistical;
} golden_profile;
typedef struct {
  golden_status status;
  char message[200]; /* one line, "" when all is well */
  double ratio;      /* worst |got - want| / bound */
} golden_verdict;

/* NULL, or what is wrong. The folder's name must outlive the pack. */
const char* golden_open(golden_pack* pack, const char* folder);
const char* golden_read_profile(golden_profile* profile, const char* path);
void golden_close(golden_pack* pack);
/* A parameter, or `missing`; of strings, or NULL; of f32 bits, NAME_bits. */
int64_t golden_int(const golden_case* c, const char* name, int64_t missing);
const char* golden_string(const golden_case* c, const char* name);
float golden_float(const golden_case* c, const char* name, float missing);
/* Whether these are all parameters: one unknown makes an answer a guess. */
int golden_knows(const golden_case* c, const char* names);
/* Reads a case's file and makes its inputs. 0: error says why there are none. */
int golden_load(golden_case* c);
void golden_unload(golden_case* c);
const golden_tensor* golden_input(const golden_case* c, const char* name);
/* The verdict on a loaded case, from a kernel's outputs or their file folder/ID.safetensors. */
golden_verdict golden_judge(golden_case* c, const golden_profile* profile, const golden_tensor* outputs,
                            size_t n_outputs);
golden_verdict golden_judge_file(golden_case* c, const golden_profile* profile, const char* folder);
#endif /* GOLDEN_H_ */

#ifdef GOLDEN_IMPLEMENTATION
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory, files ---- */
typedef struct golden_memory { /* in front of each block, freed together */
  struct golden_memory* next;
  double align;
} g_memory;
static void* g_alloc(g_memory** list, uint64_t size) { /* zeroed */
  g_memory* m = NULL;
  if (size >> 40 == 0) m = (g_memory*)calloc(1, sizeof *m + (size_t)size + 8);
  if (m == NULL) return NULL;
  m->next = *list;
  return (*list = m) + 1;
}
static void g_free(g_memory** list) {
  for (g_memory* m = *list; m != NULL; m = *list) {
    *list = m->next;
    free(m);
  }
}
/* The file that `format` makes of folder and name, a 0 behind it; or NULL. */
static char* g_read(g_memory** list, size_t* size, const char* format, const char* folder, const char* name) {
  char path[2048], *data = NULL;
  const int length = snprintf(path, sizeof path, format, folder, name);
  FILE* f = length < (int)sizeof path ? fopen(path, "rb") : NULL;
  const long end = f != NULL && fseek(f, 0, SEEK_END) == 0 ? ftell(f) : -1;
  *size = end < 0 ? 0 : (size_t)end;
  if (end >= 0 && fseek(f, 0, SEEK_SET) == 0) data = (char*)g_alloc(list, *size + 1);
  if (data != NULL && fread(data, 1, *size, f) != *size) data = NULL;
  if (f != NULL) fclose(f);
  return data;
}

/* ---- JSON ---- */
typedef struct golden_node {
  char type; /* its first character, '0' of a number, 0 of what is not there */
  char *key, *text;
  double number; /* 1 for true */
  uint64_t n;    /* children */
  struct golden_node *child, *next;
} g_node;
static g_node g_none;
static int g_is(const char* a, const char* b) { return a != NULL && strcmp(a, b) == 0; }
static char* g_space(char* p) { return p + strspn(p, " \t\r\n"); }
/* Past the string whose inside p is at; its end becomes a 0. NULL: it has none. Escapes, which do not occur in names
 * that matter, stay as they are written. */
static char* g_string(char* p) {
  for (; *p != '"'; ++p) {
    if (*p == '\\') ++p;
    if ((unsigned char)*p < 0x20) return NULL;
  }
  *p = 0;
  return p + 1;
}
/* Past the value at p, which goes to *to; NULL: it is none. A 0 ends all. */
static char* g_json(g_memory** list, char* p, int depth, g_node** to) {
  g_node* node = *to = (g_node*)g_alloc(list, sizeof *node);
  char *key = NULL, *end;
  if (node == NULL || depth > 32) return NULL;
  node->type = *(p = g_space(p));
  if (*p == '"') return g_string(node->text = p + 1);
  if (*p == '{' || *p == '[') {
    const char close = *p == '{' ? '}' : ']';
    if (*g_space(p + 1) == close) return g_space(p + 1) + 1;
    for (to = &node->child;; to = &(*to)->next) {
      p = g_space(p + 1); /* behind the bracket or a comma */
      if (node->type == '{') {
        if (*p != '"' || (p = g_string(key = p + 1)) == NULL || *(p = g_space(p)) != ':') return NULL;
        ++p;
      }
      if ((p = g_json(list, p, depth + 1, to)) == NULL) return NULL;
      (*to)->key = key;
      ++node->n;
      if (*(p = g_space(p)) == close) return p + 1;
      if (*p != ',') return NULL;
    }
  }
  node->number = *p == 't';
  if (strncmp(p, "true", 4) == 0 || strncmp(p, "null", 4) == 0) return p + 4;
  if (strncmp(p, "false", 5) == 0) return p + 5;
  if (*p != '-' && (*p < '0' || *p > '9')) return NULL;
  node->type = '0';
  node->number = strtod(p, &end);
  return end > p && isfinite(node->number) ? end : NULL;
}
static const g_node* g_parse(g_memory** list, char* data, size_t size) {
  g_node* node = NULL;
  char* end = g_json(list, data, 0, &node);
  return end != NULL && g_space(end) == data + size ? node : &g_none;
}
/* A member, or one of type 0. */
static const g_node* g_get(const g_node* object, const char* key) {
  const g_node* m = object->type == '{' ? object->child : NULL;
  while (m != NULL && strcmp(m->key, key) != 0) m = m->next;
  return m != NULL ? m : &g_none;
}
static const char* g_text(const g_node* object, const char* key) { return g_get(object, key)->text; }
static double g_number(const g_node* object, const char* key, double missing) {
  const g_node* m = g_get(object, key);
  return m->type != 0 && strchr("0tf", m->type) ? m->number : missing;
}
static int g_is_count(const g_node* m) {
  return m != NULL && m->type == '0' && m->number >= 0 && m->number <= 0x1p53 && m->number == floor(m->number);
}
/* Whether the space-separated list has the word. */
static int g_word(const char* list, const char* word) {
  const size_t n = strlen(word);
  const char* at = n > 0 ? strstr(list, word) : NULL;
  while (at != NULL && ((at > list && at[-1] != ' ') || at[n] > ' ')) at = strstr(at + 1, word);
  return at != NULL;
}

/* ---- SHA-256 (FIPS 180-4) ---- */
static uint32_t g_rotr(uint32_t x, int n) { return x >> n | x << (32 - n); }
static uint32_t g_rotr3(uint32_t x, int a, int b, int c) { return g_rotr(x, a) ^ g_rotr(x, b) ^ g_rotr(x, c); }
/* Whether data have the digest written in `hex`. */
static int g_sha256(const void* data, uint64_t size, const char* hex) {
  const uint64_t end = (size + 72) / 64 * 64; /* with 0x80 and the length */
  uint32_t k[64], h[8], w[64], v[8];
  char text[65];
  for (int p = 2, n = 0, j; n < 64; ++p) { /* of the primes' roots */
    for (j = 2; p % j != 0;) ++j;
    if (j < p) continue;
    if (n < 8) h[n] = (uint32_t)(fmod(sqrt((double)p), 1) * 0x1p32);
    k[n++] = (uint32_t)(fmod(cbrt((double)p), 1) * 0x1p32);
  }
  for (uint64_t i = 0; i < end;) {
    for (int j = 0; j < 64; ++j, ++i) {
      uint64_t byte = i == size ? 0x80 : 0;
      if (i < size) byte = ((const unsigned char*)data)[i];
      if (i >= end - 8) byte = size * 8 >> (8 * (end - 1 - i)) & 0xFF;
      w[j / 4] = w[j / 4] << 8 | (uint32_t)byte;
    }
    for (int j = 16; j < 64; ++j) {
      const uint32_t x = w[j - 15], y = w[j - 2];
      w[j] = w[j - 16] + (g_rotr(x, 7) ^ g_rotr(x, 18) ^ x >> 3) + w[j - 7] + (g_rotr(y, 17) ^ g_rotr(y, 19) ^ y >> 10);
    }
    memcpy(v, h, sizeof v);
    for (int j = 0; j < 64; ++j) {
      const uint32_t choice = (v[4] & v[5]) ^ (~v[4] & v[6]);
      const uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
      const uint32_t a = v[7] + g_rotr3(v[4], 6, 11, 25) + choice + k[j] + w[j];
      const uint32_t b = a + g_rotr3(v[0], 2, 13, 22) + majority;
      memmove(v + 1, v, 7 * sizeof *v);
      v[4] += a;
      v[0] = b;
    }
    for (int j = 0; j < 8; ++j) h[j] += v[j];
  }
  for (int j = 0; j < 8; ++j) sprintf(text + 8 * j, "%08x", (unsigned)h[j]);
  return g_is(hex, text);
}

/* ---- tensors ---- */
static const char* const g_dtypes[] = {"F64", "F32", "F16", "BF16", "I32", "I8", "U8"};
static const unsigned char g_sizes[] = {8, 4, 2, 2, 4, 1, 1};
static uint64_t g_size(const golden_tensor* t) { return g_sizes[t->dtype]; }
static uint64_t g_bytes(const golden_tensor* t) { return t->n * g_size(t); }
static uint64_t g_cols(const golden_tensor* t) { return t->rank > 0 && t->n > 0 ? t->shape[t->rank - 1] : 1; }
static int g_same_shape(const golden_tensor* a, const golden_tensor* b) {
  return a->dtype == b->dtype && a->rank == b->rank &&
         memcmp(a->shape, b->shape, (size_t)a->rank * sizeof *a->shape) == 0;
}
/* The tensor called name + suffix. */
static const golden_tensor* g_find(const golden_tensor* t, size_t n, const char* name, const char* suffix) {
  const size_t length = strlen(name);
  for (; n > 0; --n, ++t) {
    if (strncmp(t->name, name, length) == 0 && g_is(t->name + length, suffix)) return t;
  }
  return NULL;
}
/* A list of tensors, with data between `data` and `end` unless that is NULL. */
static int g_tensors(g_memory** list, const g_node* root, const char* data, const char* end, golden_tensor** tensors,
                     size_t* n) {
  golden_tensor* t = (golden_tensor*)g_alloc(list, root->n * sizeof *t);
  *tensors = t;
  for (const g_node* m = root->child; m != NULL && t != NULL; m = m->next) {
    const g_node *shape = g_get(m, "shape"), *extent = shape->child;
    const g_node *span = g_get(m, "data_offsets"), *at = span->child;
    int d = 0;
    if (g_is(m->key, "__metadata__")) continue;
    t->name = m->key != NULL ? m->key : g_text(m, "name");
    while (d < 7 && !g_is(g_text(m, "dtype"), g_dtypes[d])) ++d;
    if (t->name == NULL || d == 7 || shape->type != '[' || shape->n > 8) return 0;
    t->dtype = (golden_dtype)d;
    for (t->n = 1; extent != NULL; extent = extent->next) {
      if (!g_is_count(extent) || extent->number > 0x1p31) return 0;
      t->shape[t->rank++] = (uint64_t)extent->number;
      if ((t->n *= (uint64_t)extent->number) >> 32 != 0) return 0;
    }
    if (data != NULL) {
      if (span->n != 2 || !g_is_count(at) || !g_is_count(at->next)) return 0;
      if (at->next->number > (double)(end - data) || at->next->number - at->number != (double)g_bytes(t)) return 0;
      t->data = data + (size_t)at->number;
    }
    for (const golden_tensor* o = *tensors; o < t; ++o) { /* twice, overlaps */
      const char *a = (const char*)o->data, *b = (const char*)t->data;
      if (strcmp(o->name, t->name) == 0) return 0;
      if (a != NULL && a < b + g_bytes(t) && b < a + g_bytes(o)) return 0;
    }
    *n = (size_t)(++t - *tensors);
  }
  return t != NULL;
}
/* Those of a safetensors file, which has a 0 behind it. */
static int g_safetensors(g_memory** list, char* data, size_t size, golden_tensor** tensors, size_t* n) {
  uint64_t header;
  if (size < 8 || (memcpy(&header, data, 8), header > size - 8)) return 0;
  char *first = data + 8 + header, kept = *first; /* of the data */
  *first = 0;
  const g_node* root = g_parse(list, data + 8, (size_t)header);
  *first = kept;
  return root->type == '{' && g_tensors(list, root, first, data + size, tensors, n);
}
static float g_float(uint32_t bits) {
  float x;
  return memcpy(&x, &bits, 4), x;
}
static uint32_t g_bits(float x) {
  uint32_t bits;
  return memcpy(&bits, &x, 4), bits;
}
static double g_value(const golden_tensor* t, uint64_t i) {
  const unsigned char* p = (const unsigned char*)t->data + g_size(t) * i;
  double d;
  uint32_t w = 0;
  if (t->dtype == G_F64) return memcpy(&d, p, 8), d;
  memcpy(&w, p, g_size(t));
  if (t->dtype == G_U8) return (double)w;
  if (t->dtype == G_I8) return (double)(int8_t)w;
  if (t->dtype == G_I32) return (double)(int32_t)w;
  if (t->dtype == G_F32) return (double)g_float(w);
  if (t->dtype == G_BF16) return (double)g_float(w << 16);
  const uint32_t e = w >> 10 & 31, m = w & 1023; /* f16 */
  d = e == 0 ? m * 0x1p-24 : ldexp(1024 + m, (int)e - 25);
  if (e == 31) d = m == 0 ? HUGE_VAL : (double)NAN;
  return w >> 15 != 0 ? -d : d;
}

/* ---- packs ---- */
const char* golden_open(golden_pack* p, const char* folder) {
  size_t size, sums_size;
  memset(p, 0, sizeof *p);
  char* data = g_read(&p->memory, &size, "%s/manifest.json", folder, "");
  char* sums = g_read(&p->memory, &sums_size, "%s/SHA256SUMS", folder, "");
  if (data == NULL || sums == NULL) return "no manifest.json, no SHA256SUMS";
  char* end = strstr(sums, "  manifest.json");
  if (end != NULL) *end = 0;
  if (end == NULL || end - sums < 64 || !g_sha256(data, size, end - 64))
    return "manifest.json: its SHA-256 is not that of SHA256SUMS";
  const g_node* root = g_parse(&p->memory, data, size);
  const g_node *list = g_get(root, "cases"), *m = list->child;
  if (g_number(root, "etalon_pack", 0) != 1 || m == NULL) return "manifest.json: no cases, or of another version";
  p->cases = (golden_case*)g_alloc(&p->memory, list->n * sizeof *p->cases);
  for (; p->cases != NULL && m != NULL; m = m->next) {
    golden_case* c = &p->cases[p->n_cases++];
    c->folder = folder;
    c->json = m;
    c->id = g_text(m, "id");
    c->op = g_text(m, "op");
    c->error = "not loaded";
    if (c->id == NULL || c->op == NULL || *c->id == 0 ||
        c->id[strspn(c->id, "abcdefghijklmnopqrstuvwxyz0123456789_.-")] != 0)
      return "manifest.json: a case without a proper id and op";
  }
  return m == NULL ? NULL : "out of memory";
}
void golden_close(golden_pack* p) {
  for (size_t i = 0; i < p->n_cases; ++i) g_free(&p->cases[i].memory);
  g_free(&p->memory);
}
int64_t golden_int(const golden_case* c, const char* name, int64_t missing) {
  const double x = g_number(g_get(c->json, "params"), name, (double)missing);
  return fabs(x) < 9.1e15 ? (int64_t)x : missing;
}
const char* golden_string(const golden_case* c, const char* name) { return g_text(g_get(c->json, "params"), name); }
float golden_float(const golden_case* c, const char* name, float missing) {
  return g_float((uint32_t)golden_int(c, name, (int64_t)g_bits(missing)));
}
int golden_knows(const golden_case* c, const char* names) {
  const g_node* m = g_get(c->json, "params")->child;
  while (m != NULL && m->key != NULL && g_word(names, m->key)) m = m->next;
  return m == NULL;
}
const golden_tensor* golden_input(const golden_case* c, const char* in) {
  return g_find(c->inputs, c->n_inputs, in, "");
}

/* ---- recipes ---- */
/* To f16 or bf16, to nearest even. */
static uint16_t g_half(uint32_t b, int is_f16) {
  const uint32_t sign = b >> 16 & 0x8000u, m = b & 0x7FFFFFFFu;
  uint32_t r = (m + 0x7FFFu + (m >> 16 & 1u)) >> 16;
  if (m > 0x7F800000u) return is_f16 ? 0x7E01 : 0x7FC1;
  if (is_f16) r = (m - 0x38000000u + 0xFFFu + (m >> 13 & 1u)) >> 13;
  if (is_f16 && m >= 0x477FF000u) r = 0x7C00;
  if (is_f16 && m < 0x38800000u) r = (uint32_t)nearbyint((double)g_float(m) * 0x1p24); /* subnormal */
  return (uint16_t)(sign | r);
}
/* Philox4x32-10 (Salmon et al., SC 2011), into w. */
static void g_philox(uint32_t* w, uint64_t i, uint32_t stream, uint32_t last, uint64_t seed) {
  const uint32_t counter[] = {(uint32_t)i, (uint32_t)(i >> 32), stream, last};
  uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
  memcpy(w, counter, sizeof counter);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = (uint64_t)0xD2511F53u * w[0];
    const uint64_t b = (uint64_t)0xCD9E8D57u * w[2];
    w[0] = (uint32_t)(b >> 32) ^ w[1] ^ k0;
    w[1] = (uint32_t)b;
    w[2] = (uint32_t)(a >> 32) ^ w[3] ^ k1;
    w[3] = (uint32_t)a;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}
static uint32_t g_below(uint32_t w, uint64_t n) { return (uint32_t)(w * n >> 32); }
static float g_normal(const uint32_t* w) {
  int32_t x = -262140;
  for (int j = 0; j < 8; ++j) x += (int32_t)(w[j / 2] >> j % 2 * 16 & 0xFFFF);
  return (float)x * 0x1p-16f;
}
/* 2^e with sign and mantissa of w. */
static uint32_t g_exp(uint32_t w, uint32_t e) { return (w & 0x807FFFFFu) | (e + 127) << 23; }
/* Bits of element i of a tensor; 0 where the rule is not known. */
static int g_rule(const g_node* of, const golden_tensor* t, uint64_t seed, uint32_t s, uint64_t i, uint32_t* to) {
  const char* rule = g_text(of, "rule");
  const uint64_t cols = g_cols(t), r = i / cols;
  uint32_t w[4], even[4], row[4];
  g_philox(w, i, s, 0, seed);
  g_philox(even, i - i % 2, s, 0, seed);
  g_philox(row, r, s + 1, 0, seed);
  const uint32_t w0 = w[0], w1 = w[1];
  const float normal = g_normal(w), tie = (float)g_below(w0, 252) - 126 + 0.5f;
  const float uniform = (float)((int32_t)(w0 >> 8) - (1 << 23)) * 0x1p-23f;
#define G_RULE(name, x) \
  if (g_is(rule, name)) return *to = (uint32_t)(x), 1
  G_RULE("normal", g_bits(normal));
  G_RULE("uniform", g_bits(uniform));
  G_RULE("wide", g_exp(w0, g_below(w1, 41) - 20));
  G_RULE("exact_int", g_bits((float)g_below(w0, 17) - 8));
  G_RULE("large", g_bits(normal * 80));
  G_RULE("outlier", g_bits(normal * (i % 61 == 7 ? 60.0f : 1.0f)));
  G_RULE("offset", g_bits(50 + (float)((int)(w0 >> 22) - 512) * 0x1p-16f));
  G_RULE("cancel", g_bits(g_normal(even) + 8) ^ (i % 2 == 0 ? 0 : (w0 & 7) ^ 0x80000000u));
  G_RULE("subnormal", w0 & 0x807FFFFFu);
  G_RULE("tiny", g_exp(w0, g_below(w1, 31) - 126));
  G_RULE("huge", g_exp(w0, g_below(w1, 20) + 100));
  G_RULE("constant", 0x3E99999A);
  G_RULE("zero", w0 & 0x80000000u);
  G_RULE("ones", g_bits(1));
  G_RULE("rising", g_bits((float)(r + 1) / 16));
  G_RULE("falling", g_bits((float)(t->n / cols - r) / 16));
  G_RULE("spike", g_bits(i % cols == g_below(row[0], cols) ? 64 : normal * 0x1p-8f));
  G_RULE("half_ties", g_bits(i % 32 == 0 ? 127 : tie));
  G_RULE("opposite", g_bits(i % 32 == 3 ? 2 : i % 32 == 17 ? -2 : uniform));
  G_RULE("positive", g_bits(0.5f + (float)(w0 >> 9) * 0x1p-23f));
  G_RULE("below", g_below(w0, (uint64_t)g_number(of, "n", 0)));
  G_RULE("iota", (int64_t)g_number(of, "first", 0) + (int64_t)i);
  return g_is(rule, "values");
}
/* Weights: random bytes with sensible scales. */
static void g_blocks(const g_node* recipe, uint64_t seed, uint32_t s, unsigned char* to, uint64_t n) {
  static const struct {
    const char* name;
    unsigned bytes;
    int at[2], scales, n_scales; /* at: d; dmin or m */
  } kTypes[] = {{"Q4_0", 18, {0, -1}, 0, 0},  {"Q4_1", 20, {0, 2}, 0, 0},       {"Q5_0", 22, {0, -1}, 0, 0},
                {"Q5_1", 24, {0, 2}, 0, 0},   {"Q8_0", 34, {0, -1}, 0, 0},      {"Q4_K", 144, {0, 2}, 4, 12},
                {"Q5_K", 176, {0, 2}, 4, 12}, {"Q6_K", 210, {208, -1}, 192, 16}};
  const char *type = g_text(recipe, "type"), *v = g_text(recipe, "variant");
  int k = 0;
  uint32_t w[4];
  for (uint64_t b = 0; b < n; ++b) {
    if (b % 16 == 0) g_philox(w, b / 16, s, 0, seed);
    to[b] = (unsigned char)(w[b % 16 / 4] >> (8 * (b % 4)));
  }
  while (k < 8 && !g_is(type, kTypes[k].name)) ++k;
  for (uint64_t j = 0; k < 8 && j < n / kTypes[k].bytes; ++j) {
    unsigned char* block = to + j * kTypes[k].bytes;
    for (uint32_t f = 0; f < 2 && kTypes[k].at[f] >= 0; ++f) {
      g_philox(w, j, s, 1 + f, seed);
      uint32_t h = (w[0] & 0x83FFu) | (5 + g_below(w[1], 8)) << 10;
      if (g_is(v, f == 0 ? "d_zero" : "second_zero")) h = 0;
      if (g_is(v, "d_subnormal") && f == 0) h &= 0x83FFu;
      if (g_is(v, "d_one")) h = f == 0 ? 0x3C00u : 0;
      memcpy(block + kTypes[k].at[f], &h, 2);
    }
    if (!g_is(v, "max_scales")) continue;
    for (int i = 0; i < kTypes[k].n_scales; ++i) block[kTypes[k].scales + i] = kTypes[k].n_scales == 16 ? 127 : 255;
  }
}
/* Data of a tensor; 0 where the recipe is not known. */
static int g_make(g_memory** list, const g_node* recipe, uint64_t seed, golden_tensor* t) {
  const uint32_t s = (uint32_t)g_number(recipe, "stream", 0);
  const int e = (int)g_number(recipe, "times_log2", 0);
  const int axis = (int)g_number(recipe, "poison_axis", -1);
  const double from = g_number(recipe, "poison_from", 0);
  const size_t size = g_size(t);
  const g_node *value = g_get(recipe, "bits")->child, *m;
  unsigned char* to = (unsigned char*)g_alloc(list, t->n * size);
  uint64_t inner = 1;
  t->data = to;
  if (to == NULL || axis >= t->rank) return 0;
  if (t->dtype == G_U8 && g_is(g_text(recipe, "rule"), "blocks")) return g_blocks(recipe, seed, s, to, t->n), 1;
  for (int k = axis + 1; axis >= 0 && k < t->rank; ++k) inner *= t->shape[k];
  for (uint64_t i = 0; i < t->n; ++i) {
    uint32_t b = g_is_count(value) ? (uint32_t)value->number : 0;
    if (!g_rule(recipe, t, seed, s, i, &b)) return 0;
    if (value != NULL) value = value->next;
    if (e != 0) b = g_bits((float)ldexp((double)g_float(b), e));
    for (m = g_get(recipe, "patch")->child; m != NULL; m = m->next) {
      if (m->n != 2 || !g_is_count(m->child->next)) return 0;
      if (m->child->number == (double)i) b = (uint32_t)m->child->next->number;
    }
    if (axis >= 0 && (double)(i / inner % t->shape[axis]) >= from) b = 0x7FC0BEEFu;
    if (size == 2) b = g_half(b, t->dtype == G_F16);
    memcpy(to + size * i, &b, size);
  }
  return size == 2 || size == 4;
}
/* NULL, or why a case has no values. */
static const char* g_load(golden_case* c) {
  const uint64_t seed = (uint64_t)g_number(c->json, "seed", 0);
  const g_node *inputs = g_get(c->json, "inputs"), *outputs = g_get(c->json, "outputs"), *m = inputs->child;
  size_t size;
  g_memory** list = &c->memory;
  char* data = g_read(list, &size, "%s/cases/%s.safetensors", c->folder, c->id);
  if (data == NULL) return "no file (that of a procedural case is libetalon)";
  if (!g_sha256(data, size, g_text(c->json, "file_sha256")) || !g_safetensors(list, data, size, &c->file, &c->n_file) ||
      !g_tensors(list, inputs, NULL, NULL, &c->inputs, &c->n_inputs) ||
      !g_tensors(list, outputs, NULL, NULL, &c->outputs, &c->n_outputs) || c->n_outputs == 0)
    return "its file is not what the manifest says, or that is malformed";
  for (golden_tensor* t = c->inputs; m != NULL; m = m->next, ++t) {
    const golden_tensor* stored = g_find(c->file, c->n_file, t->name, "");
    if (stored != NULL) t->data = stored->data;
    if (!(stored != NULL ? g_same_shape(stored, t) : g_make(list, g_get(m, "recipe"), seed, t)) ||
        !g_sha256(t->data, g_bytes(t), g_text(m, "sha256")))
      return "an input is not what the manifest says";
  }
  return NULL;
}
int golden_load(golden_case* c) {
  golden_unload(c);
  return (c->error = g_load(c)) == NULL;
}
void golden_unload(golden_case* c) {
  g_free(&c->memory);
  c->error = "not loaded";
  c->n_inputs = c->n_outputs = c->n_file = 0;
}

/* ---- profiles ---- */
static const char* g_profile(golden_profile* p, const g_node* root) {
#define GOLDEN_NAME(name, missing) #name " "
#define GOLDEN_READ(name, missing) p->name = g_number(root, #name, missing);
  const char *name = g_text(root, "name"), *bound_of = g_text(root, "bound_of"), *quantized = g_text(root, "quantized");
  if (g_number(root, "etalon_profile", 0) != 1) return "not a profile";
  if (name == NULL || g_text(root, "source") == NULL) return "no name or no source";
  for (const g_node* m = root->child; m != NULL; m = m->next) {
    const int text = g_word("name source quantized bound_of", m->key), flag = g_word("fused f64_norm_sum", m->key);
    if (!text && !g_word(GOLDEN_FIELDS(GOLDEN_NAME) "etalon_profile", m->key)) return "an unknown field";
    if (!strchr(text ? "\"" : flag ? "tf" : "0", m->type) || m->number < 0) return "a field of the wrong type";
  }
  GOLDEN_FIELDS(GOLDEN_READ)
  p->e = 2 * p->u * p->exp_ulp;
  p->b = 2 * p->u * p->exp_ulp_per_x;
  p->div = 2 * p->u * p->div_ulp;
  p->q = fmax(0, p->div_ulp - 0.5);
  p->in = 2 * p->u_in + p->u_in * p->u_in;
  p->ftz = p->tiny > 0x1p-127 ? p->tiny : 0;
  p->t_in = 2 * p->in_tiny + p->ftz;
  p->e_tiny = (p->exp_ulp + 104 * p->exp_ulp_per_x) * 0x1p-149;
  p->unfused = 1 - p->fused;
  p->quantized = quantized != NULL ? *quantized : 'b';
  snprintf(p->bound_of, sizeof p->bound_of, "%s", bound_of ? bound_of : name);
  if (p->lanes < 1) return "lanes is below 1";
  return quantized == NULL || g_word("block sub_block element", quantized) ? NULL : "quantized is not known";
}
const char* golden_read_profile(golden_profile* p, const char* path) {
  g_memory* list = NULL;
  size_t size;
  char* data = g_read(&list, &size, "%s%s", path, "");
  memset(p, 0, sizeof *p);
  const char* error = data == NULL ? "cannot be read" : g_profile(p, g_parse(&list, data, size));
  g_free(&list);
  return error;
}

/* ---- bounds ---- */
/* Of an output: y; margin, c1 ... c18 and stored bound; kappas of |y|, c1 ... */
typedef struct {
  const golden_case* in;
  const golden_profile* p;
  const golden_tensor *y, *c[20];
  uint64_t n, cols;
  double k[8], *grow; /* grow: of the bounds, by token */
  char judge;         /* its first letter */
  int attention;      /* 1 plain, 2 a variant */
} g_numbers;
static double g_gamma(const golden_profile* p, double n, double v) {
  const double g = n * v < 1 ? n * v / (1 - n * v) : HUGE_VAL;
  return p->statistical ? fmin(g, 6 * sqrt(n) * v) : g;
}
static double g_chain(const golden_profile* p, double n) { return fmin(n, ceil(n / p->lanes) + ceil(log2(p->lanes))); }
/* A dot product of n: roundings of sums, products and operands. */
static double g_dot(const golden_profile* p, double chain) {
  return (1 + g_gamma(p, chain + p->unfused, p->u_acc)) * (1 + p->in);
}
/* Element i of a magnitude, which has n, one a row, or one for all. */
static double g_at(const g_numbers* x, int j, uint64_t i) {
  const golden_tensor* t = x->c[j];
  return t == NULL ? 0 : g_value(t, t->n == x->n ? i : t->n == 1 ? 0 : i / x->cols);
}
static double g_extent(const golden_case* c, const char* input) {
  const golden_tensor* t = golden_input(c, input); /* of the last axis */
  return t == NULL || t->rank == 0 ? 0 : (double)t->shape[t->rank - 1];
}
/* The rows of docs/golden-packs.md, "Bounds". 0: it is none of them. */
static int g_kappas(g_numbers* x, const char* bound) {
  const golden_profile* p = x->p;
  const double u = p->u, out = p->u_out, tiny = p->tiny, e = p->e;
  const double n = g_extent(x->in, g_is(bound, "router_weights") ? "logits" : "x");
  const double block = g_is(golden_string(x->in, "act"), "q8_k") ? 256 : 32;
  const double sub = g_is(golden_string(x->in, "type"), "Q6_K") ? 16 : 32;
  const double chain = g_chain(p, n), sum = g_gamma(p, chain + 1, u);
  const double two = g_gamma(p, 2, u), used = g_gamma(p, (double)golden_int(x->in, "n_used", 0) + 1, u);
  const double norm = g_gamma(p, chain + 3, u) / 2 + 2 * u * p->rsqrt_ulp;
  const double by_block = g_gamma(p, 2 * n / block + 4 + p->unfused, u);
  const double by_sub = g_gamma(p, 2 * n / sub + 6 + p->unfused, u);
  const double by_element = g_dot(p, chain + 2) * (1 + two) - 1;
  const double q = 8 * u * p->q, is_q = p->q > 0 ? 1 : 0;
  const int b = p->quantized == 'b', s = p->quantized == 's';
  const struct {
    const char* name;
    double k[8];
  } rows[] = {{"gemm_f32", {out, g_dot(p, chain) * (1 + two) - 1, u, tiny, p->t_in}},
              {"gemm_quantized",
               {out, b ? by_block : 0, u, tiny, s ? by_sub : 0, b || s ? q : q + by_element, b || s ? 0 : p->t_in,
                is_q}},
              {"rms_norm", {out, (p->f64_norm_sum > 0 ? u : norm) + 2 * u, tiny, p->ftz}},
              {"softmax", {out, 2 * e + sum + p->div, u + p->b, 3 * tiny + p->e_tiny}},
              {"rope", {out, two, 6 * tiny, p->angle_rel, p->trig_abs}},
              {"swiglu", {out, e + 88 * p->b, 2 * u + p->div, 1, tiny}},
              {"add", {out, u, 3 * p->ftz}},
              {"scale_rows", {out, u, tiny}},
              {"router_weights", {out, 4 * e + 2 * sum + used + 3 * (p->div + u), u + p->b, 4 * tiny + p->e_tiny}},
              {"scales", {q, is_q}},
              {bound, {0}}},
    *row = rows;
  while (!g_is(bound, row->name)) ++row;
  if (row->name == bound && !g_word("attention attention_variant stored", bound)) return 0;
  memcpy(x->k, row->k, sizeof x->k);
  x->attention = g_is(bound, "attention") + 2 * g_is(bound, "attention_variant");
  return x->attention == 0 || x->c[x->attention == 1 ? 9 : 15] != NULL;
}
static double g_attention(const g_numbers* x, const double* c, double y) {
  const golden_profile* p = x->p;
  const double u = p->u, n = (double)golden_int(x->in, "kv_len", 0);
  const double keys = p->kv_chunk == 0 ? n : fmin(n, p->kv_chunk);
  const double r = (p->kv_chunk == 0 ? n : ceil(n / p->kv_chunk)) + x->attention - 1;
  const double k0 = g_dot(p, g_chain(p, g_extent(x->in, "q"))) * (1 + u) - 1;
  const double k1 = k0 * exp(2 * (k0 * c[14] + p->t_in * c[15]));
  const double k2 = 2 * u + p->b, k3 = (1 + r) * p->e + r * u;
  const double sum = g_gamma(p, keys + 2 * r + 3 + p->unfused, p->u_acc);
  const double k4 = (1 + sum) * (1 + p->u_p) * (1 + p->u_in) - 1;
  const double k5 = 2 * u * p->tanh_ulp + u + p->div;
  const double delta = k1 * c[6] + k2 * c[7] + k3 + p->t_in * c[9] + k5 * c[11] + u * c[13];
  const double theta = expm1(delta), o = x->c[18] != NULL ? c[16] : y;
  double centred = 2 * c[5], values = c[5];
  if (theta < 0.5) {
    const double first = k1 * c[1] + k2 * c[2] + k3 * c[3] + p->t_in * c[8] + k5 * c[10] + u * c[12];
    centred = fmin(centred, first * (theta / delta) / (1 - theta));
    values = fmin(c[5], c[4] * (1 + 2 * theta));
  }
  const double underflow = p->tiny * n * (4 * c[5] + 2) + p->e_tiny * n * 2 * c[5] + p->in_tiny * (2 * n * c[5] + 2);
  const double bound = (centred + k4 * (values + o) + (u + p->div + p->u_out) * o + underflow) * (1 + 0x1p-19);
  if (x->c[18] == NULL) return bound;
  /* Times a sigmoid: exp, damped by 1 - sigmoid, sum, division, product. */
  const double gate = (p->e + 88 * p->b) * c[18] + 2 * u + p->div + (c[17] < 0x1.7p-126 ? 1 : 0);
  return (bound * (c[17] + 2 * p->tiny) * (1 + gate) + gate * y + p->tiny * (2 + o)) * (1 + 0x1p-19);
}
static double g_bound(const g_numbers* x, uint64_t i) {
  const double y = fabs(g_value(x->y, i));
  double c[19] = {0}, sum = x->k[0] * y;
  if (x->c[19] != NULL) return g_at(x, 19, i);
  for (int j = 1; j < 19; ++j) {
    c[j] = g_at(x, j, i);
    if (j < 8 && x->k[j] != 0) sum += x->k[j] * c[j];
  }
  if (x->judge == 's') return sum;
  if (x->attention != 0) return golden_int(x->in, "kv_len", 0) == 0 ? 0 : g_attention(x, c, y); /* 0 over no key */
  return sum * (1 + (0x1p-19 + 4 * x->p->e + 256 * x->p->b));
}

/* ---- judging ---- */
static const char kNoBound[] = "the case has no bound for this profile";
/* NULL, or why output t cannot be compared. */
static const char* g_expect(const golden_case* c, const golden_profile* p, const golden_tensor* t, g_numbers* x) {
  const g_node* o = g_get(c->json, "outputs")->child;
  for (const golden_tensor* at = c->outputs; at < t; ++at) o = o->next; /* what the manifest says of it */
  const char *judge = g_text(o, "judge"), *bound = g_text(o, "bound");
  if (judge == NULL || !g_word("bound exact quants scales top_k", judge)) return "an unknown way of judging";
  const int bounded = *judge == 'b' || *judge == 's', stored = bounded && g_is(bound, "stored");
  char suffix[96];
  memset(x, 0, sizeof *x);
  x->in = c, x->p = p;
  x->judge = *judge;
  x->n = t->n;
  x->cols = g_cols(t);
  x->y = g_find(c->file, c->n_file, t->name, ".y");
  if (x->y == NULL || x->y->n != t->n || (x->y->dtype != G_F64 && (bounded || x->y->dtype != t->dtype)))
    return "the case has no value of it";
  for (int j = 0; j < 19 + stored; ++j) {
    snprintf(suffix, sizeof suffix, j == 0 ? ".margin" : ".c%d", j);
    if (j == 19) snprintf(suffix, sizeof suffix, ".bound.%s", p->bound_of);
    const golden_tensor* m = x->c[j] = g_find(c->file, c->n_file, t->name, suffix);
    if (m != NULL && (m->dtype != G_F32 || (m->n != x->n && m->n != 1 && m->n != x->n / x->cols)))
      return "its magnitudes are malformed";
  }
  if (bounded && !g_kappas(x, bound != NULL ? bound : judge)) return "an unknown bound, or no magnitudes";
  if (x->attention != 0 && golden_int(c, "kv_len", -1) < 0) return "kv_len is missing or negative";
  return stored && x->c[19] == NULL ? kNoBound : NULL;
}
/* err / bound of element i, by the output's way of judging: at most 1 passes; infinite is wrong. w: the weights of a
 * router's experts, whose bound grows by twice the largest margin of the legal flips of their token. */
static double g_judge(const g_numbers* x, const golden_tensor* got, uint64_t i, const g_numbers* w, double* bound) {
  const golden_profile* p = x->p;
  const double y = g_value(x->y, i), a = g_value(got, i), err = fabs(a - y);
  const double margin = x->c[0] != NULL ? g_at(x, 0, i) : HUGE_VAL;
  double none = 0, *grow = x->grow != NULL ? x->grow + i / x->cols : &none;
  *bound = 0;
  if (x->judge != 't' && isnan(y)) return isnan(a) ? 0 : HUGE_VAL;
  if (x->judge == 'e') return a == y ? 0 : HUGE_VAL; /* zero has no sign */
  if (x->judge == 'q')                               /* one off where division may have decided otherwise */
    return a == y ? 0 : err == 1 && margin <= 508 * p->u * p->q ? 1 : HUGE_VAL;
  if (x->judge == 't') {
    int legal = a == y || (a >= 0 && a < g_extent(x->in, "logits") && margin <= 2 * g_bound(w, i) + p->u);
    for (uint64_t j = 1; j <= i % x->cols; ++j) legal &= g_value(got, i - j) != a;
    if (a != y && legal) *grow = fmax(*grow, 2 * margin);
    return legal ? 0 : HUGE_VAL;
  }
  *bound = g_bound(x, i) + *grow;
  if (isinf(y) || isinf(a)) {
    if (!isinf(a) || (a < 0) != (y < 0)) return HUGE_VAL;
    return isinf(y) || fabs(y) + *bound >= 0x1.ffffffp127 ? 0 : HUGE_VAL;
  }
  if (err <= *bound) return err == 0 ? 0 : err / *bound;
  return *bound > 0 && err > *bound ? err / *bound : HUGE_VAL;
}
static golden_verdict g_say(golden_status status, const char* name, const char* what) {
  golden_verdict v = {status, "", 0};
  snprintf(v.message, sizeof v.message, "%s%s%s", name, *name ? ": " : "", what);
  return v;
}
static const char kOps[] =
    "dequantize embedding quantize_q8_k quantize_q8_0 gemm gemm_swiglu softmax rms_norm rope swiglu add scale_rows "
    "kv_write attention attention_variant moe_router moe_ffn layer";
golden_verdict golden_judge(golden_case* c, const golden_profile* profile, const golden_tensor* outputs,
                            size_t n_outputs) {
  golden_profile p = *profile;
  golden_verdict v = g_say(GOLDEN_PASS, "", "");
  const g_node* need = g_get(c->json, "needs")->child;
  double *grow = NULL, bound;
  g_numbers x, w;
  if (!g_word(kOps, c->op)) return g_say(GOLDEN_ERROR, c->op, "unknown op");
  for (; need != NULL; need = need->next) {
    if (g_is(need->text, "f64_norm_sum") && p.f64_norm_sum != 0) continue;
    if (g_is(need->text, "subnormals") && p.ftz == 0) continue;
    return g_say(GOLDEN_SKIPPED, c->op, "needs what the profile has not");
  }
  if (!(g_number(c->json, "max_in", 0) <= p.in_max))
    return g_say(GOLDEN_SKIPPED, c->op, "operands beyond the profile's in_max");
  if (c->error != NULL) return g_say(GOLDEN_ERROR, c->op, c->error);
  const golden_tensor *weights = g_find(c->outputs, c->n_outputs, "weights", ""), *t = c->outputs, *got;
  if (weights != NULL) {
    grow = (double*)g_alloc(&c->memory, weights->n * sizeof *grow);
    if (grow == NULL || g_expect(c, &p, weights, &w) != NULL) weights = NULL;
  }
  for (; t < c->outputs + c->n_outputs; ++t) {
    got = g_find(outputs, n_outputs, t->name, "");
    if (got == NULL || !g_same_shape(got, t)) return g_say(GOLDEN_ERROR, t->name, "missing, or another dtype or shape");
    for (p.statistical = 0; p.statistical < 2; ++p.statistical) {
      const char* error = g_expect(c, &p, t, &x);
      uint64_t n_bad = 0;
      if (error == NULL && x.judge == 't' && (weights == NULL || weights->n != t->n))
        error = "its weights cannot be compared";
      if (error != NULL) return g_say(error == kNoBound ? GOLDEN_SKIPPED : GOLDEN_ERROR, t->name, error);
      x.grow = t == weights || x.judge == 't' ? grow : NULL;
      for (uint64_t i = 0; i < t->n; ++i) {
        const double ratio = g_judge(&x, got, i, &w, &bound);
        n_bad += !(ratio <= 1);
        if (p.statistical != 0 || !(ratio > v.ratio)) continue;
        v.ratio = ratio;
        if (ratio > 1)
          snprintf(v.message, sizeof v.message, "%s[%lu] is %.9g, want %.17g +- %.3g", t->name, (unsigned long)i,
                   g_value(got, i), g_value(x.y, i), bound);
      }
      if (n_bad > 0) v.status = p.statistical ? GOLDEN_WARN : GOLDEN_FAIL;
      if (v.status != GOLDEN_PASS || x.judge != 'b') break;
    }
  }
  if (v.status == GOLDEN_WARN) snprintf(v.message, sizeof v.message, "beyond the statistical bound");
  return v;
}
golden_verdict golden_judge_file(golden_case* c, const golden_profile* profile, const char* folder) {
  golden_tensor* outputs = NULL;
  size_t size, n = 0;
  g_memory* list = NULL;
  char* data = g_read(&list, &size, "%s/%s.safetensors", folder, c->id);
  const int ok = data && g_safetensors(&list, data, size, &outputs, &n);
  golden_verdict v = golden_judge(c, profile, outputs, ok ? n : 0);
  if (!ok && c->error == NULL && (data != NULL || v.status == GOLDEN_ERROR))
    v = g_say(GOLDEN_ERROR, c->id, "the file given back cannot be read");
  g_free(&list);
  return v;
}
#endif /* GOLDEN_IMPLEMENTATION */
