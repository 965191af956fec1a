// Panel x activations on AMX int8 tiles, exactly. Included without a guard in
// the AMX pass, after gemm_tile-inl.h.
// Tile product: C [16 tokens, 16 rows] += A [16 tokens, 64 k] * B [16 quads, 16
// rows * 4]. A is loaded from the activations as they lie, B is 16 lines of a
// panel as they lie, so that C's rows are tokens and its lanes weight rows:
// the epilogue is that of the vector tiers.
// Super-blocks. A quant times its sub-block's scale does not fit in 8 bits, so
// it is written in two digits, each a panel of its own, and two tile products
// accumulate a whole block exactly:
//   Q4_K  q <= 15, sc = 16 a + b: q a <= 45, q b <= 225; S = 16 H + L
//   Q5_K  q <= 31, sc =  8 a + b: q a <= 217, q b <= 217; S = 8 H + L
//   Q6_K  p = sc (q - 32), |p| <= 4096, p = 128 h + l with -64 <= l < 64, |h|
//         <= 32; S = 128 H + L
// Blocks of 32 have a float product each: half-deep tiles, one per block.

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace ETALON_TIER {

inline constexpr size_t kAmxTokens = 16;  // rows of a tile
inline constexpr size_t kAmxPair = 2 * kAmxTokens;
inline constexpr size_t kAmxTileBytes = 1024;

// As asm: the compiler's own ldtilecfg intrinsic declares 8 of the 64 bytes as
// read (g++ 12), and its tile loads do not say that they read memory.
struct alignas(64) AmxConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(AmxConfig) == 64);
#define ETALON_TILE_LOAD(tile, from, stride)                   \
  asm volatile("tileloadd (%0,%1,1), %%tmm" #tile ::"r"(from), \
               "r"(static_cast<ptrdiff_t>(stride)))
#define ETALON_TILE_STORE(tile, to)                              \
  asm volatile("tilestored %%tmm" #tile ", (%0,%1,1)" ::"r"(to), \
               "r"(static_cast<ptrdiff_t>(kLineBytes))           \
               : "memory")
#define ETALON_TILE_ZERO(tile) asm volatile("tilezero %%tmm" #tile ::)
// c += a (signed) * b (signed or unsigned): AT&T order is b, a, c.
#define ETALON_TILE_DOT(c, a, b, is_signed)                        \
  if constexpr (is_signed) {                                       \
    asm volatile("tdpbssd %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::); \
  } else {                                                         \
    asm volatile("tdpbsud %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::); \
  }

// Tiles 0-3 accumulate, 4 and 5 are A, 6 and 7 are B.
class AmxSession {
 public:
  explicit AmxSession(size_t k) {
    AmxConfig config;
    for (size_t t = 0; t < 8; ++t) {
      config.row_bytes[t] = t == 4 || t == 5 ? static_cast<uint16_t>(k) : 64;
      config.rows[t] = t >= 6 ? static_cast<uint8_t>(k / 4) : 16;
    }
    asm volatile("ldtilecfg %0" ::"m"(config));
  }
  ~AmxSession() { asm volatile("tilerelease" ::); }
  AmxSession(const AmxSession&) = delete;
  AmxSession& operator=(const AmxSession&) = delete;
};

template <class Block>
struct AmxDigits {
  static constexpr bool kSigned = false;
  static constexpr int kShift = 0;
};
template <>
struct AmxDigits<BlockQ4_K> {
  static constexpr bool kSigned = false;
  static constexpr int kShift = 4;
};
template <>
struct AmxDigits<BlockQ5_K> {
  static constexpr bool kSigned = false;
  static constexpr int kShift = 3;
};
template <>
struct AmxDigits<BlockQ6_K> {
  static constexpr bool kSigned = true;
  static constexpr int kShift = 7;
};
inline constexpr size_t kAmxDigitBytes = 2 * kChunk / 4 * kLineBytes;

// A sink of gemm_unpack-inl.h: quants become digits as they are unpacked, H at
// 0, L after it, 64 lines each; scales, pairs, d and m go where PanelSink puts
// them, in a panel without quants.
template <class Block>
class DigitSink {
 public:
  using F = PanelFormat<Block>;
  static constexpr bool kScalesFirst = true;
  static constexpr int kShift = AmxDigits<Block>::kShift;

  HWY_INLINE DigitSink(std::byte* panel, std::byte* digits)
      : rest_(panel, 0), digits_(digits) {}

