// Panel x activations, compiled once per tier: included without a guard, with
// ETALON_TIER naming the namespace and ETALON_TIER_VNNI telling whether
// vpdpbusd may be used. Integer work is exact everywhere, so tiers differ in
// speed only.

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace ETALON_TIER {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
#define ETALON_TILE_X86 1
#else
#define ETALON_TILE_X86 0
#endif

#if ETALON_TILE_X86
using TileF = hn::CappedTag<float, kPanelRows>;
using TileI32 = hn::RebindToSigned<TileF>;
using VecF = hn::Vec<TileF>;
using VecI32 = hn::Vec<TileI32>;
inline constexpr size_t kTileLanes = hn::MaxLanes(TileF());

HWY_INLINE VecI32 LoadLine(const std::byte* p) {
  return hn::LoadU(TileI32(), reinterpret_cast<const int32_t*>(p));
}
HWY_INLINE VecI32 BroadcastQuad(const void* p) {
  int32_t w;
  std::memcpy(&w, p, sizeof(w));
  return hn::Set(TileI32(), w);
}
// Unsigned quants up to 255 would saturate the int16 sums of vpmaddubsw, so
// without vpdpbusd they are multiplied as the signed bytes they came from.
template <class F>
constexpr bool TakesSigned() {
  return !ETALON_TIER_VNNI && F::kMax == 255;
}
// int16 sums of u8 * s8 pairs; exact while 2 * max * 127 fits.
template <bool signed_weights>
HWY_INLINE VecI32 PairSums(VecI32 w, VecI32 x) {
#if HWY_TARGET == HWY_AVX3
  if constexpr (signed_weights) {
    // Quants were stored plus 128: |q| * (sign(q) x) cannot saturate.
    const __m512i q = _mm512_xor_si512(w.raw, _mm512_set1_epi8(-128));
    const __m512i sx = _mm512_mask_sub_epi8(x.raw, _mm512_movepi8_mask(q),
                                            _mm512_setzero_si512(), x.raw);
    return VecI32{_mm512_maddubs_epi16(_mm512_abs_epi8(q), sx)};
  } else {
    return VecI32{_mm512_maddubs_epi16(w.raw, x.raw)};
  }
#else
  if constexpr (signed_weights) {
    const __m256i q = _mm256_xor_si256(w.raw, _mm256_set1_epi8(-128));
    return VecI32{
        _mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(x.raw, q))};
  } else {
    return VecI32{_mm256_maddubs_epi16(w.raw, x.raw)};
  }
#endif
}
HWY_INLINE VecI32 Add16Bit(VecI32 a, VecI32 b) {
#if HWY_TARGET == HWY_AVX3
  return VecI32{_mm512_add_epi16(a.raw, b.raw)};
#else
  return VecI32{_mm256_add_epi16(a.raw, b.raw)};
#endif
}
// acc + a.lo * b.lo + a.hi * b.hi per int32 lane of int16 pairs.
HWY_INLINE VecI32 DotPairs(VecI32 acc, VecI32 a, VecI32 b) {
#if ETALON_TIER_VNNI
  return VecI32{_mm512_dpwssd_epi32(acc.raw, a.raw, b.raw)};
#elif HWY_TARGET == HWY_AVX3
  return hn::Add(acc, VecI32{_mm512_madd_epi16(a.raw, b.raw)});
#else
  return hn::Add(acc, VecI32{_mm256_madd_epi16(a.raw, b.raw)});
#endif
}

