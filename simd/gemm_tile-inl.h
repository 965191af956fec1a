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

// Centred: where a quant minus half its range keeps the sum of a sub-block
// inside int16 (|x| <= 127), one vpdpwssd scales the sum and adds it, for which
// vpmulld and vpaddd take three operations: S = sum sc * (sum (q - c) x) + sum
// c sc * (sum x). The inner sum starts at -c times the sum of its activations,
// so that quants and activations stay as they are.
template <class F>
constexpr int Centre() {
  constexpr int kHalf = (F::kMax + 1) / 2;
  const bool fits = static_cast<int>(F::kSub) * kHalf * 127 <= 32767;
  return ETALON_TIER_VNNI && F::kSuper && F::kOffset == 0 && fits ? kHalf : 0;
}

#if ETALON_TIER_VNNI
// c * scale as the int16 pairs that meet the activations' `pairs`.
template <class F>
HWY_INLINE void CentrePairs(const std::byte* panel, std::byte* pairs) {
  static_assert(Centre<F>() == 8 && F::kScales == 8);
  const auto scale = [&](size_t s) HWY_ATTR {
    return LoadLine(panel + (F::kScaleLine + s) * kLineBytes);
  };
#pragma GCC unroll 4
  for (size_t p = 0; p < F::kPairs; ++p) {
    const size_t s = p + (p & 2);  // 0, 1, 4, 5
    const VecI32 both = hn::Or(scale(s), hn::ShiftLeft<16>(scale(s + 2)));
    hn::StoreU(hn::ShiftLeft<3>(both), TileI32(),
               reinterpret_cast<int32_t*>(pairs + p * kLineBytes));
  }
}