  HWY_INLINE void Scale(size_t i, VecU32 v) {
    const __m512i both =
        _mm512_or_si512(_mm512_and_si512(v.raw, _mm512_set1_epi32(0xffff)),
                        _mm512_slli_epi32(v.raw, 16));
    if constexpr (AmxDigits<Block>::kSigned) {
      a_[i] = both;
    } else {
      a_[i] = _mm512_srli_epi16(both, kShift);
      b_[i] = _mm512_and_si512(both, _mm512_set1_epi16((1 << kShift) - 1));
    }
  }
  HWY_INLINE void Quad(size_t line, VecU32 v) {
    const size_t s = line / (F::kSub / 4);
    const __m512i q = v.raw;
    if constexpr (!AmxDigits<Block>::kSigned) {
      // Two bytes at once: neither product reaches 256.
      Set(line, _mm512_mullo_epi16(q, a_[s]), _mm512_mullo_epi16(q, b_[s]));
    } else {
      const __m512i low8 = _mm512_set1_epi16(0xff);
      const __m512i offset = _mm512_set1_epi16(F::kOffset);
      const __m512i round = _mm512_set1_epi16(64);
      const __m512i low7 = _mm512_set1_epi16(0x7f);
      constexpr __mmask64 kOdd = 0xaaaaaaaaaaaaaaaaull;
      const auto product = [&](__m512i bytes) HWY_ATTR {
        return _mm512_add_epi16(
            _mm512_mullo_epi16(_mm512_sub_epi16(bytes, offset), a_[s]), round);
      };
      const __m512i even = product(_mm512_and_si512(q, low8));
      const __m512i odd = product(_mm512_srli_epi16(q, 8));
      const __m512i h = _mm512_mask_blend_epi8(
          kOdd, _mm512_srai_epi16(even, 7),
          _mm512_slli_epi16(_mm512_srai_epi16(odd, 7), 8));
      const __m512i l = _mm512_mask_blend_epi8(
          kOdd, _mm512_and_si512(even, low7),
          _mm512_slli_epi16(_mm512_and_si512(odd, low7), 8));
      Set(line, h, _mm512_sub_epi8(l, _mm512_set1_epi8(64)));
    }
  }
  HWY_INLINE void Pair(size_t i, VecU32 v) {
    if constexpr (F::kHasMin) rest_.Pair(i, v);
  }
  HWY_INLINE void D(VecF v) { rest_.D(v); }
  HWY_INLINE void M(VecF v) { rest_.M(v); }

 private:
  HWY_INLINE void Set(size_t line, __m512i h, __m512i l) {
    _mm512_store_si512(digits_ + line * kLineBytes, h);
    _mm512_store_si512(digits_ + kAmxDigitBytes / 2 + line * kLineBytes, l);
  }
  PanelSink<F> rest_;
  std::byte* digits_;
  __m512i a_[F::kScales > 0 ? F::kScales : 1];
  __m512i b_[F::kScales > 0 ? F::kScales : 1];
};

// What the epilogue of a super-block panel needs in registers.
template <class Block>
struct AmxEpilogue {
  using F = PanelFormat<Block>;
  VecF d, dm;
  VecI32 pairs[F::kHasMin ? F::kPairs : 1];

  explicit AmxEpilogue(const std::byte* panel) {
    d = LoadLineF(panel + F::kDLine * kLineBytes);
    if constexpr (F::kHasMin) {
      dm = LoadLineF(panel + F::kMLine * kLineBytes);
#pragma GCC unroll 4
      for (size_t p = 0; p < F::kPairs; ++p) {
        pairs[p] = LoadLine(panel + (F::kPairLine + p) * kLineBytes);
      }
    }
  }

  // kRows tokens: tiles c (H, then L kAmxTileBytes further) into acc. While
  // tiles are multiplied only one vector port is left for products, shifts and
  // conversions, two for sums: so 2^shift H is a chain of sums, and T, which
  // stays below 2^22, is summed upon the bits of 1.5 * 2^23, from which a float
  // difference takes it exactly.
  template <size_t kRows>
  HWY_INLINE void Rows(const std::byte* c, const float* dx,
                       const int32_t* words, float* acc) const {
    const VecI32 magic = hn::Set(TileI32(), 0x4b400000);
#pragma GCC unroll 16
    for (size_t t = 0; t < kRows; ++t) {
      const VecI32 l = LoadLine(c + kAmxTileBytes + t * kLineBytes);
      const VecI32 s = hn::Add(Shifted(LoadLine(c + t * kLineBytes)), l);
      float* at = acc + t * kPanelRows;
      const VecF x = hn::Set(TileF(), dx[t]);
      VecF y =
          Fma(hn::Mul(d, x), hn::ConvertTo(TileF(), s), hn::LoadU(TileF(), at));
      if constexpr (F::kHasMin) {
        VecI32 m = magic;
#pragma GCC unroll 4
        for (size_t p = 0; p < F::kPairs; ++p) {
          m = DotPairs(m, pairs[p], BroadcastWord(words + 4 * t + p));
        }
        const VecF mins =
            hn::Sub(hn::BitCast(TileF(), m), hn::BitCast(TileF(), magic));
        y = Fma(hn::Mul(dm, x), mins, y);
      }
      hn::StoreU(y, TileF(), at);
    }
  }

