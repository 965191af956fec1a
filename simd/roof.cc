#include "simd/roof.h"

#include <cstring>

#include "simd/target.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/roof.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

uint64_t ReadLines(const std::byte* data, size_t n_streams, size_t stream_bytes,
                   size_t ahead) {
  const hn::ScalableTag<uint64_t> d;
  using V = hn::Vec<decltype(d)>;
  constexpr size_t kLine = 64;
  const size_t step = hn::Lanes(d) * sizeof(uint64_t);
  // Four sums, so that no xor waits for the one before.
  V a = hn::Zero(d), b = a, c = a, e = a;
  const auto load = [&](const std::byte* p) HWY_ATTR {
    return hn::LoadU(d, reinterpret_cast<const uint64_t*>(p));
  };
  size_t i = 0;
  if (n_streams == 1) {  // out of L1, where every instruction counts
    for (; i + 4 * step <= stream_bytes; i += 4 * step) {
      a = hn::Xor(a, load(data + i));
      b = hn::Xor(b, load(data + i + step));
      c = hn::Xor(c, load(data + i + 2 * step));
      e = hn::Xor(e, load(data + i + 3 * step));
    }
  }
  for (; i < stream_bytes; i += kLine) {
    for (size_t s = 0; s < n_streams; ++s) {
      const std::byte* at = data + s * stream_bytes + i;
      if (ahead > 0) __builtin_prefetch(at + ahead);
      for (size_t j = 0; j < kLine; j += 4 * step) {
        a = hn::Xor(a, load(at + j));
        if (step < kLine) b = hn::Xor(b, load(at + j + step));
        if (2 * step < kLine) {
          c = hn::Xor(c, load(at + j + 2 * step));
          e = hn::Xor(e, load(at + j + 3 * step));
        }
      }
    }
  }
  HWY_ALIGN uint64_t lanes[HWY_MAX_BYTES / sizeof(uint64_t)];
  hn::Store(hn::Xor(hn::Xor(a, b), hn::Xor(c, e)), d, lanes);
  uint64_t mix = 0;
  for (size_t l = 0; l < hn::Lanes(d); ++l) mix ^= lanes[l];
  return mix;
}

// Twelve independent chains cover latency times throughput of every CPU that
// runs AVX2 or AVX-512. As named variables: g++ 12 spills an array.
template <bool kFused>
double F32Steps(size_t steps) {
#if HWY_TARGET == HWY_SCALAR
  if (kFused) return 0;  // Highway's is not fused there
#endif
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  // Not numbers that the compiler knows, and none that grows or dies out.
  volatile float one = 0.999999f, small = 1e-6f;
  const V x = hn::Set(d, one), y = hn::Set(d, small);
  const auto op = [&](V acc) HWY_ATTR {
    return kFused ? hn::MulAdd(acc, x, y) : hn::Add(hn::Mul(acc, x), y);
  };
  // Twelve different chains: of equal ones the compiler keeps one.
  V v0 = x, v1 = hn::Add(v0, y), v2 = hn::Add(v1, y), v3 = hn::Add(v2, y),
    v4 = hn::Add(v3, y), v5 = hn::Add(v4, y), v6 = hn::Add(v5, y),
    v7 = hn::Add(v6, y), v8 = hn::Add(v7, y), v9 = hn::Add(v8, y),
    v10 = hn::Add(v9, y), v11 = hn::Add(v10, y);
  for (size_t i = 0; i < steps; ++i) {
    v0 = op(v0);
    v1 = op(v1);
    v2 = op(v2);
    v3 = op(v3);
    v4 = op(v4);
    v5 = op(v5);
    v6 = op(v6);
    v7 = op(v7);
    v8 = op(v8);
    v9 = op(v9);
    v10 = op(v10);
    v11 = op(v11);
  }
  V sum = hn::Add(hn::Add(hn::Add(v0, v1), hn::Add(v2, v3)),
                  hn::Add(hn::Add(v4, v5), hn::Add(v6, v7)));
  sum = hn::Add(sum, hn::Add(hn::Add(v8, v9), hn::Add(v10, v11)));
  volatile float sink = hn::GetLane(sum);
  static_cast<void>(sink);
  return static_cast<double>(steps * 12 * 2 * hn::Lanes(d));
}

double FmaSteps(size_t steps) { return F32Steps<true>(steps); }
double MulAddSteps(size_t steps) { return F32Steps<false>(steps); }

