/* The C interface of libetalon.so: ops on any backend, models, and golden
 * cases. C11; the seam for GPU ports and other languages.
 *
 * Rules
 *   - A parameter struct starts with `struct_size`; set it to its sizeof and
 *     everything you do not use to 0. A struct may grow at its end: an older
 *     caller's missing fields read as 0, which always means the default; a
 *     newer caller's unknown fields must be 0. Views (matrix, weights, heads,
 *     kv) are embedded in such structs and never change.
 *   - Every call that can fail returns an etalon_status and writes its result
 *     through a pointer; after a failure nothing is written but, per thread,
 *     the one line that etalon_last_error() returns.
 *   - Handles are opaque. `_create` and `_load` hand over ownership, `_destroy`
 *     takes it back and accepts NULL. A model must outlive its sessions.
 *   - Strides count elements unless the name says bytes. Shapes are in square
 *     brackets, outermost first. The semantics, the order of evaluation and
 *     the error bound of an op stand in the C++ header of its family, which is
 *     named at its struct.
 *   - A handle is used by one thread at a time; different handles by any.
 *   - Nothing here prints, exits, aborts or throws. */
#ifndef ETALON_ETALON_H_
#define ETALON_ETALON_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ETALON_ABI_VERSION 1

/* ---- status ---------------------------------------------------------- */

typedef int32_t etalon_status;
enum {
  ETALON_OK = 0,
  ETALON_INVALID_ARGUMENT = 1, /* the caller broke a contract */
  ETALON_BAD_INPUT = 2,        /* a file is not what it must be */
  ETALON_IO = 3,               /* the operating system refused */
  ETALON_LIMIT = 4,            /* memory or another limit */
  ETALON_INTERNAL = 5,         /* a bug of Etalon */
  ETALON_UNSUPPORTED = 6       /* a backend does not have this op or shape */
};

/* "0.1.0"; and ETALON_ABI_VERSION of the library at hand. */
const char* etalon_version(void);
uint32_t etalon_abi_version(void);
/* "ok", "invalid argument", ...; never NULL. */
const char* etalon_status_name(etalon_status status);
/* What the last failed call of this thread has to say; "" before any. Valid
 * until the next call of this thread. */
const char* etalon_last_error(void);

/* ---- context --------------------------------------------------------- */

/* Scratch memory, threads and switches that ops run with. */
typedef struct etalon_context etalon_context;

typedef struct etalon_context_params {
  uint32_t struct_size;
  int32_t n_threads;        /* 0: 1 thread; results do not depend on it */
  uint32_t strict_parity;   /* naive sequential f32 kernels, one thread */
  uint32_t f32_activations; /* no quantised activations unless asked for */
} etalon_context_params;

/* `params` may be NULL. */
etalon_status etalon_context_create(const etalon_context_params* params,
                                    etalon_context** out);
void etalon_context_destroy(etalon_context* context);

/* "scalar", "avx2", "avx512", "avx512-vnni", "amx": which kernels run, for the
 * whole process. All give the same bits. */
const char* etalon_simd_tier(void);
etalon_status etalon_set_simd_tier(const char* name);

/* ---- views ----------------------------------------------------------- */

/* Values of the GGUF format. */
enum {
  ETALON_TYPE_F32 = 0,
  ETALON_TYPE_F16 = 1,
  ETALON_TYPE_Q4_0 = 2,
  ETALON_TYPE_Q4_1 = 3,
  ETALON_TYPE_Q5_0 = 6,
  ETALON_TYPE_Q5_1 = 7,
  ETALON_TYPE_Q8_0 = 8,
  ETALON_TYPE_Q4_K = 12,
  ETALON_TYPE_Q5_K = 13,
  ETALON_TYPE_Q6_K = 14,
  ETALON_TYPE_Q8_K = 15,
  ETALON_TYPE_BF16 = 30
};

typedef struct etalon_const_matrix { /* [rows, cols] */
  const float* data;
  uint64_t rows, cols, stride;
} etalon_const_matrix;
typedef struct etalon_matrix {
  float* data;
  uint64_t rows, cols, stride;
} etalon_matrix;

typedef struct etalon_const_ids { /* [rows, cols] */
  const int32_t* data;
  uint64_t rows, cols, stride;
} etalon_const_ids;
typedef struct etalon_ids {
  int32_t* data;
  uint64_t rows, cols, stride;
} etalon_ids;

typedef struct etalon_weights { /* [rows = N outputs, cols = K inputs] */
  const void* data;
  uint64_t rows, cols, stride_bytes;
  uint32_t type;
  uint32_t reserved; /* 0 */
} etalon_weights;

