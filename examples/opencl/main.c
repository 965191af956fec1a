/* usage: opencl_port PACK PROFILE.json   (reads kernels.cl beside itself)
 * The first OpenCL device of this machine; PoCL makes the CPU one. */
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#include "examples/port.h"

typedef struct {
  cl_context context;
  cl_command_queue queue;
  cl_kernel sdpa, q4k_gemv;
} device;

static cl_mem buffer(const device* d, cl_mem_flags flags, size_t size,
                     const void* data) {
  /* An empty buffer is an error in OpenCL. */
  if (size == 0)
    return clCreateBuffer(d->context, CL_MEM_READ_WRITE, 4, NULL, NULL);
  return clCreateBuffer(d->context,
                        flags | (data != NULL ? CL_MEM_COPY_HOST_PTR : 0), size,
                        (void*)(uintptr_t)data, NULL);
}
static int set(cl_kernel kernel, cl_uint i, size_t size, const void* value) {
  return clSetKernelArg(kernel, i, size, value) == CL_SUCCESS;
}

/* Runs, reads out back, releases the buffers. */
static int finish(const device* d, cl_kernel kernel, cl_uint rank,
                  const size_t* size, cl_mem* buffers, int n, cl_mem result,
                  float* out, size_t n_out, int ok) {
  int i;
  if (n_out > 0) {
    ok = ok &&
         clEnqueueNDRangeKernel(d->queue, kernel, rank, NULL, size, NULL, 0,
                                NULL, NULL) == CL_SUCCESS &&
         clEnqueueReadBuffer(d->queue, result, CL_TRUE, 0, n_out * 4, out, 0,
                             NULL, NULL) == CL_SUCCESS;
  }
  for (i = 0; i < n; ++i) {
    if (buffers[i] != NULL) clReleaseMemObject(buffers[i]);
  }
  return ok;
}

static int sdpa(void* self, const sdpa_args* a, float* out) {
  const device* d = (const device*)self;
  const size_t n = (size_t)a->n_tokens * a->n_heads * a->head_dim;
  const size_t size[3] = {a->head_dim, a->n_heads, a->n_tokens};
  cl_mem b[4];
  const cl_uint u[] = {a->k_f16,   a->v_f16,       a->n_tokens,
                       a->n_heads, a->n_kv_heads,  a->head_dim,
                       a->kv_len,  a->kv_capacity, a->causal};
  cl_uint i;
  int ok = 1;
  b[0] = buffer(d, CL_MEM_READ_ONLY, n * 4, a->q);
  b[1] = buffer(d, CL_MEM_READ_ONLY, a->k_bytes, a->k);
  b[2] = buffer(d, CL_MEM_READ_ONLY, a->v_bytes, a->v);
  b[3] = buffer(d, CL_MEM_WRITE_ONLY, n * 4, NULL);
  for (i = 0; i < 4; ++i) ok &= set(d->sdpa, i, sizeof(cl_mem), &b[i]);
  for (i = 0; i < 9; ++i) ok &= set(d->sdpa, 4 + i, sizeof(cl_uint), &u[i]);
  ok &= set(d->sdpa, 13, sizeof(float), &a->scale);
  return finish(d, d->sdpa, 3, size, b, 4, b[3], out, n, ok);
}

static int q4k_gemv(void* self, const q4k_args* a, float* out) {
  const device* d = (const device*)self;
  const size_t blocks = a->k / 256, size[2] = {a->n, a->m};
  cl_mem b[5];
  cl_uint i;
  int ok = 1;
  b[0] = buffer(d, CL_MEM_READ_ONLY, (size_t)a->m * a->k, a->xq);
  b[1] = buffer(d, CL_MEM_READ_ONLY, a->m * blocks * 4, a->xd);
  b[2] = buffer(d, CL_MEM_READ_ONLY, a->n * blocks * 144, a->w);
  b[3] = buffer(d, CL_MEM_READ_ONLY, (size_t)a->n * 4, a->bias);
  b[4] = buffer(d, CL_MEM_WRITE_ONLY, (size_t)a->m * a->n * 4, NULL);
  for (i = 0; i < 5; ++i) ok &= set(d->q4k_gemv, i, sizeof(cl_mem), &b[i]);
  ok &= set(d->q4k_gemv, 5, sizeof(cl_uint), &a->n);
  ok &= set(d->q4k_gemv, 6, sizeof(cl_uint), &a->k);
  ok &= set(d->q4k_gemv, 7, sizeof(float), &a->scale);
  return finish(d, d->q4k_gemv, 2, size, b, 5, b[4], out, (size_t)a->m * a->n,
                ok);
}

int main(int argc, char** argv) {
  cl_platform_id platform;
  cl_device_id id;
  cl_program program;
  cl_int status = CL_SUCCESS;
  device d;
  port p;
  size_t size = 0;
  char name[256] = "", log[4096] = "";
  char* source = (char*)port_file(argv[0], "kernels.cl", &size);
  if (source == NULL) return 2;
  if (clGetPlatformIDs(1, &platform, NULL) != CL_SUCCESS ||
      clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &id, NULL) !=
          CL_SUCCESS) {
    return fprintf(stderr, "no OpenCL device\n"), 77;
  }
  clGetDeviceInfo(id, CL_DEVICE_NAME, sizeof name, name, NULL);
  printf("OpenCL on %s\n", name);
  d.context = clCreateContext(NULL, 1, &id, NULL, NULL, &status);
  d.queue = clCreateCommandQueue(d.context, id, 0, &status);
  program = clCreateProgramWithSource(d.context, 1, (const char**)&source,
                                      &size, &status);
  /* No -cl-fast-relaxed-math, no -cl-mad-enable: the profile says none. */
  if (clBuildProgram(program, 1, &id, "-cl-std=CL1.2", NULL, NULL) !=
      CL_SUCCESS) {
    clGetProgramBuildInfo(program, id, CL_PROGRAM_BUILD_LOG, sizeof log - 1,
                          log, NULL);
    return fprintf(stderr, "kernels.cl: %s\n", log), 2;
  }
  d.sdpa = clCreateKernel(program, "sdpa", &status);
  d.q4k_gemv = clCreateKernel(program, "q4k_gemv", &status);
  p.self = &d;
  p.sdpa = sdpa;
  p.q4k_gemv = q4k_gemv;
  status = port_main(&p, argc, argv);
  clReleaseKernel(d.sdpa);
  clReleaseKernel(d.q4k_gemv);
  clReleaseProgram(program);
  clReleaseCommandQueue(d.queue);
  clReleaseContext(d.context);
  free(source);
  return status;
}
