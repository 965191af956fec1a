/* golden.h: reads golden packs and judges a kernel's outputs. One C99 file, no
 * dependency but libc and libm; the format and every formula are described in
 * docs/golden-packs.md of Etalon, whose own checker gives the same verdicts.
 *
 *   #define GOLDEN_IMPLEMENTATION     (in one file)
 *   #include "golden.h"
 *
 *   golden_pack* pack = golden_open("pack", error, sizeof error);
 *   golden_profile* profile = golden_profile_read("cuda-f32.json", error, ...);
 *   for (i = 0; i < golden_n_cases(pack); ++i) {
 *     golden_case* c = golden_case_at(pack, i);
 *     if (strcmp(golden_op(c), "softmax") != 0 || !golden_load(c)) continue;
 *     const golden_tensor* x = golden_input(c, "x");
 *     ... run the kernel, put a golden_tensor over its output ...
 *     golden_verdict v = golden_judge(c, profile, &out, 1);
 *     golden_unload(c);
 *   }
 * Everything hostile (short files, wrong types, NaN) ends in a status that is
 * no pass. Link with -lm. Do not compile with -ffast-math. Little-endian. */
#ifndef GOLDEN_H_
#define GOLDEN_H_

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

typedef enum {
  GOLDEN_F64,
  GOLDEN_F32,
  GOLDEN_F16,
  GOLDEN_BF16,
  GOLDEN_I32,
  GOLDEN_I8,
  GOLDEN_U8
} golden_dtype;

#define GOLDEN_MAX_RANK 8
typedef struct { /* dense, row-major */
  const char* name;
  golden_dtype dtype;
  int rank;
  uint64_t shape[GOLDEN_MAX_RANK];
  uint64_t n; /* elements */
  const void* data;
} golden_tensor;

typedef struct {
  golden_status status;
  char message[200];        /* one line, "" when all is well */
  double ratio;             /* worst |got - want| / bound */
  uint64_t n, n_bad, index; /* compared, wrong, the worst element: */
  double got, want, bound;
} golden_verdict;

typedef struct golden_pack golden_pack;
typedef struct golden_case golden_case;
typedef struct golden_profile golden_profile;

golden_pack* golden_open(const char* folder, char* error, size_t error_size);
void golden_close(golden_pack* pack);
size_t golden_n_cases(const golden_pack* pack);
golden_case* golden_case_at(golden_pack* pack, size_t i);
const char* golden_id(const golden_case* c);
const char* golden_op(const golden_case* c);
/* A parameter, or `missing`; of strings, or NULL; of f32 bits, NAME_bits. */
int64_t golden_int(const golden_case* c, const char* name, int64_t missing);
const char* golden_string(const golden_case* c, const char* name);
float golden_float(const golden_case* c, const char* name_bits, float missing);
/* Whether all parameters are among these: one unknown makes an answer a guess.
 */
int golden_knows(const golden_case* c, const char* names);
/* Reads the case's file and makes its inputs; 0 when that fails: judging then
 * gives GOLDEN_ERROR with the reason. */
int golden_load(golden_case* c);
void golden_unload(golden_case* c);
/* Of a loaded case: an input, or NULL; an expected output's name and shape
 * (data NULL), or NULL past the last. */
const golden_tensor* golden_input(const golden_case* c, const char* name);
const golden_tensor* golden_output(const golden_case* c, size_t i);

golden_profile* golden_profile_read(const char* path, char* error, size_t error_size);
void golden_profile_free(golden_profile* profile);

golden_verdict golden_judge(golden_case* c, const golden_profile* profile,
                            const golden_tensor* outputs, size_t n_outputs);
/* The same with the outputs of folder/ID.safetensors. */
golden_verdict golden_judge_file(golden_case* c, const golden_profile* profile, const char* folder);
/* Writes one; 0 when that fails. */
int golden_save(const char* path, const golden_tensor* tensors, size_t n);

#endif /* GOLDEN_H_ */

#ifdef GOLDEN_IMPLEMENTATION
#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory, text ---- */

typedef struct g_block {
  struct g_block* next;
  double align;
} g_block;
typedef struct {
  g_block* head;
  char error[200];
} g_arena;

static void* g_alloc(g_arena* a, uint64_t size) {
  g_block* b;
  if (size > (uint64_t)1 << 40) return NULL;
  b = (g_block*)calloc(1, sizeof(g_block) + (size_t)size + 8);
  if (b == NULL) return NULL;
  b->next = a->head;
  a->head = b;
  return b + 1;
}
static void g_free(g_arena* a) {
  while (a->head != NULL) {
    g_block* next = a->head->next;
    free(a->head);
    a->head = next;
  }
}
static int g_fail(char* error, size_t size, const char* format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(error, size, format, args);
  va_end(args);
  return 0;
}
#define G_FAIL(a, ...) g_fail((a)->error, sizeof(a)->error, __VA_ARGS__)

/* The whole file with a 0 behind it, or NULL. */
static unsigned char* g_read(g_arena* a, const char* path, size_t* size) {
  unsigned char* data = NULL;
  long end;
  FILE* f = fopen(path, "rb");
  if (f == NULL) return NULL;
  if (fseek(f, 0, SEEK_END) == 0 && (end = ftell(f)) >= 0 && fseek(f, 0, SEEK_SET) == 0) {
    data = (unsigned char*)g_alloc(a, (uint64_t)end + 1);
    if (data != NULL && fread(data, 1, (size_t)end, f) != (size_t)end) { data = NULL; }
    *size = (size_t)end;
  }
  fclose(f);
  return data;
}

/* ---- JSON ---- */

typedef enum { J_NULL, J_BOOL, J_NUMBER, J_STRING, J_ARRAY, J_OBJECT } j_type;
typedef struct j_node {
  j_type type;
  const char* key; /* of a member of an object */
  const char* text;
  double number; /* also of J_BOOL */
  struct j_node *child, *next;
} j_node;
typedef struct {
  g_arena* arena;
  const unsigned char *p, *end;
} j_reader;

