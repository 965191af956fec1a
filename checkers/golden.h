/* golden.h: reads golden packs and judges a kernel's outputs. One C99 file, no dependency but libc and libm; the
 * format and every formula are in docs/golden-packs.md of Etalon, whose own checker gives the same verdicts.
 *
 *   #define GOLDEN_IMPLEMENTATION     (in one file)
 *   #include "golden.h"
 *
 *   golden_pack* pack = golden_open("pack", error, sizeof error);
 *   golden_profile* profile = golden_profile_read("cuda-f32.json", error, sizeof error);
 *   for (i = 0; i < golden_n_cases(pack); ++i) {
 *     golden_case* c = golden_case_at(pack, i);
 *     if (strcmp(golden_op(c), "softmax") != 0 || !golden_load(c)) continue;
 *     const golden_tensor* x = golden_input(c, "x");
 *     ... run the kernel, put a golden_tensor over its output ...
 *     golden_verdict v = golden_judge(c, profile, &out, 1);
 *     golden_unload(c);
 *   }
 * Everything hostile (short files, wrong types, NaN) ends in a status that is no pass. Link with -lm. Do not compile
 * with -ffast-math. Little-endian. */
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
typedef enum { GOLDEN_F64, GOLDEN_F32, GOLDEN_F16, GOLDEN_BF16, GOLDEN_I32, GOLDEN_I8, GOLDEN_U8 } golden_dtype;

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
/* Whether all parameters are among these: one unknown makes an answer a guess. */
int golden_knows(const golden_case* c, const char* names);
/* Reads the case's file and makes its inputs. 0: there are no inputs to compute from; if the file is at fault, judging
 * gives GOLDEN_ERROR with the reason. */
int golden_load(golden_case* c);
void golden_unload(golden_case* c);
/* Of a loaded case: an input, or NULL; an expected output's name and shape (data NULL), or NULL past the last. */
const golden_tensor* golden_input(const golden_case* c, const char* name);
const golden_tensor* golden_output(const golden_case* c, size_t i);
golden_profile* golden_profile_read(const char* path, char* error, size_t error_size);
void golden_profile_free(golden_profile* profile);
golden_verdict golden_judge(golden_case* c, const golden_profile* profile, const golden_tensor* outputs,
                            size_t n_outputs);
/* The same with the outputs of folder/ID.safetensors. */
golden_verdict golden_judge_file(golden_case* c, const golden_profile* profile, const char* folder);

#endif /* GOLDEN_H_ */

#ifdef GOLDEN_IMPLEMENTATION
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory, files ---- */

typedef struct g_block {
  struct g_block* next;
  double align;
} g_block;
typedef struct {
  g_block* head;
} g_arena;