// sums[v][t] += scale[v] * (start[t] + sum of w[v] * x[t]), one sub-block.
template <class F, size_t kV, size_t kT>
HWY_INLINE void AddCentred(const std::byte* const (&w)[kV], size_t s,
                           const int8_t* x, const int32_t* starts,
                           VecI32 (&sums)[kV][kT]) {
  constexpr size_t kSubQuads = F::kSub / 4;
  VecI32 a[kV][kT];
#pragma GCC unroll 8
  for (size_t v = 0; v < kV; ++v) {
#pragma GCC unroll 8
    for (size_t t = 0; t < kT; ++t) a[v][t] = BroadcastWord(starts + 8 * t + s);
  }
#pragma GCC unroll 8
  for (size_t i = 0; i < kSubQuads; ++i) {
    VecI32 q[kV];
#pragma GCC unroll 8
    for (size_t v = 0; v < kV; ++v) {
      q[v] = LoadLine(w[v] + (s * kSubQuads + i) * kLineBytes);
    }
#pragma GCC unroll 8
    for (size_t t = 0; t < kT; ++t) {
      const VecI32 xs = BroadcastWord(x + t * kChunk + s * F::kSub + 4 * i);
#pragma GCC unroll 8
      for (size_t v = 0; v < kV; ++v) {
        a[v][t].raw = _mm512_dpbusd_epi32(a[v][t].raw, q[v].raw, xs.raw);
      }
    }
  }
#pragma GCC unroll 8
  for (size_t v = 0; v < kV; ++v) {
    // Its upper half is 0, and so takes no part.
    const VecI32 scale = LoadLine(w[v] + (F::kScaleLine + s) * kLineBytes);
#pragma GCC unroll 8
    for (size_t t = 0; t < kT; ++t) {
      sums[v][t] = DotPairs(sums[v][t], a[v][t], scale);
      // Kept in its register: g++ would move it at the end of every round.
      asm("" : "+v"(sums[v][t].raw));
    }
  }
}
#endif

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
// first row of a vector; acc tokens are kPanelRows apart. centres: CentrePairs
// of the panels, kPairs lines each.
template <class F, size_t kV, size_t kT>
HWY_INLINE void TileStep(const std::byte* const (&panels)[kV],
                         [[maybe_unused]] const std::byte* centres,
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
    if constexpr (Centre<F>() != 0) {
#if ETALON_TIER_VNNI
#pragma GCC unroll 4
      for (size_t p = 0; p < F::kPairs; ++p) {
#pragma GCC unroll 8
        for (size_t t = 0; t < kT; ++t) {
          const VecI32 xs = BroadcastWord(x.PairsAt(chunk, token) + 4 * t + p);
#pragma GCC unroll 8
          for (size_t v = 0; v < kV; ++v) {
            const std::byte* line = centres + (v * F::kPairs + p) * kLineBytes;
            sums[v][t] = DotPairs(sums[v][t], LoadLine(line), xs);
          }
        }
      }
      const int32_t* starts = x.StartsAt(chunk, token);
      for (size_t s = 0; s < F::kScales; ++s) {
        AddCentred<F, kV, kT>(panels, s, qs, starts, sums);
      }
#endif
    } else {
      for (size_t s = 0; s < F::kScales; ++s) {
        AddSubBlock<F, F::kSub / 4, kV, kT>(panels, s * (F::kSub / 4),
                                            qs + s * F::kSub, F::kScaleLine + s,
                                            sums);
      }
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

// The cache that a prefetch brings a line into, as __builtin_prefetch counts.
inline constexpr int kL1 = 3, kL2 = 2;
template <int kCache>
HWY_INLINE void PrefetchTo(const std::byte* line) {
  __builtin_prefetch(line, 0, kCache);
}
// For weights that are needed next by a few tokens. Sapphire Rapids, where the
// AMX tier was measured, wants them in L1. On Zen 4 lines asked for into L1
// come no sooner than unasked: into L2, products of 32 tokens are a quarter
// faster.
inline constexpr int kPrefetchCache = ETALON_TIER_AMX ? kL1 : kL2;

// Weights of a later chunk, by row, to be asked for while tiles are multiplied:
// asked for all at once they stall for as long as memory takes.
struct Ahead {
  const std::byte* const* rows;
  size_t n_rows;
};
template <class Block>
HWY_INLINE void RequestRow(const std::byte* row) {
#pragma GCC unroll 8
  for (size_t i = 0; i < kChunkBytes<Block>; i += 64) PrefetchTo<kL2>(row + i);
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

template <class Block, size_t kV, size_t kT>
HWY_INLINE void TokenLoop(const std::byte* const (&panels)[kV],
                          const std::byte* centres, const GemmActivations& x,
                          size_t chunk, size_t begin, size_t end,
                          size_t n_blocks, float* const (&acc)[kV],
                          size_t acc_begin, Ahead ahead) {
  size_t t = begin;
  for (; t + kT <= end; t += kT) {
    if (ahead.n_rows > 0) {
      RequestRow<Block>(*ahead.rows++);
      --ahead.n_rows;
    }
    for (size_t lane = 0; lane < kPanelRows; lane += kTileLanes) {
      const std::byte* w[kV];
      float* a[kV];
#pragma GCC unroll 8
      for (size_t v = 0; v < kV; ++v) {
        w[v] = panels[v] + 4 * lane;
        a[v] = acc[v] + (t - acc_begin) * kPanelRows + lane;
      }
      TileStep<PanelFormat<Block>, kV, kT>(w, centres, x, chunk, t, n_blocks,
                                           a);
    }
  }
  if constexpr (kT > 1) {
    constexpr size_t kNext = kT > 2 ? 2 : 1;
    TokenLoop<Block, kV, kNext>(panels, centres, x, chunk, t, end, n_blocks,
                                acc, acc_begin, ahead);
  }
}

template <class Block, size_t kV>
HWY_NOINLINE void MultiplyChunk(const std::byte* const (&panels)[kV],
                                const GemmActivations& x, size_t chunk,
                                size_t begin, size_t end, size_t n_blocks,
                                float* const (&acc)[kV], Ahead ahead) {
#if ETALON_TIER_VNNI
  using F = PanelFormat<Block>;
  constexpr bool kCentred = Centre<F>() != 0;
  constexpr size_t kBytes = kCentred ? F::kPairs * kLineBytes : 1;
  alignas(kLineBytes) std::byte centres[kV * kBytes];
  if constexpr (kCentred) {
    for (size_t v = 0; v < kV; ++v) {
      CentrePairs<F>(panels[v], centres + v * kBytes);
    }
  }
#else
  const std::byte* const centres = nullptr;
#endif
  TokenLoop<Block, kV, kMaxTokens>(panels, centres, x, chunk, begin, end,
                                   n_blocks, acc, begin, ahead);
}

}  // namespace ETALON_TIER
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();