 private:
  static HWY_INLINE VecF Fma(VecF a, VecF b, VecF c) {
    return HWY_NAMESPACE::Fma(a, b, c);
  }
  static HWY_INLINE VecI32 Shifted(VecI32 h) {
    constexpr int kShift = AmxDigits<Block>::kShift;
    if constexpr (kShift > 4) {
      h = hn::ShiftLeft<kShift>(h);
    } else {
#pragma GCC unroll 4
      for (int i = 0; i < kShift; ++i) {
        h = hn::Add(h, h);
        asm("" : "+v"(h.raw));  // the compiler would make it a shift again
      }
    }
    return h;
  }
};
// T of a block: 8 mins of 6 bits times sums of 32 activations.
static_assert(8 * 63 * 32 * 127 < 1 << 22);

// Weights of a later chunk, by row, to be asked for while tiles are multiplied:
// asked for all at once they stall for as long as memory takes.
struct Ahead {
  const std::byte* const* rows;
  size_t n_rows;
};
template <class Block>
HWY_INLINE void RequestRow(const std::byte* row) {
#pragma GCC unroll 8
  for (size_t i = 0; i < kChunkBytes<Block>; i += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(row + i), _MM_HINT_T1);
  }
}

// Super-block panels of kV row groups against tokens begin .. end - 1, two
// tiles of 16 tokens at a time; a pair of token tiles meets all groups while it
// is in the first-level cache. A unit is one pair and one group. Its tiles are
// stored one by one where the next unit begins theirs (four stores in a row
// would stall the products), and its epilogue runs on the vector ports between
// the products from kLag eighths later on.
template <class Block, size_t kV>
HWY_NOINLINE void AmxSuperBlock(std::byte* const (&panels)[kV],
                                const std::byte* digits,
                                const GemmActivations& x, size_t chunk,
                                size_t begin, size_t end,
                                float* const (&acc)[kV], Ahead ahead,
                                std::byte* tiles) {
  using F = PanelFormat<Block>;
  constexpr bool kSigned = AmxDigits<Block>::kSigned;
  constexpr size_t kParts = 8;
  constexpr size_t kLag = 3;
  constexpr size_t kStep = kAmxPair / kParts;
  constexpr size_t kWords = F::kHasMin ? 4 : 0;  // per token
  constexpr size_t kPairBytes = kAmxPair * kChunk;
  constexpr size_t kUnitBytes = 4 * kAmxTileBytes;
  const float* const dx = x.DAt(chunk, begin);
  const int32_t* const words = F::kHasMin ? x.PairsAt(chunk, begin) : nullptr;
  const int8_t* const qs = x.QsAt(chunk, begin);
  // Part `part` of the epilogue of unit u, whose group is v.
  const auto finish = [&](size_t u, size_t v, size_t part) HWY_ATTR {
    const AmxEpilogue<Block> epilogue(panels[v]);
    const std::byte* from = tiles + u % 2 * kUnitBytes +
                            part / 4 * 2 * kAmxTileBytes +
                            part % 4 * kStep * kLineBytes;
    const size_t token = u / kV * kAmxPair + part * kStep;
    epilogue.template Rows<kStep>(from, dx + token, words + token * kWords,
                                  acc[v] + token * kPanelRows);
  };
  const size_t n_units = (end - begin + kAmxPair - 1) / kAmxPair * kV;
  const int8_t* a = qs;
  const size_t rows_per_step = (ahead.n_rows + 4 * n_units - 1) / (4 * n_units);
  size_t n_requested = 0;
  for (size_t first = 0; first < n_units; first += kV, a += kPairBytes) {
    const bool more = first + kV < n_units;
#pragma GCC unroll 4
    for (size_t v = 0; v < kV; ++v) {
      const size_t u = first + v;
      const std::byte* high = digits + v * kAmxDigitBytes;
      const std::byte* low = high + kAmxDigitBytes / 2;
      std::byte* const before = tiles + (u + 1) % 2 * kUnitBytes;
      // The epilogue of the two units before: their groups are fixed by v.
      const auto epilogue = [&](size_t slot) HWY_ATTR {
        if (slot >= kLag) {
          if (u >= 1) finish(u - 1, (v + kV - 1) % kV, slot - kLag);
        } else if (u >= 2) {
          finish(u - 2, (v + 2 * kV - 2) % kV, slot + kParts - kLag);
        }
      };
#pragma GCC unroll 4
      for (size_t k = 0; k < 4; ++k) {
        // The next pair's share of this step, from the second-level cache.
        constexpr size_t kShare = kPairBytes / kV / 4;
        const int8_t* next = a + kPairBytes + (4 * v + k) * kShare;
#pragma GCC unroll 32
        for (size_t i = 0; i < kShare && more; i += 64) hwy::Prefetch(next + i);
        for (size_t r = 0; r < rows_per_step; ++r) {
          if (n_requested == ahead.n_rows) break;
          RequestRow<Block>(ahead.rows[n_requested++]);
        }
        ETALON_TILE_LOAD(6, high + k * kAmxTileBytes, kLineBytes);
        ETALON_TILE_LOAD(4, a + 64 * k, kChunk);
        if (k == 0) {
          if (u > 0) ETALON_TILE_STORE(0, before);
          ETALON_TILE_ZERO(0);
        }
        ETALON_TILE_DOT(0, 4, 6, kSigned);
        ETALON_TILE_LOAD(7, low + k * kAmxTileBytes, kLineBytes);
        if (k == 0) {
          if (u > 0) ETALON_TILE_STORE(1, before + kAmxTileBytes);
          ETALON_TILE_ZERO(1);
        }
        ETALON_TILE_DOT(1, 4, 7, kSigned);
        epilogue(2 * k);
        ETALON_TILE_LOAD(5, a + kAmxTokens * kChunk + 64 * k, kChunk);
        if (k == 0) {
          if (u > 0) ETALON_TILE_STORE(2, before + 2 * kAmxTileBytes);
          ETALON_TILE_ZERO(2);
        }
        ETALON_TILE_DOT(2, 5, 6, kSigned);
        if (k == 0) {
          if (u > 0) ETALON_TILE_STORE(3, before + 3 * kAmxTileBytes);
          ETALON_TILE_ZERO(3);
        }
        ETALON_TILE_DOT(3, 5, 7, kSigned);
        epilogue(2 * k + 1);
      }
    }
  }
  const size_t last = n_units - 1;
  std::byte* const c = tiles + last % 2 * kUnitBytes;
  ETALON_TILE_STORE(0, c);
  ETALON_TILE_STORE(1, c + kAmxTileBytes);
  ETALON_TILE_STORE(2, c + 2 * kAmxTileBytes);
  ETALON_TILE_STORE(3, c + 3 * kAmxTileBytes);
  for (size_t part = kParts - kLag; part < kParts && last > 0; ++part) {
    finish(last - 1, (last - 1) % kV, part);
  }
  for (size_t part = 0; part < kParts; ++part) finish(last, kV - 1, part);
}