static void* g_alloc(g_arena* a, uint64_t size) { /* zeroed */
  g_block* b = size > (uint64_t)1 << 40 ? NULL : (g_block*)calloc(1, sizeof(g_block) + (size_t)size + 8);
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
/* The file folder/nameSUFFIX with a 0 behind it, or NULL. */
static unsigned char* g_read(g_arena* a, const char* folder, const char* name, const char* suffix, size_t* size) {
  const size_t length = strlen(folder) + strlen(name) + strlen(suffix) + 2;
  char* path = (char*)g_alloc(a, length);
  unsigned char* data = NULL;
  long end;
  FILE* f;
  if (path == NULL) return NULL;
  snprintf(path, length, "%s%s%s%s", folder, *folder ? "/" : "", name, suffix);
  f = fopen(path, "rb");
  if (f == NULL) return NULL;
  if (fseek(f, 0, SEEK_END) == 0 && (end = ftell(f)) >= 0 && fseek(f, 0, SEEK_SET) == 0) {
    data = (unsigned char*)g_alloc(a, (uint64_t)end + 1);
    if (data != NULL && fread(data, 1, (size_t)end, f) != (size_t)end) data = NULL;
    *size = (size_t)end;
  }
  fclose(f);
  return data;
}

/* ---- JSON ---- */

typedef enum { J_NULL, J_BOOL, J_NUMBER, J_STRING, J_ARRAY, J_OBJECT } j_type;
typedef struct j_node {
  j_type type;
  const char *key, *text; /* key: of a member of an object */
  double number;          /* also of J_BOOL */
  struct j_node *child, *next;
} j_node;
typedef struct {
  g_arena* arena;
  const unsigned char *p, *end;
} j_reader;

static void j_space(j_reader* r) {
  while (r->p < r->end && strchr(" \t\r\n", *r->p) != NULL && *r->p) ++r->p;
}
static int j_eat(j_reader* r, const char* text) {
  const size_t n = strlen(text);
  const int found = (size_t)(r->end - r->p) >= n && memcmp(r->p, text, n) == 0;
  if (found) r->p += n;
  return found;
}
/* Escapes beyond ASCII do not occur in names that matter: they become '?'. */
static const char* j_string(j_reader* r) {
  const unsigned char* q = ++r->p;
  char *text, *to;
  while (q < r->end && *q != '"') q += *q == '\\' ? 2 : 1;
  if (q >= r->end) return NULL;
  text = to = (char*)g_alloc(r->arena, (uint64_t)(q - r->p) + 1);
  for (; text != NULL && r->p < q; ++r->p) {
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
    const char* close = object ? "}" : "]";
    node->type = object ? J_OBJECT : J_ARRAY;
    j_space(r);
    if (j_eat(r, close)) return node;
    for (;;) {
      const char* key = NULL;
      j_space(r);
      if (object) {
        if (r->p >= r->end || *r->p != '"' || (key = j_string(r)) == NULL) return NULL;
        j_space(r);
        if (!j_eat(r, ":")) return NULL;
      }
      if ((*tail = j_value(r, depth + 1)) == NULL) return NULL;
      (*tail)->key = key;
      tail = &(*tail)->next;
      j_space(r);
      if (j_eat(r, close)) return node;
      if (!j_eat(r, ",")) return NULL;
    }
  }
  if (j_eat(r, "null")) return node;
  node->type = J_BOOL;
  node->number = *r->p == 't';
  if (j_eat(r, "true") || j_eat(r, "false")) return node;
  node->type = J_NUMBER;
  if (*r->p != '-' && (*r->p < '0' || *r->p > '9')) return NULL;
  node->number = strtod((const char*)r->p, &end); /* a 0 ends every file */
  if (end == (const char*)r->p || (const unsigned char*)end > r->end || !isfinite(node->number)) return NULL;
  r->p = (const unsigned char*)end;
  return node;
}
static j_node* j_parse(g_arena* a, const unsigned char* data, size_t size) {
  j_reader r = {a, data, data + size};
  j_node* node = j_value(&r, 0);
  j_space(&r);
  return node != NULL && r.p == r.end ? node : NULL;
}
static const j_node* j_get(const j_node* object, const char* key) {
  const j_node* m = object != NULL && object->type == J_OBJECT ? object->child : NULL;
  while (m != NULL && strcmp(m->key, key) != 0) m = m->next;
  return m;
}
/* The first of the array KEY, and how many; NULL also for an empty one. */
static const j_node* j_list(const j_node* object, const char* key, size_t* n) {
  const j_node *list = j_get(object, key), *m = list != NULL && list->type == J_ARRAY ? list->child : NULL, *first = m;
  for (*n = 0; m != NULL; m = m->next) ++*n;
  return first;
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
  uint64_t header = 0, begin, end, *spans;
  const j_node *root, *m, *offsets;
  unsigned char* copy; /* strtod needs an end: the header gets a 0 behind it */
  size_t i, k, n = 0;
  for (i = 0; i < 8 && i < size; ++i) header |= (uint64_t)data[i] << (8 * i);
  if (size < 8 || header > size - 8 || (copy = (unsigned char*)g_alloc(a, header + 1)) == NULL) return 0;
  memcpy(copy, data + 8, (size_t)header);
  root = j_parse(a, copy, (size_t)header);
  if (root == NULL || root->type != J_OBJECT) return 0;
  for (m = root->child; m != NULL; m = m->next) ++n;
  file->tensors = (golden_tensor*)g_alloc(a, n * sizeof *file->tensors);
  spans = (uint64_t*)g_alloc(a, n * 2 * sizeof *spans);
  if (file->tensors == NULL || spans == NULL) return 0;
  for (m = root->child; m != NULL; m = m->next) {
    golden_tensor* t = &file->tensors[file->n];
    if (strcmp(m->key, "__metadata__") == 0) continue;
    offsets = j_list(m, "data_offsets", &n);
    if (!g_shape(m, t) || n != 2 || !j_is_count(offsets) || !j_is_count(offsets->next)) return 0;
    begin = (uint64_t)offsets->number;
    end = (uint64_t)offsets->next->number;
    if (begin > end || end > size - 8 - header || end - begin != t->n * g_sizes[t->dtype]) return 0;
    for (k = 0; k < file->n; ++k) { /* neither overlaps nor twice the name */
      if (begin < spans[2 * k + 1] && spans[2 * k] < end) return 0;
      if (strcmp(m->key, file->tensors[k].name) == 0) return 0;
    }
    spans[2 * file->n] = begin;
    spans[2 * file->n++ + 1] = end;
    t->name = m->key;
    t->data = data + 8 + header + begin;
  }
  return 1;
}
/* The tensor called name + suffix. */
static const golden_tensor* g_find(const golden_tensor* t, size_t n, const char* name, const char* suffix) {
  const size_t length = strlen(name);
  for (; n > 0; --n, ++t) {
    if (t->name != NULL && strncmp(t->name, name, length) == 0 && strcmp(t->name + length, suffix) == 0) return t;
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
    for (j = 2; j * j <= p; ++j) is_prime &= p % j != 0;
    if (!is_prime) continue;
    if (found < 8) h[found] = (uint32_t)(fmod(sqrt((double)p), 1) * 0x1p32);
    k[found++] = (uint32_t)(fmod(cbrt((double)p), 1) * 0x1p32);
  }
  for (block = 0; block < blocks; ++block) {
    for (j = 0; j < 64; ++j) {
      unsigned byte;
      i = block * 64 + (uint64_t)j;
      byte = i < size ? ((const unsigned char*)data)[i] : i == size ? 0x80 : 0;
      if (i >= size && i >= blocks * 64 - 8) byte |= (unsigned)(size * 8 >> (8 * (blocks * 64 - 1 - i)) & 255);
      w[j / 4] = w[j / 4] << 8 | byte;
    }
    for (j = 16; j < 64; ++j) {
      a = g_rotr(w[j - 15], 7) ^ g_rotr(w[j - 15], 18) ^ w[j - 15] >> 3;
      b = g_rotr(w[j - 2], 17) ^ g_rotr(w[j - 2], 19) ^ w[j - 2] >> 10;
      w[j] = w[j - 16] + a + w[j - 7] + b;
    }
    memcpy(v, h, sizeof v);
    for (j = 0; j < 64; ++j) {
      a = v[7] + (g_rotr(v[4], 6) ^ g_rotr(v[4], 11) ^ g_rotr(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) + k[j] +
          w[j];
      b = (g_rotr(v[0], 2) ^ g_rotr(v[0], 13) ^ g_rotr(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
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
  const char* folder; /* of the cases */
  golden_case* cases;
  size_t n;
};
struct golden_case {
  const golden_pack* pack;
  const j_node *json, *params;
  const char *id, *op;
  g_arena arena;   /* of what golden_load brings */
  char error[200]; /* why it brought nothing */
  int loaded;      /* expected values are there */
  golden_tensor *inputs, *outputs;
  size_t n_inputs, n_outputs;
  g_file file;
};

static const char* g_open(golden_pack* p, const char* folder) {
  size_t size = 0, sums_size = 0;
  const j_node *root, *m;
  golden_case* c;
  unsigned char* data = g_read(&p->arena, folder, "manifest.json", "", &size);
  char *sums = (char*)g_read(&p->arena, folder, "SHA256SUMS", "", &sums_size), *copy;
  if (data == NULL) return "no manifest.json";
  sums = sums != NULL ? strstr(sums, "  manifest.json") : NULL;
  if (sums == NULL || sums_size < 64 || strlen(sums) + 64 > sums_size) return "SHA256SUMS does not name manifest.json";
  *sums = 0;
  if (!g_sha256(data, size, sums - 64)) return "manifest.json: wrong SHA-256";
  root = j_parse(&p->arena, data, size);
  if (j_number(root, "etalon_pack", 0) != 1) return "unknown pack version";
  m = j_list(root, "cases", &p->n);
  if (m == NULL) return "manifest.json: no cases";
  p->cases = c = (golden_case*)g_alloc(&p->arena, p->n * sizeof(golden_case));
  p->folder = copy = (char*)g_alloc(&p->arena, strlen(folder) + 7);
  if (c == NULL || copy == NULL) return "out of memory";
  sprintf(copy, "%s/cases", folder);
  for (; m != NULL; m = m->next, ++c) {
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
  snprintf(error, error_size, "%s: %s", folder, what);
  return NULL;
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
const char* golden_string(const golden_case* c, const char* name) { return j_text(c->params, name); }
float golden_float(const golden_case* c, const char* name, float missing) {
  return g_float((uint32_t)golden_int(c, name, (int64_t)g_bits(missing)));
}
/* Whether the space-separated list has the word. */
static int g_word(const char* list, const char* word) {
  const size_t n = strlen(word);
  const char* at = strstr(list, word);
  while (at != NULL && ((at > list && at[-1] != ' ') || (at[n] != ' ' && at[n] != 0))) at = strstr(at + 1, word);
  return n > 0 && at != NULL;
}
int golden_knows(const golden_case* c, const char* names) {
  const j_node* m = c->params != NULL ? c->params->child : NULL;
  while (m != NULL && g_word(names, m->key)) m = m->next;
  return m == NULL;
}

/* ---- recipes ---- */

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
static float g_exp(uint32_t w, int e) { return g_float((w & 0x807FFFFFu) | (uint32_t)(e + 127) << 23); }

static const char* const g_rules[] = {"normal",   "uniform",  "wide",      "exact_int", "large", "outlier",
                                      "offset",   "cancel",   "subnormal", "tiny",      "huge",  "constant",
                                      "zero",     "ones",     "rising",    "falling",   "spike", "half_ties",
                                      "opposite", "positive", "below",     "iota",      "values"};

/* Element i as bits of f32 (of i32 for the last three rules). */
static uint32_t g_element(int rule, const j_node* recipe, uint64_t seed, uint32_t s, uint64_t i, uint64_t n,
                          uint64_t cols) {
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

static void g_blocks(const j_node* recipe, uint64_t seed, uint32_t s, unsigned char* to, uint64_t n) {
  static const struct {
    const char* name;
    int bytes, d, second, scales, n_scales;
  } kTypes[] = {{"Q4_0", 18, 0, -1, 0, 0},  {"Q4_1", 20, 0, 2, 0, 0},        {"Q5_0", 22, 0, -1, 0, 0},
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
      memset(block + kTypes[t].scales, kTypes[t].n_scales == 16 ? 127 : 0xFF, (size_t)kTypes[t].n_scales);
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
  if (strcmp(name, "blocks") == 0) { return g_blocks(recipe, seed, s, to, t->n), t->dtype == GOLDEN_U8; }
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
    if (!j_is_count(m->child) || !j_is_count(m->child->next) || m->child->number >= (double)t->n) { return 0; }
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

/* The tensors that the manifest lists under `key`, without data. */
static const char* g_list(golden_case* c, const char* key, golden_tensor** tensors, size_t* n) {
  const j_node* m = j_list(c->json, key, n);
  golden_tensor* t = *tensors = (golden_tensor*)g_alloc(&c->arena, *n * sizeof *t);
  if (t == NULL) return "out of memory";
  for (; m != NULL; m = m->next, ++t) {
    t->name = j_text(m, "name");
    if (t->name == NULL || !g_shape(m, t)) return "inputs, outputs: bad shape";
  }
  return NULL;
}
/* Expected values; NULL, or why there are none. */
static const char* g_load(golden_case* c) {
  const char *kind = j_text(c->json, "kind"), *what;
  size_t size = 0;
  unsigned char* data;
  if (kind == NULL || strcmp(kind, "procedural") == 0) return "no file: a procedural case needs libetalon";
  data = g_read(&c->arena, c->pack->folder, c->id, ".safetensors", &size);
  if (data == NULL) return "its file cannot be read";
  if (!g_sha256(data, size, j_text(c->json, "file_sha256")))
    return "its file has another SHA-256 than the manifest says";
  if (!g_safetensors(&c->arena, data, size, &c->file)) return "not a safetensors file";
  what = g_list(c, "inputs", &c->inputs, &c->n_inputs);
  if (what == NULL) what = g_list(c, "outputs", &c->outputs, &c->n_outputs);
  return what == NULL && c->n_outputs == 0 ? "outputs missing" : what;
}
/* Data of the inputs, from the file or a recipe. 0 where nothing makes them; *what: where something is wrong. */
static int g_inputs(golden_case* c, const char** what) {
  size_t n;
  const j_node* m = j_list(c->json, "inputs", &n);
  golden_tensor* t = c->inputs;
  for (; m != NULL; m = m->next, ++t) {
    const golden_tensor* stored = g_find(c->file.tensors, c->file.n, t->name, "");
    if (stored != NULL) {
      if (!g_same_shape(stored, t)) return *what = "an input has another dtype or shape than the manifest says", 0;
      t->data = stored->data;
    } else if (j_get(m, "recipe") == NULL) {
      return *what = "an input is not in its file", 0;
    } else {
      if (!g_make(&c->arena, j_get(m, "recipe"), (uint64_t)j_number(c->json, "seed", 0), t)) {
        return *what = "an input has an unknown recipe", 0;
      }
    }
    if (!g_sha256(t->data, t->n * g_sizes[t->dtype], j_text(m, "sha256"))) {
      return *what = "an input has another SHA-256 than the manifest says", 0;
    }
  }
  return 1;
}
int golden_load(golden_case* c) {
  const char* what;
  int complete = 0;
  golden_unload(c);
  what = g_load(c);
  if (what == NULL) complete = g_inputs(c, &what);
  if (what != NULL) snprintf(c->error, sizeof c->error, "%s", what);
  c->loaded = what == NULL;
  return complete;
}
void golden_unload(golden_case* c) {
  g_free(&c->arena);
  c->error[0] = 0;
  c->loaded = 0;
  c->n_inputs = c->n_outputs = c->file.n = 0;
}
const golden_tensor* golden_input(const golden_case* c, const char* name) {
  const golden_tensor* t = g_find(c->inputs, c->n_inputs, name, "");
  return t != NULL && t->data != NULL ? t : NULL;
}
const golden_tensor* golden_output(const golden_case* c, size_t i) { return i < c->n_outputs ? &c->outputs[i] : NULL; }

/* ---- profiles ---- */

struct golden_profile {
  g_arena arena;
  double u, u_acc, lanes, fused, exp_ulp, exp_ulp_per_x, tanh_ulp, div_ulp, rsqrt_ulp, f64_norm_sum, u_in, in_tiny;
  double in_max, u_p, u_out, kv_chunk, tiny, angle_rel, trig_abs;
  double e, b, div, q, in, ftz, t_in, e_tiny, un; /* of the documentation's formulas; un: 1 unless fused */
  const char *quantized, *bound_of;
  int statistical;
};
#define G_FIELD(x) \
  { #x, offsetof(golden_profile, x) }
static const struct {
  const char* name;
  size_t at;
} g_fields[] = {G_FIELD(u),         G_FIELD(u_acc),         G_FIELD(lanes),    G_FIELD(fused), G_FIELD(exp_ulp),
                G_FIELD(div_ulp),   G_FIELD(exp_ulp_per_x), G_FIELD(tanh_ulp), G_FIELD(u_in),  G_FIELD(in_tiny),
                G_FIELD(rsqrt_ulp), G_FIELD(f64_norm_sum),  G_FIELD(in_max),   G_FIELD(u_p),   G_FIELD(u_out),
                G_FIELD(kv_chunk),  G_FIELD(angle_rel),     G_FIELD(trig_abs), G_FIELD(tiny)};

static const char* g_profile(golden_profile* p, const char* path) {
  const size_t n_fields = sizeof g_fields / sizeof *g_fields;
  size_t size = 0, i;
  unsigned char* data = g_read(&p->arena, "", path, "", &size);
  const j_node *root = data != NULL ? j_parse(&p->arena, data, size) : NULL, *m;
  p->u = 0x1p-24;
  p->tiny = 0x1p-150;
  p->u_acc = -1;
  p->lanes = p->exp_ulp = p->rsqrt_ulp = 1;
  p->tanh_ulp = 2;
  p->div_ulp = 0.5;
  p->in_max = HUGE_VAL;
  p->quantized = "block";
  if (root == NULL || j_number(root, "etalon_profile", 0) != 1) return "not a profile";
  p->bound_of = j_text(root, "name");
  if (p->bound_of == NULL || j_text(root, "source") == NULL) return "no name or source";
  for (m = root->child; m != NULL; m = m->next) {
    for (i = 0; i < n_fields && strcmp(m->key, g_fields[i].name) != 0;) ++i;
    if (i < n_fields) {
      const int flag = strcmp(m->key, "fused") == 0 || strcmp(m->key, "f64_norm_sum") == 0;
      if (m->type != (flag ? J_BOOL : J_NUMBER) || !(m->number >= 0)) return "a field of the wrong type";
      memcpy((char*)p + g_fields[i].at, &m->number, sizeof(double));
    } else if (strcmp(m->key, "quantized") == 0 && m->type == J_STRING) {
      p->quantized = m->text;
    } else if (strcmp(m->key, "bound_of") == 0 && m->type == J_STRING) {
      p->bound_of = m->text;
    } else if (!g_word("etalon_profile name source", m->key)) {
      return "an unknown field";
    }
  }
  if (p->u_acc < 0) p->u_acc = p->u;
  if (p->lanes < 1) return "lanes is below 1";
  if (!g_word("block sub_block element", p->quantized)) return "quantized is neither block, sub_block nor element";
  p->e = 2 * p->u * p->exp_ulp;
  p->b = 2 * p->u * p->exp_ulp_per_x;
  p->div = 2 * p->u * p->div_ulp;
  p->q = fmax(0, p->div_ulp - 0.5);
  p->in = 2 * p->u_in + p->u_in * p->u_in;
  p->ftz = p->tiny > 0x1p-127 ? p->tiny : 0;
  p->t_in = 2 * p->in_tiny + p->ftz;
  p->e_tiny = (p->exp_ulp + 104 * p->exp_ulp_per_x) * 0x1p-149;
  p->un = p->fused != 0 ? 0 : 1;
  return NULL;
}
golden_profile* golden_profile_read(const char* path, char* error, size_t error_size) {
  golden_profile* p = (golden_profile*)calloc(1, sizeof *p);
  const char* what = p != NULL ? g_profile(p, path) : "out of memory";
  if (what == NULL) return p;
  golden_profile_free(p);
  snprintf(error, error_size, "%s: %s", path, what);
  return NULL;
}
void golden_profile_free(golden_profile* p) {
  if (p != NULL) g_free(&p->arena);
  free(p);
}

/* ---- bounds ---- */

static double g_gamma(const golden_profile* p, double n, double v) {
  const double g = n * v < 1 ? n * v / (1 - n * v) : HUGE_VAL, s = 6 * sqrt(n) * v;
  return p->statistical && s < g ? s : g;
}
static double g_chain(const golden_profile* p, double n) { return fmin(n, ceil(n / p->lanes) + ceil(log2(p->lanes))); }
static double g_product(const golden_profile* p, double chain) {
  return (1 + g_gamma(p, chain, p->u_acc)) * (1 + p->in);
}
static double g_extent(const golden_case* c, const char* input) { /* the last one */
  const golden_tensor* t = g_find(c->inputs, c->n_inputs, input, "");
  return t == NULL || t->rank == 0 ? 0 : (double)t->shape[t->rank - 1];
}

/* An output's numbers: y, c1 ... c18, and the kappas of the profile. */
typedef struct {
  const golden_tensor *y, *c[19], *margin, *bound;
  double k[10];
  uint64_t n, cols;
  int attention; /* 1 plain, 2 a variant */
} g_numbers;

static void g_set(double* k, double k1, double k2, double k3, double k4) {
  k[1] = k1;
  k[2] = k2;
  k[3] = k3;
  k[4] = k4;
}
/* NULL, or why there is no bound. */
static const char* g_kappas(const golden_case* c, const golden_profile* p, const char* bound, g_numbers* x) {
  const double u = p->u, tiny = p->tiny, n = g_extent(c, strcmp(bound, "router_weights") == 0 ? "logits" : "x");
  const double sum = g_gamma(p, g_chain(p, n) + 1, u);
  double* k = x->k;
  if (strcmp(bound, "gemm_f32") == 0) {
    g_set(k, g_product(p, g_chain(p, n) + p->un) * (1 + g_gamma(p, 2, u)) - 1, u, tiny, p->t_in);
  } else if (strcmp(bound, "gemm_quantized") == 0) {
    const char *act = golden_string(c, "act"), *type = golden_string(c, "type");
    const double block = act != NULL && strcmp(act, "q8_k") == 0 ? 256 : 32;
    const double sub = type != NULL && strcmp(type, "Q6_K") == 0 ? 16 : 32;
    g_set(k, *p->quantized == 'b' ? g_gamma(p, 2 * n / block + 4 + p->un, u) : 0, u, tiny,
          *p->quantized == 's' ? g_gamma(p, 2 * n / sub + 6 + p->un, u) : 0);
    k[5] = 8 * u * p->q;
    if (*p->quantized == 'e') k[5] += g_product(p, g_chain(p, n) + p->un + 2) * (1 + g_gamma(p, 2, u)) - 1;
    if (*p->quantized == 'e') k[6] = p->t_in;
    k[7] = p->q > 0 ? 1 : 0;
  } else if (strcmp(bound, "rms_norm") == 0) {
    const double rstd = p->f64_norm_sum != 0 ? u : g_gamma(p, g_chain(p, n) + 3, u) / 2 + 2 * u * p->rsqrt_ulp;
    g_set(k, rstd + 2 * u, tiny, p->ftz, 0);
  } else if (strcmp(bound, "softmax") == 0) {
    g_set(k, 2 * p->e + sum + p->div, u + p->b, 3 * tiny + p->e_tiny, 0);
  } else if (strcmp(bound, "rope") == 0) {
    g_set(k, g_gamma(p, 2, u), 6 * tiny, p->angle_rel, p->trig_abs);
  } else if (strcmp(bound, "swiglu") == 0) {
    g_set(k, p->e + 88 * p->b, 2 * u + p->div, 1, tiny);
  } else if (strcmp(bound, "add") == 0) {
    g_set(k, u, 3 * p->ftz, 0, 0);
  } else if (strcmp(bound, "scale_rows") == 0) {
    g_set(k, u, tiny, 0, 0);
  } else if (strcmp(bound, "router_weights") == 0) {
    const double used = g_gamma(p, (double)golden_int(c, "n_used", 0) + 1, u);
    g_set(k, 4 * p->e + 2 * sum + used + 3 * p->div + 3 * u, u + p->b, 4 * tiny + p->e_tiny, 0);
  } else if (strncmp(bound, "attention", 9) == 0) {
    x->attention = strcmp(bound, "attention") == 0 ? 1 : strcmp(bound, "attention_variant") == 0 ? 2 : 0;
    if (x->attention == 0 || x->c[x->attention == 1 ? 9 : 15] == NULL) return "magnitudes are missing";
  } else if (strcmp(bound, "scales") != 0 && strcmp(bound, "stored") != 0) {
    return "unknown bound";
  }
  return NULL;
}
static double g_c(const g_numbers* x, int j, uint64_t i) {
  const golden_tensor* t = x->c[j];
  return t == NULL ? 0 : g_value(t, t->n == x->n ? i : t->n == 1 ? 0 : i / x->cols);
}
static double g_attention(const golden_case* c, const golden_profile* p, const g_numbers* x, uint64_t i) {
  const double u = p->u, n = (double)golden_int(c, "kv_len", 0), chunk = p->kv_chunk, y = fabs(g_value(x->y, i));
  const double r = (chunk == 0 ? n : ceil(n / chunk)) + (x->attention == 2 ? 1 : 0);
  const double keys = chunk == 0 ? n : fmin(n, chunk), c5 = g_c(x, 5, i);
  const double k0 = g_product(p, g_chain(p, g_extent(c, "q")) + p->un) * (1 + u) - 1;
  const double k1 = x->attention == 1 ? k0 : k0 * exp(2 * (k0 * g_c(x, 14, i) + p->t_in * g_c(x, 15, i)));
  const double k2 = 2 * u + p->b, k3 = (1 + r) * p->e + r * u, k5 = 2 * u * p->tanh_ulp + u + p->div;
  const double k4 = (1 + g_gamma(p, keys + 2 * r + 3 + p->un, p->u_acc)) * (1 + p->u_p) * (1 + p->u_in) - 1;
  const double delta =
      k1 * g_c(x, 6, i) + k2 * g_c(x, 7, i) + k3 + p->t_in * g_c(x, 9, i) + k5 * g_c(x, 11, i) + u * g_c(x, 13, i);
  const double theta = expm1(delta), o = x->c[18] != NULL ? g_c(x, 16, i) : y;
  double centred = 2 * c5, values = c5, sum, gate;
  if (theta < 0.5) {
    sum = k1 * g_c(x, 1, i) + k2 * g_c(x, 2, i) + k3 * g_c(x, 3, i) + p->t_in * g_c(x, 8, i) + k5 * g_c(x, 10, i) +
          u * g_c(x, 12, i);
    centred = fmin(centred, sum * (theta / delta) / (1 - theta));
    values = fmin(c5, g_c(x, 4, i) * (1 + 2 * theta));
  }
  sum = centred + k4 * (values + o) + (u + p->div + p->u_out) * o + p->tiny * n * (4 * c5 + 2) +
        p->e_tiny * n * 2 * c5 + p->in_tiny * (2 * n * c5 + 2);
  sum *= 1 + 0x1p-19;
  if (x->c[18] == NULL) return sum;
  /* Times a sigmoid: exp damped by 1 - sigmoid, a sum, a division, a product. */
  gate = (p->e + 88 * p->b) * g_c(x, 18, i) + 2 * u + p->div + (g_c(x, 17, i) < 0x1.7p-126 ? 1 : 0);
  return (sum * (g_c(x, 17, i) + 2 * p->tiny) * (1 + gate) + gate * y + p->tiny * (2 + o)) * (1 + 0x1p-19);
}
static double g_bound(const golden_case* c, const golden_profile* p, const g_numbers* x, uint64_t i) {
  double sum = p->u_out * fabs(g_value(x->y, i));
  int j;
  if (x->bound != NULL) return g_value(x->bound, i);
  if (x->attention) return g_attention(c, p, x, i);
  for (j = 1; j < 10; ++j) sum += x->k[j] != 0 ? x->k[j] * g_c(x, j, i) : 0;
  return sum * (1 + (0x1p-19 + 4 * p->e + 256 * p->b));
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
static const char* g_numbers_of(const golden_case* c, const golden_profile* p, const j_node* o, const golden_tensor* t,
                                g_numbers* x) {
  const char *judge = j_text(o, "judge"), *bound = j_text(o, "bound"), *what;
  char suffix[96];
  int j;
  memset(x, 0, sizeof *x);
  x->n = t->n;
  x->cols = t->rank > 0 && t->shape[t->rank - 1] > 0 ? t->shape[t->rank - 1] : 1;
  x->y = g_part(c, t->name, ".y");
  x->margin = g_part(c, t->name, ".margin");
  if (judge == NULL || !g_word("bound exact quants scales top_k", judge)) return "an unknown way of judging";
  if (x->y == NULL || x->y->n != t->n) return "the case has no value of it";
  if (x->y->dtype != (strchr("eqt", *judge) ? t->dtype : GOLDEN_F64) && x->y->dtype != GOLDEN_F64) {
    return "the value's dtype is wrong";
  }
  if (x->margin != NULL && (x->margin->dtype != GOLDEN_F32 || x->margin->n != t->n))
    return "the margin's shape is wrong";
  for (j = 1; j < 19; ++j) {
    snprintf(suffix, sizeof suffix, ".c%d", j);
    x->c[j] = g_part(c, t->name, suffix);
    if (x->c[j] == NULL) continue;
    if (x->c[j]->dtype != GOLDEN_F32) return "a magnitude's dtype is wrong";
    if (x->c[j]->n != t->n && x->c[j]->n != t->n / x->cols && x->c[j]->n != 1) return "a magnitude's shape is wrong";
  }
  if (strcmp(judge, "bound") != 0 && strcmp(judge, "scales") != 0) return NULL;
  what = g_kappas(c, p, bound != NULL ? bound : judge, x);
  if (what != NULL || bound == NULL || strcmp(bound, "stored") != 0) return what;
  snprintf(suffix, sizeof suffix, ".bound.%s", p->bound_of);
  x->bound = g_part(c, t->name, suffix);
  if (x->bound == NULL) return "the case has no bound for this profile";
  return x->bound->n == t->n && x->bound->dtype == GOLDEN_F32 ? NULL : "the bound's dtype or shape is wrong";
}

/* The same number, or both NaN; zero has no sign. F16 and BF16 by their bits. */
static int g_same(const golden_tensor* a, const golden_tensor* b, uint64_t i) {
  const double x = g_value(a, i), y = g_value(b, i);
  uint16_t l, r;
  const unsigned inf = a->dtype == GOLDEN_F16 ? 0x7C00 : 0x7F80;
  if (a->dtype == GOLDEN_U8) return ((const unsigned char*)a->data)[i] == ((const unsigned char*)b->data)[i];
  if (g_sizes[a->dtype] != 2) return x == y || (isnan(x) && isnan(y));
  memcpy(&l, (const unsigned char*)a->data + 2 * i, 2);
  memcpy(&r, (const unsigned char*)b->data + 2 * i, 2);
  return l == r || ((l | r) & 0x7FFF) == 0 || ((l & 0x7FFFu) > inf && (r & 0x7FFFu) > inf);
}
/* err / bound of element i, by the output's way of judging; at most 1 passes. */
static double g_judge_element(const golden_case* c, const golden_profile* p, const char* judge, const g_numbers* x,
                              const golden_tensor* got, uint64_t i, double grow, double* bound) {
  const double y = g_value(x->y, i), a = g_value(got, i);
  *bound = 0;
  if (*judge == 'e') return g_same(got, x->y, i) ? 0 : HUGE_VAL;
  if (*judge == 'q') { /* quants: one step off where division may have decided otherwise */
    const double margin = x->margin != NULL ? g_value(x->margin, i) : HUGE_VAL;
    if (a == y) return 0;
    return fabs(a - y) == 1 && margin <= 508 * p->u * p->q ? 1 : HUGE_VAL;
  }
  *bound = *judge == 's' ? 8 * p->u * p->q * fabs(y) + (p->q > 0 ? g_c(x, 1, i) : 0) : g_bound(c, p, x, i) + grow;
  return g_ratio(a, y, *bound);
}
static void g_note(golden_verdict* v, uint64_t i, double got, double want, double bound, double ratio) {
  v->n++;
  if (!(ratio <= 1)) v->n_bad++;
  if (!(ratio <= 1)) v->status = GOLDEN_FAIL;
  if (ratio <= v->ratio) return;
  v->ratio = ratio;
  v->index = i;
  v->got = got;
  v->want = want;
  v->bound = bound;
}
/* The router's decisions: legal flips widen the weights of their token by grow[i]; NULL: they cannot be judged. */
static double* g_experts(golden_case* c, golden_profile* p, const golden_tensor* got, golden_verdict* v) {
  const golden_tensor *y = g_part(c, "experts", ".y"), *margin = g_part(c, "experts", ".margin");
  const golden_tensor* want = g_find(c->outputs, c->n_outputs, "weights", "");
  const golden_tensor* experts = g_find(c->outputs, c->n_outputs, "experts", "");
  size_t n;
  const j_node* w = j_list(c->json, "outputs", &n);
  double* grow;
  uint64_t i, j;
  g_numbers x;
  while (w != NULL && strcmp(j_text(w, "name"), "weights") != 0) w = w->next;
  if (got == NULL || y == NULL || want == NULL || margin == NULL || w == NULL || experts == NULL) return NULL;
  if (!g_same_shape(got, experts) || got->n != want->n || y->n != got->n || margin->n != got->n) return NULL;
  if (got->dtype != GOLDEN_I32 || y->dtype != GOLDEN_I32 || margin->dtype != GOLDEN_F32) return NULL;
  grow = (double*)g_alloc(&c->arena, got->n * sizeof(double));
  if (grow == NULL || g_numbers_of(c, p, w, want, &x) != NULL) return NULL;
  for (i = 0; i < got->n; ++i) {
    const uint64_t row = i - i % x.cols;
    const double a = g_value(got, i), e = g_value(y, i), m = g_value(margin, i);
    const int near = m <= 2 * g_bound(c, p, &x, i) + p->u;
    int legal = a == e || (a >= 0 && a < g_extent(c, "logits") && near);
    for (j = row; j < i; ++j) legal &= g_value(got, j) != a;
    if (a != e && legal) grow[row] = fmax(grow[row], 2 * m);
    g_note(v, i, a, e, 0, legal ? 0 : HUGE_VAL);
  }
  for (i = 0; i < got->n; ++i) grow[i] = grow[i - i % x.cols];
  if (v->status == GOLDEN_FAIL) snprintf(v->message, sizeof v->message, "experts: a wrong expert");
  return grow;
}
static golden_verdict g_judge(golden_case* c, golden_profile* p, const golden_tensor* outputs, size_t n_outputs) {
  static const char kOps[] =
      "dequantize embedding quantize_q8_k quantize_q8_0 gemm gemm_swiglu rms_norm softmax rope swiglu add scale_rows"
      " kv_write attention attention_variant moe_router moe_ffn layer";
  golden_verdict v = g_say(GOLDEN_PASS, "", "");
  size_t k;
  const j_node *needs = j_list(c->json, "needs", &k), *o = j_list(c->json, "outputs", &k);
  const char* what;
  double *grow = NULL, bound;
  uint64_t i, warned = 0;
  if (!g_word(kOps, c->op)) return g_say(GOLDEN_ERROR, c->op, "unknown op");
  for (; needs != NULL; needs = needs->next) {
    const char* need = needs->text != NULL ? needs->text : "";
    if (strcmp(need, "f64_norm_sum") == 0 && p->f64_norm_sum != 0) continue;
    if (strcmp(need, "subnormals") == 0 && p->tiny <= 0x1p-127) continue;
    return g_say(GOLDEN_SKIPPED, need, "the profile has it not");
  }
  if (!(j_number(c->json, "max_in", 0) <= p->in_max)) {
    return g_say(GOLDEN_SKIPPED, "", "operands beyond the profile's in_max");
  }
  if (!c->loaded) return g_say(GOLDEN_ERROR, "", c->error[0] ? c->error : "not loaded");
  if (strcmp(c->op, "moe_router") == 0) {
    grow = g_experts(c, p, g_find(outputs, n_outputs, "experts", ""), &v);
    if (grow == NULL) return g_say(GOLDEN_ERROR, "experts", "missing, or of another dtype or shape");
  }
  for (k = 0; o != NULL; o = o->next, ++k) {
    const golden_tensor *want = &c->outputs[k], *got = g_find(outputs, n_outputs, want->name, "");
    const char* judge = j_text(o, "judge");
    g_numbers x;
    if (judge != NULL && strcmp(judge, "top_k") == 0 && grow != NULL) continue;
    if (got == NULL) return g_say(GOLDEN_ERROR, want->name, "missing in what was given back");
    if (!g_same_shape(got, want)) return g_say(GOLDEN_ERROR, want->name, "another dtype or shape");
    what = g_numbers_of(c, p, o, want, &x);
    if (what != NULL) {
      return g_say(strstr(what, "for this profile") != NULL ? GOLDEN_SKIPPED : GOLDEN_ERROR, want->name, what);
    }
    for (i = 0; i < want->n; ++i) {
      const double ratio = g_judge_element(c, p, judge, &x, got, i, grow != NULL ? grow[i] : 0, &bound);
      g_note(&v, i, g_value(got, i), g_value(x.y, i), bound, ratio);
    }
    if (v.status == GOLDEN_FAIL) {
      snprintf(v.message, sizeof v.message, "%s[%lu] is %.9g, want %.17g +- %.3g", want->name, (unsigned long)v.index,
               v.got, v.want, v.bound);
    }
    if (v.status != GOLDEN_PASS || *judge != 'b') continue;
    p->statistical = 1;
    what = g_numbers_of(c, p, o, want, &x);
    for (i = 0; what == NULL && i < want->n; ++i) {
      warned += !(g_judge_element(c, p, judge, &x, got, i, grow != NULL ? grow[i] : 0, &bound) <= 1);
    }
    p->statistical = 0;
    if (warned == 0) continue;
    v.status = GOLDEN_WARN;
    snprintf(v.message, sizeof v.message, "%s: %lu elements beyond the statistical bound", want->name,
             (unsigned long)warned);
  }
  return v;
}
golden_verdict golden_judge(golden_case* c, const golden_profile* profile, const golden_tensor* outputs,
                            size_t n_outputs) {
  golden_profile p = *profile;
  return g_judge(c, &p, outputs, n_outputs);
}
golden_verdict golden_judge_file(golden_case* c, const golden_profile* profile, const char* folder) {
  golden_verdict v;
  g_arena a = {NULL};
  g_file file = {NULL, 0};
  size_t size = 0;
  unsigned char* data = g_read(&a, folder, c->id, ".safetensors", &size);
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
#endif /* GOLDEN_IMPLEMENTATION */
