// Weight blocks of 16 rows to panels (gemm_panel.h). Included without a guard,
// once per tier, inside gemm_quantized.cc: ETALON_TIER names the namespace.
// 16 bytes of every row are loaded and transposed as 32-bit words, so that a
// vector holds the same four bytes of neighbouring rows; quants are taken apart
// only then, one operation for all rows. Layouts: quant/block_formats.h.

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace ETALON_TIER {
namespace hn = hwy::HWY_NAMESPACE;

using TileF = hn::CappedTag<float, kPanelRows>;
using TileI32 = hn::RebindToSigned<TileF>;
using TileU32 = hn::RebindToUnsigned<TileF>;
using VecF = hn::Vec<TileF>;
using VecI32 = hn::Vec<TileI32>;
using VecU32 = hn::Vec<TileU32>;
inline constexpr size_t kTileLanes = hn::MaxLanes(TileF());

// Bytes of a row in a chunk of the activations.
template <class Block>
inline constexpr size_t kChunkBytes = kChunk / PanelFormat<Block>::kBlock *
                                      sizeof(Block);

HWY_INLINE VecU32 Bytes(uint32_t pattern) {
  return hn::Set(TileU32(), pattern);
}
HWY_INLINE VecU32 Low4(VecU32 w) { return hn::And(w, Bytes(0x0f0f0f0f)); }
HWY_INLINE VecU32 High4(VecU32 w) { return Low4(hn::ShiftRight<4>(w)); }

// Unpacking hands what it finds to a sink: Quad(line, u8 quants), Scale(i,
// int32), Pair(i, int16 pair), D and M. kScalesFirst says whether the sink
// wants scales before the quants or after.
// This sink writes the lanes of a panel that one vector covers.
template <class F>
class PanelSink {
 public:
  static constexpr bool kScalesFirst = false;
  PanelSink(std::byte* panel, size_t lane) : at_(panel + 4 * lane) {}
  HWY_INLINE void Quad(size_t line, VecU32 v) const { Set(line, v); }
  HWY_INLINE void Scale(size_t i, VecU32 v) const { Set(F::kScaleLine + i, v); }
  HWY_INLINE void Pair(size_t i, VecU32 v) const { Set(F::kPairLine + i, v); }
  HWY_INLINE void D(VecF v) const { Set(F::kDLine, Bits(v)); }
  HWY_INLINE void M(VecF v) const { Set(F::kMLine, Bits(v)); }

 private:
  static HWY_INLINE VecU32 Bits(VecF v) { return hn::BitCast(TileU32(), v); }
  HWY_INLINE void Set(size_t line, VecU32 v) const {
    hn::StoreU(v, TileU32(),
               reinterpret_cast<uint32_t*>(at_ + line * kLineBytes));
  }
  std::byte* at_;
};

// w[i] lane r = word i of the 16 bytes at rows[r] + at.
HWY_INLINE void LoadQuads(const std::byte* const* rows, size_t at,
                          VecU32 (&w)[4]) {
#if HWY_TARGET == HWY_AVX3
  const auto quarter = [&](size_t r) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[r] + at));
  };
  __m512i z[4];
#pragma GCC unroll 4
  for (size_t g = 0; g < 4; ++g) {
    z[g] = _mm512_castsi128_si512(quarter(g));
    z[g] = _mm512_inserti32x4(z[g], quarter(4 + g), 1);
    z[g] = _mm512_inserti32x4(z[g], quarter(8 + g), 2);
    z[g] = _mm512_inserti32x4(z[g], quarter(12 + g), 3);
  }
  const __m512i lo01 = _mm512_unpacklo_epi32(z[0], z[1]);
  const __m512i hi01 = _mm512_unpackhi_epi32(z[0], z[1]);
  const __m512i lo23 = _mm512_unpacklo_epi32(z[2], z[3]);
  const __m512i hi23 = _mm512_unpackhi_epi32(z[2], z[3]);
  w[0].raw = _mm512_unpacklo_epi64(lo01, lo23);
  w[1].raw = _mm512_unpackhi_epi64(lo01, lo23);
  w[2].raw = _mm512_unpacklo_epi64(hi01, hi23);
  w[3].raw = _mm512_unpackhi_epi64(hi01, hi23);