typedef struct etalon_expert_weights { /* [n_experts, rows, cols] */
  etalon_weights first;
  uint64_t n_experts, expert_stride_bytes;
  const float* scales; /* [n_experts] or NULL */
} etalon_expert_weights;

typedef struct etalon_const_heads { /* [n_tokens, n_heads, head_dim] */
  const float* data;
  uint64_t n_tokens, n_heads, head_dim, token_stride, head_stride;
} etalon_const_heads;
typedef struct etalon_heads {
  float* data;
  uint64_t n_tokens, n_heads, head_dim, token_stride, head_stride;
} etalon_heads;

typedef struct etalon_const_kv { /* [n_kv_heads, kv_capacity, head_dim] */
  const void* data;
  uint64_t n_kv_heads, kv_capacity, head_dim, head_stride, pos_stride;
  uint32_t type;     /* F32, F16; or any other: ETALON_UNSUPPORTED will do */
  uint32_t reserved; /* 0 */
} etalon_const_kv;
typedef struct etalon_kv {
  void* data;
  uint64_t n_kv_heads, kv_capacity, head_dim, head_stride, pos_stride;
  uint32_t type;
  uint32_t reserved;
} etalon_kv;

/* ---- arguments of the ops -------------------------------------------- */

/* etalon/elementwise.h */
typedef struct etalon_embedding_args {
  uint32_t struct_size;
  uint32_t reserved;
  etalon_weights table; /* [vocab, model_dim] */
  const int32_t* tokens;
  uint64_t n_tokens;
  etalon_matrix out; /* [n_tokens, model_dim] */
} etalon_embedding_args;

typedef struct etalon_swiglu_args { /* out may be gate or up */
  uint32_t struct_size;
  uint32_t reserved;
  etalon_const_matrix gate, up;
  etalon_matrix out;
} etalon_swiglu_args;

typedef struct etalon_add_args { /* out may be a or b */
  uint32_t struct_size;
  uint32_t reserved;
  etalon_const_matrix a, b;
  etalon_matrix out;
} etalon_add_args;

typedef struct etalon_scale_rows_args { /* out may be x */
  uint32_t struct_size;
  uint32_t reserved;
  etalon_const_matrix x;
  const float* scale; /* [rows] */
  etalon_matrix out;
} etalon_scale_rows_args;

typedef struct etalon_softmax_args { /* out may be x */
  uint32_t struct_size;
  uint32_t reserved;
  etalon_const_matrix x;
  etalon_matrix out;
} etalon_softmax_args;

/* etalon/norm.h */
typedef struct etalon_rms_norm_args {
  uint32_t struct_size;
  float eps;
  etalon_const_matrix x;
  const float* weight; /* [cols] or NULL */
  etalon_matrix out;
  float* rstd; /* [rows] or NULL */
} etalon_rms_norm_args;

/* etalon/rope.h */
enum { ETALON_ROPE_HALF_SPLIT = 0, ETALON_ROPE_INTERLEAVED = 1 };
typedef struct etalon_rope_args {
  uint32_t struct_size;
  uint32_t style;
  etalon_heads x;               /* rotated in place */
  const int32_t* positions;     /* [n_tokens]: rows of cos and sin */
  etalon_const_matrix cos, sin; /* [n_positions, rotary_dim / 2] */
} etalon_rope_args;

/* etalon/gemm.h */
enum {
  ETALON_ACTIVATIONS_AUTO = 0, /* what the weight type calls for */
  ETALON_ACTIVATIONS_F32 = 1
};
typedef struct etalon_gemm_part {
  etalon_weights weights; /* [N, K] */
  const float* bias;      /* [N] or NULL */
  etalon_matrix out;      /* [M, N]; not used by gemm_swiglu */
  float scale;            /* of the whole matrix; 0 means 1 */
  uint32_t reserved;      /* 0 */
} etalon_gemm_part;
typedef struct etalon_gemm_args {
  uint32_t struct_size;
  uint32_t activations;
  etalon_const_matrix x; /* [M, K] */
  const etalon_gemm_part* parts;
  uint64_t n_parts;
} etalon_gemm_args;
typedef struct etalon_gemm_swiglu_args {
  uint32_t struct_size;
  uint32_t activations;
  etalon_const_matrix x;
  etalon_gemm_part gate, up;
  etalon_matrix out; /* [M, N] */
} etalon_gemm_swiglu_args;

/* etalon/attention.h */
typedef struct etalon_kv_write_args {
  uint32_t struct_size;
  uint32_t reserved;
  etalon_const_heads x; /* [n_tokens, n_kv_heads, head_dim] */
  uint64_t pos;
  etalon_kv cache;
} etalon_kv_write_args;
typedef struct etalon_attention_args {
  uint32_t struct_size;
  uint32_t causal;
  etalon_const_heads q;
  etalon_const_kv k, v;
  uint64_t kv_len; /* positions to attend, new tokens included; 0: out is 0 */
  etalon_heads out;
  float scale;
  uint32_t reserved;
} etalon_attention_args;

