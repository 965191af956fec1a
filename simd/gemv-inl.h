// One activation row: quants go from the file's bytes through registers into
// the products, no panel in between. Included without a guard, once per tier,
// after gemm_tile-inl.h.
// What memory can deliver bounds these products, so they are arranged round
// their prefetches. Those of a chunk are spread over its arithmetic: in a burst
// they would wait for the few line fill buffers of the core, and the products
// with them.

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace ETALON_TIER {

inline constexpr size_t kCacheLine = 64;

// acc + the sum of four u8 * s8 products per lane.
template <class F>
HWY_INLINE VecI32 DotQuad(VecI32 acc, VecI32 w, const int8_t* x) {
#if ETALON_TIER_VNNI
  return VecI32{_mm512_dpbusd_epi32(acc.raw, w.raw, BroadcastWord(x).raw)};
#elif HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  return DotPairs(acc, PairSums<TakesSigned<F>()>(w, BroadcastWord(x)),
                  hn::Set(TileI32(), 0x00010001));
#else
  const VecI32 low8 = hn::Set(TileI32(), 0xff);
  const auto term = [&](VecI32 q, size_t i) HWY_ATTR {
    return hn::Mul(hn::And(q, low8), hn::Set(TileI32(), int32_t{x[i]}));
  };
  acc = hn::Add(acc, term(w, 0));
  acc = hn::Add(acc, term(hn::ShiftRight<8>(w), 1));
  acc = hn::Add(acc, term(hn::ShiftRight<16>(w), 2));
  return hn::Add(acc, term(hn::ShiftRight<24>(w), 3));
#endif
}

// What memory is asked for beside the arithmetic of a chunk of 16 rows: a line
// of the chunks that follow in the same rows, into L1, and one of the next 16
// rows, which lie behind these.
// Sapphire Rapids (the AMX tier) does best with rows far apart that are streams
// of their own, and without the second. For Zen 16 streams are too many, and a
// line asked for while too many are on their way seems never to come: what the
// second asks for in one stream the first asks for again, which is faster
// (docs/performance.md, Zen 5).
template <class Block>
class GemvAhead {
 public:
  // Lines that a row's part of a chunk touches, but for one that it may share
  // with the next chunk.
  static constexpr size_t kPerRow =
      (kChunkBytes<Block> + kCacheLine - 1) / kCacheLine;
  static constexpr size_t kLines = kPanelRows * kPerRow;

  GemvAhead(const std::byte* const* rows, const ReadAhead& next_rows)
      : rows_(rows), next_rows_(next_rows) {}
  // The chunk begins `at` bytes into its rows.
  HWY_INLINE void BeginChunk(size_t at) { at_ = at + kNear; }
  // i-th of kLines, a number that the compiler knows.
  HWY_INLINE void AskForLine(size_t i) {
    __builtin_prefetch(rows_[i / kPerRow] + at_ + i % kPerRow * kCacheLine);
    if (!kOneStream) return;
    if (i * kStretch / kLines != (i + 1) * kStretch / kLines) {
      next_rows_.AskForLine();
    }
  }
  // The lines that go with block b of 8: of two rows, and an eighth.
  HWY_INLINE void AskForBlock(size_t b) {
#pragma GCC unroll 2
    for (size_t lane = 2 * b; lane < 2 * b + 2; ++lane) {
#pragma GCC unroll 8
      for (size_t i = 0; i < kPerRow; ++i) {
        __builtin_prefetch(rows_[lane] + at_ + i * kCacheLine);
      }
    }
    if (!kOneStream) return;
#pragma GCC unroll 16
    for (size_t i = 0; i < kStretch / 8; ++i) next_rows_.AskForLine();
    if (b % 2 == 0 && kStretch % 8 != 0) next_rows_.AskForLine();
  }

 private:
  static constexpr bool kOneStream = !ETALON_TIER_AMX;
  // Four blocks of Q4_K, or two.
  static constexpr size_t kNear = ETALON_TIER_AMX ? 576 : 288;
  // Lines of the 16 rows' chunk where they lie one behind the other.
  static constexpr size_t kStretch =
      (kPanelRows * kChunkBytes<Block> + kCacheLine - 1) / kCacheLine;
  const std::byte* const* rows_;
  size_t at_ = 0;
  ReadAhead next_rows_;
};

// A sink of gemm_unpack-inl.h: one accumulator per sub-block, scaled when the
// scales arrive after the quants.
template <class Block>
class GemvSink {
 public:
  using F = PanelFormat<Block>;
  static constexpr bool kScalesFirst = false;
  static constexpr size_t kSums = F::kSuper ? F::kScales : 1;

