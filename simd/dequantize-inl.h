// Block formats to f32, per target. Two steps, so that each stays simple: the
// block's integers are unpacked into bytes that live in L1, then groups of 16
// or 32 bytes are widened and scaled. Only for targets with 16-byte vectors.
#if defined(ETALON_SIMD_DEQUANTIZE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ETALON_SIMD_DEQUANTIZE_INL_H_
#undef ETALON_SIMD_DEQUANTIZE_INL_H_
#else
#define ETALON_SIMD_DEQUANTIZE_INL_H_
#endif

#include <cstring>

#include "hwy/highway.h"
#include "quant/block_formats.h"
#include "quant/dequantize.h"
#include "quant/f16.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {
#if HWY_TARGET != HWY_SCALAR
namespace hn = hwy::HWY_NAMESPACE;

using DqF32 = hn::CappedTag<float, 16>;
using DqI32 = hn::RebindToSigned<DqF32>;
using DqBytes = hn::CappedTag<uint8_t, 32>;
static_assert(hn::MaxLanes(DqBytes()) >= 16);

// out = scale * q over kCount values. Byte is int8_t or uint8_t.
template <size_t kCount, class Byte>
HWY_INLINE void ScaleGroup(const Byte* HWY_RESTRICT q, float scale,
                           float* HWY_RESTRICT out) {
  const DqF32 df;
  const hn::Rebind<Byte, DqF32> d8;
  const auto vscale = hn::Set(df, scale);
  for (size_t i = 0; i < kCount; i += hn::Lanes(df)) {
    const auto v = hn::PromoteTo(DqI32(), hn::LoadU(d8, q + i));
    hn::StoreU(hn::Mul(vscale, hn::ConvertTo(df, v)), df, out + i);
  }
}

// out = scale * q + offset: the product is exact, the sum rounds once. A
// subtracted minimum is passed negated: x - m and x + (-m) are one operation.
template <size_t kCount>
HWY_INLINE void ScaleOffsetGroup(const uint8_t* HWY_RESTRICT q, float scale,
                                 float offset, float* HWY_RESTRICT out) {
  const DqF32 df;
  const hn::Rebind<uint8_t, DqF32> d8;
  const auto vscale = hn::Set(df, scale);
  const auto voffset = hn::Set(df, offset);
  for (size_t i = 0; i < kCount; i += hn::Lanes(df)) {
    const auto v = hn::PromoteTo(DqI32(), hn::LoadU(d8, q + i));
    hn::StoreU(hn::Add(hn::Mul(vscale, hn::ConvertTo(df, v)), voffset), df,
               out + i);
  }
}

// Nibbles of 16 bytes to q[32], halves order.
HWY_INLINE void UnpackNibbles32(const uint8_t* HWY_RESTRICT qs,
                                uint8_t* HWY_RESTRICT q) {
  const hn::Full128<uint8_t> d8;
  const auto v = hn::LoadU(d8, qs);
  hn::Store(hn::And(v, hn::Set(d8, 15)), d8, q);
  hn::Store(hn::ShiftRight<4>(v), d8, q + 16);
}