#elif HWY_TARGET == HWY_AVX2
  const auto half = [&](size_t r) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[r] + at));
  };
  __m256i y[4];
#pragma GCC unroll 4
  for (size_t g = 0; g < 4; ++g) {
    y[g] = _mm256_inserti128_si256(_mm256_castsi128_si256(half(g)), half(4 + g),
                                   1);
  }
  const __m256i lo01 = _mm256_unpacklo_epi32(y[0], y[1]);
  const __m256i hi01 = _mm256_unpackhi_epi32(y[0], y[1]);
  const __m256i lo23 = _mm256_unpacklo_epi32(y[2], y[3]);
  const __m256i hi23 = _mm256_unpackhi_epi32(y[2], y[3]);
  w[0].raw = _mm256_unpacklo_epi64(lo01, lo23);
  w[1].raw = _mm256_unpackhi_epi64(lo01, lo23);
  w[2].raw = _mm256_unpacklo_epi64(hi01, hi23);
  w[3].raw = _mm256_unpackhi_epi64(hi01, hi23);
#else
  HWY_ALIGN uint32_t words[4][kTileLanes];
  for (size_t r = 0; r < kTileLanes; ++r) {
    uint32_t row[4];
    std::memcpy(row, rows[r] + at, sizeof(row));
    for (size_t i = 0; i < 4; ++i) words[i][r] = row[i];
  }
  for (size_t i = 0; i < 4; ++i) w[i] = hn::Load(TileU32(), words[i]);
#endif
}

// One word of every row.
HWY_INLINE VecU32 LoadOneWord(const std::byte* const* rows, size_t at) {
  HWY_ALIGN uint32_t words[kTileLanes];
  for (size_t r = 0; r < kTileLanes; ++r) {
    std::memcpy(&words[r], rows[r] + at, 4);
  }
  return hn::Load(TileU32(), words);
}

// The f16 in the low half of each lane, widened exactly. Scaling by 2^112
// moves the exponent and renormalises subnormals; Inf and NaN get theirs back.
HWY_INLINE VecF WidenF16(VecU32 h) {
#if HWY_TARGET == HWY_AVX3
  return VecF{_mm512_cvtph_ps(_mm512_cvtepi32_epi16(h.raw))};
#else
  const VecU32 magnitude = hn::And(h, Bytes(0x7fff));
  const VecU32 sign = hn::ShiftLeft<16>(hn::And(h, Bytes(0x8000)));
  const VecF scaled =
      hn::Mul(hn::BitCast(TileF(), hn::ShiftLeft<13>(magnitude)),
              hn::Set(TileF(), 0x1p112f));
  const VecI32 m = hn::BitCast(TileI32(), magnitude);
  const auto special = hn::Gt(m, hn::Set(TileI32(), 0x7bff));
  const VecU32 exponent =
      hn::IfThenElseZero(hn::RebindMask(TileU32(), special), Bytes(0x7f800000));
  return hn::BitCast(
      TileF(), hn::Or(hn::Or(hn::BitCast(TileU32(), scaled), exponent), sign));
#endif
}
HWY_INLINE VecF WidenHighF16(VecU32 h) {
  return WidenF16(hn::ShiftRight<16>(h));
}

// Bits 0..3 of every lane to bit 4 of its bytes 0..3.
HWY_INLINE VecU32 SpreadFifthBits(VecU32 v) {
  // A multiple of 7 moves bit i to 8 i: no two partial products meet.
  const VecU32 bits = hn::And(v, Bytes(0xf));
  const VecU32 spread =
      hn::Or(hn::Or(bits, hn::ShiftLeft<7>(bits)),
             hn::Or(hn::ShiftLeft<14>(bits), hn::ShiftLeft<21>(bits)));
  return hn::ShiftLeft<4>(hn::And(spread, Bytes(0x01010101)));
}