  // x and words: qs and sums (or pairs) of the chunk; start: of the sum. With
  // its products a super-block asks for lines from first_line on.
  HWY_INLINE GemvSink(const int8_t* x, const int32_t* words, VecI32 start,
                      GemvAhead<Block>& ahead, size_t first_line)
      : x_(x), words_(words), ahead_(ahead), first_line_(first_line) {
#pragma GCC unroll 16
    for (size_t i = 0; i < kSums; ++i) sub_[i] = hn::Zero(TileI32());
    if constexpr (!F::kSuper) sub_[0] = start;
    sum_ = hn::Zero(TileI32());
    mins_ = hn::Zero(TileI32());
  }
  HWY_INLINE void Quad(size_t line, VecU32 v) {
    if constexpr (F::kSuper) {
      constexpr size_t kShare =
          GemvAhead<Block>::kLines * kTileLanes / kPanelRows;
      static_assert(kShare <= F::kQuads);
      const size_t i = line * kShare / F::kQuads;
      if (i != (line + 1) * kShare / F::kQuads) {
        ahead_.AskForLine(first_line_ + i);
      }
    }
    VecI32& sub = sub_[F::kSuper ? line / (F::kSub / 4) : 0];
    sub = DotQuad<F>(sub, hn::BitCast(TileI32(), v), x_ + 4 * line);
  }
  HWY_INLINE void Scale(size_t i, VecU32 v) {
    sum_ = hn::Add(sum_, hn::Mul(sub_[i], hn::BitCast(TileI32(), v)));
  }
  HWY_INLINE void Pair(size_t i, VecU32 v) {
    mins_ =
        DotPairs(mins_, hn::BitCast(TileI32(), v), BroadcastWord(words_ + i));
  }
  HWY_INLINE void D(VecF v) { d_ = v; }
  HWY_INLINE void M(VecF v) { m_ = v; }

  // acc and the block: S, T and their scales.
  HWY_INLINE VecF AddTo(VecF acc, float dx) const {
    VecI32 s = F::kSuper ? sum_ : sub_[0];
    VecI32 m = mins_;
    if constexpr (F::kSuper && F::kOffset != 0) {
      static_assert(F::kOffset == 32);
      s = hn::Sub(s, hn::ShiftLeft<5>(m));
    }
    if constexpr (!F::kSuper && F::kHasMin) m = BroadcastWord(words_);
    return AddBlock<F>(acc, d_, m_, hn::Set(TileF(), dx), s, m);
  }

 private:
  const int8_t* x_;
  const int32_t* words_;
  GemvAhead<Block>& ahead_;
  size_t first_line_;
  VecI32 sub_[kSums];
  VecI32 sum_, mins_;
  VecF d_ = hn::Zero(TileF()), m_ = hn::Zero(TileF());
};

// acc[kPanelRows] += blocks first .. first + n - 1 (one chunk) of 16 rows.
template <class Block>
HWY_INLINE void GemvChunk(const std::byte* const* rows, size_t first, size_t n,
                          const GemmActivations& x, size_t chunk,
                          GemvAhead<Block>& ahead,
                          VecF (&acc)[kPanelRows / kTileLanes]) {
  using F = PanelFormat<Block>;
  const int8_t* qs = x.QsAt(chunk, 0);
  const float* dx = x.DAt(chunk, 0);
  constexpr size_t kLines = GemvAhead<Block>::kLines;
  ahead.BeginChunk(first * sizeof(Block));
  if constexpr (F::kSuper) {
    const int32_t* words =
        F::kHasMin ? x.PairsAt(chunk, 0) : x.SumsAt(chunk, 0);
#pragma GCC unroll 2
    for (size_t v = 0; v < kPanelRows / kTileLanes; ++v) {
      const std::byte* const* mine = rows + v * kTileLanes;
      GemvSink<Block> sink(qs, words, hn::Zero(TileI32()), ahead,
                           v * kTileLanes * kLines / kPanelRows);
      UnpackSuper<Block>(mine, first * sizeof(Block), sink);
      acc[v] = sink.AddTo(acc[v], dx[0]);
    }
  } else {
    FirstWords words;
    words.template Load<Block>(rows, first, n);
    const int32_t* sum_x = x.SumsAt(chunk, 0);
    for (size_t b = 0; b < n; ++b) {
      ahead.AskForBlock(b);  // a last chunk of fewer leaves some out
#pragma GCC unroll 2
      for (size_t v = 0; v < kPanelRows / kTileLanes; ++v) {
        const VecI32 start = F::kOffset != 0 && !TakesSigned<F>()
                                 ? hn::Set(TileI32(), -F::kOffset * sum_x[b])
                                 : hn::Zero(TileI32());
        const std::byte* const* mine = rows + v * kTileLanes;
        GemvSink<Block> sink(qs + b * F::kBlock, sum_x + b, start, ahead, 0);
        Unpack(static_cast<const Block*>(nullptr), mine,
               (first + b) * sizeof(Block),
               hn::Load(TileU32(), &words.word[b][v * kTileLanes]), sink);
        acc[v] = sink.AddTo(acc[v], dx[b]);
      }
    }
  }
}

}  // namespace ETALON_TIER
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();
