/* usage: capi_c_test MODEL.gguf PORT.so
 * Every promise of etalon.h that a C program can check. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "etalon/etalon.h"

static int failures = 0;

#define CHECK(cond)                                                       \
  do {                                                                    \
    if (!(cond)) {                                                        \
      printf("%s:%d: %s is false (last error: %s)\n", __FILE__, __LINE__, \
             #cond, etalon_last_error());                                 \
      ++failures;                                                         \
    }                                                                     \
  } while (0)

static etalon_const_matrix In(const float* data, uint64_t rows, uint64_t cols) {
  etalon_const_matrix m = {data, rows, cols, cols};
  return m;
}
static etalon_matrix Out(float* data, uint64_t rows, uint64_t cols) {
  etalon_matrix m = {data, rows, cols, cols};
  return m;
}

static void TestVersion(void) {
  CHECK(strcmp(etalon_version(), "") != 0);
  CHECK(etalon_abi_version() == ETALON_ABI_VERSION);
  CHECK(strcmp(etalon_status_name(ETALON_OK), "ok") == 0);
  CHECK(etalon_status_name(12345) != NULL);
}

static void TestContext(void) {
  etalon_context* context = NULL;
  etalon_context_params params;
  struct {
    etalon_context_params known;
    uint64_t future;
  } newer;
  CHECK(etalon_context_create(NULL, &context) == ETALON_OK);
  etalon_context_destroy(context);
  context = NULL;
  etalon_context_destroy(NULL);
  CHECK(etalon_context_create(NULL, NULL) == ETALON_INVALID_ARGUMENT);
  memset(&params, 0, sizeof params);
  CHECK(etalon_context_create(&params, &context) == ETALON_INVALID_ARGUMENT);
  CHECK(context == NULL); /* nothing written after a failure */
  CHECK(strstr(etalon_last_error(), "struct_size") != NULL);
  params.struct_size = sizeof params;
  params.n_threads = -1;
  CHECK(etalon_context_create(&params, &context) == ETALON_INVALID_ARGUMENT);
  CHECK(strstr(etalon_last_error(), "n_threads is -1") != NULL);
  /* A newer caller: fine while what this library does not know is 0. */
  memset(&newer, 0, sizeof newer);
  newer.known.struct_size = sizeof newer;
  CHECK(etalon_context_create(&newer.known, &context) == ETALON_OK);
  etalon_context_destroy(context);
  newer.future = 1;
  CHECK(etalon_context_create(&newer.known, &context) ==
        ETALON_INVALID_ARGUMENT);
  /* An older caller, whose struct ended early. */
  params.struct_size = 8;
  params.n_threads = 2;
  CHECK(etalon_context_create(&params, &context) == ETALON_OK);
  etalon_context_destroy(context);
}