// sums[t] += scale * sum over `quads` lines of w * x[t].
template <class F, size_t quads, size_t kT>
HWY_INLINE void AddSubBlock(const std::byte* w, const int8_t* const* x,
                            size_t x_at, VecI32 scale, VecI32 (&sums)[kT]) {
#if ETALON_TIER_VNNI
  VecI32 a[kT];
#pragma GCC unroll 8
  for (size_t t = 0; t < kT; ++t) a[t] = hn::Zero(TileI32());
#pragma GCC unroll 8
  for (size_t i = 0; i < quads; ++i) {
    const VecI32 q = LoadLine(w + i * kLineBytes);
#pragma GCC unroll 8
    for (size_t t = 0; t < kT; ++t) {
      a[t].raw = _mm512_dpbusd_epi32(a[t].raw, q.raw,
                                     BroadcastQuad(x[t] + x_at + 4 * i).raw);
    }
  }
#pragma GCC unroll 8
  for (size_t t = 0; t < kT; ++t) {
    sums[t] = F::kSuper ? hn::Add(sums[t], hn::Mul(a[t], scale))
                        : hn::Add(sums[t], a[t]);
  }
#else
  // How many pair sums fit in int16: 2 * 127 * max each.
  constexpr int kRoom = 32767 / (2 * 127 * F::kMax);
  constexpr size_t kStep = kRoom >= 8 ? 8 : kRoom >= 4 ? 4 : kRoom >= 2 ? 2 : 1;
  static_assert(quads % kStep == 0);
  // The scale in both int16 halves: vpmaddwd adds the halves and scales them.
  const VecI32 both = F::kSuper
                          ? hn::Or(hn::And(scale, hn::Set(TileI32(), 0xffff)),
                                   hn::ShiftLeft<16>(scale))
                          : hn::Set(TileI32(), 0x00010001);
#pragma GCC unroll 8
  for (size_t i = 0; i < quads; i += kStep) {
    VecI32 a[kT];
#pragma GCC unroll 8
    for (size_t j = 0; j < kStep; ++j) {
      const VecI32 q = LoadLine(w + (i + j) * kLineBytes);
#pragma GCC unroll 8
      for (size_t t = 0; t < kT; ++t) {
        const VecI32 p = PairSums<TakesSigned<F>()>(
            q, BroadcastQuad(x[t] + x_at + 4 * (i + j)));
        a[t] = j == 0 ? p : Add16Bit(a[t], p);
      }
    }
#pragma GCC unroll 8
    for (size_t t = 0; t < kT; ++t) sums[t] = DotPairs(sums[t], a[t], both);
  }
#endif
}