// Up to eight blocks of 32, quants made signed by SignPanels.
template <class Block>
HWY_INLINE void SignPanels(size_t n_blocks, std::byte* panels) {
  using F = PanelFormat<Block>;
  if constexpr (F::kOffset != 0) {
    const __m512i offset = _mm512_set1_epi8(static_cast<char>(F::kOffset));
    for (size_t b = 0; b < n_blocks; ++b) {
#pragma GCC unroll 8
      for (size_t i = 0; i < F::kQuads; ++i) {
        std::byte* at = panels + b * F::kBytes + i * kLineBytes;
        _mm512_storeu_si512(at, _mm512_sub_epi8(LoadLine(at).raw, offset));
      }
    }
  }
}

template <class Block>
HWY_NOINLINE void AmxSmallBlocks(const std::byte* panels,
                                 const GemmActivations& x, size_t chunk,
                                 size_t begin, size_t end, size_t n_blocks,
                                 float* acc, std::byte* tiles) {
  using F = PanelFormat<Block>;
  for (size_t t = begin; t < end; t += kAmxTokens) {
    const int8_t* a = x.QsAt(chunk, t);
    for (size_t b = 0; b < n_blocks; b += 4) {
      const size_t n = std::min<size_t>(4, n_blocks - b);
      const std::byte* w = panels + b * F::kBytes;
      const auto block = [&](size_t i) { return w + i * F::kBytes; };
      const int8_t* xs = a + b * F::kBlock;
      ETALON_TILE_ZERO(0);
      ETALON_TILE_LOAD(4, xs, kChunk);
      ETALON_TILE_LOAD(6, block(0), kLineBytes);
      ETALON_TILE_DOT(0, 4, 6, true);
      if (n > 1) {
        ETALON_TILE_ZERO(1);
        ETALON_TILE_LOAD(5, xs + 32, kChunk);
        ETALON_TILE_LOAD(7, block(1), kLineBytes);
        ETALON_TILE_DOT(1, 5, 7, true);
      }
      if (n > 2) {
        ETALON_TILE_ZERO(2);
        ETALON_TILE_LOAD(4, xs + 64, kChunk);
        ETALON_TILE_LOAD(6, block(2), kLineBytes);
        ETALON_TILE_DOT(2, 4, 6, true);
      }
      if (n > 3) {
        ETALON_TILE_ZERO(3);
        ETALON_TILE_LOAD(5, xs + 96, kChunk);
        ETALON_TILE_LOAD(7, block(3), kLineBytes);
        ETALON_TILE_DOT(3, 5, 7, true);
      }
      std::byte* c = tiles + b * kAmxTileBytes;
      ETALON_TILE_STORE(0, c);
      ETALON_TILE_STORE(1, c + kAmxTileBytes);
      ETALON_TILE_STORE(2, c + 2 * kAmxTileBytes);
      ETALON_TILE_STORE(3, c + 3 * kAmxTileBytes);
    }
    VecF sums[kAmxTokens];
    float* at = acc + (t - begin) * kPanelRows;
#pragma GCC unroll 16
    for (size_t i = 0; i < kAmxTokens; ++i) {
      sums[i] = hn::LoadU(TileF(), at + i * kPanelRows);
    }
    const float* dx = x.DAt(chunk, t);
    const int32_t* sum_x = x.SumsAt(chunk, t);
    for (size_t b = 0; b < n_blocks; ++b) {
      const std::byte* w = panels + b * F::kBytes;
      const VecF d = LoadLineF(w + F::kDLine * kLineBytes);
      VecF dm = d;
      if constexpr (F::kHasMin) {
        dm = LoadLineF(w + F::kMLine * kLineBytes);
      }
      const std::byte* c = tiles + b * kAmxTileBytes;
#pragma GCC unroll 16
      for (size_t i = 0; i < kAmxTokens; ++i) {
        sums[i] = AddBlock<F>(sums[i], d, dm, hn::Set(TileF(), dx[8 * i + b]),
                              LoadLine(c + i * kLineBytes),
                              BroadcastWord(sum_x + 8 * i + b));
      }
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < kAmxTokens; ++i) {
      hn::StoreU(sums[i], TileF(), at + i * kPanelRows);
    }
  }
}

