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
// The same at a constant distance: an address per tile would not fit the
// registers.
#define ETALON_TILE_LOAD_AT(tile, from, distance, stride)                      \
  asm volatile("tileloadd %c2(%0,%1,1), %%tmm" #tile ::"r"(from), "r"(stride), \
               "i"(distance))
#define ETALON_TILE_STORE_AT(tile, to, distance, stride)            \
  asm volatile("tilestored %%tmm" #tile ", %c2(%0,%1,1)" ::"r"(to), \
               "r"(stride), "i"(distance)                           \
               : "memory")
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

  // kRows tokens: tiles c (H, then L kAmxTileBytes further) upon `from`, to
  // acc. |H| and |L| stay below 2^24: their sum in one fma rounds once, as a
  // conversion of the integer would. T, which stays below 2^22, is summed upon
  // the bits of 1.5 * 2^23, from which a float difference takes it exactly.
  template <size_t kRows>
  HWY_INLINE void Rows(const std::byte* c, const float* dx,
                       const int32_t* words, const float* from,
                       float* acc) const {
    const VecI32 magic = hn::Set(TileI32(), 0x4b400000);
    const VecF base = hn::Set(TileF(), 1 << AmxDigits<Block>::kShift);
#pragma GCC unroll 16
    for (size_t t = 0; t < kRows; ++t) {
      const VecF h = hn::ConvertTo(TileF(), LoadLine(c + t * kLineBytes));
      const VecF l =
          hn::ConvertTo(TileF(), LoadLine(c + kAmxTileBytes + t * kLineBytes));
      const VecF x = hn::Set(TileF(), dx[t]);
      VecF y = Fma(hn::Mul(d, x), Fma(h, base, l),
                   hn::LoadU(TileF(), from + t * kPanelRows));
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
      hn::StoreU(y, TileF(), acc + t * kPanelRows);
    }
  }

 private:
  static HWY_INLINE VecF Fma(VecF a, VecF b, VecF c) {
    return HWY_NAMESPACE::Fma(a, b, c);
  }
};
// T of a block: 8 mins of 6 bits times sums of 32 activations.
static_assert(8 * 63 * 32 * 127 < 1 << 22);
// The largest digit, L of Q4_K.
static_assert(kChunk * 225 * 127 < 1 << 24);

// Scratch of one AmxChunk: panels (without quants, where they are digits) of kV
// row groups, their digits, result tiles. At constant distances from the first
// digits: one register leads to all of them.
template <size_t kV>
struct AmxScratch {
  static constexpr ptrdiff_t kPanels =
      -static_cast<ptrdiff_t>(kV * kMaxPanelBytes);
  static constexpr ptrdiff_t kTiles = kV * kAmxDigitBytes;
};

// Super-block panels of kV row groups against tokens begin .. end - 1. A unit
// is one tile of 16 tokens against all groups: what it reads and writes lies in
// the first-level cache beside the digits and the next unit's tokens (units of
// two token tiles, or two sets of result tiles, push digits out). Results are
// stored where the next unit begins its own (a store at the end of a chain of
// products waits for it), and an eighth of the epilogue follows every two
// products; with two groups one eighth late, which leaves the tiles time.
template <class Block, size_t kV>
class AmxUnits {
 public:
  HWY_INLINE AmxUnits(std::byte* digits, const GemmActivations& x, size_t chunk,
                      size_t begin, float* const (&acc)[kV])
      : digits_(digits), a_(x.QsAt(chunk, begin)), is_first_(chunk == 0) {
    dx_ = x.DAt(chunk, begin);
    if (F::kHasMin) words_ = x.PairsAt(chunk, begin);
    for (size_t v = 0; v < kV; ++v) acc_[v] = acc[v];
  }

  HWY_INLINE void Run(size_t n_units, Ahead ahead) {
    const size_t rows_per_step =
        (ahead.n_rows + 4 * n_units - 1) / (4 * n_units);
    const std::byte* const* row = ahead.rows;
    const std::byte* const* const end = row + ahead.n_rows;
    const auto request = [&] HWY_ATTR {
      const std::byte* const* const to =
          row + std::min<size_t>(rows_per_step, static_cast<size_t>(end - row));
      while (row != to) RequestRow<Block>(*row++);
    };
    for (size_t u = 0; u < n_units; ++u) {
      Step<0>(u);
      request();
      Step<1>(u);
      request();
      Step<2>(u);
      request();
      Step<3>(u);
      request();
      a_ += kAmxTokens * kChunk;
      dx_ += kAmxTokens;
      if (F::kHasMin) words_ += kAmxTokens * kWords;
      for (float*& acc : acc_) acc += kAccStep;
    }
    ETALON_TILE_STORE_AT(0, digits_, kTiles, kLine);
    ETALON_TILE_STORE_AT(1, digits_, kTiles + kTile, kLine);
    if constexpr (kV == 2) {
      if (n_units > 1) Finish<kParts - 1, 2>();
      ETALON_TILE_STORE_AT(2, digits_, kTiles + 2 * kTile, kLine);
      ETALON_TILE_STORE_AT(3, digits_, kTiles + 3 * kTile, kLine);
    }
    FinishAll(std::make_index_sequence<kParts>());
  }

