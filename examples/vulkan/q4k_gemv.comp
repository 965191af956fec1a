#version 450
// One output per invocation: exact integers per super-block of 256.
layout(local_size_x = 32) in;
layout(std430, binding = 0) readonly buffer Xq { uint xq[]; };  // int8 x 4
layout(std430, binding = 1) readonly buffer Xd { float xd[]; };
layout(std430, binding = 2) readonly buffer W { uint w[]; };  // 36 words a block
layout(std430, binding = 3) readonly buffer Bias { float bias[]; };
layout(std430, binding = 4) writeonly buffer Out { float result[]; };
layout(push_constant) uniform Args {
  uint n_rows, k;
  float scale;
};

uint weight_byte(uint i) { return bitfieldExtract(w[i / 4], int(i % 4) * 8, 8); }
int x_at(uint i) {
  return bitfieldExtract(int(xq[i / 4]), int(i % 4) * 8, 8);
}

void main() {
  const uint n = gl_GlobalInvocationID.x, m = gl_GlobalInvocationID.y;
  if (n >= n_rows) return;
  const uint nb = k / 256;
  precise float acc = 0;
  for (uint b = 0; b < nb; ++b) {
    const uint at = (n * nb + b) * 144, sc = at + 4, qs = at + 16;
    int sum = 0, mins = 0;
    for (uint j = 0; j < 8; ++j) {
      // 6-bit scale and minimum of sub-block j; the upper four are split.
      const uint s = j < 4 ? weight_byte(sc + j) & 63
                           : (weight_byte(sc + j + 4) & 15) |
                                 (weight_byte(sc + j - 4) >> 6) << 4;
      const uint least = j < 4 ? weight_byte(sc + j + 4) & 63
                               : weight_byte(sc + j + 4) >> 4 |
                                     (weight_byte(sc + j) >> 6) << 4;
      int product = 0, total = 0;
      for (uint i = 0; i < 32; ++i) {
        const uint nibbles = weight_byte(qs + 32 * (j / 2) + i);
        const int x = x_at(m * k + b * 256 + 32 * j + i);
        product += int(j % 2 == 0 ? nibbles & 15 : nibbles >> 4) * x;
        total += x;
      }
      sum += int(s) * product;
      mins += int(least) * total;
    }
    const vec2 scales = unpackHalf2x16(w[at / 4]);  // d, dmin
    precise float dx = scales.x * xd[m * nb + b];
    precise float mx = scales.y * xd[m * nb + b];
    acc = fma(dx, float(sum), acc);
    acc = fma(-mx, float(mins), acc);
  }
  precise float y = acc * scale;
  result[m * n_rows + n] = y + bias[n];
}