static void j_space(j_reader* r) {
  while (r->p < r->end && strchr(" \t\r\n", *r->p) != NULL && *r->p) ++r->p;
}
/* Escapes beyond ASCII do not occur in names that matter: they become '?'. */
static const char* j_string(j_reader* r) {
  const unsigned char* q = ++r->p;
  char *text, *to;
  while (q < r->end && *q != '"') q += *q == '\\' ? 2 : 1;
  if (q >= r->end) return NULL;
  text = to = (char*)g_alloc(r->arena, (uint64_t)(q - r->p) + 1);
  if (text == NULL) return NULL;
  for (; r->p < q; ++r->p) {
    if (*r->p < 0x20) return NULL;
    if (*r->p != '\\') {
      *to++ = (char)*r->p;
    } else if (*++r->p == 'u') {
      if (q - r->p < 5) return NULL;
      r->p += 4;
      *to++ = '?';
    } else {
      const char* at = strchr("\"\"\\\\//b\bf\fn\nr\rt\t", *r->p);
      if (at == NULL || *r->p == 0) return NULL;
      *to++ = at[1];
    }
  }
  r->p = q + 1;
  return text;
}
static j_node* j_value(j_reader* r, int depth) {
  j_node *node, **tail;
  char* end;
  j_space(r);
  if (r->p >= r->end || depth > 32) return NULL;
  node = (j_node*)g_alloc(r->arena, sizeof *node);
  if (node == NULL) return NULL;
  tail = &node->child;
  if (*r->p == '"') {
    node->type = J_STRING;
    return (node->text = j_string(r)) != NULL ? node : NULL;
  }
  if (*r->p == '{' || *r->p == '[') {
    const int object = *r->p++ == '{';
    const unsigned char close = object ? '}' : ']';
    node->type = object ? J_OBJECT : J_ARRAY;
    j_space(r);
    if (r->p < r->end && *r->p == close) return ++r->p, node;
    for (;;) {
      const char* key = NULL;
      j_space(r);
      if (object) {
        if (r->p >= r->end || *r->p != '"' || (key = j_string(r)) == NULL) { return NULL; }
        j_space(r);
        if (r->p >= r->end || *r->p++ != ':') return NULL;
      }
      if ((*tail = j_value(r, depth + 1)) == NULL) return NULL;
      (*tail)->key = key;
      tail = &(*tail)->next;
      j_space(r);
      if (r->p >= r->end) return NULL;
      if (*r->p == close) return ++r->p, node;
      if (*r->p++ != ',') return NULL;
    }
  }
  if (r->end - r->p >= 4 && memcmp(r->p, "null", 4) == 0) { return r->p += 4, node; }
  node->type = J_BOOL;
  node->number = *r->p == 't';
  if (r->end - r->p >= 4 && memcmp(r->p, "true", 4) == 0) { return r->p += 4, node; }
  if (r->end - r->p >= 5 && memcmp(r->p, "false", 5) == 0) { return r->p += 5, node; }
  node->type = J_NUMBER;
  if (*r->p != '-' && (*r->p < '0' || *r->p > '9')) return NULL;
  node->number = strtod((const char*)r->p, &end); /* a 0 ends every file */
  if (end == (const char*)r->p || (const unsigned char*)end > r->end || !isfinite(node->number)) {
    return NULL;
  }
  r->p = (const unsigned char*)end;
  return node;
}
static j_node* j_parse(g_arena* a, const unsigned char* data, size_t size) {
  j_reader r;
  j_node* node;
  r.arena = a;
  r.p = data;
  r.end = data + size;
  node = j_value(&r, 0);
  j_space(&r);
  return node != NULL && r.p == r.end ? node : NULL;
}
static const j_node* j_get(const j_node* object, const char* key) {
  const j_node* m = object != NULL && object->type == J_OBJECT ? object->child : NULL;
  while (m != NULL && strcmp(m->key, key) != 0) m = m->next;
  return m;
}
static const char* j_text(const j_node* object, const char* key) {
  const j_node* m = j_get(object, key);
  return m != NULL && m->type == J_STRING ? m->text : NULL;
}
static double j_number(const j_node* object, const char* key, double missing) {
  const j_node* m = j_get(object, key);
  return m != NULL && (m->type == J_NUMBER || m->type == J_BOOL) ? m->number : missing;
}
static int j_is_count(const j_node* m) {
  return m != NULL && m->type == J_NUMBER && m->number >= 0 && m->number <= 9007199254740992.0 &&
         m->number == floor(m->number);
}

/* ---- tensors ---- */

static const char* const g_dtypes[] = {"F64", "F32", "F16", "BF16", "I32", "I8", "U8"};
static const size_t g_sizes[] = {8, 4, 2, 2, 4, 1, 1};

/* dtype and shape of a JSON object into a tensor. */
static int g_shape(const j_node* o, golden_tensor* t) {
  const char* dtype = j_text(o, "dtype");
  const j_node *shape = j_get(o, "shape"), *m;
  int d = 0;
  t->rank = 0;
  t->n = 1;
  while (d < 7 && (dtype == NULL || strcmp(dtype, g_dtypes[d]) != 0)) ++d;
  if (d == 7 || shape == NULL || shape->type != J_ARRAY) return 0;
  t->dtype = (golden_dtype)d;
  for (m = shape->child; m != NULL; m = m->next) {
    if (!j_is_count(m) || t->rank == GOLDEN_MAX_RANK) return 0;
    t->shape[t->rank] = (uint64_t)m->number;
    t->n *= t->shape[t->rank++];
    if (t->n > (uint64_t)1 << 32) return 0;
  }
  return 1;
}
static int g_same_shape(const golden_tensor* a, const golden_tensor* b) {
  return a->dtype == b->dtype && a->rank == b->rank &&
         memcmp(a->shape, b->shape, sizeof(uint64_t) * (size_t)a->rank) == 0;
}

typedef struct {
  golden_tensor* tensors;
  size_t n;
} g_file;

static int g_safetensors(g_arena* a, const unsigned char* data, size_t size, g_file* file) {
  uint64_t header = 0, begin, end, last, *spans;
  const j_node *root, *m, *offsets;
  size_t i, k, n = 0;
  for (i = 0; i < 8 && i < size; ++i) header |= (uint64_t)data[i] << (8 * i);
  if (size < 8 || header > size - 8) return 0;
  /* strtod needs an end: the header gets a copy with a 0 behind it. */
  {
    unsigned char* copy = (unsigned char*)g_alloc(a, header + 1);
    if (copy == NULL) return 0;
    memcpy(copy, data + 8, (size_t)header);
    root = j_parse(a, copy, (size_t)header);
  }
  if (root == NULL || root->type != J_OBJECT) return 0;
  last = size - 8 - header;
  for (m = root->child; m != NULL; m = m->next) ++n;
  file->tensors = (golden_tensor*)g_alloc(a, n * sizeof *file->tensors);
  spans = (uint64_t*)g_alloc(a, n * 2 * sizeof *spans);
  if (file->tensors == NULL || spans == NULL) return 0;
  for (m = root->child; m != NULL; m = m->next) {
    golden_tensor* t = &file->tensors[file->n];
    if (strcmp(m->key, "__metadata__") == 0) continue;
    offsets = j_get(m, "data_offsets");
    if (!g_shape(m, t) || offsets == NULL || offsets->type != J_ARRAY ||
        !j_is_count(offsets->child) || !j_is_count(offsets->child->next) ||
        offsets->child->next->next != NULL) {
      return 0;
    }
    begin = (uint64_t)offsets->child->number;
    end = (uint64_t)offsets->child->next->number;
    if (begin > end || end > last || end - begin != t->n * g_sizes[t->dtype]) { return 0; }
    for (k = 0; k < file->n; ++k) { /* neither overlaps nor twice the name */
      if ((begin < spans[2 * k + 1] && spans[2 * k] < end) ||
          strcmp(m->key, file->tensors[k].name) == 0) {
        return 0;
      }
    }
    spans[2 * file->n] = begin;
    spans[2 * file->n++ + 1] = end;
    t->name = m->key;
    t->data = data + 8 + header + begin;
  }
  return 1;
}
static const golden_tensor* g_find(const golden_tensor* t, size_t n, const char* name,
                                   const char* suffix) {
  const size_t length = strlen(name);
  for (; n > 0; --n, ++t) {
    if (t->name != NULL && strncmp(t->name, name, length) == 0 &&
        strcmp(t->name + length, suffix) == 0) {
      return t;
    }
  }
  return NULL;
}

static float g_float(uint32_t bits) {
  float x;
  memcpy(&x, &bits, 4);
  return x;
}
static uint32_t g_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return bits;
}
/* Round to nearest even; a NaN becomes the quiet one with payload 1. */
static uint16_t g_f16(float x) {
  const uint32_t b = g_bits(x), sign = b >> 16 & 0x8000u, m = b & 0x7FFFFFFFu;
  double r;
  if (m > 0x7F800000u) return 0x7E01;
  if (m >= 0x477FF000u) return (uint16_t)(sign | 0x7C00u);
  if (m < 0x38800000u) { /* subnormal: multiples of 2^-24 */
    r = nearbyint(fabs((double)x) * 16777216.0);
    return (uint16_t)(sign | (uint32_t)r);
  }
  return (uint16_t)(sign | ((m - 0x38000000u + 0xFFFu + (m >> 13 & 1u)) >> 13));
}
static uint16_t g_bf16(float x) {
  const uint32_t b = g_bits(x);
  if ((b & 0x7FFFFFFFu) > 0x7F800000u) return 0x7FC1;
  return (uint16_t)((b + 0x7FFFu + (b >> 16 & 1u)) >> 16);
}
/* f16 and bf16 are only ever compared bit by bit. */
static double g_value(const golden_tensor* t, uint64_t i) {
  const unsigned char* p = (const unsigned char*)t->data + g_sizes[t->dtype] * i;
  int32_t k;
  double d;
  float f;
  if (t->dtype == GOLDEN_F64) return memcpy(&d, p, 8), d;
  if (t->dtype == GOLDEN_F32) return memcpy(&f, p, 4), (double)f;
  if (t->dtype == GOLDEN_I32) return memcpy(&k, p, 4), (double)k;
  if (t->dtype == GOLDEN_I8) return *p < 128 ? (double)*p : (double)*p - 256;
  return (double)NAN;
}

