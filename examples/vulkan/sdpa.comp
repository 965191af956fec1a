#version 450
// o[t, h, d] = sum_p softmax(scale q.k_p) v_pd, one chunk of keys per dispatch,
// (m, l, o) of the chunks before kept in a buffer. One invocation per (d, h, t).
// precise: the driver may not contract or reassociate what is written here.
//
// Chunks and eight terms a turn keep loops short: Mesa's llvmpipe silently
// leaves every loop after 65,535 turns of the invocation. The packs said so:
// only cases with kv_len x head_dim above 32,767 failed.
layout(local_size_x = 32) in;
layout(std430, binding = 0) readonly buffer Q { float q[]; };
layout(std430, binding = 1) readonly buffer K { uint k[]; };
layout(std430, binding = 2) readonly buffer V { uint v[]; };
layout(std430, binding = 3) buffer State { vec4 state[]; };  // m, l, o
layout(std430, binding = 4) writeonly buffer Out { float result[]; };
layout(push_constant) uniform Args {
  uint k_f16, v_f16, n_tokens, n_heads, n_kv_heads, head_dim, kv_len,
      kv_capacity, causal;
  float scale;
  uint first, last;  // keys of this dispatch: first .. last - 1
};

float key(uint i) {
  return k_f16 != 0 ? unpackHalf2x16(k[i / 2])[i & 1] : uintBitsToFloat(k[i]);
}
float value(uint i) {
  return v_f16 != 0 ? unpackHalf2x16(v[i / 2])[i & 1] : uintBitsToFloat(v[i]);
}
float term(uint row, uint at, uint i, float s) {
  return i < head_dim ? fma(q[row + i], key(at + i), s) : s;
}
float score(uint row, uint at) {
  precise float s = 0;
  for (uint i = 0; i < head_dim; i += 8) {
    s = term(row, at, i, s);
    s = term(row, at, i + 1, s);
    s = term(row, at, i + 2, s);
    s = term(row, at, i + 3, s);
    s = term(row, at, i + 4, s);
    s = term(row, at, i + 5, s);
    s = term(row, at, i + 6, s);
    s = term(row, at, i + 7, s);
  }
  precise float scaled = s * scale;
  return scaled;
}
// exp of a NaN need not be one in GLSL.
float weight(float x) { return isnan(x) ? x : exp(x); }

void main() {
  const uint d = gl_GlobalInvocationID.x, h = gl_GlobalInvocationID.y;
  const uint t = gl_GlobalInvocationID.z;
  if (d >= head_dim) return;
  const uint kvh = h / (n_heads / n_kv_heads);
  const uint n = causal != 0 ? kv_len - n_tokens + t + 1 : kv_len;
  const uint end = min(n, last), head = kvh * kv_capacity * head_dim;
  const uint row = (t * n_heads + h) * head_dim;
  const float low = uintBitsToFloat(0xFF800000u);
  vec4 old = first == 0 ? vec4(low, 0, 0, 0) : state[row + d];
  if (first < end) {
    float m = old.x;
    for (uint p = first; p < end; ++p) {
      const float s = score(row, head + p * head_dim);
      m = s > m ? s : m;  // a NaN shows in its weight
    }
    precise float scaled = old.x == m ? 1 : weight(old.x - m);
    precise float l = old.y * scaled, o = old.z * scaled;
    for (uint p = first; p < end; ++p) {
      const uint at = head + p * head_dim;
      precise float x = score(row, at) - m;
      const float e = weight(x);
      l += e;
      o = fma(e, value(at + d), o);
    }
    old = vec4(m, l, o, 0);
    state[row + d] = old;
  }
  // An empty cache gives 0, not 0 / 0.
  if (last >= kv_len) result[row + d] = n == 0 ? 0 : old.z / old.y;
}
