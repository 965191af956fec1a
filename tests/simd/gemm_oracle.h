// The stated order of etalon/gemm.h, literally: one output element at a time,
// integers first, std::fma in block order. Shares nothing with simd/ but the
// quantised activations, which have tests of their own.
#ifndef ETALON_TESTS_SIMD_GEMM_ORACLE_H_
#define ETALON_TESTS_SIMD_GEMM_ORACLE_H_

#include <cmath>
#include <cstring>
#include <vector>

#include "etalon/tensor.h"
#include "quant/block_formats.h"
#include "quant/dequantize.h"
#include "quant/f16.h"
#include "quant/quantize_row.h"

namespace etalon::test {

// A block as integers: value = d * sc[i / sub] * q[i] - dmin * m[i / sub] (or
// + m).
struct IntBlock {
  std::vector<int> q, sc, m;
  float d = 0, dm = 0;  // dm with its sign
  bool has_min = false;
};

inline int FifthBit(const uint8_t qh[4], size_t i) {
  return qh[i / 8] >> (i % 8) & 1;
}

inline IntBlock ReadBlock(TensorType type, const std::byte* at) {
  IntBlock r;
  const auto copy = [&](auto& b) { std::memcpy(&b, at, sizeof(b)); };
  switch (type) {
    case TensorType::kQ4_0: {
      BlockQ4_0 b;
      copy(b);
      for (size_t i = 0; i < 32; ++i) {
        r.q.push_back((i < 16 ? b.qs[i] & 15 : b.qs[i - 16] >> 4) - 8);
      }
      r.d = F16ToF32(b.d);
      break;
    }
    case TensorType::kQ4_1: {
      BlockQ4_1 b;
      copy(b);
      for (size_t i = 0; i < 32; ++i) {
        r.q.push_back(i < 16 ? b.qs[i] & 15 : b.qs[i - 16] >> 4);
      }
      r.d = F16ToF32(b.d);
      r.dm = F16ToF32(b.m);
      r.has_min = true;
      break;
    }
    case TensorType::kQ5_0: {
      BlockQ5_0 b;
      copy(b);
      for (size_t i = 0; i < 32; ++i) {
        r.q.push_back((i < 16 ? b.qs[i] & 15 : b.qs[i - 16] >> 4) +
                      16 * FifthBit(b.qh, i) - 16);
      }
      r.d = F16ToF32(b.d);
      break;
    }
    case TensorType::kQ5_1: {
      BlockQ5_1 b;
      copy(b);
      for (size_t i = 0; i < 32; ++i) {
        r.q.push_back((i < 16 ? b.qs[i] & 15 : b.qs[i - 16] >> 4) +
                      16 * FifthBit(b.qh, i));
      }
      r.d = F16ToF32(b.d);
      r.dm = F16ToF32(b.m);
      r.has_min = true;
      break;
    }
    case TensorType::kQ8_0: {
      BlockQ8_0 b;
      copy(b);
      for (size_t i = 0; i < 32; ++i) r.q.push_back(b.qs[i]);
      r.d = F16ToF32(b.d);
      break;
    }
    case TensorType::kQ4_K:
    case TensorType::kQ5_K: {
      BlockQ5_K b{};
      if (type == TensorType::kQ5_K) {
        copy(b);
      } else {
        BlockQ4_K b4;
        copy(b4);
        b.d = b4.d;
        b.dmin = b4.dmin;
        std::memcpy(b.scales, b4.scales, sizeof(b.scales));
        std::memcpy(b.qs, b4.qs, sizeof(b.qs));
      }
      for (size_t i = 0; i < 256; ++i) {
        const size_t c = i / 64, l = i % 32;
        const bool high = i % 64 >= 32;
        const int nibble = high ? b.qs[32 * c + l] >> 4 : b.qs[32 * c + l] & 15;
        r.q.push_back(nibble + 16 * (b.qh[l] >> (2 * c + high) & 1));
      }
      for (size_t s = 0; s < 8; ++s) {
        const uint8_t* p = b.scales;
        r.sc.push_back(s < 4 ? p[s] & 63
                             : (p[s + 4] & 15) | (p[s - 4] >> 6) << 4);
        r.m.push_back(s < 4 ? p[s + 4] & 63
                            : (p[s + 4] >> 4) | (p[s] >> 6) << 4);
      }
      r.d = F16ToF32(b.d);
      r.dm = -F16ToF32(b.dmin);
      r.has_min = true;
      break;
    }
    case TensorType::kQ6_K: {
      BlockQ6_K b;
      copy(b);
      for (size_t i = 0; i < 256; ++i) {
        const size_t half = i / 128, part = i % 128 / 32, l = i % 32;
        const uint8_t ql = b.ql[64 * half + 32 * (part % 2) + l];
        const int low = part < 2 ? ql & 15 : ql >> 4;
        r.q.push_back((low | (b.qh[32 * half + l] >> 2 * part & 3) << 4) - 32);
      }
      for (const int8_t s : b.scales) r.sc.push_back(s);
      r.d = F16ToF32(b.d);
      break;
    }
    default:
      break;
  }
  return r;
}

// One quantised activation row: q, and d and block size.
struct IntRow {
  std::vector<int> q;
  std::vector<float> d;
};
inline IntRow QuantiseForOracle(size_t block, const float* x, size_t k) {
  IntRow r;
  if (block == 256) {
    std::vector<BlockQ8_K> b(k / 256);
    QuantizeRowQ8K(x, k, b.data());
    for (const BlockQ8_K& i : b) {
      r.q.insert(r.q.end(), i.qs, i.qs + 256);
      r.d.push_back(i.d);
    }
  } else {
    std::vector<BlockQ8_0> b(k / 32);
    QuantizeRowQ80(x, k, b.data());
    for (const BlockQ8_0& i : b) {
      r.q.insert(r.q.end(), i.qs, i.qs + 32);
      r.d.push_back(F16ToF32(i.d));
    }
  }
  return r;
}

// Weight rows in integers, read once for many activation rows.
inline std::vector<IntBlock> ReadRow(const WeightMatrix& w, size_t n) {
  const TypeTraits& t = GetTypeTraits(w.type);
  std::vector<IntBlock> blocks;
  for (size_t b = 0; b < w.cols / t.block_size; ++b) {
    blocks.push_back(ReadBlock(w.type, w.row(n) + b * t.block_bytes));
  }
  return blocks;
}

inline float QuantisedDot(const std::vector<IntBlock>& w, const IntRow& x) {
  float acc = 0.0f;
  size_t k = 0;
  for (size_t b = 0; b < w.size(); ++b) {
    int s = 0, t = 0;
    const size_t n = w[b].q.size();
    const size_t sub = w[b].sc.empty() ? n : n / w[b].sc.size();
    for (size_t i = 0; i < n; ++i, ++k) {
      s += (w[b].sc.empty() ? 1 : w[b].sc[i / sub]) * w[b].q[i] * x.q[k];
      t += (w[b].m.empty() ? 1 : w[b].m[i / sub]) * x.q[k];
    }
    const float dx = x.d[b];
    acc = std::fma(w[b].d * dx, static_cast<float>(s), acc);
    if (w[b].has_min) {
      acc = std::fma(w[b].dm * dx, static_cast<float>(t), acc);
    }
  }
  return acc;
}

// 16 lanes, the tail padded with +0, folded 8, 4, 2, 1.
inline float F32Dot(const float* w, const float* x, size_t k) {
  float lane[16] = {};
  for (size_t i = 0; i < (k + 15) / 16 * 16; ++i) {
    lane[i % 16] =
        std::fma(i < k ? w[i] : 0.0f, i < k ? x[i] : 0.0f, lane[i % 16]);
  }
  for (size_t h = 8; h >= 1; h /= 2) {
    for (size_t j = 0; j < h; ++j) lane[j] += lane[j + h];
  }
  return lane[0];
}

// out [M, N] dense. `f32`: f32 activations whatever the weights are.
inline std::vector<float> OracleGemm(const WeightMatrix& w,
                                     Span2D<const float> x, bool f32,
                                     const float* bias, float scale) {
  const size_t block = GetTypeTraits(w.type).block_size;
  const bool quantised = IsQuantized(w.type) && !f32;
  std::vector<IntRow> rows;
  for (size_t m = 0; quantised && m < x.rows; ++m) {
    rows.push_back(QuantiseForOracle(block, x.data + m * x.stride, x.cols));
  }
  std::vector<float> out(x.rows * w.rows);
  std::vector<float> weights(w.cols);
  for (size_t n = 0; n < w.rows; ++n) {
    std::vector<IntBlock> blocks;
    if (quantised) {
      blocks = ReadRow(w, n);
    } else {
      DequantizeRow(w.type, w.row(n), w.cols, weights.data());
    }
    for (size_t m = 0; m < x.rows; ++m) {
      const float acc =
          quantised ? QuantisedDot(blocks, rows[m])
                    : F32Dot(weights.data(), x.data + m * x.stride, x.cols);
      const float y = acc * scale;
      out[m * w.rows + n] = bias != nullptr ? y + bias[n] : y;
    }
  }
  return out;
}

}  // namespace etalon::test

#endif  // ETALON_TESTS_SIMD_GEMM_ORACLE_H_