// Fewer tokens than this leave most of a tile empty.
inline constexpr size_t kAmxMinTokens = 9;
static_assert(kAmxGroups * kAmxDigitBytes + 8 * kAmxTileBytes <=
              kAmxScratchBytes);

// Chunk `chunk` of kV row groups, blocks first .. first + n - 1, against all
// tokens.
template <class Block, size_t kV>
HWY_INLINE void AmxChunk(const std::byte* const (&rows)[kV][kPanelRows],
                         size_t first, size_t n, std::byte* const (&panels)[kV],
                         const GemmActivations& x, size_t chunk, size_t begin,
                         size_t end, float* const (&acc)[kV], Ahead ahead,
                         std::byte* scratch) {
  std::byte* tiles = scratch + kV * kAmxDigitBytes;
  for (size_t v = 0; v < kV; ++v) {
    if constexpr (PanelFormat<Block>::kSuper) {
      DigitSink<Block> sink(panels[v], scratch + v * kAmxDigitBytes);
      UnpackSuper<Block>(rows[v], first * sizeof(Block), sink);
    } else {
      UnpackPanels<Block>(rows[v], first, n, panels[v]);
      SignPanels<Block>(n, panels[v]);
    }
  }
  // Tile loads do not tell the compiler what they read.
  asm volatile("" ::: "memory");
  if constexpr (PanelFormat<Block>::kSuper) {
    AmxSuperBlock<Block, kV>(panels, scratch, x, chunk, begin, end, acc, ahead,
                             tiles);
  } else {
    for (size_t r = 0; r < ahead.n_rows; ++r) RequestRow<Block>(ahead.rows[r]);
    for (size_t v = 0; v < kV; ++v) {
      AmxSmallBlocks<Block>(panels[v], x, chunk, begin, end, n, acc[v], tiles);
    }
  }
}

}  // namespace ETALON_TIER
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();
