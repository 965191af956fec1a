#version 450
// o[t, h, d] = sum_p softmax(scale q.k_p) v_pd. One invocation per (d, h, t).
// precise: the driver may not contract or reassociate what is written here.
layout(local_size_x = 32) in;
layout(std430, binding = 0) readonly buffer Q { float q[]; };
layout(std430, binding = 1) readonly buffer K { uint k[]; };
layout(std430, binding = 2) readonly buffer V { uint v[]; };
layout(std430, binding = 4) writeonly buffer Out { float result[]; };
layout(push_constant) uniform Args {
  uint f16, n_tokens, n_heads, n_kv_heads, head_dim, kv_len, kv_capacity,
      causal;
  float scale;
};

float key(uint i) {
  return f16 != 0 ? unpackHalf2x16(k[i / 2])[i & 1] : uintBitsToFloat(k[i]);
}
float value(uint i) {
  return f16 != 0 ? unpackHalf2x16(v[i / 2])[i & 1] : uintBitsToFloat(v[i]);
}

void main() {
  const uint d = gl_GlobalInvocationID.x, h = gl_GlobalInvocationID.y;
  const uint t = gl_GlobalInvocationID.z;
  if (d >= head_dim) return;
  const uint kvh = h / (n_heads / n_kv_heads);
  const uint n = causal != 0 ? kv_len - n_tokens + t + 1 : kv_len;
  const uint head = kvh * kv_capacity * head_dim;
  const uint row = (t * n_heads + h) * head_dim;
  precise float m = uintBitsToFloat(0xFF800000u), l = 0, o = 0;
  for (int pass = 0; pass < 2; ++pass) {
    for (uint p = 0; p < n; ++p) {
      precise float s = 0;
      for (uint i = 0; i < head_dim; ++i) {
        s = fma(q[row + i], key(head + p * head_dim + i), s);
      }
      s *= scale;
      if (pass == 0) {
        // max() may drop a NaN or not; written out it does.
        m = s > m ? s : m;
      } else {
        precise float e = exp(s - m);
        // exp of a NaN need not be one in GLSL.
        if (isnan(s)) e = s;
        l += e;
        o = fma(e, value(head + p * head_dim + d), o);
      }
    }
  }
  result[row + d] = o / l;
}