/* ---- SHA-256 (FIPS 180-4) ---- */

static uint32_t g_rotr(uint32_t x, int n) { return x >> n | x << (32 - n); }
/* Whether data have the digest written in `hex`. */
static int g_sha256(const void* data, uint64_t size, const char* hex) {
  uint32_t k[64], h[8], w[64], v[8], a, b;
  uint64_t block, i, blocks = (size + 8) / 64 + 1;
  char text[65];
  int j, p = 2, found;
  for (found = 0; found < 64; ++p) { /* constants: roots of the primes */
    int is_prime = 1;
    double root = cbrt((double)p), square = sqrt((double)p);
    for (j = 2; j * j <= p; ++j) is_prime &= p % j != 0;
    if (!is_prime) continue;
    if (found < 8) h[found] = (uint32_t)((square - floor(square)) * 0x1p32);
    k[found++] = (uint32_t)((root - floor(root)) * 0x1p32);
  }
  for (block = 0; block < blocks; ++block) {
    for (j = 0; j < 16; ++j) {
      w[j] = 0;
      for (i = block * 64 + 4 * (uint64_t)j; i < block * 64 + 4 * (uint64_t)j + 4; ++i) {
        const unsigned byte = i < size    ? ((const unsigned char*)data)[i]
                              : i == size ? 0x80
                              : i >= blocks * 64 - 8
                                  ? (unsigned)(size * 8 >> (8 * (blocks * 64 - 1 - i)) & 255)
                                  : 0;
        w[j] = w[j] << 8 | byte;
      }
    }
    for (j = 16; j < 64; ++j) {
      a = g_rotr(w[j - 15], 7) ^ g_rotr(w[j - 15], 18) ^ w[j - 15] >> 3;
      b = g_rotr(w[j - 2], 17) ^ g_rotr(w[j - 2], 19) ^ w[j - 2] >> 10;
      w[j] = w[j - 16] + a + w[j - 7] + b;
    }
    memcpy(v, h, sizeof v);
    for (j = 0; j < 64; ++j) {
      a = v[7] + (g_rotr(v[4], 6) ^ g_rotr(v[4], 11) ^ g_rotr(v[4], 25)) +
          ((v[4] & v[5]) ^ (~v[4] & v[6])) + k[j] + w[j];
      b = (g_rotr(v[0], 2) ^ g_rotr(v[0], 13) ^ g_rotr(v[0], 22)) +
          ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
      memmove(v + 1, v, 7 * sizeof *v);
      v[4] += a;
      v[0] = a + b;
    }
    for (j = 0; j < 8; ++j) h[j] += v[j];
  }
  for (j = 0; j < 8; ++j) sprintf(text + 8 * j, "%08x", (unsigned)h[j]);
  return hex != NULL && strcmp(text, hex) == 0;
}

/* ---- packs ---- */

struct golden_pack {
  g_arena arena;
  const char* folder;
  golden_case* cases;
  size_t n;
};
struct golden_case {
  const golden_pack* pack;
  const j_node* json;
  const j_node* params;
  const char *id, *op;
  g_arena arena; /* of what golden_load brings */
  int loaded;
  golden_tensor *inputs, *outputs;
  size_t n_inputs, n_outputs;
  g_file file;
};

static char* g_path(g_arena* a, const char* folder, const char* name, const char* suffix) {
  const size_t size = strlen(folder) + strlen(name) + strlen(suffix) + 2;
  char* path = (char*)g_alloc(a, size);
  if (path != NULL) snprintf(path, size, "%s/%s%s", folder, name, suffix);
  return path;
}
static void* g_no(char* error, size_t size, const char* what, const char* where) {
  snprintf(error, size, "%s: %s", where, what);
  return NULL;
}

static const char* g_open(golden_pack* p, const char* folder) {
  size_t size = 0, sums_size = 0;
  const j_node *root, *list, *m;
  char* sums;
  unsigned char* data = g_read(&p->arena, g_path(&p->arena, folder, "manifest.json", ""), &size);
  if (data == NULL) return "no manifest.json";
  sums = (char*)g_read(&p->arena, g_path(&p->arena, folder, "SHA256SUMS", ""), &sums_size);
  sums = sums != NULL ? strstr(sums, "  manifest.json") : NULL;
  if (sums == NULL || sums_size < 64 || strlen(sums) + 64 > sums_size) {
    return "SHA256SUMS does not name manifest.json";
  }
  *sums = 0;
  if (!g_sha256(data, size, sums - 64)) return "manifest.json: wrong SHA-256";
  root = j_parse(&p->arena, data, size);
  list = j_get(root, "cases");
  if (list == NULL || list->type != J_ARRAY) return "manifest.json: no cases";
  if (j_number(root, "etalon_pack", 0) != 1) return "unknown pack version";
  for (m = list->child; m != NULL; m = m->next) ++p->n;
  p->cases = (golden_case*)g_alloc(&p->arena, p->n * sizeof(golden_case));
  p->folder = g_path(&p->arena, folder, "", "");
  if (p->cases == NULL || p->folder == NULL) return "out of memory";
  for (m = list->child, size = 0; m != NULL; m = m->next, ++size) {
    golden_case* c = &p->cases[size];
    c->pack = p;
    c->json = m;
    c->params = j_get(m, "params");
    c->id = j_text(m, "id");
    c->op = j_text(m, "op");
    if (c->id == NULL || c->op == NULL || *c->id == 0 ||
        strspn(c->id, "abcdefghijklmnopqrstuvwxyz0123456789_.-") != strlen(c->id)) {
      return "manifest.json: a case without a proper id and op";
    }
  }
  return NULL;
}
golden_pack* golden_open(const char* folder, char* error, size_t error_size) {
  golden_pack* p = (golden_pack*)calloc(1, sizeof *p);
  const char* what = p != NULL ? g_open(p, folder) : "out of memory";
  if (what == NULL) return p;
  golden_close(p);
  return (golden_pack*)g_no(error, error_size, what, folder);
}
void golden_close(golden_pack* p) {
  size_t i;
  if (p == NULL) return;
  for (i = 0; p->cases != NULL && i < p->n; ++i) g_free(&p->cases[i].arena);
  g_free(&p->arena);
  free(p);
}
size_t golden_n_cases(const golden_pack* p) { return p->n; }
golden_case* golden_case_at(golden_pack* p, size_t i) { return &p->cases[i]; }
const char* golden_id(const golden_case* c) { return c->id; }
const char* golden_op(const golden_case* c) { return c->op; }
int64_t golden_int(const golden_case* c, const char* name, int64_t missing) {
  const double x = j_number(c->params, name, (double)missing);
  return fabs(x) < 9.1e15 ? (int64_t)x : missing;
}
const char* golden_string(const golden_case* c, const char* name) {
  return j_text(c->params, name);
}
float golden_float(const golden_case* c, const char* name, float missing) {
  return g_float((uint32_t)golden_int(c, name, (int64_t)g_bits(missing)));
}

