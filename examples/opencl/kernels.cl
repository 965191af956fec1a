/* Attention and a Q4_K x Q8_K product, as plain as they can be written: a
 * starting point that is right, judged by golden packs. */

/* o[t, h, d] = sum_p softmax(scale q.k_p) v_pd. One work-item per (d, h, t). */
kernel void sdpa(global const float* q, global const void* k,
                 global const void* v, global float* out, uint k_f16, uint v_f16,
                 uint n_tokens, uint n_heads, uint n_kv_heads, uint head_dim,
                 uint kv_len, uint kv_capacity, uint causal, float scale) {
  const uint d = get_global_id(0), h = get_global_id(1), t = get_global_id(2);
  const uint kvh = h / (n_heads / n_kv_heads);
  const uint n = causal != 0 ? kv_len - n_tokens + t + 1 : kv_len;
  const size_t head = (size_t)kvh * kv_capacity * head_dim;
  global const float* qr = q + ((size_t)t * n_heads + h) * head_dim;
  float m = -INFINITY, l = 0, o = 0;
  for (int pass = 0; pass < 2; ++pass) {
    for (uint p = 0; p < n; ++p) {
      const size_t row = head + (size_t)p * head_dim;
      float s = 0;
      for (uint i = 0; i < head_dim; ++i) {
        const float x = k_f16 != 0 ? vload_half(row + i, (global const half*)k)
                                 : ((global const float*)k)[row + i];
        s = fma(qr[i], x, s);
      }
      s *= scale;
      if (pass == 0) {
        m = fmax(m, s);
      } else {
        const float e = exp(s - m);
        const float x = v_f16 != 0 ? vload_half(row + d, (global const half*)v)
                                 : ((global const float*)v)[row + d];
        l += e;
        o = fma(e, x, o);
      }
    }
  }
  /* An empty cache gives 0, not 0 / 0. */
  out[((size_t)t * n_heads + h) * head_dim + d] = n == 0 ? 0 : o / l;
}

/* One output per work-item: exact integers per super-block of 256. */
kernel void q4k_gemv(global const char* xq, global const float* xd,
                     global const uchar* w, global const float* bias,
                     global float* out, uint n_rows, uint k, float scale) {
  const uint n = get_global_id(0), m = get_global_id(1), nb = k / 256;
  float acc = 0;
  for (uint b = 0; b < nb; ++b) {
    global const uchar* block = w + ((size_t)n * nb + b) * 144;
    global const uchar* sc = block + 4;
    global const uchar* qs = block + 16;
    global const char* x = xq + (size_t)m * k + b * 256;
    int sum = 0, mins = 0;
    for (int j = 0; j < 8; ++j) {
      /* 6-bit scale and minimum of sub-block j; the upper four are split. */
      const int s = j < 4 ? sc[j] & 63 : (sc[j + 4] & 15) | (sc[j - 4] >> 6) << 4;
      const int min = j < 4 ? sc[j + 4] & 63 : sc[j + 4] >> 4 | (sc[j] >> 6) << 4;
      int dot = 0, total = 0;
      for (int i = 0; i < 32; ++i) {
        const int byte = qs[32 * (j / 2) + i];
        const int value = x[32 * j + i];
        dot += (j % 2 == 0 ? byte & 15 : byte >> 4) * value;
        total += value;
      }
      sum += s * dot;
      mins += min * total;
    }
    const float dx = xd[m * nb + b];
    const float d = vload_half(0, (global const half*)block);
    const float dmin = vload_half(1, (global const half*)block);
    acc = fma(d * dx, (float)sum, acc);
    acc = fma(-(dmin * dx), (float)mins, acc);
  }
  out[(size_t)m * n_rows + n] = acc * scale + bias[n];
}