// acc[t, lanes] takes block `block` of kT activation rows. `w` and `acc` point
// at the first of kTileLanes rows.
template <class F, size_t kT>
HWY_INLINE void TileStep(const std::byte* w, const ActivationRows& x,
                         size_t token, size_t block, float* acc) {
  const int8_t* qs[kT];
#pragma GCC unroll 8
  for (size_t t = 0; t < kT; ++t) {
    qs[t] = x.qs + (token + t) * x.qs_stride + block * F::kBlock;
  }
  VecI32 sums[kT];
  VecI32 mins[kT];
#pragma GCC unroll 8
  for (size_t t = 0; t < kT; ++t) sums[t] = hn::Zero(TileI32());
  if constexpr (F::kSuper) {
    for (size_t s = 0; s < F::kScales; ++s) {
      AddSubBlock<F, F::kSub / 4, kT>(
          w + s * (F::kSub / 4) * kLineBytes, qs, s * F::kSub,
          LoadLine(w + (F::kScaleLine + s) * kLineBytes), sums);
    }
    // T, or the offset's part: pairs of scales or mins with pairs of bsums.
    for (size_t t = 0; t < kT; ++t) {
      const int16_t* b = x.bsums + (token + t) * x.bsums_stride + block * 16;
      VecI32 sum = hn::Zero(TileI32());
      for (size_t p = 0; p < F::kPairs; ++p) {
        VecI32 pair;
        if constexpr (F::kSub == 16) {
          pair = BroadcastQuad(b + 2 * p);
        } else {
          const int32_t lo = b[4 * p] + b[4 * p + 1];
          const int32_t hi = b[4 * p + 2] + b[4 * p + 3];
          pair = hn::Set(TileI32(), static_cast<int32_t>(
                                        (static_cast<uint32_t>(lo) & 0xffffu) |
                                        static_cast<uint32_t>(hi) << 16));
        }
        sum =
            DotPairs(sum, LoadLine(w + (F::kPairLine + p) * kLineBytes), pair);
      }
      mins[t] = sum;
    }
  } else {
    AddSubBlock<F, F::kQuads, kT>(w, qs, 0, VecI32(), sums);
  }
  const VecF d = hn::BitCast(TileF(), LoadLine(w + F::kDLine * kLineBytes));
#pragma GCC unroll 8
  for (size_t t = 0; t < kT; ++t) {
    const VecF dx = hn::Set(TileF(), x.d[(token + t) * x.d_stride + block]);
    float* out = acc + t * kPanelRows;
    VecI32 s = sums[t];
    [[maybe_unused]] VecI32 m;
    if constexpr (F::kSuper) {
      m = mins[t];
      if constexpr (F::kOffset != 0) {
        static_assert(F::kOffset == 32);
        s = hn::Sub(s, hn::ShiftLeft<5>(m));
      }
    } else {
      const int32_t sum_x = x.bsums[(token + t) * x.bsums_stride + block];
      m = hn::Set(TileI32(), sum_x);
      if constexpr (F::kOffset != 0 && !TakesSigned<F>()) {
        s = hn::Sub(s, hn::Set(TileI32(), F::kOffset * sum_x));
      }
    }
    VecF a = hn::LoadU(TileF(), out);
    a = hn::MulAdd(hn::Mul(d, dx), hn::ConvertTo(TileF(), s), a);
    if constexpr (F::kHasMin) {
      const VecF dm =
          hn::BitCast(TileF(), LoadLine(w + F::kMLine * kLineBytes));
      a = hn::MulAdd(hn::Mul(dm, dx), hn::ConvertTo(TileF(), m), a);
    }
    hn::StoreU(a, TileF(), out);
  }
}

template <class F, size_t kT>
HWY_INLINE void PanelStep(const std::byte* panel, const ActivationRows& x,
                          size_t token, size_t block, float* acc) {
  for (size_t lane = 0; lane < kPanelRows; lane += kTileLanes) {
    TileStep<F, kT>(panel + 4 * lane, x, token, block, acc + lane);
  }
}

#else  // no vectors: lanes one after the other

template <class F, size_t kT>
HWY_INLINE void PanelStep(const std::byte* panel, const ActivationRows& x,
                          size_t token, size_t block, float* acc) {
  static_assert(kT == 1);
  const int8_t* qs = x.qs + token * x.qs_stride + block * F::kBlock;
  const float dx = x.d[token * x.d_stride + block];
  for (size_t lane = 0; lane < kPanelRows; ++lane) {
    const auto line = [&](size_t i) {
      return panel + i * kLineBytes + 4 * lane;
    };
    const auto word = [&](size_t i) {
      int32_t w;
      std::memcpy(&w, line(i), sizeof(w));
      return w;
    };
    int32_t s = 0;
    int32_t m = 0;
    for (size_t i = 0; i < F::kQuads; i += F::kSub / 4) {
      int32_t sub = 0;
      for (size_t j = i; j < i + F::kSub / 4; ++j) {
        uint8_t q[4];
        std::memcpy(q, line(j), sizeof(q));
        for (size_t e = 0; e < 4; ++e) {
          sub += int32_t{q[e]} * int32_t{qs[4 * j + e]};
        }
      }
      if constexpr (F::kSuper) sub *= word(F::kScaleLine + 4 * i / F::kSub);
      s += sub;
    }
    if constexpr (F::kSuper) {
      const int16_t* b = x.bsums + token * x.bsums_stride + block * 16;
      constexpr size_t kGroups = F::kSub / 16;
      for (size_t i = 0; i < F::kScales; ++i) {
        int16_t factor[2];
        std::memcpy(factor, line(F::kPairLine + i / 2), sizeof(factor));
        for (size_t g = 0; g < kGroups; ++g) {
          m += int32_t{factor[i % 2]} * int32_t{b[i * kGroups + g]};
        }
      }
      s -= F::kOffset * m;
    } else {
      m = x.bsums[token * x.bsums_stride + block];
      s -= F::kOffset * m;
    }
    const float d = std::bit_cast<float>(word(F::kDLine));
    acc[lane] = std::fma(d * dx, static_cast<float>(s), acc[lane]);
    if constexpr (F::kHasMin) {
      const float dm = std::bit_cast<float>(word(F::kMLine));
      acc[lane] = std::fma(dm * dx, static_cast<float>(m), acc[lane]);
    }
  }
}