/* etalon/moe.h */
typedef struct etalon_moe_router_args {
  uint32_t struct_size;
  uint32_t normalize;
  etalon_const_matrix logits; /* [n_tokens, n_experts] */
  etalon_ids experts;         /* [n_tokens, n_used] */
  etalon_matrix weights;      /* [n_tokens, n_used] */
  float scale;                /* 0 means 1 */
  uint32_t reserved;
} etalon_moe_router_args;
typedef struct etalon_moe_ffn_args {
  uint32_t struct_size;
  uint32_t activations;
  etalon_const_matrix x;       /* [n_tokens, model_dim] */
  etalon_const_ids experts;    /* [n_tokens, n_used] */
  etalon_const_matrix weights; /* [n_tokens, n_used] */
  etalon_expert_weights gate, up, down;
  etalon_matrix out; /* [n_tokens, model_dim] */
} etalon_moe_ffn_args;

/* ---- backends -------------------------------------------------------- */

/* One table of ops. "reference" (fp64 formulas) and "cpu" are there; a port
 * fills one, registers it, and the parity suite walks it like the others. An
 * entry that is NULL, or returns ETALON_UNSUPPORTED, is skipped and said so.
 * Host memory only: a GPU port copies in and out. */
typedef struct etalon_backend {
  uint32_t struct_size;
  uint32_t reserved;
  const char* name; /* lower case letters, digits, '-' */
  void* self;       /* handed to every entry */
  /* The line behind the last failure, or NULL. May be NULL itself. */
  const char* (*last_error)(void* self);
  etalon_status (*embedding)(void* self, const etalon_embedding_args*,
                             etalon_context*);
  etalon_status (*rms_norm)(void* self, const etalon_rms_norm_args*,
                            etalon_context*);
  etalon_status (*rope)(void* self, const etalon_rope_args*, etalon_context*);
  etalon_status (*gemm)(void* self, const etalon_gemm_args*, etalon_context*);
  etalon_status (*gemm_swiglu)(void* self, const etalon_gemm_swiglu_args*,
                               etalon_context*);
  etalon_status (*kv_write)(void* self, const etalon_kv_write_args*,
                            etalon_context*);
  /* Plain attention: a call with a window, a softcap, slopes, a mask, sinks or
   * a gate is answered with ETALON_UNSUPPORTED before it gets here. */
  etalon_status (*attention)(void* self, const etalon_attention_args*,
                             etalon_context*);
  etalon_status (*swiglu)(void* self, const etalon_swiglu_args*,
                          etalon_context*);
  etalon_status (*add)(void* self, const etalon_add_args*, etalon_context*);
  etalon_status (*scale_rows)(void* self, const etalon_scale_rows_args*,
                              etalon_context*);
  etalon_status (*softmax)(void* self, const etalon_softmax_args*,
                           etalon_context*);
  etalon_status (*moe_router)(void* self, const etalon_moe_router_args*,
                              etalon_context*);
  etalon_status (*moe_ffn)(void* self, const etalon_moe_ffn_args*,
                           etalon_context*);
} etalon_backend;

/* The table of that name, or NULL. It lives as long as the process. */
const etalon_backend* etalon_backend_find(const char* name);
/* Copies the table (not what `self` points to) under its name. At most 8, each
 * name once. Process-wide, for good. */
etalon_status etalon_backend_register(const etalon_backend* backend);
/* Opens a shared library that exports
 *   const etalon_backend* etalon_backend_entry(void);
 * and registers what it returns. The library stays open. */
etalon_status etalon_backend_load(const char* path);
/* Names in order of registration, "reference" first; NULL past the last. */
const char* etalon_backend_name(uint64_t index);

/* ---- quantised rows --------------------------------------------------- */

/* Dequantises n elements (whole blocks) of any type: exact. */
etalon_status etalon_dequantize(uint32_t type, const void* blocks, uint64_t n,
                                float* out);
/* Quantises n activations to Q8_K or Q8_0 by the rules of docs/numerics.md. */
etalon_status etalon_quantize_activations(uint32_t type, const float* x,
                                          uint64_t n, void* blocks);
/* Bytes of n elements of a type; 0 for an unknown type or a part of a block. */
uint64_t etalon_row_bytes(uint32_t type, uint64_t n);

/* ---- models ---------------------------------------------------------- */

typedef struct etalon_model etalon_model;
typedef struct etalon_session etalon_session;