static void TestOps(const char* name, etalon_context* context) {
  const etalon_backend* backend = etalon_backend_find(name);
  float x[2 * 4] = {1, 2, 3, 4, -1, 0.5f, 0, 8}, y[8], z[8], rstd[2];
  const float ones[4] = {1, 1, 1, 1};
  etalon_add_args add;
  etalon_rms_norm_args norm;
  etalon_softmax_args softmax;
  etalon_gemm_args gemm;
  etalon_gemm_part part;
  int i;
  CHECK(backend != NULL);
  if (backend == NULL) return;
  CHECK(strcmp(backend->name, name) == 0);

  memset(&add, 0, sizeof add);
  add.struct_size = sizeof add;
  add.a = In(x, 2, 4);
  add.b = In(x, 2, 4);
  add.out = Out(y, 2, 4);
  CHECK(backend->add(backend->self, &add, context) == ETALON_OK);
  for (i = 0; i < 8; ++i) CHECK(y[i] == 2 * x[i]);

  memset(&norm, 0, sizeof norm);
  norm.struct_size = sizeof norm;
  norm.eps = 1e-5f;
  norm.x = In(x, 2, 4);
  norm.weight = ones;
  norm.out = Out(y, 2, 4);
  norm.rstd = rstd;
  CHECK(backend->rms_norm(backend->self, &norm, context) == ETALON_OK);
  CHECK(fabs((double)rstd[0] - 1 / sqrt(7.5 + 1e-5)) < 1e-7);
  CHECK(fabs((double)y[3] - 4 / sqrt(7.5 + 1e-5)) < 1e-6);

  memset(&softmax, 0, sizeof softmax);
  softmax.struct_size = sizeof softmax;
  softmax.x = In(x, 2, 4);
  softmax.out = Out(y, 2, 4);
  CHECK(backend->softmax(backend->self, &softmax, context) == ETALON_OK);
  CHECK(fabs((double)y[0] + (double)y[1] + (double)y[2] + (double)y[3] - 1) <
        1e-6);

  /* out[m, n] = sum_k x[m, k] W[n, k], W = x: the Gram matrix. */
  memset(&gemm, 0, sizeof gemm);
  memset(&part, 0, sizeof part);
  gemm.struct_size = sizeof gemm;
  gemm.x = In(x, 2, 4);
  gemm.parts = &part;
  gemm.n_parts = 1;
  part.weights.data = x;
  part.weights.rows = 2;
  part.weights.cols = 4;
  part.weights.stride_bytes = 16;
  part.weights.type = ETALON_TYPE_F32;
  part.out = Out(z, 2, 2);
  CHECK(backend->gemm(backend->self, &gemm, context) == ETALON_OK);
  CHECK(z[0] == 30 && z[1] == 32 && z[2] == 32 && z[3] == 65.25f);

  /* Refusals: one line, nothing written. */
  y[0] = 77;
  softmax.out.rows = 1;
  CHECK(backend->softmax(backend->self, &softmax, context) ==
        ETALON_INVALID_ARGUMENT);
  CHECK(y[0] == 77 && strlen(etalon_last_error()) > 0);
  softmax.struct_size = 0;
  CHECK(backend->softmax(backend->self, &softmax, context) ==
        ETALON_INVALID_ARGUMENT);
  CHECK(backend->softmax(backend->self, NULL, context) ==
        ETALON_INVALID_ARGUMENT);
  CHECK(backend->add(backend->self, &add, NULL) == ETALON_INVALID_ARGUMENT);
  part.weights.type = 99;
  CHECK(backend->gemm(backend->self, &gemm, context) ==
        ETALON_INVALID_ARGUMENT);
  CHECK(strstr(etalon_last_error(), "99") != NULL);
}

static void TestQuantisedRows(void) {
  float x[256], back[256];
  uint32_t blocks[512]; /* room for a Q8_K block, aligned */
  int i;
  for (i = 0; i < 256; ++i) x[i] = (float)(i - 127);
  CHECK(etalon_row_bytes(ETALON_TYPE_Q4_K, 512) == 288);
  CHECK(etalon_row_bytes(ETALON_TYPE_Q4_K, 100) == 0);
  CHECK(etalon_row_bytes(99, 256) == 0);
  CHECK(etalon_quantize_activations(ETALON_TYPE_Q8_K, x, 256, blocks) ==
        ETALON_OK);
  CHECK(etalon_dequantize(ETALON_TYPE_Q8_K, blocks, 256, back) == ETALON_OK);
  for (i = 0; i < 256; ++i) CHECK(fabs((double)(back[i] - x[i])) <= 0.51);
  CHECK(etalon_dequantize(ETALON_TYPE_Q8_K, blocks, 255, back) ==
        ETALON_INVALID_ARGUMENT);
  CHECK(etalon_quantize_activations(ETALON_TYPE_Q4_K, x, 256, blocks) ==
        ETALON_INVALID_ARGUMENT);
}

/* The port's table is walked like the others: from C and from a session. */
static void TestPort(const char* path, etalon_context* context) {
  const etalon_backend* port;
  float x[4] = {1, 2, 3, 4}, y[4];
  etalon_add_args add;
  etalon_backend table;
  CHECK(etalon_backend_load("/nowhere.so") == ETALON_BAD_INPUT);
  CHECK(etalon_backend_load(path) == ETALON_OK);
  CHECK(etalon_backend_load(path) == ETALON_INVALID_ARGUMENT); /* name taken */
  CHECK(strcmp(etalon_backend_name(0), "reference") == 0);
  CHECK(strcmp(etalon_backend_name(1), "cpu") == 0);
  CHECK(strcmp(etalon_backend_name(2), "test-port") == 0);
  CHECK(etalon_backend_name(3) == NULL);
  CHECK(etalon_backend_find("nobody") == NULL);
  port = etalon_backend_find("test-port");
  CHECK(port != NULL);
  if (port == NULL) return;
  memset(&add, 0, sizeof add);
  add.struct_size = sizeof add;
  add.a = In(x, 1, 4);
  add.b = In(x, 1, 4);
  add.out = Out(y, 1, 4);
  CHECK(port->add(port->self, &add, context) == ETALON_OK && y[3] == 8);
  CHECK(port->gemm == NULL);
  memset(&table, 0, sizeof table);
  table.struct_size = sizeof table;
  table.name = "Upper Case";
  CHECK(etalon_backend_register(&table) == ETALON_INVALID_ARGUMENT);
}