// Adds bit j of qh, times 16, to q[j].
HWY_INLINE void AddFifthBits32(const uint8_t* HWY_RESTRICT qh,
                               uint8_t* HWY_RESTRICT q) {
  const hn::Full128<uint8_t> d8;
  HWY_ALIGN static constexpr uint8_t kByteOfLane[16] = {0, 0, 0, 0, 0, 0, 0, 0,
                                                        1, 1, 1, 1, 1, 1, 1, 1};
  HWY_ALIGN static constexpr uint8_t kBitOfLane[16] = {
      1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  const auto byte_of_lane = hn::Load(d8, kByteOfLane);
  const auto bit_of_lane = hn::Load(d8, kBitOfLane);
  HWY_ALIGN uint8_t bits[16] = {};
  std::memcpy(bits, qh, 4);
  const auto all = hn::Load(d8, bits);
  const auto sixteen = hn::Set(d8, 16);
  const auto low = hn::TableLookupBytes(all, byte_of_lane);
  const auto high =
      hn::TableLookupBytes(all, hn::Add(byte_of_lane, hn::Set(d8, 2)));
  const auto add_low =
      hn::IfThenElseZero(hn::TestBit(low, bit_of_lane), sixteen);
  const auto add_high =
      hn::IfThenElseZero(hn::TestBit(high, bit_of_lane), sixteen);
  hn::Store(hn::Or(hn::Load(d8, q), add_low), d8, q);
  hn::Store(hn::Or(hn::Load(d8, q + 16), add_high), d8, q + 16);
}

// Subtracts a constant bias from q[32], leaving signed bytes.
HWY_INLINE void SubtractBias32(uint8_t* HWY_RESTRICT q, uint8_t bias) {
  const hn::Full128<uint8_t> d8;
  const auto vbias = hn::Set(d8, bias);
  hn::Store(hn::Sub(hn::Load(d8, q), vbias), d8, q);
  hn::Store(hn::Sub(hn::Load(d8, q + 16), vbias), d8, q + 16);
}

// The 256 nibbles of a Q4_K or Q5_K block, element order.
HWY_INLINE void UnpackNibbles256(const uint8_t* HWY_RESTRICT qs,
                                 uint8_t* HWY_RESTRICT q) {
  const DqBytes d8;
  const auto mask = hn::Set(d8, 15);
  for (size_t c = 0; c < 4; ++c) {
    for (size_t l = 0; l < 32; l += hn::Lanes(d8)) {
      const auto v = hn::LoadU(d8, qs + 32 * c + l);
      hn::Store(hn::And(v, mask), d8, q + 64 * c + l);
      hn::Store(hn::ShiftRight<4>(v), d8, q + 64 * c + 32 + l);
    }
  }
}

// Bit s of qh[l], times 16, added to element 32 s + l.
HWY_INLINE void AddFifthBits256(const uint8_t* HWY_RESTRICT qh,
                                uint8_t* HWY_RESTRICT q) {
  const DqBytes d8;
  const auto sixteen = hn::Set(d8, 16);
  for (size_t l = 0; l < 32; l += hn::Lanes(d8)) {
    const auto bits = hn::LoadU(d8, qh + l);
    for (size_t s = 0; s < 8; ++s) {
      const auto bit = hn::Set(d8, static_cast<uint8_t>(1u << s));
      uint8_t* p = q + 32 * s + l;
      const auto add = hn::IfThenElseZero(hn::TestBit(bits, bit), sixteen);
      hn::Store(hn::Or(hn::Load(d8, p), add), d8, p);
    }
  }
}

// The 256 signed 6-bit values of a Q6_K block, element order.
HWY_INLINE void UnpackQ6K(const BlockQ6_K& block, uint8_t* HWY_RESTRICT q) {
  const DqBytes d8;
  const auto nibble = hn::Set(d8, 15);
  const auto top = hn::Set(d8, 0x30);
  const auto bias = hn::Set(d8, 32);
  for (size_t half = 0; half < 2; ++half) {
    for (size_t l = 0; l < 32; l += hn::Lanes(d8)) {
      const auto a = hn::LoadU(d8, block.ql + 64 * half + l);
      const auto b = hn::LoadU(d8, block.ql + 64 * half + 32 + l);
      const auto h = hn::LoadU(d8, block.qh + 32 * half + l);
      uint8_t* p = q + 128 * half + l;
      const auto q0 =
          hn::Or(hn::And(a, nibble), hn::And(hn::ShiftLeft<4>(h), top));
      const auto q1 =
          hn::Or(hn::And(b, nibble), hn::And(hn::ShiftLeft<2>(h), top));
      const auto q2 = hn::Or(hn::ShiftRight<4>(a), hn::And(h, top));
      const auto q3 =
          hn::Or(hn::ShiftRight<4>(b), hn::And(hn::ShiftRight<2>(h), top));
      hn::Store(hn::Sub(q0, bias), d8, p);
      hn::Store(hn::Sub(q1, bias), d8, p + 32);
      hn::Store(hn::Sub(q2, bias), d8, p + 64);
      hn::Store(hn::Sub(q3, bias), d8, p + 96);
    }
  }
}

HWY_INLINE const int8_t* AsSigned(const uint8_t* q) {
  return reinterpret_cast<const int8_t*>(q);
}

HWY_INLINE void DequantizeVec(const BlockQ4_0& block, float* HWY_RESTRICT out) {
  HWY_ALIGN uint8_t q[kQk];
  UnpackNibbles32(block.qs, q);
  SubtractBias32(q, 8);
  ScaleGroup<kQk>(AsSigned(q), F16ToF32(block.d), out);
}

HWY_INLINE void DequantizeVec(const BlockQ4_1& block, float* HWY_RESTRICT out) {
  HWY_ALIGN uint8_t q[kQk];
  UnpackNibbles32(block.qs, q);
  ScaleOffsetGroup<kQk>(q, F16ToF32(block.d), F16ToF32(block.m), out);
}

HWY_INLINE void DequantizeVec(const BlockQ5_0& block, float* HWY_RESTRICT out) {
  HWY_ALIGN uint8_t q[kQk];
  UnpackNibbles32(block.qs, q);
  AddFifthBits32(block.qh, q);
  SubtractBias32(q, 16);
  ScaleGroup<kQk>(AsSigned(q), F16ToF32(block.d), out);
}

HWY_INLINE void DequantizeVec(const BlockQ5_1& block, float* HWY_RESTRICT out) {
  HWY_ALIGN uint8_t q[kQk];
  UnpackNibbles32(block.qs, q);
  AddFifthBits32(block.qh, q);
  ScaleOffsetGroup<kQk>(q, F16ToF32(block.d), F16ToF32(block.m), out);
}

HWY_INLINE void DequantizeVec(const BlockQ8_0& block, float* HWY_RESTRICT out) {
  ScaleGroup<kQk>(block.qs, F16ToF32(block.d), out);
}

// Scales and minimums of Q4_K and Q5_K over the unpacked q.
HWY_INLINE void ScaleKGroups(const uint8_t* HWY_RESTRICT q, uint16_t d,
                             uint16_t dmin, const uint8_t* packed_scales,
                             float* HWY_RESTRICT out) {
  const float scale = F16ToF32(d);
  const float min_scale = F16ToF32(dmin);
  const KScales scales = UnpackKScales(packed_scales);
  for (size_t s = 0; s < 8; ++s) {
    ScaleOffsetGroup<32>(q + 32 * s, scale * static_cast<float>(scales.sc[s]),
                         -(min_scale * static_cast<float>(scales.m[s])),
                         out + 32 * s);
  }
}

HWY_INLINE void DequantizeVec(const BlockQ4_K& block, float* HWY_RESTRICT out) {
  HWY_ALIGN uint8_t q[kQkK];
  UnpackNibbles256(block.qs, q);
  ScaleKGroups(q, block.d, block.dmin, block.scales, out);
}

HWY_INLINE void DequantizeVec(const BlockQ5_K& block, float* HWY_RESTRICT out) {
  HWY_ALIGN uint8_t q[kQkK];
  UnpackNibbles256(block.qs, q);
  AddFifthBits256(block.qh, q);
  ScaleKGroups(q, block.d, block.dmin, block.scales, out);
}

HWY_INLINE void DequantizeVec(const BlockQ6_K& block, float* HWY_RESTRICT out) {
  HWY_ALIGN uint8_t q[kQkK];
  UnpackQ6K(block, q);
  const float d = F16ToF32(block.d);
  for (size_t s = 0; s < 16; ++s) {
    ScaleGroup<16>(AsSigned(q + 16 * s),
                   d * static_cast<float>(block.scales[s]), out + 16 * s);
  }
}

HWY_INLINE void DequantizeVec(const BlockQ8_K& block, float* HWY_RESTRICT out) {
  ScaleGroup<kQkK>(block.qs, block.d, out);
}

template <class Block, size_t kBlock>
HWY_INLINE void DequantizeBlocksVec(const std::byte* row, size_t n,
                                    float* HWY_RESTRICT out) {
  const Block* blocks = reinterpret_cast<const Block*>(row);
  for (size_t b = 0; b < n / kBlock; ++b) {
    DequantizeVec(blocks[b], out + b * kBlock);
  }
}

// T is hwy::float16_t or hwy::bfloat16_t: widening is exact. F16C also treats
// Inf and NaN as IEEE does, which Highway's emulation (SSE4, scalar) does not.
template <class T>
HWY_INLINE void WidenRow(const std::byte* row, size_t n,
                         float* HWY_RESTRICT out) {
  const DqF32 df;
  const hn::Rebind<T, DqF32> d16;
  const T* HWY_RESTRICT codes = reinterpret_cast<const T*>(row);
  const size_t step = hn::Lanes(df);
  size_t i = 0;
  for (; i + step <= n; i += step) {
    hn::StoreU(hn::PromoteTo(df, hn::LoadU(d16, codes + i)), df, out + i);
  }
  for (; i < n; ++i) {
    uint16_t bits;
    std::memcpy(&bits, codes + i, sizeof(bits));
    out[i] = sizeof(T) == 2 && std::is_same_v<T, hwy::float16_t>
                 ? F16ToF32(bits)
                 : BF16ToF32(bits);
  }
}

HWY_INLINE void DequantizeRowImpl(TensorType type, const std::byte* row,
                                  size_t n, float* HWY_RESTRICT out) {
  switch (type) {
    case TensorType::kF32:
      if (n != 0) std::memcpy(out, row, n * sizeof(float));
      return;
    case TensorType::kF16:
      return WidenRow<hwy::float16_t>(row, n, out);
    case TensorType::kBF16:
      return WidenRow<hwy::bfloat16_t>(row, n, out);
    case TensorType::kQ4_0:
      return DequantizeBlocksVec<BlockQ4_0, kQk>(row, n, out);
    case TensorType::kQ4_1:
      return DequantizeBlocksVec<BlockQ4_1, kQk>(row, n, out);
    case TensorType::kQ5_0:
      return DequantizeBlocksVec<BlockQ5_0, kQk>(row, n, out);
    case TensorType::kQ5_1:
      return DequantizeBlocksVec<BlockQ5_1, kQk>(row, n, out);
    case TensorType::kQ8_0:
      return DequantizeBlocksVec<BlockQ8_0, kQk>(row, n, out);
    case TensorType::kQ4_K:
      return DequantizeBlocksVec<BlockQ4_K, kQkK>(row, n, out);
    case TensorType::kQ5_K:
      return DequantizeBlocksVec<BlockQ5_K, kQkK>(row, n, out);
    case TensorType::kQ6_K:
      return DequantizeBlocksVec<BlockQ6_K, kQkK>(row, n, out);
    case TensorType::kQ8_K:
      return DequantizeBlocksVec<BlockQ8_K, kQkK>(row, n, out);
  }
}

#else  // HWY_SCALAR: one lane, the scalar code is the vector code

inline void DequantizeRowImpl(TensorType type, const std::byte* row, size_t n,
                              float* out) {
  etalon::DequantizeRow(type, row, n, out);
}

#endif  // HWY_TARGET
}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