typedef struct etalon_model_params {
  uint32_t struct_size;
  int32_t n_threads;   /* 0: 1 */
  uint32_t skip_check; /* do not search the weights for NaN and Inf */
  uint32_t reserved;
} etalon_model_params;
/* `params` may be NULL. */
etalon_status etalon_model_load(const char* path,
                                const etalon_model_params* params,
                                etalon_model** out);
void etalon_model_destroy(etalon_model* model);

typedef struct etalon_model_info {
  uint32_t struct_size; /* set before the call: how much is written */
  uint32_t reserved;
  uint64_t n_vocab, n_ctx_train, n_layers, model_dim, head_dim;
} etalon_model_info;
etalon_status etalon_model_get_info(const etalon_model* model,
                                    etalon_model_info* info);

typedef struct etalon_session_params {
  uint32_t struct_size;
  int32_t n_threads;   /* 0: 1 */
  uint64_t n_ctx;      /* positions; 0: 512 */
  uint64_t n_batch;    /* tokens per prefill chunk; 0: the engine's choice */
  const char* backend; /* NULL: "cpu" */
  uint32_t k_type, v_type; /* F32 (0) or F16 */
} etalon_session_params;
/* `params` may be NULL. */
etalon_status etalon_session_create(const etalon_model* model,
                                    const etalon_session_params* params,
                                    etalon_session** out);
void etalon_session_destroy(etalon_session* session);

/* Appends tokens. `logits` is [0, 1 or n_tokens rows, n_vocab]: none, those of
 * the last token, or all; NULL for none. */
etalon_status etalon_session_append(etalon_session* session,
                                    const int32_t* tokens, uint64_t n_tokens,
                                    const etalon_matrix* logits);
uint64_t etalon_session_n_past(const etalon_session* session);
/* Forgets the positions >= n. */
void etalon_session_truncate(etalon_session* session, uint64_t n);

/* ---- golden cases ---------------------------------------------------- */

/* Procedural cases: any number of them, made here from their index by
 * Philox4x32-10, with the fp64 values and magnitudes of the reference. What a
 * case is, and how it is judged: docs/golden-packs.md. Link a port's tests
 * against this library and walk the indices. */
typedef struct etalon_golden_case etalon_golden_case;

typedef struct etalon_golden_tensor { /* dense, row-major; a view */
  const char* name;
  const char* dtype; /* "F64", "F32", "F16", "BF16", "I32", "I8", "U8" */
  const void* data;
  uint64_t rank;
  uint64_t shape[8];
} etalon_golden_tensor;

enum {
  ETALON_GOLDEN_PASS = 0,
  ETALON_GOLDEN_WARN = 1, /* beyond the statistical bound only */
  ETALON_GOLDEN_FAIL = 2,
  ETALON_GOLDEN_ERROR = 3, /* an output is missing or of another type, shape */
  ETALON_GOLDEN_SKIPPED = 4
};
typedef struct etalon_golden_verdict {
  uint32_t struct_size; /* set before the call: how much is written */
  uint32_t verdict;
  double ratio; /* worst err / bound */
  uint64_t n_elements, n_bad;
  char message[256]; /* one line, "" when all is well */
} etalon_golden_verdict;

/* The next four 32-bit words of the generator at a counter. */
void etalon_philox4x32_10(const uint32_t counter[4], const uint32_t key[2],
                          uint32_t out[4]);
/* Ops that have cases, in order; NULL past the last. */
const char* etalon_golden_op(uint64_t i);
/* Case number `index` of an op; every index is a case. */
etalon_status etalon_golden_case_create(const char* op, uint64_t index,
                                        etalon_golden_case** out);
void etalon_golden_case_destroy(etalon_golden_case* c);
const char* etalon_golden_case_family(const etalon_golden_case* c);
/* A parameter: integers (f32 as NAME_bits), texts. INVALID_ARGUMENT where the
 * case does not have it. */
etalon_status etalon_golden_case_int(const etalon_golden_case* c,
                                     const char* name, int64_t* out);
etalon_status etalon_golden_case_text(const etalon_golden_case* c,
                                      const char* name, const char** out);
/* Input or expected output number i; INVALID_ARGUMENT past the last. `data` of
 * an output is NULL: its shape is what the port has to fill. */
etalon_status etalon_golden_case_input(const etalon_golden_case* c, uint64_t i,
                                       etalon_golden_tensor* out);
etalon_status etalon_golden_case_output(const etalon_golden_case* c, uint64_t i,
                                        etalon_golden_tensor* out);
/* `profile` is the name of a shipped profile or the JSON text of another. */
etalon_status etalon_golden_case_judge(const etalon_golden_case* c,
                                       const char* profile,
                                       const etalon_golden_tensor* outputs,
                                       uint64_t n_outputs,
                                       etalon_golden_verdict* verdict);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* ETALON_ETALON_H_ */
