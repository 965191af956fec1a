// Known answers of the matrix kernels, for start-up: every weight type, with
// rows and tokens beyond one tile, on inputs made of integers only.
#include <bit>
#include <cstdint>
#include <cstring>
#include <vector>

#include "quant/block_formats.h"
#include "simd/gemm.h"
#include "simd/quantize_row.h"

namespace etalon::ops {
bool SelfTestGemm();

namespace {

constexpr size_t kM = 33, kN = 33, kK = 256;

// Numerical Recipes' linear congruence; the high bits are random enough.
class Bits {
 public:
  uint32_t Next() { return (state_ = state_ * 1664525u + 1013904223u) >> 8; }

 private:
  uint32_t state_ = 1;
};

// An f16 of magnitude 2^-6 .. 2^-2.
uint16_t Scale(Bits& bits) {
  return static_cast<uint16_t>((bits.Next() & 0x8fffu) | 0x2400u);
}

template <class Block>
void PatchScales(std::vector<std::byte>& bytes, Bits& bits) {
  for (size_t at = 0; at + sizeof(Block) <= bytes.size(); at += sizeof(Block)) {
    Block b;
    std::memcpy(&b, &bytes[at], sizeof(b));
    b.d = Scale(bits);
    if constexpr (requires { b.dmin; }) b.dmin = Scale(bits);
    if constexpr (requires { b.m; }) b.m = Scale(bits);
    std::memcpy(&bytes[at], &b, sizeof(b));
  }
}

std::vector<std::byte> Weights(TensorType type) {
  Bits bits;
  std::vector<std::byte> bytes(kN * RowBytes(type, kK));
  for (std::byte& b : bytes) b = static_cast<std::byte>(bits.Next() & 0xff);
  switch (type) {
    case TensorType::kQ4_0:
      PatchScales<BlockQ4_0>(bytes, bits);
      break;
    case TensorType::kQ4_1:
      PatchScales<BlockQ4_1>(bytes, bits);
      break;
    case TensorType::kQ5_0:
      PatchScales<BlockQ5_0>(bytes, bits);
      break;
    case TensorType::kQ5_1:
      PatchScales<BlockQ5_1>(bytes, bits);
      break;
    case TensorType::kQ8_0:
      PatchScales<BlockQ8_0>(bytes, bits);
      break;
    case TensorType::kQ4_K:
      PatchScales<BlockQ4_K>(bytes, bits);
      break;
    case TensorType::kQ5_K:
      PatchScales<BlockQ5_K>(bytes, bits);
      break;
    case TensorType::kQ6_K:
      PatchScales<BlockQ6_K>(bytes, bits);
      break;
    case TensorType::kF32:
      for (size_t i = 0; i < bytes.size(); i += 4) {
        const float x = static_cast<float>(bits.Next() % 4001) * 0x1p-9f - 4;
        std::memcpy(&bytes[i], &x, 4);
      }
      break;
    default:  // kF16, kBF16: bits of moderate size in both formats
      for (size_t i = 0; i < bytes.size(); i += 2) {
        const uint16_t h = static_cast<uint16_t>(Scale(bits) | 0x3000u);
        std::memcpy(&bytes[i], &h, 2);
      }
  }
  return bytes;
}

// FNV-1a over the bits of out.
uint64_t Hash(const std::vector<float>& out) {
  uint64_t h = 0xcbf29ce484222325u;
  for (const float y : out) {
    h = (h ^ std::bit_cast<uint32_t>(y)) * 0x100000001b3u;
  }
  return h;
}

struct Known {
  TensorType type;
  uint64_t batch, one;  // hash of all rows of x, and of row 0 alone
};
// From the scalar tier, which tests compare with the stated order.
constexpr Known kKnown[] = {
    {TensorType::kF32, 0x34eb1f8ee7199192u, 0x83e325c29617e33bu},
    {TensorType::kF16, 0xd7bc7831a62ce838u, 0xc280221d45993557u},
    {TensorType::kBF16, 0x57f5dc05d557e24cu, 0x0089dcf4652c0ffeu},
    {TensorType::kQ4_0, 0x056f77908e2dd87au, 0x319d82b62c829da6u},
    {TensorType::kQ4_1, 0xd6de9074d29ef3f2u, 0xe62a587bb3ba9038u},
    {TensorType::kQ5_0, 0x3b7c2934fd5b9c0eu, 0x55f5362ed0680af6u},
    {TensorType::kQ5_1, 0xc19f4fa96127befau, 0xd131b3908e376b35u},
    {TensorType::kQ8_0, 0xa3a0ec774251b682u, 0x2e3e34f08faedf4cu},
    {TensorType::kQ4_K, 0xb0e4daef162d918fu, 0x3a0caec2772c1f3eu},
    {TensorType::kQ5_K, 0x63bb62b0047edf12u, 0xdf01d8d30b8e3e98u},
    {TensorType::kQ6_K, 0x8cc46b8d43086276u, 0x74464f4a5a426d3bu},
};

}  // namespace

bool SelfTestGemm() {
  Bits bits;
  std::vector<float> x(kM * kK);
  for (float& v : x) v = static_cast<float>(bits.Next() % 2001) * 0.01f - 10;
  std::vector<float> out(kM * kN);
  constexpr size_t kAlign = 64;
  const auto aligned = [](std::vector<std::byte>& v) {
    const size_t at = reinterpret_cast<uintptr_t>(v.data()) % kAlign;
    return v.data() + (kAlign - at) % kAlign;
  };
  std::vector<std::byte> scratch(simd::GemmScratchBytes(kM, kK) + kAlign);
  bool ok = true;
  for (const Known& known : kKnown) {
    const std::vector<std::byte> bytes = Weights(known.type);
    simd::GemmRows rows;
    rows.weights = {known.type, bytes.data(), kN, kK, RowBytes(known.type, kK)};
    rows.row_end = kN;
    const auto product = [&](size_t m) {
      rows.out = {out.data(), m, kN};
      if (!IsQuantized(known.type)) {
        simd::GemmF32(rows, {x.data(), m, kK}, aligned(scratch));
        return;
      }
      const TensorType type = simd::ActivationTypeFor(known.type);
      std::vector<std::byte> memory(simd::ActivationRowsBytes(type, m, kK) +
                                    kAlign);
      const simd::MutableActivationRows q =
          simd::PlaceActivationRows(type, m, kK, aligned(memory));
      for (size_t t = 0; t < m; ++t) {
        simd::QuantizeActivationRow(&x[t * kK], t, q);
      }
      std::vector<std::byte> packed(simd::GemmActivationsBytes(type, m, kK) +
                                    kAlign);
      const simd::GemmActivations a =
          simd::PlaceGemmActivations(type, m, kK, aligned(packed));
      for (size_t t = 0; t < m; ++t) {
        simd::PackActivationRow(q.View(), t, t, a);
      }
      simd::GemmQuantized(rows, a, aligned(scratch));
    };
    product(kM);
    ok = ok && Hash(out) == known.batch;
    product(1);
    ok = ok && Hash({out.begin(), out.begin() + kN}) == known.one;
  }
  return ok;
}

}  // namespace etalon::ops