template <bool fifth, class Sink>
HWY_INLINE void UnpackNibbles(const std::byte* const* rows, size_t at,
                              [[maybe_unused]] VecU32 qh, Sink& out) {
  VecU32 w[4];
  LoadQuads(rows, at, w);
#pragma GCC unroll 4
  for (size_t i = 0; i < 4; ++i) {
    VecU32 lo = Low4(w[i]), hi = High4(w[i]);
    if constexpr (fifth) {
      lo = hn::Or(lo, SpreadFifthBits(qh));
      hi = hn::Or(hi, SpreadFifthBits(hn::ShiftRight<16>(qh)));
      qh = hn::ShiftRight<4>(qh);
    }
    out.Quad(i, lo);
    out.Quad(i + 4, hi);
  }
}

// Blocks of 32. `first` is the word at the start of the block: d, then m where
// the type has one.
template <class Sink>
HWY_INLINE void Unpack(const BlockQ4_0*, const std::byte* const* rows,
                       size_t at, VecU32 first, Sink& out) {
  UnpackNibbles<false>(rows, at + offsetof(BlockQ4_0, qs), first, out);
  out.D(WidenF16(first));
}
template <class Sink>
HWY_INLINE void Unpack(const BlockQ4_1*, const std::byte* const* rows,
                       size_t at, VecU32 first, Sink& out) {
  UnpackNibbles<false>(rows, at + offsetof(BlockQ4_1, qs), first, out);
  out.D(WidenF16(first));
  out.M(WidenHighF16(first));
}
template <class Sink>
HWY_INLINE void Unpack(const BlockQ5_0*, const std::byte* const* rows,
                       size_t at, VecU32 first, Sink& out) {
  const VecU32 qh = LoadOneWord(rows, at + offsetof(BlockQ5_0, qh));
  UnpackNibbles<true>(rows, at + offsetof(BlockQ5_0, qs), qh, out);
  out.D(WidenF16(first));
}
template <class Sink>
HWY_INLINE void Unpack(const BlockQ5_1*, const std::byte* const* rows,
                       size_t at, VecU32 first, Sink& out) {
  const VecU32 qh = LoadOneWord(rows, at + offsetof(BlockQ5_1, qh));
  UnpackNibbles<true>(rows, at + offsetof(BlockQ5_1, qs), qh, out);
  out.D(WidenF16(first));
  out.M(WidenHighF16(first));
}
template <class Sink>
HWY_INLINE void Unpack(const BlockQ8_0*, const std::byte* const* rows,
                       size_t at, VecU32 first, Sink& out) {
#pragma GCC unroll 2
  for (size_t half = 0; half < 2; ++half) {
    VecU32 w[4];
    LoadQuads(rows, at + offsetof(BlockQ8_0, qs) + 16 * half, w);
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; ++i) {
      out.Quad(4 * half + i, hn::Xor(w[i], Bytes(0x80808080)));
    }
  }
  out.D(WidenF16(first));
}

// d, dmin and the 6-bit scales and mins of Q4_K and Q5_K.
template <class Block, class Sink>
HWY_INLINE void UnpackScales(const Block*, const std::byte* const* rows,
                             size_t at, Sink& out) {
  static_assert(offsetof(Block, scales) == 4 && offsetof(Block, dmin) == 2);
  VecU32 w[4];
  LoadQuads(rows, at, w);
  const VecU32 low6 = Bytes(0x3f3f3f3f), top2 = Bytes(0x30303030);
  const VecU32 sc[2] = {
      hn::And(w[1], low6),
      hn::Or(Low4(w[3]), hn::And(hn::ShiftRight<2>(w[1]), top2))};
  const VecU32 m[2] = {
      hn::And(w[2], low6),
      hn::Or(High4(w[3]), hn::And(hn::ShiftRight<2>(w[2]), top2))};
  const VecU32 low8 = Bytes(0xff);
#pragma GCC unroll 2
  for (size_t half = 0; half < 2; ++half) {
    const size_t i = 4 * half;
    out.Scale(i, hn::And(sc[half], low8));
    out.Scale(i + 1, hn::And(hn::ShiftRight<8>(sc[half]), low8));
    out.Scale(i + 2, hn::And(hn::ShiftRight<16>(sc[half]), low8));
    out.Scale(i + 3, hn::ShiftRight<24>(sc[half]));
    // Pairs (m0, m2) and (m1, m3) as int16: PairOfSums matches them.
    const size_t pair = 2 * half;
    out.Pair(pair, hn::And(m[half], Bytes(0x00ff00ff)));
    out.Pair(pair + 1, hn::And(hn::ShiftRight<8>(m[half]), Bytes(0x00ff00ff)));
  }
  out.D(WidenF16(w[0]));
  out.M(hn::Neg(WidenHighF16(w[0])));
}

