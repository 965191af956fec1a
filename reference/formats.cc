#include "reference/formats.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "quant/block_formats.h"

namespace etalon::reference {
namespace {

template <class T>
T Load(const std::byte* p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}

// Bit `i` of a 32-bit little-endian field, as 16.
int HighBit(const uint8_t (&qh)[4], size_t i) {
  return ((qh[i / 8] >> (i % 8)) & 1) << 4;
}
// Element i of a 32-block: halves, not neighbours, share a byte.
int Nibble(const uint8_t (&qs)[kQk / 2], size_t i) {
  return i < kQk / 2 ? qs[i] & 15 : qs[i - kQk / 2] >> 4;
}
int16_t Narrow(int x) { return static_cast<int16_t>(x); }

// The packed 6-bit scale and minimum of sub-block s.
struct ScaleMin {
  int scale;
  int min;
};
ScaleMin UnpackScaleMin(const uint8_t (&scales)[12], size_t s) {
  if (s < 4) return {scales[s] & 63, scales[s + 4] & 63};
  return {(scales[s + 4] & 15) | ((scales[s - 4] >> 6) << 4),
          (scales[s + 4] >> 4) | ((scales[s] >> 6) << 4)};
}
// Four bits of element i of a 4- or 5-bit super-block.
int ChunkNibble(const uint8_t (&qs)[kQkK / 2], size_t i) {
  const uint8_t byte = qs[i / 64 * 32 + i % 32];
  return i % 64 < 32 ? byte & 15 : byte >> 4;
}

void Decode(const BlockQ4_0& b, IntegerBlock& out) {
  for (size_t i = 0; i < kQk; ++i) out.w[i] = Narrow(Nibble(b.qs, i) - 8);
}
void Decode(const BlockQ4_1& b, IntegerBlock& out) {
  for (size_t i = 0; i < kQk; ++i) out.w[i] = Narrow(Nibble(b.qs, i));
}
void Decode(const BlockQ5_0& b, IntegerBlock& out) {
  for (size_t i = 0; i < kQk; ++i) {
    out.w[i] = Narrow((Nibble(b.qs, i) | HighBit(b.qh, i)) - 16);
  }
}
void Decode(const BlockQ5_1& b, IntegerBlock& out) {
  for (size_t i = 0; i < kQk; ++i) {
    out.w[i] = Narrow(Nibble(b.qs, i) | HighBit(b.qh, i));
  }
}
void Decode(const BlockQ8_0& b, IntegerBlock& out) {
  for (size_t i = 0; i < kQk; ++i) out.w[i] = b.qs[i];
}
void Decode(const BlockQ4_K& b, IntegerBlock& out) {
  for (size_t i = 0; i < kQkK; ++i) {
    const ScaleMin s = UnpackScaleMin(b.scales, i / 32);
    out.w[i] = Narrow(s.scale * ChunkNibble(b.qs, i));
    out.m[i] = Narrow(s.min);
  }
}
void Decode(const BlockQ5_K& b, IntegerBlock& out) {
  for (size_t i = 0; i < kQkK; ++i) {
    const ScaleMin s = UnpackScaleMin(b.scales, i / 32);
    const int bit = (b.qh[i % 32] >> (i / 32)) & 1;
    out.w[i] = Narrow(s.scale * (ChunkNibble(b.qs, i) | bit << 4));
    out.m[i] = Narrow(s.min);
  }
}
void Decode(const BlockQ6_K& b, IntegerBlock& out) {
  for (size_t i = 0; i < kQkK; ++i) {
    const size_t half = i / 128;
    const size_t quarter = i % 128 / 32;  // which of l, l + 32, l + 64, l + 96
    const size_t l = i % 32;
    const int low_byte = b.ql[half * 64 + quarter % 2 * 32 + l];
    const int low = quarter < 2 ? low_byte & 15 : low_byte >> 4;
    const int high = (b.qh[half * 32 + l] >> (2 * quarter)) & 3;
    const int scale = b.scales[half * 8 + quarter * 2 + l / 16];
    out.w[i] = Narrow(scale * ((low | high << 4) - 32));
  }
}

template <class Block>
void DecodeAs(const std::byte* data, IntegerBlock& out) {
  const Block b = Load<Block>(data);
  out.d = F16ToDouble(b.d);
  out.has_min = false;
  if constexpr (requires { b.dmin; }) {
    out.has_min = true;
    out.c = -F16ToDouble(b.dmin);
  }
  if constexpr (requires { b.m; }) {
    out.has_min = true;
    out.c = F16ToDouble(b.m);
    out.m.fill(1);
  }
  Decode(b, out);
}

}  // namespace

double F16ToDouble(uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int mantissa = bits & 1023;
  double magnitude = 0.0;
  if (exponent == 31) {
    magnitude = mantissa == 0 ? std::numeric_limits<double>::infinity()
                              : std::numeric_limits<double>::quiet_NaN();
  } else if (exponent == 0) {
    magnitude = std::ldexp(mantissa, -24);
  } else {
    magnitude = std::ldexp(mantissa + 1024, exponent - 25);
  }
  return (bits >> 15) != 0 ? -magnitude : magnitude;
}

double BF16ToDouble(uint16_t bits) {
  return static_cast<double>(
      std::bit_cast<float>(static_cast<uint32_t>(bits) << 16));
}

uint16_t DoubleToF16(double x) {
  const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  const double magnitude = std::abs(x);
  if (std::isnan(x)) return static_cast<uint16_t>(sign | 0x7E00);
  // Half way between the largest f16 and the next power of two.
  if (magnitude >= 65520.0) return static_cast<uint16_t>(sign | 0x7C00);
  // Steps of 2^-24 below 2^-14, else of 2^(e - 10); nearbyint ties to even. A
  // carry out of the mantissa runs into the exponent, as it should.
  const int e = magnitude < 0x1p-14 ? -14 : std::ilogb(magnitude);
  const int steps =
      static_cast<int>(std::nearbyint(std::ldexp(magnitude, 10 - e)));
  return static_cast<uint16_t>(sign | (((e + 14) << 10) + steps));
}

std::optional<Format> WeightFormat(TensorType type) {
  switch (type) {
    case TensorType::kF32:
      return Format{1, 4};
    case TensorType::kF16:
    case TensorType::kBF16:
      return Format{1, 2};
    case TensorType::kQ4_0:
      return Format{32, 18};
    case TensorType::kQ4_1:
      return Format{32, 20};
    case TensorType::kQ5_0:
      return Format{32, 22};
    case TensorType::kQ5_1:
      return Format{32, 24};
    case TensorType::kQ8_0:
      return Format{32, 34};
    case TensorType::kQ4_K:
      return Format{256, 144};
    case TensorType::kQ5_K:
      return Format{256, 176};
    case TensorType::kQ6_K:
      return Format{256, 210};
    case TensorType::kQ8_K:
      break;
  }
  return std::nullopt;
}

std::string FormatName(TensorType type) {
  switch (type) {
    case TensorType::kF32:
      return "F32";
    case TensorType::kF16:
      return "F16";
    case TensorType::kBF16:
      return "BF16";
    case TensorType::kQ4_0:
      return "Q4_0";
    case TensorType::kQ4_1:
      return "Q4_1";
    case TensorType::kQ5_0:
      return "Q5_0";
    case TensorType::kQ5_1:
      return "Q5_1";
    case TensorType::kQ8_0:
      return "Q8_0";
    case TensorType::kQ4_K:
      return "Q4_K";
    case TensorType::kQ5_K:
      return "Q5_K";
    case TensorType::kQ6_K:
      return "Q6_K";
    case TensorType::kQ8_K:
      return "Q8_K";
  }
  return fmt::format("type {}", static_cast<uint32_t>(type));
}

void DecodeBlock(TensorType type, const std::byte* block, IntegerBlock& out) {
  switch (type) {
    case TensorType::kQ4_0:
      return DecodeAs<BlockQ4_0>(block, out);
    case TensorType::kQ4_1:
      return DecodeAs<BlockQ4_1>(block, out);
    case TensorType::kQ5_0:
      return DecodeAs<BlockQ5_0>(block, out);
    case TensorType::kQ5_1:
      return DecodeAs<BlockQ5_1>(block, out);
    case TensorType::kQ8_0:
      return DecodeAs<BlockQ8_0>(block, out);
    case TensorType::kQ4_K:
      return DecodeAs<BlockQ4_K>(block, out);
    case TensorType::kQ5_K:
      return DecodeAs<BlockQ5_K>(block, out);
    case TensorType::kQ6_K:
      return DecodeAs<BlockQ6_K>(block, out);
    case TensorType::kF32:
    case TensorType::kF16:
    case TensorType::kBF16:
    case TensorType::kQ8_K:
      break;
  }
}

void DecodeRow(TensorType type, const std::byte* data, std::span<double> row) {
  if (type == TensorType::kF32) {
    for (size_t i = 0; i < row.size(); ++i) {
      row[i] = static_cast<double>(Load<float>(data + 4 * i));
    }
    return;
  }
  if (type == TensorType::kF16 || type == TensorType::kBF16) {
    for (size_t i = 0; i < row.size(); ++i) {
      const uint16_t bits = Load<uint16_t>(data + 2 * i);
      row[i] =
          type == TensorType::kF16 ? F16ToDouble(bits) : BF16ToDouble(bits);
    }
    return;
  }
  const std::optional<Format> format = WeightFormat(type);
  if (!format) return;
  IntegerBlock block;
  for (size_t i = 0; i < row.size(); ++i) {
    const size_t j = i % format->block_size;
    if (j == 0) {
      DecodeBlock(type, data + i / format->block_size * format->block_bytes,
                  block);
    }
    row[i] = block.d * block.w[j];
    if (block.has_min) row[i] += block.c * block.m[j];
  }
}

}  // namespace etalon::reference
