// usage: cuda_port PACK PROFILE.json   (profile cuda-f32)
// The same two kernels in CUDA. nvcc's defaults are IEEE: no --use_fast_math,
// and --fmad=false, so that an fma stands only where it is written.
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "examples/port.h"

// o[t, h, d] = sum_p softmax(scale q.k_p) v_pd. One thread per (d, h, t).
template <class K, class V>
__global__ void Sdpa(const float* q, const K* k, const V* v, float* out,
                     uint32_t n_tokens, uint32_t n_heads, uint32_t n_kv_heads,
                     uint32_t head_dim, uint32_t kv_len, uint32_t kv_capacity,
                     uint32_t causal, float scale) {
  const uint32_t d = blockIdx.x * blockDim.x + threadIdx.x;
  const uint32_t h = blockIdx.y, t = blockIdx.z;
  if (d >= head_dim) return;
  const uint32_t kvh = h / (n_heads / n_kv_heads);
  const uint32_t n = causal != 0 ? kv_len - n_tokens + t + 1 : kv_len;
  const size_t head = size_t{kvh} * kv_capacity * head_dim;
  const size_t row = (size_t{t} * n_heads + h) * head_dim;
  float m = -INFINITY, l = 0, o = 0;
  for (int pass = 0; pass < 2; ++pass) {
    for (uint32_t p = 0; p < n; ++p) {
      const size_t at = head + size_t{p} * head_dim;
      float s = 0;
      for (uint32_t i = 0; i < head_dim; ++i) {
        s = fmaf(q[row + i], static_cast<float>(k[at + i]), s);
      }
      s *= scale;
      if (pass == 0) {
        m = fmaxf(m, s);
      } else {
        const float e = expf(s - m);
        l += e;
        o = fmaf(e, static_cast<float>(v[at + d]), o);
      }
    }
  }
  out[row + d] = n == 0 ? 0 : o / l;  // an empty cache gives 0, not 0 / 0
}

// One output per thread: exact integers per super-block of 256.
__global__ void Q4KGemv(const int8_t* xq, const float* xd, const uint8_t* w,
                        const float* bias, float* out, uint32_t n_rows,
                        uint32_t k, float scale) {
  const uint32_t n = blockIdx.x * blockDim.x + threadIdx.x, m = blockIdx.y;
  if (n >= n_rows) return;
  const uint32_t nb = k / 256;
  float acc = 0;
  for (uint32_t b = 0; b < nb; ++b) {
    const uint8_t* block = w + (size_t{n} * nb + b) * 144;
    const uint8_t *sc = block + 4, *qs = block + 16;
    const int8_t* x = xq + size_t{m} * k + b * 256;
    int sum = 0, mins = 0;
    for (int j = 0; j < 8; ++j) {
      // 6-bit scale and minimum of sub-block j; the upper four are split.
      const int s =
          j < 4 ? sc[j] & 63 : (sc[j + 4] & 15) | (sc[j - 4] >> 6) << 4;
      const int least =
          j < 4 ? sc[j + 4] & 63 : sc[j + 4] >> 4 | (sc[j] >> 6) << 4;
      int dot = 0, total = 0;
      for (int i = 0; i < 32; ++i) {
        const int byte = qs[32 * (j / 2) + i];
        dot += (j % 2 == 0 ? byte & 15 : byte >> 4) * x[32 * j + i];
        total += x[32 * j + i];
      }
      sum += s * dot;
      mins += least * total;
    }
    const __half2 scales = *reinterpret_cast<const __half2*>(block);
    const float dx = __low2float(scales) * xd[m * nb + b];
    const float mx = __high2float(scales) * xd[m * nb + b];
    acc = fmaf(dx, static_cast<float>(sum), acc);
    acc = fmaf(-mx, static_cast<float>(mins), acc);
  }
  out[size_t{m} * n_rows + n] = acc * scale + bias[n];
}

namespace {

// Device memory with a copy of the host's.
template <class T>
class Copy {
 public:
  Copy(const void* host, size_t bytes) {
    ok_ = cudaMalloc(&data_, bytes + 4) == cudaSuccess;
    if (ok_ && host != nullptr) {
      ok_ = cudaMemcpy(data_, host, bytes, cudaMemcpyHostToDevice) ==
            cudaSuccess;
    }
  }
  ~Copy() { cudaFree(data_); }
  Copy(const Copy&) = delete;
  T* get() const { return static_cast<T*>(data_); }
  bool ok() const { return ok_; }

 private:
  void* data_ = nullptr;
  bool ok_ = false;
};

int Fetch(const Copy<float>& device, float* out, size_t n) {
  return cudaGetLastError() == cudaSuccess &&
         cudaMemcpy(out, device.get(), n * 4, cudaMemcpyDeviceToHost) ==
             cudaSuccess;
}

template <class K, class V>
int RunSdpa(const sdpa_args& a, float* out) {
  const size_t n = size_t{a.n_tokens} * a.n_heads * a.head_dim;
  const Copy<float> q(a.q, n * 4), result(nullptr, n * 4);
  const Copy<K> k(a.k, a.k_bytes);
  const Copy<V> v(a.v, a.v_bytes);
  if (!q.ok() || !k.ok() || !v.ok() || !result.ok()) return 0;
  if (n == 0) return 1;
  const dim3 grid((a.head_dim + 63) / 64, a.n_heads, a.n_tokens);
  Sdpa<K, V><<<grid, 64>>>(q.get(), k.get(), v.get(), result.get(), a.n_tokens,
                        a.n_heads, a.n_kv_heads, a.head_dim, a.kv_len,
                        a.kv_capacity, a.causal, a.scale);
  return Fetch(result, out, n);
}

int RunSdpaOf(void*, const sdpa_args* a, float* out) {
  if (a->k_f16 != 0) {
    return a->v_f16 != 0 ? RunSdpa<__half, __half>(*a, out)
                         : RunSdpa<__half, float>(*a, out);
  }
  return a->v_f16 != 0 ? RunSdpa<float, __half>(*a, out)
                       : RunSdpa<float, float>(*a, out);
}

int RunQ4KGemv(void*, const q4k_args* a, float* out) {
  const size_t blocks = a->k / 256, n = size_t{a->m} * a->n;
  const Copy<int8_t> xq(a->xq, size_t{a->m} * a->k);
  const Copy<float> xd(a->xd, a->m * blocks * 4), bias(a->bias, size_t{a->n} * 4);
  const Copy<uint8_t> w(a->w, a->n * blocks * 144);
  const Copy<float> result(nullptr, n * 4);
  if (!xq.ok() || !xd.ok() || !w.ok() || !bias.ok() || !result.ok()) return 0;
  if (n == 0) return 1;
  const dim3 grid((a->n + 63) / 64, a->m);
  Q4KGemv<<<grid, 64>>>(xq.get(), xd.get(), w.get(), bias.get(), result.get(),
                        a->n, a->k, a->scale);
  return Fetch(result, out, n);
}

}  // namespace

int main(int argc, char** argv) {
  int n = 0;
  if (cudaGetDeviceCount(&n) != cudaSuccess || n == 0) {
    return fprintf(stderr, "no CUDA device\n"), 77;
  }
  cudaDeviceProp properties;
  cudaGetDeviceProperties(&properties, 0);
  printf("CUDA on %s\n", properties.name);
  port p;
  p.self = nullptr;
  p.sdpa = RunSdpaOf;
  p.q4k_gemv = RunQ4KGemv;
  return port_main(&p, argc, argv);
}
