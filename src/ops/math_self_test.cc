// Start-up tests of the row-wise kernels: fixed inputs, and the hash that
// their outputs have on every tier, compiler and machine. Widths leave a tail.
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "ops/correctly_rounded.h"
#include "simd/elementwise.h"
#include "simd/exp.h"
#include "simd/rms_norm.h"
#include "simd/rope.h"
#include "simd/softmax.h"

namespace etalon::ops {

bool SelfTestExp();
bool SelfTestElementwise();
bool SelfTestRmsNorm();
bool SelfTestSoftmax();
bool SelfTestRope();

namespace {

constexpr size_t kValues = 16 * 12 + 7;
using Row = std::array<float, kValues>;

// Exact multiples of 2^-20 in [-range, range), range a power of two <= 8.
Row MakeRow(uint32_t seed, float range) {
  Row row;
  for (float& x : row) {
    seed = seed * 1664525u + 1013904223u;
    const int32_t centred = static_cast<int32_t>(seed >> 8) - (1 << 23);
    x = static_cast<float>(centred) * (range * 0x1p-23f);
  }
  return row;
}

// FNV-1a over the bits.
uint64_t Hash(std::span<const float> values) {
  uint64_t h = 0xcbf29ce484222325u;
  for (const float v : values) {
    const uint32_t bits = std::bit_cast<uint32_t>(v);
    for (int shift = 0; shift < 32; shift += 8) {
      h = (h ^ ((bits >> shift) & 0xFF)) * 0x100000001b3u;
    }
  }
  return h;
}

}  // namespace

bool SelfTestExp() {
  Row x = MakeRow(1, 128.0f);
  x[0] = 0.0f;
  x[1] = -100.0f;  // subnormal result
  x[2] = 88.7228f;
  Row y;
  simd::Exp(x.data(), y.data(), kValues);
  return y[0] == 1.0f && Hash(y) == 0x6f933c452cfed27fu;
}

bool SelfTestElementwise() {
  const Row gate = MakeRow(2, 8.0f);
  const Row up = MakeRow(3, 1.0f);
  Row y;
  simd::SwiGlu(gate.data(), up.data(), y.data(), kValues);
  simd::Add(y.data(), gate.data(), y.data(), kValues);
  simd::Scale(y.data(), 0x1.99999ap-4f, y.data(), kValues);
  return Hash(y) == 0xec1a05143b43d8aeu;
}

bool SelfTestRmsNorm() {
  const Row x = MakeRow(4, 4.0f);
  const Row weight = MakeRow(5, 1.0f);
  Row y;
  simd::RmsNormRows({x.data(), 1, kValues}, weight.data(), 1e-5f,
                    {y.data(), 1, kValues}, nullptr);
  return Hash(y) == 0xe0270c40e7f97e60u;
}

bool SelfTestSoftmax() {
  const Row x = MakeRow(6, 8.0f);
  Row y;
  simd::SoftmaxRows({x.data(), 1, kValues}, {y.data(), 1, kValues});
  return Hash(y) == 0x4e55d5b7c8aa6467u;
}

bool SelfTestRope() {
  constexpr size_t kHalf = 23;  // one step of 16 and a tail
  std::array<float, kHalf> cos, sin;
  for (size_t i = 0; i < kHalf; ++i) {
    const SinCos v = SinCosOf(1000.0f / static_cast<float>(i + 1));
    cos[i] = v.cos;
    sin[i] = v.sin;
  }
  Row x = MakeRow(7, 2.0f);
  simd::RopeHalfSplit(x.data(), 4, 2 * kHalf, cos.data(), sin.data(), kHalf);
  simd::RopeInterleaved(x.data(), 4, 2 * kHalf, cos.data(), sin.data(), kHalf);
  return Hash(x) == 0x22f29619a4e67aedu;
}

}  // namespace etalon::ops
