// Panel x activations on vector and scalar tiers. Included without a guard,
// once per tier, after gemm_unpack-inl.h; ETALON_TIER_VNNI tells whether
// vpdpbusd may be used. Integer work is exact everywhere, so tiers differ in
// speed only.

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace ETALON_TIER {

// Unsigned quants up to 255 would saturate the int16 sums of vpmaddubsw, so
// without vpdpbusd they are multiplied as the signed bytes they came from.
template <class F>
constexpr bool TakesSigned() {
  return !ETALON_TIER_VNNI && F::kMax == 255 &&
         (HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3);
}

HWY_INLINE VecI32 LoadLine(const std::byte* p) {
  return hn::LoadU(TileI32(), reinterpret_cast<const int32_t*>(p));
}
HWY_INLINE VecF LoadLineF(const std::byte* p) {
  return hn::BitCast(TileF(), LoadLine(p));
}
HWY_INLINE VecI32 BroadcastWord(const void* p) {
  int32_t w;
  std::memcpy(&w, p, sizeof(w));
  return hn::Set(TileI32(), w);
}

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
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
  a.raw = _mm512_add_epi16(a.raw, b.raw);
#else
  a.raw = _mm256_add_epi16(a.raw, b.raw);
#endif
  // g++ would turn a chain of sums into a tree, whose leaves then spill.
  asm("" : "+v"(a.raw));
  return a;
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
#else
HWY_INLINE VecI32 DotPairs(VecI32 acc, VecI32 a, VecI32 b) {
  const VecI32 lo = hn::Mul(hn::ShiftRight<16>(hn::ShiftLeft<16>(a)),
                            hn::ShiftRight<16>(hn::ShiftLeft<16>(b)));
  const VecI32 hi = hn::Mul(hn::ShiftRight<16>(a), hn::ShiftRight<16>(b));
  return hn::Add(acc, hn::Add(lo, hi));
}
#endif

// sums[v][t] += scale[v] * sum over `quads` lines of w[v] * x[t]. Tokens are
// kChunk bytes apart.
template <class F, size_t quads, size_t kV, size_t kT>
HWY_INLINE void AddSubBlock(const std::byte* const (&w)[kV], size_t line,
                            const int8_t* x, size_t scale_line,
                            VecI32 (&sums)[kV][kT]) {
#if ETALON_TIER_VNNI
  VecI32 a[kV][kT];
#pragma GCC unroll 8
  for (size_t v = 0; v < kV; ++v) {
#pragma GCC unroll 8
    for (size_t t = 0; t < kT; ++t) {
      a[v][t] = F::kSuper ? hn::Zero(TileI32()) : sums[v][t];
    }
  }
#pragma GCC unroll 8
  for (size_t i = 0; i < quads; ++i) {
    VecI32 q[kV];
#pragma GCC unroll 8
    for (size_t v = 0; v < kV; ++v) {
      q[v] = LoadLine(w[v] + (line + i) * kLineBytes);
    }
#pragma GCC unroll 8
    for (size_t t = 0; t < kT; ++t) {
      const VecI32 xs = BroadcastWord(x + t * kChunk + 4 * i);
#pragma GCC unroll 8
      for (size_t v = 0; v < kV; ++v) {
        a[v][t].raw = _mm512_dpbusd_epi32(a[v][t].raw, q[v].raw, xs.raw);
      }
    }
  }
#pragma GCC unroll 8
  for (size_t v = 0; v < kV; ++v) {
    if constexpr (F::kSuper) {
      const VecI32 scale = LoadLine(w[v] + scale_line * kLineBytes);
#pragma GCC unroll 8
      for (size_t t = 0; t < kT; ++t) {
        sums[v][t] = hn::Add(sums[v][t], hn::Mul(a[v][t], scale));
      }
    } else {
#pragma GCC unroll 8
      for (size_t t = 0; t < kT; ++t) sums[v][t] = a[v][t];
    }
  }
#elif HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  // How many pair sums fit in int16: 2 * 127 * max each.
  constexpr int kRoom = 32767 / (2 * 127 * F::kMax);
  constexpr size_t kStep = kRoom >= 8 ? 8 : kRoom >= 4 ? 4 : kRoom >= 2 ? 2 : 1;
  static_assert(quads % kStep == 0);
  // The scale in both int16 halves: vpmaddwd adds the halves and scales them.
  VecI32 both[kV];
#pragma GCC unroll 8
  for (size_t v = 0; v < kV; ++v) {
    if constexpr (F::kSuper) {
      const VecI32 scale = LoadLine(w[v] + scale_line * kLineBytes);
      both[v] = hn::Or(hn::And(scale, hn::Set(TileI32(), 0xffff)),
                       hn::ShiftLeft<16>(scale));
    } else {
      both[v] = hn::Set(TileI32(), 0x00010001);
    }
  }
#pragma GCC unroll 8
  for (size_t i = 0; i < quads; i += kStep) {
    VecI32 a[kV][kT];
#pragma GCC unroll 8
    for (size_t j = 0; j < kStep; ++j) {
      VecI32 q[kV];
#pragma GCC unroll 8
      for (size_t v = 0; v < kV; ++v) {
        q[v] = LoadLine(w[v] + (line + i + j) * kLineBytes);
      }
#pragma GCC unroll 8
      for (size_t t = 0; t < kT; ++t) {
        const VecI32 xs = BroadcastWord(x + t * kChunk + 4 * (i + j));
#pragma GCC unroll 8
        for (size_t v = 0; v < kV; ++v) {
          const VecI32 p = PairSums<TakesSigned<F>()>(q[v], xs);
          a[v][t] = j == 0 ? p : Add16Bit(a[v][t], p);
        }
      }
    }
#pragma GCC unroll 8
    for (size_t v = 0; v < kV; ++v) {
#pragma GCC unroll 8
      for (size_t t = 0; t < kT; ++t) {
        sums[v][t] = DotPairs(sums[v][t], a[v][t], both[v]);
      }
    }
  }
#else
  // Any other target: byte by byte.
  for (size_t v = 0; v < kV; ++v) {
    VecI32 scale = hn::Set(TileI32(), 1);
    if constexpr (F::kSuper) scale = LoadLine(w[v] + scale_line * kLineBytes);
    for (size_t t = 0; t < kT; ++t) {
      VecI32 a = hn::Zero(TileI32());
      for (size_t i = 0; i < quads; ++i) {
        const VecI32 q = LoadLine(w[v] + (line + i) * kLineBytes);
        const VecI32 low8 = hn::Set(TileI32(), 0xff);
        const int8_t* xs = x + t * kChunk + 4 * i;
        const auto x_at = [&](size_t e) {
          return hn::Set(TileI32(), int32_t{xs[e]});
        };
        a = hn::Add(a, hn::Mul(hn::And(q, low8), x_at(0)));
        a = hn::Add(a, hn::Mul(hn::And(hn::ShiftRight<8>(q), low8), x_at(1)));
        a = hn::Add(a, hn::Mul(hn::And(hn::ShiftRight<16>(q), low8), x_at(2)));
        a = hn::Add(a, hn::Mul(hn::And(hn::ShiftRight<24>(q), low8), x_at(3)));
      }
      sums[v][t] = hn::Add(sums[v][t], hn::Mul(a, scale));
    }
  }
#endif
}

// acc + d * dx * sum (then + dm * dx * mins), each product rounded once.
template <class F>
HWY_INLINE VecF AddBlock(VecF acc, VecF d, [[maybe_unused]] VecF dm, VecF dx,
                         VecI32 sum, [[maybe_unused]] VecI32 mins) {
  acc = HWY_NAMESPACE::Fma(hn::Mul(d, dx), hn::ConvertTo(TileF(), sum), acc);
  if constexpr (F::kHasMin) {
    acc =
        HWY_NAMESPACE::Fma(hn::Mul(dm, dx), hn::ConvertTo(TileF(), mins), acc);
  }
  return acc;
}

// Sum of mins times activations (Q4_K, Q5_K), or of scales times activations,
// which times the offset is to be taken back (Q6_K).
template <class F>
HWY_INLINE VecI32 DotSums(const std::byte* w, const int32_t* words) {
  VecI32 m = hn::Zero(TileI32());
#pragma GCC unroll 8
  for (size_t p = 0; p < F::kPairs; ++p) {
    m = DotPairs(m, LoadLine(w + (F::kPairLine + p) * kLineBytes),
                 BroadcastWord(words + p));
  }
  return m;
}

// One chunk of kT tokens x kV vectors of rows. w[v] and acc[v] point at the
// first row of a vector; acc tokens are kPanelRows apart.
template <class F, size_t kV, size_t kT>
HWY_INLINE void TileStep(const std::byte* const (&panels)[kV],
                         const GemmActivations& x, size_t chunk, size_t token,
                         size_t n_blocks, float* const (&acc)[kV]) {
  const int8_t* qs = x.QsAt(chunk, token);
  const float* dx = x.DAt(chunk, token);
  if constexpr (F::kSuper) {
    VecI32 sums[kV][kT];
#pragma GCC unroll 8
    for (size_t v = 0; v < kV; ++v) {
#pragma GCC unroll 8
      for (size_t t = 0; t < kT; ++t) sums[v][t] = hn::Zero(TileI32());
    }
    for (size_t s = 0; s < F::kScales; ++s) {
      AddSubBlock<F, F::kSub / 4, kV, kT>(
          panels, s * (F::kSub / 4), qs + s * F::kSub, F::kScaleLine + s, sums);
    }
#pragma GCC unroll 8
    for (size_t v = 0; v < kV; ++v) {
      const VecF d = LoadLineF(panels[v] + F::kDLine * kLineBytes);
      VecF dm = d;
      if constexpr (F::kHasMin) {
        dm = LoadLineF(panels[v] + F::kMLine * kLineBytes);
      }
#pragma GCC unroll 8
      for (size_t t = 0; t < kT; ++t) {
        const int32_t* words = F::kHasMin ? x.PairsAt(chunk, token + t)
                                          : x.SumsAt(chunk, token + t);
        const VecI32 m = DotSums<F>(panels[v], words);
        VecI32 s = sums[v][t];
        if constexpr (F::kOffset != 0) {
          static_assert(F::kOffset == 32);
          s = hn::Sub(s, hn::ShiftLeft<5>(m));
        }
        float* at = acc[v] + t * kPanelRows;
        const VecF a = AddBlock<F>(hn::LoadU(TileF(), at), d, dm,
                                   hn::Set(TileF(), dx[t]), s, m);
        hn::StoreU(a, TileF(), at);
      }
    }
  } else {
    const int32_t* sum_x = x.SumsAt(chunk, token);
    for (size_t b = 0; b < n_blocks; ++b) {
      VecI32 sums[kV][kT];
      const std::byte* w[kV];
#pragma GCC unroll 8
      for (size_t v = 0; v < kV; ++v) {
        w[v] = panels[v] + b * F::kBytes;
#pragma GCC unroll 8
        for (size_t t = 0; t < kT; ++t) {
          sums[v][t] = F::kOffset != 0 && !TakesSigned<F>()
                           ? hn::Set(TileI32(), -F::kOffset * sum_x[8 * t + b])
                           : hn::Zero(TileI32());
        }
      }
      AddSubBlock<F, F::kQuads, kV, kT>(w, 0, qs + b * F::kBlock, 0, sums);
#pragma GCC unroll 8
      for (size_t v = 0; v < kV; ++v) {
        const VecF d = LoadLineF(w[v] + F::kDLine * kLineBytes);
        VecF dm = d;
        if constexpr (F::kHasMin) {
          dm = LoadLineF(w[v] + F::kMLine * kLineBytes);
        }
#pragma GCC unroll 8
        for (size_t t = 0; t < kT; ++t) {
          float* at = acc[v] + t * kPanelRows;
          const VecF a = AddBlock<F>(
              hn::LoadU(TileF(), at), d, dm, hn::Set(TileF(), dx[8 * t + b]),
              sums[v][t], BroadcastWord(sum_x + 8 * t + b));
          hn::StoreU(a, TileF(), at);
        }
      }
    }
  }
}

// All tokens against the panels of `groups` row groups. Register tiles: 6
// tokens x 2 zmm leave 8 registers for operands beside two accumulators each.
#if ETALON_TIER_VNNI
inline constexpr size_t kGroups = 2, kMaxTokens = 6;
#elif HWY_TARGET == HWY_AVX3
inline constexpr size_t kGroups = 1, kMaxTokens = 8;
#elif HWY_TARGET == HWY_AVX2
inline constexpr size_t kGroups = 1, kMaxTokens = 4;
#else
inline constexpr size_t kGroups = 1, kMaxTokens = 1;
#endif

template <class F, size_t kV, size_t kT>
HWY_INLINE void TokenLoop(const std::byte* const (&panels)[kV],
                          const GemmActivations& x, size_t chunk, size_t begin,
                          size_t end, size_t n_blocks, float* const (&acc)[kV],
                          size_t acc_begin) {
  size_t t = begin;
  for (; t + kT <= end; t += kT) {
    for (size_t lane = 0; lane < kPanelRows; lane += kTileLanes) {
      const std::byte* w[kV];
      float* a[kV];
#pragma GCC unroll 8
      for (size_t v = 0; v < kV; ++v) {
        w[v] = panels[v] + 4 * lane;
        a[v] = acc[v] + (t - acc_begin) * kPanelRows + lane;
      }
      TileStep<F, kV, kT>(w, x, chunk, t, n_blocks, a);
    }
  }
  if constexpr (kT > 1) {
    constexpr size_t kNext = kT > 2 ? 2 : 1;
    TokenLoop<F, kV, kNext>(panels, x, chunk, t, end, n_blocks, acc, acc_begin);
  }
}

template <class Block, size_t kV>
HWY_NOINLINE void MultiplyChunk(const std::byte* const (&panels)[kV],
                                const GemmActivations& x, size_t chunk,
                                size_t begin, size_t end, size_t n_blocks,
                                float* const (&acc)[kV]) {
  TokenLoop<PanelFormat<Block>, kV, kMaxTokens>(panels, x, chunk, begin, end,
                                                n_blocks, acc, begin);
}

}  // namespace ETALON_TIER
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();
