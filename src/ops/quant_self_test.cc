// Start-up tests of the row kernels: vector code against the scalar rules of
// quant/, which every tier must equal bit for bit.
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include "quant/dequantize.h"
#include "quant/f16.h"
#include "quant/quantize_row.h"
#include "simd/dequantize.h"
#include "simd/quantize_row.h"

namespace etalon::ops {

bool SelfTestDequantize();
bool SelfTestQuantizeRow();

namespace {

constexpr size_t kValues = 2 * kQkK;

// Numerical Recipes' 32-bit congruential generator: enough for fixed input.
struct Lcg {
  uint32_t state = 1;
  uint32_t Next() {
    state = state * 1664525u + 1013904223u;
    return state >> 8;
  }
};

bool BlockSumsAgree(const float* x, const simd::ActivationRows& rows) {
  for (size_t b = 0; b < kValues / rows.block; ++b) {
    if (rows.block == kQkK) {
      BlockQ8_K block;
      QuantizeRowQ8K(x + b * kQkK, kQkK, &block);
      if (std::memcmp(block.qs, rows.qs + b * kQkK, kQkK) != 0 ||
          std::memcmp(block.bsums, rows.bsums + b * 16, 32) != 0 ||
          block.d != rows.d[b]) {
        return false;
      }
    } else {
      BlockQ8_0 block;
      QuantizeRowQ80(x + b * kQk, kQk, &block);
      int sum = 0;
      for (const int8_t q : block.qs) sum += q;
      if (std::memcmp(block.qs, rows.qs + b * kQk, kQk) != 0 ||
          rows.bsums[b] != sum || F16ToF32(block.d) != rows.d[b]) {
        return false;
      }
    }
  }
  return true;
}

}  // namespace

bool SelfTestDequantize() {
  Lcg lcg;
  alignas(16) std::array<std::byte, kValues * sizeof(float)> row;
  // Exponent bytes below 0x70 keep every f16, bf16 and f32 scale finite.
  for (std::byte& b : row) b = static_cast<std::byte>(lcg.Next() % 0x70);
  for (const TensorType type :
       {TensorType::kF16, TensorType::kBF16, TensorType::kQ4_0,
        TensorType::kQ4_1, TensorType::kQ5_0, TensorType::kQ5_1,
        TensorType::kQ8_0, TensorType::kQ4_K, TensorType::kQ5_K,
        TensorType::kQ6_K, TensorType::kQ8_K}) {
    std::array<float, kValues> expected;
    std::array<float, kValues> actual;
    DequantizeRow(type, row.data(), kValues, expected.data());
    simd::DequantizeRow(type, row.data(), kValues, actual.data());
    if (std::memcmp(expected.data(), actual.data(), sizeof(actual)) != 0) {
      return false;
    }
  }
  return true;
}

bool SelfTestQuantizeRow() {
  Lcg lcg;
  std::array<float, kValues> x;
  for (float& v : x) {
    v = static_cast<float>(static_cast<int32_t>(lcg.Next()) - (1 << 23)) *
        0x1p-20f;
  }
  for (const TensorType type : {TensorType::kQ8_K, TensorType::kQ8_0}) {
    alignas(64) std::array<std::byte, 2048> memory;
    const simd::MutableActivationRows rows =
        simd::PlaceActivationRows(type, 1, kValues, memory.data());
    simd::QuantizeActivationRow(x.data(), 0, rows);
    if (!BlockSumsAgree(x.data(), rows.View())) return false;
  }
  return true;
}

}  // namespace etalon::ops