/* A kernel of a port's own test suite: it asks for cases and is judged. */
static void TestGoldenCases(etalon_context* context) {
  static const uint32_t zero[6] = {0, 0, 0, 0, 0, 0};
  const etalon_backend* cpu = etalon_backend_find("cpu");
  etalon_golden_case* c = NULL;
  etalon_golden_verdict v;
  uint32_t words[4];
  uint64_t i;
  int n_pass = 0, n_fail = 0;
  /* Random123's known answer for counter 0 and key 0. */
  etalon_philox4x32_10(zero, zero, words);
  CHECK(words[0] == 0x6627e8d5u && words[1] == 0xe169c58du);
  CHECK(words[2] == 0xbc57ac4cu && words[3] == 0x9b00dbd8u);
  CHECK(etalon_golden_op(0) != NULL && etalon_golden_op(1000) == NULL);
  CHECK(etalon_golden_case_create("nonsense", 0, &c) ==
        ETALON_INVALID_ARGUMENT);
  memset(&v, 0, sizeof v);
  for (i = 0; i < 40; ++i) {
    etalon_golden_tensor x, out, other;
    etalon_softmax_args args;
    float* y;
    uint64_t n;
    CHECK(etalon_golden_case_create("softmax", i, &c) == ETALON_OK);
    if (c == NULL) return;
    CHECK(etalon_golden_case_input(c, 0, &x) == ETALON_OK);
    CHECK(etalon_golden_case_input(c, 9, &x) == ETALON_INVALID_ARGUMENT);
    CHECK(etalon_golden_case_output(c, 0, &out) == ETALON_OK);
    CHECK(strcmp(x.name, "x") == 0 && strcmp(x.dtype, "F32") == 0);
    CHECK(x.rank == 2 && out.data == NULL);
    n = x.shape[0] * x.shape[1];
    y = calloc(n + 1, sizeof *y);
    memset(&args, 0, sizeof args);
    args.struct_size = sizeof args;
    args.x = In(x.data, x.shape[0], x.shape[1]);
    args.out = Out(y, x.shape[0], x.shape[1]);
    CHECK(cpu->softmax(cpu->self, &args, context) == ETALON_OK);
    out.data = y;
    v.struct_size = 0;
    CHECK(etalon_golden_case_judge(c, "cpu-strict", &out, 1, &v) ==
          ETALON_INVALID_ARGUMENT); /* struct_size */
    v.struct_size = sizeof v;
    CHECK(etalon_golden_case_judge(c, "nobody", &out, 1, &v) != ETALON_OK);
    CHECK(etalon_golden_case_judge(c, "cpu-strict", &out, 1, &v) == ETALON_OK);
    CHECK(v.verdict == ETALON_GOLDEN_PASS && v.n_elements == n);
    n_pass += v.verdict == ETALON_GOLDEN_PASS;
    /* Missing, of another shape, of another type: never a pass. */
    CHECK(etalon_golden_case_judge(c, "cpu-strict", NULL, 0, &v) == ETALON_OK);
    CHECK(v.verdict == ETALON_GOLDEN_ERROR && v.message[0] != 0);
    other = out;
    other.shape[0] += 1;
    CHECK(etalon_golden_case_judge(c, "cpu-strict", &other, 1, &v) ==
          ETALON_OK);
    CHECK(v.verdict == ETALON_GOLDEN_ERROR);
    other = out;
    other.dtype = "F16";
    CHECK(etalon_golden_case_judge(c, "cpu-strict", &other, 1, &v) ==
          ETALON_OK);
    CHECK(v.verdict == ETALON_GOLDEN_ERROR);
    if (n > 0) {
      y[n / 2] = y[n / 2] == 0.5f ? 0.25f : 0.5f;
      CHECK(etalon_golden_case_judge(c, "cpu-strict", &out, 1, &v) ==
            ETALON_OK);
      CHECK(v.verdict == ETALON_GOLDEN_FAIL);
      n_fail += v.verdict == ETALON_GOLDEN_FAIL;
    }
    free(y);
    etalon_golden_case_destroy(c);
    c = NULL;
  }
  CHECK(n_pass > 20 && n_fail > 20);
  etalon_golden_case_destroy(NULL);
}