 private:
  using F = PanelFormat<Block>;
  static constexpr bool kSigned = AmxDigits<Block>::kSigned;
  static constexpr size_t kWords = 4;  // of pairs, per token
  static constexpr size_t kAccStep = kAmxTokens * kPanelRows;
  static constexpr size_t kParts = 8;
  static constexpr size_t kStep = kV * kAmxTokens / kParts;  // rows of a part
  static constexpr ptrdiff_t kTiles = AmxScratch<kV>::kTiles;
  static constexpr ptrdiff_t kTile = kAmxTileBytes;
  static constexpr ptrdiff_t kLine = kLineBytes;
  static constexpr ptrdiff_t kRow = kChunk;

  // Part `part` of the epilogue of the unit `back` before the current one.
  template <size_t part, ptrdiff_t back = 1>
  HWY_INLINE void Finish() const {
    constexpr size_t v = part * kStep / kAmxTokens;
    constexpr ptrdiff_t row = part * kStep % kAmxTokens;
    constexpr ptrdiff_t token = row - back * static_cast<ptrdiff_t>(kAmxTokens);
    alignas(64) static constexpr float kZeros[kStep * kPanelRows] = {};
    const AmxEpilogue<Block> epilogue(digits_ + AmxScratch<kV>::kPanels +
                                      v * kMaxPanelBytes);
    float* const to = acc_[v] + token * static_cast<ptrdiff_t>(kPanelRows);
    epilogue.template Rows<kStep>(
        digits_ + kTiles + v * 2 * kTile + row * kLine, dx_ + token,
        F::kHasMin ? words_ + token * static_cast<ptrdiff_t>(kWords) : nullptr,
        is_first_ ? kZeros : to, to);
  }
  template <size_t... part>
  HWY_INLINE void FinishAll(std::index_sequence<part...>) const {
    (Finish<part>(), ...);
  }
  template <size_t slot>
  HWY_INLINE void FinishAt(size_t u) const {
    if constexpr (kV == 1) {
      if (u >= 1) Finish<slot>();
    } else if constexpr (slot == 0) {
      // Its tile is written again only after this.
      if (u >= 2) Finish<kParts - 1, 2>();
    } else {
      if (u >= 1) Finish<slot - 1>();
    }
  }

  // Columns 64 k .. 64 k + 63 of unit u.
  template <size_t k>
  HWY_INLINE void Step(size_t u) const {
    constexpr ptrdiff_t kHigh = k * kTile;
    constexpr ptrdiff_t kLow = kHigh + kAmxDigitBytes / 2;
    constexpr ptrdiff_t kGroup = kAmxDigitBytes;
    // The next unit's share of this step, from the second-level cache.
    constexpr size_t kShare = kAmxTokens * kChunk / 4;
#pragma GCC unroll 32
    for (size_t i = 0; i < kShare; i += 64) {
      hwy::Prefetch(a_ + kAmxTokens * kChunk + k * kShare + i);
    }
    ETALON_TILE_LOAD_AT(6, digits_, kHigh, kLine);
    ETALON_TILE_LOAD_AT(4, a_, 64 * k, kRow);
    if constexpr (k == 0) {
      if (u > 0) ETALON_TILE_STORE_AT(0, digits_, kTiles, kLine);
      ETALON_TILE_ZERO(0);
    }
    ETALON_TILE_DOT(0, 4, 6, kSigned);
    ETALON_TILE_LOAD_AT(7, digits_, kLow, kLine);
    if constexpr (k == 0) {
      if (u > 0) ETALON_TILE_STORE_AT(1, digits_, kTiles + kTile, kLine);
      ETALON_TILE_ZERO(1);
    }
    ETALON_TILE_DOT(1, 4, 7, kSigned);
    FinishAt<2 * k>(u);
    if constexpr (kV == 2) {
      ETALON_TILE_LOAD_AT(6, digits_, kGroup + kHigh, kLine);
      if constexpr (k == 0) {
        if (u > 0) ETALON_TILE_STORE_AT(2, digits_, kTiles + 2 * kTile, kLine);
        ETALON_TILE_ZERO(2);
      }
      ETALON_TILE_DOT(2, 4, 6, kSigned);
      ETALON_TILE_LOAD_AT(7, digits_, kGroup + kLow, kLine);
      if constexpr (k == 0) {
        if (u > 0) ETALON_TILE_STORE_AT(3, digits_, kTiles + 3 * kTile, kLine);
        ETALON_TILE_ZERO(3);
      }
      ETALON_TILE_DOT(3, 4, 7, kSigned);
    }
    FinishAt<2 * k + 1>(u);
  }

  std::byte* const digits_;
  const int8_t* a_;
  const float* dx_;
  const int32_t* words_ = nullptr;
  float* acc_[kV];
  const bool is_first_;
};

template <class Block, size_t kV>
HWY_NOINLINE void AmxSuperBlock(std::byte* digits, const GemmActivations& x,
                                size_t chunk, size_t begin, size_t end,
                                float* const (&acc)[kV], Ahead ahead) {
  AmxUnits<Block, kV>(digits, x, chunk, begin, acc)
      .Run((end - begin + kAmxTokens - 1) / kAmxTokens, ahead);
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
  std::byte* tiles = scratch + AmxScratch<kV>::kTiles;
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
    AmxSuperBlock<Block, kV>(scratch, x, chunk, begin, end, acc, ahead);
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