#if HWY_TARGET == HWY_AVX3
// Twelve independent sums per round. As asm, which needs no wider target:
// registers are what is measured.
#define ETALON_TWELVE_SUMS(op)                                            \
  asm volatile(op "0\n" op "1\n" op "2\n" op "3\n" op "4\n" op "5\n" op   \
                  "6\n" op "7\n" op "8\n" op "9\n" op "10\n" op "11\n" :: \
                      : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5",   \
                        "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", \
                        "xmm12", "xmm13")

double VnniSteps(size_t steps) {
  for (size_t i = 0; i < steps; ++i) {
    ETALON_TWELVE_SUMS("vpdpbusd %%zmm12, %%zmm13, %%zmm");
  }
  return static_cast<double>(steps) * 12 * 128;
}

double VectorBf16Steps(size_t steps) {
  for (size_t i = 0; i < steps; ++i) {
    ETALON_TWELVE_SUMS("vdpbf16ps %%zmm12, %%zmm13, %%zmm");
  }
  return static_cast<double>(steps) * 12 * 64;
}
#undef ETALON_TWELVE_SUMS

template <bool kBf16>
double AmxSteps(size_t steps) {
  struct alignas(64) Config {
    uint8_t palette = 1;
    uint8_t start_row = 0;
    uint8_t reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
  } config;
  for (int t = 0; t < 8; ++t) config.row_bytes[t] = 64, config.rows[t] = 16;
  alignas(64) uint16_t data[4][512];
  uint32_t state = 1;
  for (auto& tile : data) {
    for (uint16_t& v : tile) {
      state = state * 1664525u + 1013904223u;
      // bf16: sign and mantissa at random, magnitudes from 1 to 2.
      v = kBf16 ? static_cast<uint16_t>(0x3F80u | (state >> 16 & 0x807Fu))
                : static_cast<uint16_t>(state >> 16);
    }
  }
  const int64_t stride = 64;
  asm volatile("ldtilecfg %0" ::"m"(config));
  asm volatile(
      "tilezero %%tmm0\n tilezero %%tmm1\n tilezero %%tmm2\n"
      "tilezero %%tmm3\n"
      "tileloadd (%0,%4,1), %%tmm4\n tileloadd (%1,%4,1), %%tmm5\n"
      "tileloadd (%2,%4,1), %%tmm6\n tileloadd (%3,%4,1), %%tmm7\n" ::"r"(
          data[0]),
      "r"(data[1]), "r"(data[2]), "r"(data[3]), "r"(stride)
      : "memory");
  for (size_t i = 0; i < steps; ++i) {
    if constexpr (kBf16) {
      asm volatile(
          "tdpbf16ps %%tmm6, %%tmm4, %%tmm0\n"
          "tdpbf16ps %%tmm7, %%tmm4, %%tmm1\n"
          "tdpbf16ps %%tmm6, %%tmm5, %%tmm2\n"
          "tdpbf16ps %%tmm7, %%tmm5, %%tmm3\n" ::);
    } else {
      asm volatile(
          "tdpbssd %%tmm6, %%tmm4, %%tmm0\n tdpbssd %%tmm7, %%tmm4, %%tmm1\n"
          "tdpbssd %%tmm6, %%tmm5, %%tmm2\n tdpbssd %%tmm7, %%tmm5, "
          "%%tmm3\n" ::);
    }
  }
  asm volatile("tilerelease" ::);
  // 16 x 16 sums of 64 int8 or 32 bf16 products, four times.
  return static_cast<double>(steps) * 4 * (kBf16 ? 16384 : 32768);
}
double AmxInt8Steps(size_t steps) { return AmxSteps<false>(steps); }
double AmxBf16Steps(size_t steps) { return AmxSteps<true>(steps); }
#else
// Never called: HasPeak asks first.
double VnniSteps(size_t) { return 0; }
double VectorBf16Steps(size_t) { return 0; }
double AmxInt8Steps(size_t) { return 0; }
double AmxBf16Steps(size_t) { return 0; }
#endif

}  // namespace HWY_NAMESPACE
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace etalon::simd {

HWY_EXPORT(ReadLines);
HWY_EXPORT(FmaSteps);
HWY_EXPORT(MulAddSteps);
HWY_EXPORT(VnniSteps);
HWY_EXPORT(AmxInt8Steps);
HWY_EXPORT(AmxBf16Steps);
HWY_EXPORT(VectorBf16Steps);

uint64_t ReadStreams(const std::byte* data, size_t n_streams,
                     size_t stream_bytes, size_t ahead) {
  return HWY_DYNAMIC_DISPATCH(ReadLines)(data, n_streams, stream_bytes, ahead);
}

const char* PeakName(Peak peak) {
  constexpr const char* kNames[kNumPeaks] = {"mul+add f32", "fma f32",
                                             "vnni int8",   "amx int8",
                                             "amx bf16",    "avx512 bf16"};
  return kNames[static_cast<int>(peak)];
}

bool HasPeak(Peak peak) {
  const SimdTier tier = ActiveSimdTier();
  switch (peak) {
    case Peak::kMulAddF32:
      return true;
    case Peak::kFmaF32:
      return tier >= SimdTier::kAvx2;
    case Peak::kVnniInt8:
      return tier >= SimdTier::kAvx512Vnni;
    case Peak::kAmxInt8:
      return tier == SimdTier::kAmx;
    case Peak::kAmxBf16:
      return tier == SimdTier::kAmx && GetCpuFeatures().amx_bf16;
    case Peak::kVectorBf16:
      return tier >= SimdTier::kAvx512Vnni && GetCpuFeatures().avx512_bf16;
  }
  return false;
}

double RunPeak(Peak peak, size_t steps) {
  if (!HasPeak(peak)) return 0;
  switch (peak) {
    case Peak::kMulAddF32:
      return HWY_DYNAMIC_DISPATCH(MulAddSteps)(steps);
    case Peak::kFmaF32:
      return HWY_DYNAMIC_DISPATCH(FmaSteps)(steps);
    case Peak::kVnniInt8:
      return HWY_DYNAMIC_DISPATCH(VnniSteps)(steps);
    case Peak::kAmxInt8:
      return HWY_DYNAMIC_DISPATCH(AmxInt8Steps)(steps);
    case Peak::kAmxBf16:
      return HWY_DYNAMIC_DISPATCH(AmxBf16Steps)(steps);
    case Peak::kVectorBf16:
      return HWY_DYNAMIC_DISPATCH(VectorBf16Steps)(steps);
  }
  return 0;
}

}  // namespace etalon::simd
#endif  // HWY_ONCE