template <class Sink>
HWY_INLINE void UnpackQuants(const BlockQ4_K*, const std::byte* const* rows,
                             size_t at, Sink& out) {
#pragma GCC unroll 4
  for (size_t c = 0; c < 4; ++c) {
#pragma GCC unroll 2
    for (size_t half = 0; half < 2; ++half) {
      VecU32 w[4];
      LoadQuads(rows, at + offsetof(BlockQ4_K, qs) + 32 * c + 16 * half, w);
#pragma GCC unroll 4
      for (size_t i = 0; i < 4; ++i) {
        out.Quad(16 * c + 4 * half + i, Low4(w[i]));
        out.Quad(16 * c + 8 + 4 * half + i, High4(w[i]));
      }
    }
  }
}

template <class Sink>
HWY_INLINE void UnpackQuants(const BlockQ5_K*, const std::byte* const* rows,
                             size_t at, Sink& out) {
  const VecU32 low1 = Bytes(0x01010101);
#pragma GCC unroll 2
  for (size_t half = 0; half < 2; ++half) {
    VecU32 h[4];
    LoadQuads(rows, at + offsetof(BlockQ5_K, qh) + 16 * half, h);
#pragma GCC unroll 4
    for (size_t c = 0; c < 4; ++c) {
      VecU32 w[4];
      LoadQuads(rows, at + offsetof(BlockQ5_K, qs) + 32 * c + 16 * half, w);
#pragma GCC unroll 4
      for (size_t i = 0; i < 4; ++i) {
        const VecU32 fifth = hn::ShiftLeft<4>(hn::And(h[i], low1));
        h[i] = hn::ShiftRight<1>(h[i]);
        const VecU32 next = hn::ShiftLeft<4>(hn::And(h[i], low1));
        h[i] = hn::ShiftRight<1>(h[i]);
        out.Quad(16 * c + 4 * half + i, hn::Or(Low4(w[i]), fifth));
        out.Quad(16 * c + 8 + 4 * half + i, hn::Or(High4(w[i]), next));
      }
    }
  }
}

template <class Sink>
HWY_INLINE void UnpackQuants(const BlockQ6_K*, const std::byte* const* rows,
                             size_t at, Sink& out) {
  const VecU32 bits45 = Bytes(0x30303030);
#pragma GCC unroll 2
  for (size_t n = 0; n < 2; ++n) {
#pragma GCC unroll 2
    for (size_t half = 0; half < 2; ++half) {
      VecU32 a[4], b[4], top[4];
      const size_t ql = at + offsetof(BlockQ6_K, ql) + 64 * n + 16 * half;
      LoadQuads(rows, ql, a);
      LoadQuads(rows, ql + 32, b);
      LoadQuads(rows, at + offsetof(BlockQ6_K, qh) + 32 * n + 16 * half, top);
#pragma GCC unroll 4
      for (size_t i = 0; i < 4; ++i) {
        const size_t line = 32 * n + 4 * half + i;
        const VecU32 h = top[i];
        out.Quad(line,
                 hn::Or(Low4(a[i]), hn::And(hn::ShiftLeft<4>(h), bits45)));
        out.Quad(line + 8,
                 hn::Or(Low4(b[i]), hn::And(hn::ShiftLeft<2>(h), bits45)));
        out.Quad(line + 16, hn::Or(High4(a[i]), hn::And(h, bits45)));
        out.Quad(line + 24,
                 hn::Or(High4(b[i]), hn::And(hn::ShiftRight<2>(h), bits45)));
      }
    }
  }
}