/* Two backends, one model: the logits agree, and the cpu's are one bit
 * pattern however the prompt is split. */
static void TestModel(const char* path) {
  static const int32_t tokens[5] = {1, 5, 9, 2, 7};
  const char* backends[2] = {"cpu", "reference"};
  float* logits[2] = {NULL, NULL};
  etalon_model* model = NULL;
  etalon_model_info info;
  etalon_session* session = NULL;
  etalon_session_params params;
  uint64_t i;
  int b;
  CHECK(etalon_model_load("/nowhere.gguf", NULL, &model) == ETALON_BAD_INPUT);
  CHECK(etalon_model_load(path, NULL, &model) == ETALON_OK);
  if (model == NULL) return;
  memset(&info, 0, sizeof info);
  CHECK(etalon_model_get_info(model, &info) == ETALON_INVALID_ARGUMENT);
  info.struct_size = sizeof info;
  CHECK(etalon_model_get_info(model, &info) == ETALON_OK);
  CHECK(info.n_vocab == 96 && info.n_layers == 2);
  memset(&params, 0, sizeof params);
  params.struct_size = sizeof params;
  params.n_ctx = 16;
  params.backend = "nobody";
  CHECK(etalon_session_create(model, &params, &session) ==
        ETALON_INVALID_ARGUMENT);
  for (b = 0; b < 2; ++b) {
    etalon_matrix out;
    logits[b] = malloc(info.n_vocab * sizeof(float));
    params.backend = backends[b];
    CHECK(etalon_session_create(model, &params, &session) == ETALON_OK);
    out = Out(logits[b], 1, info.n_vocab);
    CHECK(etalon_session_append(session, tokens, 5, &out) == ETALON_OK);
    CHECK(etalon_session_n_past(session) == 5);
    if (b == 0) { /* again, one token at a time */
      float* again = malloc(info.n_vocab * sizeof(float));
      etalon_session_truncate(session, 0);
      CHECK(etalon_session_append(session, tokens, 4, NULL) == ETALON_OK);
      out.data = again;
      CHECK(etalon_session_append(session, tokens + 4, 1, &out) == ETALON_OK);
      CHECK(memcmp(again, logits[0], info.n_vocab * sizeof(float)) == 0);
      free(again);
      CHECK(etalon_session_append(session, NULL, 1, NULL) ==
            ETALON_INVALID_ARGUMENT);
    }
    etalon_session_destroy(session);
    session = NULL;
  }
  for (i = 0; i < info.n_vocab; ++i) {
    const double a = (double)logits[0][i], r = (double)logits[1][i];
    CHECK(fabs(a - r) <= 1e-2 * (1 + fabs(r)));
  }
  free(logits[0]);
  free(logits[1]);
  etalon_model_destroy(model);
  etalon_session_destroy(NULL);
  etalon_model_destroy(NULL);
}

int main(int argc, char** argv) {
  etalon_context* context = NULL;
  if (argc != 3) {
    fprintf(stderr, "usage: capi_c_test MODEL.gguf PORT.so\n");
    return 2;
  }
  TestVersion();
  TestContext();
  CHECK(etalon_context_create(NULL, &context) == ETALON_OK);
  TestOps("reference", context);
  TestOps("cpu", context);
  CHECK(etalon_set_simd_tier("scalar") == ETALON_OK);
  CHECK(strcmp(etalon_simd_tier(), "scalar") == 0);
  TestOps("cpu", context);
  CHECK(etalon_set_simd_tier("nonsense") == ETALON_INVALID_ARGUMENT);
  TestQuantisedRows();
  TestGoldenCases(context);
  TestPort(argv[2], context);
  TestModel(argv[1]);
  etalon_context_destroy(context);
  if (failures != 0) printf("%d failures\n", failures);
  return failures != 0;
}