#endif

// Scratch: acc [M, 16] f32, then one panel. Every weight block is unpacked once
// and meets all activation rows before the next.
template <class Block>
HWY_NOINLINE void GemmBlocks(const GemmRows& g, const ActivationRows& x,
                             std::byte* scratch) {
  using F = PanelFormat<Block>;
#if ETALON_TIER_VNNI || HWY_TARGET == HWY_AVX3
  constexpr size_t kTokens = 8;
#elif HWY_TARGET == HWY_AVX2
  constexpr size_t kTokens = 4;
#else
  constexpr size_t kTokens = 1;
#endif
  float* acc = reinterpret_cast<float*>(scratch);
  std::byte* panel = scratch + x.rows * kLineBytes;
  for (size_t row = g.row_begin; row < g.row_end; row += kPanelRows) {
    const size_t n = std::min(kPanelRows, g.row_end - row);
    const std::byte* rows[kPanelRows];
    for (size_t i = 0; i < kPanelRows; ++i) {
      rows[i] = g.weights.row(row + std::min(i, n - 1));
    }
    std::memset(acc, 0, x.rows * kLineBytes);
    for (size_t b = 0; b < x.cols / F::kBlock; ++b) {
      UnpackPanel<Block>(rows, b, panel);
      size_t t = 0;
      for (; t + kTokens <= x.rows; t += kTokens) {
        PanelStep<F, kTokens>(panel, x, t, b, acc + t * kPanelRows);
      }
      for (; t < x.rows; ++t) {
        PanelStep<F, 1>(panel, x, t, b, acc + t * kPanelRows);
      }
    }
    for (size_t t = 0; t < x.rows; ++t) {
      float* out = g.out.data + t * g.out.stride + row;
      for (size_t i = 0; i < n; ++i) {
        const float y = acc[t * kPanelRows + i] * g.scale;
        out[i] = g.bias != nullptr ? y + g.bias[row + i] : y;
      }
    }
  }
}

void GemmQuantizedTier(const GemmRows& g, const ActivationRows& x,
                       std::byte* scratch) {
  switch (g.weights.type) {
    case TensorType::kQ4_0:
      return GemmBlocks<BlockQ4_0>(g, x, scratch);
    case TensorType::kQ4_1:
      return GemmBlocks<BlockQ4_1>(g, x, scratch);
    case TensorType::kQ5_0:
      return GemmBlocks<BlockQ5_0>(g, x, scratch);
    case TensorType::kQ5_1:
      return GemmBlocks<BlockQ5_1>(g, x, scratch);
    case TensorType::kQ8_0:
      return GemmBlocks<BlockQ8_0>(g, x, scratch);
    case TensorType::kQ4_K:
      return GemmBlocks<BlockQ4_K>(g, x, scratch);
    case TensorType::kQ5_K:
      return GemmBlocks<BlockQ5_K>(g, x, scratch);
    case TensorType::kQ6_K:
      return GemmBlocks<BlockQ6_K>(g, x, scratch);
    default:
      ETALON_DCHECK(false);
  }
}

#undef ETALON_TILE_X86

}  // namespace ETALON_TIER
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();