template <class Sink>
HWY_INLINE void UnpackScales(const BlockQ6_K*, const std::byte* const* rows,
                             size_t at, Sink& out) {
  VecU32 sc[4];
  LoadQuads(rows, at + offsetof(BlockQ6_K, scales), sc);
#pragma GCC unroll 4
  for (size_t i = 0; i < 4; ++i) {
    const VecI32 s = hn::BitCast(TileI32(), sc[i]);
    const VecI32 s0 = hn::ShiftRight<24>(hn::ShiftLeft<24>(s));
    const VecI32 s1 = hn::ShiftRight<24>(hn::ShiftLeft<16>(s));
    const VecI32 s2 = hn::ShiftRight<24>(hn::ShiftLeft<8>(s));
    const VecI32 s3 = hn::ShiftRight<24>(s);
    const VecU32 word = Bytes(0xffff);
    const auto u = [](VecI32 v) { return hn::BitCast(TileU32(), v); };
    out.Scale(4 * i, u(s0));
    out.Scale(4 * i + 1, u(s1));
    out.Scale(4 * i + 2, u(s2));
    out.Scale(4 * i + 3, u(s3));
    out.Pair(2 * i, hn::Or(hn::And(u(s0), word), hn::ShiftLeft<16>(u(s1))));
    out.Pair(2 * i + 1, hn::Or(hn::And(u(s2), word), hn::ShiftLeft<16>(u(s3))));
  }
  // d ends the block: the last word of its last 16 bytes, upper half.
  VecU32 end[4];
  LoadQuads(rows, at + sizeof(BlockQ6_K) - 16, end);
  out.D(WidenHighF16(end[3]));
}

// One super-block of kTileLanes rows.
template <class Block, class Sink>
HWY_INLINE void UnpackSuper(const std::byte* const* rows, size_t at,
                            Sink& out) {
  const Block* const type = nullptr;
  if constexpr (Sink::kScalesFirst) UnpackScales(type, rows, at, out);
  UnpackQuants(type, rows, at, out);
  if constexpr (!Sink::kScalesFirst) UnpackScales(type, rows, at, out);
}

// The first word of each of n <= 8 small blocks (d, and m where there is one)
// of 16 rows, by scalar moves, which leave the vector ports alone.
struct alignas(64) FirstWords {
  uint32_t word[8][kPanelRows];
  template <class Block>
  HWY_INLINE void Load(const std::byte* const* rows, size_t first, size_t n) {
    if (n == 8) return LoadN<Block, 8>(rows, first);
    for (size_t b = 0; b < n; ++b) LoadN<Block, 1>(rows, first + b, b);
  }
  template <class Block, size_t n>
  HWY_INLINE void LoadN(const std::byte* const* rows, size_t first,
                        size_t to = 0) {
    for (size_t r = 0; r < kPanelRows; ++r) {
      const std::byte* from = rows[r] + first * sizeof(Block);
#pragma GCC unroll 8
      for (size_t b = 0; b < n; ++b) {
        std::memcpy(&word[to + b][r], from + b * sizeof(Block), 4);
      }
    }
  }
};

// Blocks first .. first + n - 1 of 16 rows, one panel each.
template <class Block>
HWY_INLINE void UnpackPanels(const std::byte* const* rows, size_t first,
                             size_t n, std::byte* panels) {
  using F = PanelFormat<Block>;
  [[maybe_unused]] FirstWords words;
  if constexpr (!F::kSuper) words.template Load<Block>(rows, first, n);
  for (size_t b = 0; b < n; ++b) {
    const size_t at = (first + b) * sizeof(Block);
    for (size_t lane = 0; lane < kPanelRows; lane += kTileLanes) {
      PanelSink<F> out(panels + b * F::kBytes, lane);
      if constexpr (F::kSuper) {
        UnpackSuper<Block>(rows + lane, at, out);
      } else {
        Unpack(static_cast<const Block*>(nullptr), rows + lane, at,
               hn::Load(TileU32(), &words.word[b][lane]), out);
      }
    }
  }
}

}  // namespace ETALON_TIER
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();