/* Whether the space-separated list has the word. */
static int g_word(const char* list, const char* word) {
  const size_t n = strlen(word);
  const char* at = strstr(list, word);
  while (at != NULL && ((at > list && at[-1] != ' ') || (at[n] != ' ' && at[n] != 0))) {
    at = strstr(at + 1, word);
  }
  return n > 0 && at != NULL;
}
int golden_knows(const golden_case* c, const char* names) {
  const j_node* m = c->params != NULL ? c->params->child : NULL;
  while (m != NULL && g_word(names, m->key)) m = m->next;
  return m == NULL;
}

/* ---- recipes ---- */

typedef struct {
  uint32_t w[4];
} g_words;
/* Philox4x32-10 (Salmon et al., SC 2011). */
static g_words g_philox(uint64_t i, uint32_t stream, uint32_t last, uint64_t seed) {
  g_words c;
  uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
  int round;
  c.w[0] = (uint32_t)i;
  c.w[1] = (uint32_t)(i >> 32);
  c.w[2] = stream;
  c.w[3] = last;
  for (round = 0; round < 10; ++round) {
    const uint64_t a = (uint64_t)0xD2511F53u * c.w[0];
    const uint64_t b = (uint64_t)0xCD9E8D57u * c.w[2];
    c.w[0] = (uint32_t)(b >> 32) ^ c.w[1] ^ k0;
    c.w[1] = (uint32_t)b;
    c.w[2] = (uint32_t)(a >> 32) ^ c.w[3] ^ k1;
    c.w[3] = (uint32_t)a;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}
static uint32_t g_below(uint32_t w, uint64_t n) { return (uint32_t)(w * n >> 32); }
static float g_normal(g_words w) {
  int32_t sum = -262140, j;
  for (j = 0; j < 4; ++j) sum += (int32_t)((w.w[j] & 0xFFFFu) + (w.w[j] >> 16));
  return (float)sum * 0x1p-16f;
}
static float g_exp(uint32_t w, int e) {
  return g_float((w & 0x807FFFFFu) | (uint32_t)(e + 127) << 23);
}

static const char* const g_rules[] = {
    "normal",    "uniform",   "wide",     "exact_int", "large", "outlier", "offset", "cancel",
    "subnormal", "tiny",      "huge",     "constant",  "zero",  "ones",    "rising", "falling",
    "spike",     "half_ties", "opposite", "positive",  "below", "iota",    "values"};

/* Element i as bits of f32 (of i32 for the last three rules). */
static uint32_t g_element(int rule, const j_node* recipe, uint64_t seed, uint32_t s, uint64_t i,
                          uint64_t n, uint64_t cols) {
  const g_words w = g_philox(i, s, 0, seed);
  const uint32_t w0 = w.w[0];
  const float uniform = (float)((int32_t)(w0 >> 8) - (1 << 23)) * 0x1p-23f;
  const uint64_t r = cols > 0 ? i / cols : 0, rows = cols > 0 ? n / cols : 0;
  switch (rule) {
    case 0: return g_bits(g_normal(w));
    case 1: return g_bits(uniform);
    case 2: return g_bits(g_exp(w0, (int)g_below(w.w[1], 41) - 20));
    case 3: return g_bits((float)g_below(w0, 17) - 8);
    case 4: return g_bits(g_normal(w) * 80);
    case 5: return g_bits(g_normal(w) * (i % 61 == 7 ? 60.0f : 1.0f));
    case 6: return g_bits(50.0f + (float)((int32_t)(w0 >> 22) - 512) * 0x1p-16f);
    case 7:
      if (i % 2 == 0) return g_bits(g_normal(w) + 8);
      return g_element(7, recipe, seed, s, i - 1, n, cols) ^ (w0 & 7u) ^ 0x80000000u;
    case 8: return w0 & 0x807FFFFFu;
    case 9: return g_bits(g_exp(w0, (int)g_below(w.w[1], 31) - 126));
    case 10: return g_bits(g_exp(w0, (int)g_below(w.w[1], 20) + 100));
    case 11: return 0x3E99999Au;
    case 12: return w0 & 0x80000000u;
    case 13: return g_bits(1.0f);
    case 14: return g_bits((float)(r + 1) / 16);
    case 15: return g_bits((float)(rows - r) / 16);
    case 16:
      if (i - r * cols == g_below(g_philox(r, s + 1, 0, seed).w[0], cols)) { return g_bits(64.0f); }
      return g_bits(g_normal(w) * 0x1p-8f);
    case 17: return g_bits(i % 32 == 0 ? 127.0f : (float)g_below(w0, 252) - 126 + 0.5f);
    case 18: return g_bits(i % 32 == 3 ? 2.0f : i % 32 == 17 ? -2.0f : uniform);
    case 19: return g_bits(0.5f + (float)(w0 >> 9) * 0x1p-23f);
    case 20: return g_below(w0, (uint64_t)j_number(recipe, "n", 0));
    case 21: return (uint32_t)(int32_t)((int64_t)j_number(recipe, "first", 0) + (int64_t)i);
    default: return 0;
  }
}

static void g_blocks(const j_node* recipe, uint64_t seed, uint32_t s, unsigned char* to,
                     uint64_t n) {
  static const struct {
    const char* name;
    int bytes, d, second, scales, n_scales;
  } kTypes[] = {
      {"Q4_0", 18, 0, -1, 0, 0},  {"Q4_1", 20, 0, 2, 0, 0},        {"Q5_0", 22, 0, -1, 0, 0},
      {"Q5_1", 24, 0, 2, 0, 0},   {"Q8_0", 34, 0, -1, 0, 0},       {"Q4_K", 144, 0, 2, 4, 12},
      {"Q5_K", 176, 0, 2, 4, 12}, {"Q6_K", 210, 208, -1, 192, 16}, {"", 1, -1, -1, 0, 0}};
  const char *type = j_text(recipe, "type"), *v = j_text(recipe, "variant");
  uint64_t b, j;
  int t = 0, f;
  while (t < 8 && (type == NULL || strcmp(type, kTypes[t].name) != 0)) ++t;
  for (b = 0; b < n; ++b) {
    const g_words w = g_philox(b / 16, s, 0, seed);
    to[b] = (unsigned char)(w.w[b % 16 / 4] >> (8 * (b % 4)));
  }
  for (j = 0; t < 8 && j < n / (uint64_t)kTypes[t].bytes; ++j) {
    unsigned char* block = to + j * (uint64_t)kTypes[t].bytes;
    for (f = 0; f < 2; ++f) {
      const g_words w = g_philox(j, s, 1 + (uint32_t)f, seed);
      const int at = f == 0 ? kTypes[t].d : kTypes[t].second;
      uint32_t h = (w.w[0] & 0x83FFu) | (5 + g_below(w.w[1], 8)) << 10;
      if (at < 0) continue;
      if (v != NULL) {
        if (strcmp(v, f == 0 ? "d_zero" : "second_zero") == 0) h = 0;
        if (strcmp(v, "d_subnormal") == 0 && f == 0) h &= 0x83FFu;
        if (strcmp(v, "d_one") == 0) h = f == 0 ? 0x3C00u : 0;
      }
      block[at] = (unsigned char)h;
      block[at + 1] = (unsigned char)(h >> 8);
    }
    if (v != NULL && strcmp(v, "max_scales") == 0) {
      memset(block + kTypes[t].scales, kTypes[t].n_scales == 16 ? 127 : 0xFF,
             (size_t)kTypes[t].n_scales);
    }
  }
}

static int g_make(g_arena* a, const j_node* recipe, uint64_t seed, golden_tensor* t) {
  const uint32_t s = (uint32_t)j_number(recipe, "stream", 0);
  const int e = (int)j_number(recipe, "times_log2", 0);
  const int axis = (int)j_number(recipe, "poison_axis", -1);
  const double from = j_number(recipe, "poison_from", 0);
  const char* name = j_text(recipe, "rule");
  const j_node *bits = j_get(recipe, "bits"), *m;
  const uint64_t cols = t->rank > 0 ? t->shape[t->rank - 1] : 1;
  uint64_t i, inner = 1;
  int rule = 0, k;
  unsigned char* to = (unsigned char*)g_alloc(a, t->n * 4);
  t->data = to;
  if (to == NULL || name == NULL || t->dtype == GOLDEN_F64) return 0;
  if (strcmp(name, "blocks") == 0) {
    return g_blocks(recipe, seed, s, to, t->n), t->dtype == GOLDEN_U8;
  }
  while (rule < 23 && strcmp(name, g_rules[rule]) != 0) ++rule;
  if (rule == 23 || axis >= t->rank || g_sizes[t->dtype] == 1) return 0;
  for (k = axis + 1; axis >= 0 && k < t->rank; ++k) inner *= t->shape[k];
  for (i = 0, m = bits != NULL ? bits->child : NULL; i < t->n; ++i) {
    uint32_t b = g_element(rule, recipe, seed, s, i, t->n, cols);
    if (rule == 22) {
      if (m == NULL || !j_is_count(m)) return 0;
      b = (uint32_t)m->number;
      m = m->next;
    }
    if (e != 0) b = g_bits((float)ldexp((double)g_float(b), e));
    memcpy(to + 4 * i, &b, 4);
  }
  m = j_get(recipe, "patch");
  for (m = m != NULL ? m->child : NULL; m != NULL; m = m->next) {
    uint32_t b;
    if (!j_is_count(m->child) || !j_is_count(m->child->next) || m->child->number >= (double)t->n) {
      return 0;
    }
    b = (uint32_t)m->child->next->number;
    memcpy(to + 4 * (uint64_t)m->child->number, &b, 4);
  }
  for (i = 0; i < t->n; ++i) {
    uint32_t b = 0x7FC0BEEFu;
    uint16_t h;
    if (axis >= 0 && (double)(i / inner % t->shape[axis]) >= from) { memcpy(to + 4 * i, &b, 4); }
    if (g_sizes[t->dtype] != 2) continue;
    memcpy(&b, to + 4 * i, 4);
    h = t->dtype == GOLDEN_F16 ? g_f16(g_float(b)) : g_bf16(g_float(b));
    memcpy(to + 2 * i, &h, 2);
  }
  return 1;
}

static int g_load(golden_case* c) {
  g_arena* a = &c->arena;
  const char* kind = j_text(c->json, "kind");
  const double seed = j_number(c->json, "seed", 0);
  const j_node *lists[2], *m;
  unsigned char* data;
  char* path;
  size_t size = 0, i;
  int k;
  lists[0] = j_get(c->json, "inputs");
  lists[1] = j_get(c->json, "outputs");
  if (kind == NULL || strcmp(kind, "procedural") == 0) {
    return G_FAIL(a, "no file: a procedural case needs libetalon");
  }
  path = g_path(a, c->pack->folder, "cases/", c->id);
  path = path != NULL
             ? g_path(a, c->pack->folder, path + strlen(c->pack->folder) + 1, ".safetensors")
             : NULL;
  data = path != NULL ? g_read(a, path, &size) : NULL;
  if (data == NULL) return G_FAIL(a, "its file cannot be read");
  if (!g_sha256(data, size, j_text(c->json, "file_sha256"))) {
    return G_FAIL(a, "its file has another SHA-256 than the manifest says");
  }
  if (!g_safetensors(a, data, size, &c->file)) return G_FAIL(a, "not a safetensors file");
  for (k = 0; k < 2; ++k) {
    golden_tensor* t;
    size_t n = 0;
    if (lists[k] == NULL || lists[k]->type != J_ARRAY)
      return G_FAIL(a, "inputs or outputs missing");
    for (m = lists[k]->child; m != NULL; m = m->next) ++n;
    t = (golden_tensor*)g_alloc(a, n * sizeof *t);
    if (t == NULL) return G_FAIL(a, "out of memory");
    for (m = lists[k]->child, i = 0; m != NULL; m = m->next, ++i) {
      t[i].name = j_text(m, "name");
      if (t[i].name == NULL || !g_shape(m, &t[i])) return G_FAIL(a, "inputs, outputs: bad shape");
      if (k == 1) continue;
      if (j_get(m, "recipe") != NULL) {
        if (!g_make(a, j_get(m, "recipe"), (uint64_t)seed, &t[i])) {
          return G_FAIL(a, "%s: unknown recipe", t[i].name);
        }
      } else {
        const golden_tensor* stored = g_find(c->file.tensors, c->file.n, t[i].name, "");
        if (stored == NULL || !g_same_shape(stored, &t[i])) {
          return G_FAIL(a, "%s: not in the file with this dtype and shape", t[i].name);
        }
        t[i].data = stored->data;
      }
      if (!g_sha256(t[i].data, t[i].n * g_sizes[t[i].dtype], j_text(m, "sha256"))) {
        return G_FAIL(a, "%s: another SHA-256 than the manifest says", t[i].name);
      }
    }
    *(k == 0 ? &c->inputs : &c->outputs) = t;
    *(k == 0 ? &c->n_inputs : &c->n_outputs) = n;
  }
  return 1;
}
int golden_load(golden_case* c) {
  golden_unload(c);
  return c->loaded = g_load(c);
}
void golden_unload(golden_case* c) {
  g_free(&c->arena);
  c->arena.error[0] = 0;
  c->loaded = 0;
  c->n_inputs = c->n_outputs = c->file.n = 0;
}
const golden_tensor* golden_input(const golden_case* c, const char* name) {
  return g_find(c->inputs, c->n_inputs, name, "");
}
const golden_tensor* golden_output(const golden_case* c, size_t i) {
  return i < c->n_outputs ? &c->outputs[i] : NULL;
}

/* ---- profiles and bounds ---- */

struct golden_profile {
  g_arena arena;
  double v[21]; /* in the order of g_fields */
  const char *quantized, *bound_of;
  int statistical;
};
enum {
  P_U,
  P_U_ACC,
  P_LANES,
  P_FUSED,
  P_EXP,
  P_EXP_X,
  P_DIV,
  P_RSQRT,
  P_F64,
  P_U_IN,
  P_IN_TINY,
  P_IN_MAX,
  P_U_P,
  P_U_OUT,
  P_CHUNK,
  P_TINY,
  P_ANGLE,
  P_TRIG,
  P_N
};
static const char* const g_fields[] = {
    "u",       "u_acc",     "lanes",        "fused", "exp_ulp",   "exp_ulp_per_x",
    "div_ulp", "rsqrt_ulp", "f64_norm_sum", "u_in",  "in_tiny",   "in_max",
    "u_p",     "u_out",     "kv_chunk",     "tiny",  "angle_rel", "trig_abs"};

static const char* g_profile(golden_profile* p, const char* path) {
  static const double kDefaults[] = {0x1p-24, -1, 1,        0, 1, 0, 0.5,      1, 0,
                                     0,       0,  HUGE_VAL, 0, 0, 0, 0x1p-150, 0, 0};
  size_t size = 0;
  int i;
  unsigned char* data = g_read(&p->arena, path, &size);
  const j_node *root = data != NULL ? j_parse(&p->arena, data, size) : NULL, *m;
  memcpy(p->v, kDefaults, sizeof kDefaults);
  p->quantized = "block";
  if (root == NULL || j_number(root, "etalon_profile", 0) != 1) return "not a profile";
  p->bound_of = j_text(root, "name");
  if (p->bound_of == NULL || j_text(root, "source") == NULL) return "no name or source";
  for (m = root->child; m != NULL; m = m->next) {
    for (i = 0; i < P_N && strcmp(m->key, g_fields[i]) != 0; ++i) {}
    if (i < P_N) {
      const int want = i == P_FUSED || i == P_F64 ? J_BOOL : J_NUMBER;
      if ((int)m->type != want || !(m->number >= 0)) return "a field of the wrong type";
      p->v[i] = m->number;
    } else if (strcmp(m->key, "quantized") == 0 && m->type == J_STRING) {
      p->quantized = m->text;
    } else if (strcmp(m->key, "bound_of") == 0 && m->type == J_STRING) {
      p->bound_of = m->text;
    } else if (strstr(" etalon_profile name source ", m->key) == NULL) {
      return "an unknown field";
    }
  }
  if (p->v[P_U_ACC] < 0) p->v[P_U_ACC] = p->v[P_U];
  if (p->v[P_LANES] < 1) return "lanes is below 1";
  if (strcmp(p->quantized, "block") != 0 && strcmp(p->quantized, "sub_block") != 0 &&
      strcmp(p->quantized, "element") != 0) {
    return "quantized is neither block, sub_block nor element";
  }
  return NULL;
}
golden_profile* golden_profile_read(const char* path, char* error, size_t error_size) {
  golden_profile* p = (golden_profile*)calloc(1, sizeof *p);
  const char* what = p != NULL ? g_profile(p, path) : "out of memory";
  if (what == NULL) return p;
  golden_profile_free(p);
  return (golden_profile*)g_no(error, error_size, what, path);
}
void golden_profile_free(golden_profile* p) {
  if (p == NULL) return;
  g_free(&p->arena);
  free(p);
}

static double g_gamma(const golden_profile* p, double n, double v) {
  const double g = n * v < 1 ? n * v / (1 - n * v) : HUGE_VAL, s = 6 * sqrt(n) * v;
  return p->statistical && s < g ? s : g;
}
static double g_chain(const golden_profile* p, double n) {
  return fmin(n, ceil(n / p->v[P_LANES]) + ceil(log2(p->v[P_LANES])));
}
static uint64_t g_extent(const golden_case* c, const char* input, int axis) {
  const golden_tensor* t = golden_input(c, input);
  return t == NULL || t->rank <= axis ? 0 : t->shape[axis < 0 ? t->rank - 1 : axis];
}

/* An output's numbers: y, c1 ... c9, and the kappas of the profile. */
typedef struct {
  const golden_tensor *y, *c[10], *margin, *bound;
  double k[10];
  uint64_t n, cols;
  int attention;
} g_numbers;

/* NULL, or why there is no bound. */
static const char* g_kappas(const golden_case* c, const golden_profile* p, const char* bound,
                            g_numbers* x) {
  const double *v = p->v, u = v[P_U], ua = v[P_U_ACC], un = v[P_FUSED] != 0 ? 0 : 1;
  const double e = 2 * u * v[P_EXP], b = 2 * u * v[P_EXP_X], div = 2 * u * v[P_DIV];
  const double in = 2 * v[P_U_IN] + v[P_U_IN] * v[P_U_IN], tiny = v[P_TINY];
  const double ftz = tiny > 0x1p-127 ? tiny : 0, t_in = 2 * v[P_IN_TINY] + ftz;
  const double e_tiny = (v[P_EXP] + 104 * v[P_EXP_X]) * 0x1p-149; /* of a subnormal exp */
  const double n = (double)g_extent(c, strcmp(bound, "router_weights") == 0 ? "logits" : "x", -1);
  const double dot = g_chain(p, n) + un;
  double* k = x->k;
  memset(k, 0, sizeof x->k);
  x->attention = 0;
  if (strcmp(bound, "gemm_f32") == 0) {
    k[1] = (1 + g_gamma(p, dot, ua)) * (1 + in) * (1 + g_gamma(p, 2, u)) - 1;
    k[2] = u;
    k[3] = tiny;
    k[4] = t_in;
  } else if (strcmp(bound, "gemm_quantized") == 0) {
    const char* act = golden_string(c, "act");
    const double block = act != NULL && strcmp(act, "q8_k") == 0 ? 256 : 32;
    k[2] = u;
    k[3] = tiny;
    if (*p->quantized == 'b') k[1] = g_gamma(p, 2 * n / block + 4 + un, u);
    if (*p->quantized == 's') k[4] = g_gamma(p, 2 * n / 32 + 6 + un, u);
    if (*p->quantized == 'e') {
      k[5] = (1 + g_gamma(p, dot + 2, ua)) * (1 + in) * (1 + g_gamma(p, 2, u)) - 1;
      k[6] = t_in;
    }
  } else if (strcmp(bound, "rms_norm") == 0) {
    k[1] = (v[P_F64] != 0 ? u : g_gamma(p, g_chain(p, n) + 3, u) / 2 + 2 * u * v[P_RSQRT]) + 2 * u;
    k[2] = tiny;
    k[3] = ftz;
  } else if (strcmp(bound, "softmax") == 0) {
    k[1] = 2 * e + g_gamma(p, g_chain(p, n) + 1, u) + div;
    k[2] = u + b;
    k[3] = 3 * tiny + e_tiny;
  } else if (strcmp(bound, "rope") == 0) {
    k[1] = g_gamma(p, 2, u);
    k[2] = 6 * tiny;
    k[3] = v[P_ANGLE];
    k[4] = v[P_TRIG];
  } else if (strcmp(bound, "swiglu") == 0) {
    k[1] = e + 88 * b;
    k[2] = 2 * u + div;
    k[3] = 1;
    k[4] = tiny;
  } else if (strcmp(bound, "add") == 0) {
    k[1] = u;
    k[2] = 3 * ftz;
  } else if (strcmp(bound, "scale_rows") == 0) {
    k[1] = u;
    k[2] = tiny;
  } else if (strcmp(bound, "router_weights") == 0) {
    k[1] = 4 * e + 2 * g_gamma(p, g_chain(p, n) + 1, u) +
           g_gamma(p, (double)golden_int(c, "n_used", 0) + 1, u) + 3 * div + 3 * u;
    k[2] = u + b;
    k[3] = 4 * tiny + e_tiny;
  } else if (strcmp(bound, "attention") == 0) {
    x->attention = 1;
  } else if (strcmp(bound, "scales") != 0 && strcmp(bound, "stored") != 0) {
    return "unknown bound";
  }
  return NULL;
}
static double g_c(const g_numbers* x, int j, uint64_t i) {
  const golden_tensor* t = x->c[j];
  return t == NULL ? 0 : g_value(t, t->n == x->n ? i : t->n == 1 ? 0 : i / x->cols);
}
static double g_bound(const golden_case* c, const golden_profile* p, const g_numbers* x,
                      uint64_t i) {
  const double *v = p->v, u = v[P_U], e = 2 * u * v[P_EXP], b = 2 * u * v[P_EXP_X];
  const double y = fabs(g_value(x->y, i)), div = 2 * u * v[P_DIV];
  double sum = 0;
  int j;
  if (x->bound != NULL) return g_value(x->bound, i);
  if (x->attention) {
    const double un = v[P_FUSED] != 0 ? 0 : 1, ua = v[P_U_ACC], tiny = v[P_TINY];
    const double in = 2 * v[P_U_IN] + v[P_U_IN] * v[P_U_IN];
    const double t_in = 2 * v[P_IN_TINY] + (tiny > 0x1p-127 ? tiny : 0);
    const double n = (double)golden_int(c, "kv_len", 0), chunk = v[P_CHUNK];
    const double r = chunk == 0 ? n : ceil(n / chunk), keys = chunk == 0 ? n : fmin(n, chunk);
    const double dot = g_chain(p, (double)g_extent(c, "q", -1)) + un;
    const double k1 = (1 + g_gamma(p, dot, ua)) * (1 + in) * (1 + u) - 1;
    const double k2 = 2 * u + b, k3 = (1 + r) * e + r * u;
    const double k4 =
        (1 + g_gamma(p, keys + 2 * r + 3 + un, ua)) * (1 + v[P_U_P]) * (1 + v[P_U_IN]) - 1;
    const double c5 = g_c(x, 5, i);
    const double delta = k1 * g_c(x, 6, i) + k2 * g_c(x, 7, i) + k3 + t_in * g_c(x, 9, i);
    const double theta = expm1(delta);
    double centred = 2 * c5, values = c5;
    if (theta < 0.5) {
      centred = fmin(centred, (k1 * g_c(x, 1, i) + k2 * g_c(x, 2, i) + k3 * g_c(x, 3, i) +
                               t_in * g_c(x, 8, i)) *
                                  (theta / delta) / (1 - theta));
      values = fmin(c5, g_c(x, 4, i) * (1 + 2 * theta));
    }
    return (centred + k4 * (values + y) + (u + div + v[P_U_OUT]) * y + tiny * n * (4 * c5 + 2) +
            (v[P_EXP] + 104 * v[P_EXP_X]) * 0x1p-149 * n * 2 * c5 +
            v[P_IN_TINY] * (2 * n * c5 + 2)) *
           (1 + 0x1p-19);
  }
  for (j = 1; j < 10; ++j)
    if (x->k[j] != 0) sum += x->k[j] * g_c(x, j, i);
  return (sum + v[P_U_OUT] * y) * (1 + (0x1p-19 + 4 * e + 256 * b));
}

/* ---- judging ---- */

/* err / bound of one element; > 1, infinite or NaN is wrong. */
static double g_ratio(double got, double y, double bound) {
  const double err = fabs(got - y);
  if (isnan(y)) return isnan(got) ? 0 : HUGE_VAL;
  if (isinf(y) || isinf(got)) {
    if (!isinf(got) || (got < 0) != (y < 0)) return HUGE_VAL;
    return isinf(y) || fabs(y) + bound >= 0x1.ffffffp127 ? 0 : HUGE_VAL;
  }
  if (!(err <= bound)) return bound > 0 && err == err ? err / bound : HUGE_VAL;
  return err == 0 ? 0 : err / bound;
}
static golden_verdict g_say(golden_status status, const char* name, const char* what) {
  golden_verdict v;
  memset(&v, 0, sizeof v);
  v.status = status;
  snprintf(v.message, sizeof v.message, "%s%s%s", name, *name ? ": " : "", what);
  return v;
}
static const golden_tensor* g_part(const golden_case* c, const char* name, const char* suffix) {
  return g_find(c->file.tensors, c->file.n, name, suffix);
}
/* NULL, or why the expected numbers of an output cannot be used. */
static const char* g_numbers_of(const golden_case* c, const golden_profile* p, const j_node* o,
                                const golden_tensor* t, g_numbers* x) {
  const char *judge = j_text(o, "judge"), *bound = j_text(o, "bound");
  const int exact = judge != NULL && strcmp(judge, "exact") == 0;
  char suffix[96];
  const char* what = "";
  int j;
  memset(x, 0, sizeof *x);
  x->n = t->n;
  x->cols = t->rank > 0 && t->shape[t->rank - 1] > 0 ? t->shape[t->rank - 1] : 1;
  x->y = g_part(c, t->name, ".y");
  x->margin = g_part(c, t->name, ".margin");
  if (judge == NULL || x->y == NULL || x->y->n != t->n) return "the case has no value of it";
  if (x->y->dtype != (exact || *judge == 'q' || *judge == 't' ? t->dtype : GOLDEN_F64) &&
      x->y->dtype != GOLDEN_F64) {
    return "the value's dtype is wrong";
  }
  if (x->margin != NULL && (x->margin->dtype != GOLDEN_F32 || x->margin->n != t->n)) {
    return "the margin's dtype or shape is wrong";
  }
  for (j = 1; j < 10; ++j) {
    snprintf(suffix, sizeof suffix, ".c%d", j);
    x->c[j] = g_part(c, t->name, suffix);
    if (x->c[j] != NULL &&
        (x->c[j]->dtype != GOLDEN_F32 ||
         (x->c[j]->n != t->n && x->c[j]->n != t->n / x->cols && x->c[j]->n != 1))) {
      return "a magnitude's dtype or shape is wrong";
    }
  }
  if (strcmp(judge, "bound") == 0 || strcmp(judge, "scales") == 0) {
    what = g_kappas(c, p, bound != NULL ? bound : judge, x);
    if (what != NULL) return what;
    if (bound != NULL && strcmp(bound, "stored") == 0) {
      snprintf(suffix, sizeof suffix, ".bound.%s", p->bound_of);
      x->bound = g_part(c, t->name, suffix);
      if (x->bound == NULL) return "the case has no bound for this profile";
      if (x->bound->n != t->n) return "the bound's shape is wrong";
    }
  } else if (!exact && strcmp(judge, "quants") != 0 && strcmp(judge, "top_k") != 0) {
    return "an unknown way of judging";
  }
  return NULL;
}

/* Whether element i passes; sets ratio, and bound where there is one. */
static int g_element_passes(const golden_case* c, const golden_profile* p, const char* judge,
                            const g_numbers* x, const golden_tensor* got, uint64_t i, double grow,
                            golden_verdict* v, double* ratio) {
  const double y = g_value(x->y, i), a = g_value(got, i), u = p->v[P_U];
  *ratio = HUGE_VAL;
  v->bound = 0;
  v->got = a;
  v->want = y;
  if (*judge == 'e') { /* exact: the same number, or both NaN; zero has no sign */
    int same = a == y || (isnan(a) && isnan(y));
    if (g_sizes[got->dtype] == 2) { /* F16, BF16 by their bits */
      const unsigned inf = got->dtype == GOLDEN_F16 ? 0x7C00 : 0x7F80;
      uint16_t l, r;
      memcpy(&l, (const unsigned char*)got->data + 2 * i, 2);
      memcpy(&r, (const unsigned char*)x->y->data + 2 * i, 2);
      same = l == r || ((l | r) & 0x7FFF) == 0 || ((l & 0x7FFFu) > inf && (r & 0x7FFFu) > inf);
    } else if (got->dtype == GOLDEN_U8) {
      same = ((const unsigned char*)got->data)[i] == ((const unsigned char*)x->y->data)[i];
    }
    *ratio = same ? 0 : HUGE_VAL;
    return same;
  }
  if (*judge == 'q') { /* quants */
    const double margin = x->margin != NULL ? g_value(x->margin, i) : HUGE_VAL;
    *ratio = a == y ? 0 : HUGE_VAL;
    if (fabs(a - y) == 1 && margin <= 508 * u * (p->v[P_DIV] - 0.5)) *ratio = 1;
    return *ratio <= 1;
  }
  v->bound = *judge == 's' ? 2 * fabs(y) * (p->v[P_DIV] - 0.5) * 4 * u : g_bound(c, p, x, i) + grow;
  *ratio = g_ratio(a, y, v->bound);
  return *ratio <= 1;
}

static const golden_tensor* g_got(const golden_tensor* got, size_t n, const char* name) {
  return g_find(got, n, name, "");
}
static golden_verdict g_judge(golden_case* c, golden_profile* p, const golden_tensor* outputs,
                              size_t n_outputs) {
  static const char kOps[] =
      "dequantize embedding quantize_q8_k quantize_q8_0 gemm gemm_swiglu rms_norm softmax rope"
      " swiglu add scale_rows kv_write attention moe_router moe_ffn";
  golden_verdict v = g_say(GOLDEN_PASS, "", ""), e = v;
  const j_node *needs = j_get(c->json, "needs"), *o = j_get(c->json, "outputs");
  const char* what = NULL;
  double *grow = NULL, ratio;
  size_t k = 0;
  uint64_t i, warned = 0;
  if (!g_word(kOps, c->op)) return g_say(GOLDEN_ERROR, c->op, "unknown op");
  for (needs = needs != NULL ? needs->child : NULL; needs != NULL; needs = needs->next) {
    const char* need = needs->text != NULL ? needs->text : "";
    if (strcmp(need, "f64_norm_sum") == 0 && p->v[P_F64] != 0) continue;
    if (strcmp(need, "subnormals") == 0 && p->v[P_TINY] <= 0x1p-127) continue;
    return g_say(GOLDEN_SKIPPED, need, "the profile has it not");
  }
  if (!(j_number(c->json, "max_in", 0) <= p->v[P_IN_MAX])) {
    return g_say(GOLDEN_SKIPPED, "", "operands beyond the profile's in_max");
  }
  if (!c->loaded) return g_say(GOLDEN_ERROR, "", c->arena.error[0] ? c->arena.error : "not loaded");
  if (strcmp(c->op, "moe_router") == 0) { /* legal flips widen the weights of their token */
    const golden_tensor *got = g_got(outputs, n_outputs, "experts"),
                        *y = g_part(c, "experts", ".y");
    const golden_tensor* want = g_find(c->outputs, c->n_outputs, "weights", "");
    const golden_tensor* margin = g_part(c, "experts", ".margin");
    const golden_tensor* experts = g_find(c->outputs, c->n_outputs, "experts", "");
    const j_node* w = o->child;
    g_numbers x;
    while (w != NULL && strcmp(j_text(w, "name"), "weights") != 0) w = w->next;
    if (got == NULL || y == NULL || want == NULL || margin == NULL || w == NULL ||
        experts == NULL || !g_same_shape(got, experts) || got->n != want->n || y->n != got->n ||
        margin->n != got->n || got->dtype != GOLDEN_I32 || y->dtype != GOLDEN_I32 ||
        margin->dtype != GOLDEN_F32 || g_numbers_of(c, p, w, want, &x) != NULL) {
      return g_say(GOLDEN_ERROR, "experts", "missing, or of another dtype or shape");
    }
    grow = (double*)g_alloc(&c->arena, got->n * sizeof(double));
    if (grow == NULL) return g_say(GOLDEN_ERROR, "", "out of memory");
    for (i = 0; i < got->n; ++i) {
      const uint64_t row = i - i % x.cols;
      const double m = g_value(margin, i);
      uint64_t j;
      int legal = g_value(got, i) == g_value(y, i) ||
                  (g_value(got, i) >= 0 && g_value(got, i) < (double)g_extent(c, "logits", -1) &&
                   m <= 2 * g_bound(c, p, &x, i) + p->v[P_U]);
      for (j = row; j < i; ++j) legal &= g_value(got, j) != g_value(got, i);
      if (g_value(got, i) != g_value(y, i) && legal) grow[row] = fmax(grow[row], 2 * m);
      v.n++;
      if (legal) continue;
      if (v.n_bad++ == 0) {
        v.index = i;
        v.got = g_value(got, i);
        v.want = g_value(y, i);
      }
      v.ratio = HUGE_VAL;
      v.status = GOLDEN_FAIL;
      snprintf(v.message, sizeof v.message, "experts: a wrong expert");
    }
    for (i = 0; i < got->n; ++i) grow[i] = grow[i - i % x.cols];
  }
  for (o = o->child; o != NULL; o = o->next, ++k) {
    const golden_tensor *want = &c->outputs[k], *got = g_got(outputs, n_outputs, want->name);
    const char* judge = j_text(o, "judge");
    g_numbers x;
    if (judge != NULL && strcmp(judge, "top_k") == 0 && grow != NULL) continue;
    if (got == NULL) return g_say(GOLDEN_ERROR, want->name, "missing in what was given back");
    if (!g_same_shape(got, want)) return g_say(GOLDEN_ERROR, want->name, "another dtype or shape");
    what = g_numbers_of(c, p, o, want, &x);
    if (what != NULL) {
      return g_say(strstr(what, "for this profile") != NULL ? GOLDEN_SKIPPED : GOLDEN_ERROR,
                   want->name, what);
    }
    for (i = 0; i < want->n; ++i) {
      const int ok =
          g_element_passes(c, p, judge, &x, got, i, grow != NULL ? grow[i] : 0, &e, &ratio);
      v.n++;
      if (!(ratio <= v.ratio)) {
        v.ratio = ratio;
        v.index = i;
        v.got = e.got;
        v.want = e.want;
        v.bound = e.bound;
      }
      if (!ok) {
        v.n_bad++;
        v.status = GOLDEN_FAIL;
      }
    }
    if (v.status == GOLDEN_FAIL) {
      snprintf(v.message, sizeof v.message, "%s[%lu] is %.9g, want %.17g +- %.3g", want->name,
               (unsigned long)v.index, v.got, v.want, v.bound);
    }
    if (v.status != GOLDEN_PASS || *judge != 'b') continue;
    p->statistical = 1;
    what = g_numbers_of(c, p, o, want, &x);
    for (i = 0; what == NULL && i < want->n; ++i) {
      warned += !g_element_passes(c, p, judge, &x, got, i, grow != NULL ? grow[i] : 0, &e, &ratio);
    }
    p->statistical = 0;
    if (warned > 0) {
      v.status = GOLDEN_WARN;
      snprintf(v.message, sizeof v.message, "%s: %lu elements beyond the statistical bound",
               want->name, (unsigned long)warned);
    }
  }
  return v;
}
golden_verdict golden_judge(golden_case* c, const golden_profile* profile,
                            const golden_tensor* outputs, size_t n_outputs) {
  golden_profile p = *profile;
  return g_judge(c, &p, outputs, n_outputs);
}
golden_verdict golden_judge_file(golden_case* c, const golden_profile* profile,
                                 const char* folder) {
  golden_verdict v;
  g_arena a = {NULL, ""};
  g_file file = {NULL, 0};
  size_t size = 0;
  const char* path = g_path(&a, folder, c->id, ".safetensors");
  unsigned char* data = path != NULL ? g_read(&a, path, &size) : NULL;
  if (data != NULL && !g_safetensors(&a, data, size, &file)) {
    v = g_say(GOLDEN_ERROR, c->id, "the output's file is no safetensors file");
  } else {
    v = golden_judge(c, profile, file.tensors, file.n);
    if (data == NULL && v.status == GOLDEN_ERROR && c->loaded) {
      v = g_say(GOLDEN_ERROR, c->id, "the output's file cannot be read");
    }
  }
  g_free(&a);
  return v;
}

int golden_save(const char* path, const golden_tensor* t, size_t n) {
  char header[8192];
  size_t i, k, at = 0, length = 0;
  int d, ok;
  FILE* f = fopen(path, "wb");
  if (f == NULL) return 0;
  for (i = 0; i < n && length < sizeof header - 400; ++i) {
    k = (size_t)t[i].n * g_sizes[t[i].dtype];
    length += (size_t)sprintf(header + length, "%s\"%.64s\":{\"dtype\":\"%s\",\"shape\":[",
                              i == 0 ? "{" : ",", t[i].name, g_dtypes[t[i].dtype]);
    for (d = 0; d < t[i].rank; ++d) {
      length +=
          (size_t)sprintf(header + length, d == 0 ? "%lu" : ",%lu", (unsigned long)t[i].shape[d]);
    }
    length += (size_t)sprintf(header + length, "],\"data_offsets\":[%lu,%lu]}", (unsigned long)at,
                              (unsigned long)(at + k));
    at += (k + 7) / 8 * 8;
  }
  header[length++] = '}';
  while (length % 8 != 0) header[length++] = ' ';
  ok = i == n;
  for (i = 0; i < 8; ++i) ok &= fputc((int)(length >> (8 * i) & 255), f) != EOF;
  ok &= fwrite(header, 1, length, f) == length;
  for (i = 0; i < n; ++i) {
    k = (size_t)t[i].n * g_sizes[t[i].dtype];
    ok &= fwrite(t[i].data, 1, k, f) == k;
    ok &= fwrite("\0\0\0\0\0\0\0", 1, (8 - k % 8) % 8, f) == (8 - k % 8) % 8;
  }
  return (fclose(f) == 0) & ok;
}
#endif /* GOLDEN_IMPLEMENTATION */
