// Walks the weight rows of one task. Included without a guard, once per tier,
// after gemm_tile-inl.h.
// With few tokens a task's rows are cut into 16 runs of consecutive rows; lane
// i of every panel walks run i. So 16 sequential streams are read at a time,
// which is what memory serves fastest, and the prefetcher of each stream never
// meets a gap.

HWY_BEFORE_NAMESPACE();
namespace etalon::simd {
namespace ETALON_TIER {

// Bytes ahead of the current block: about two super-blocks.
inline constexpr size_t kPrefetchAhead = 288;

// Rows of panel c: lane i holds row begin + i * lane_step + c * panel_step, or,
// past the end, the last row of the task, whose results are dropped.
struct RowMap {
  size_t begin, end, n_panels, lane_step, panel_step;
  size_t At(size_t c, size_t lane) const {
    return begin + lane * lane_step + c * panel_step;
  }
  size_t Row(size_t c, size_t lane) const {
    return std::min(At(c, lane), end - 1);
  }
};
// Neighbouring rows share a panel: with many tokens, where products take longer
// than the reading, so that results leave a vector at a time; on all tiers but
// AMX also with few, so that the rows that follow are one stretch of memory
// (GemvAhead says more).
inline constexpr size_t kAdjacentFrom = ETALON_TIER_AMX ? 9 : 1;  // tokens
// Activations of few tokens stay in the cache anyway: better to walk the weight
// rows in long runs.
inline constexpr size_t kManyTokens = 64;

inline RowMap MapRows(size_t begin, size_t end, size_t n_tokens) {
  const size_t n_panels = (end - begin + kPanelRows - 1) / kPanelRows;
  if (n_tokens >= kAdjacentFrom) return {begin, end, n_panels, 1, kPanelRows};
  return {begin, end, n_panels, n_panels, 1};
}

// One token's results for the 16 weight rows from `row` on.
HWY_INLINE void StorePanelRow(const GemmRows& g, size_t row, const float* acc,
                              float* out) {
  const VecF scale = hn::Set(TileF(), g.scale);
#pragma GCC unroll 4
  for (size_t lane = 0; lane < kPanelRows; lane += kTileLanes) {
    VecF y = hn::Mul(hn::LoadU(TileF(), acc + lane), scale);
    if (g.bias != nullptr) {
      y = hn::Add(y, hn::LoadU(TileF(), g.bias + row + lane));
    }
    hn::StoreU(y, TileF(), out + lane);
  }
}

HWY_INLINE void StoreRows(const GemmRows& g, const RowMap& map, size_t c,
                          const float* acc, size_t token_begin,
                          size_t token_end) {
  const size_t n_tokens = token_end - token_begin;
  float* out = g.out.data + token_begin * g.out.stride;
  if (map.lane_step == 1 && map.At(c, kPanelRows - 1) < map.end) {
    const size_t row = map.At(c, 0);
    for (size_t t = 0; t < n_tokens; ++t, out += g.out.stride) {
      StorePanelRow(g, row, acc + t * kPanelRows, out + row);
    }
    return;
  }
  for (size_t lane = 0; lane < kPanelRows; ++lane) {
    const size_t row = map.At(c, lane);
    if (row >= map.end) break;
    for (size_t t = 0; t < n_tokens; ++t) {
      const float y = acc[t * kPanelRows + lane] * g.scale;
      out[t * g.out.stride + row] = g.bias != nullptr ? y + g.bias[row] : y;
    }
  }
}

template <class Block>
HWY_INLINE void PrefetchChunk(const std::byte* const* rows, size_t block) {
  const size_t ahead = block * sizeof(Block) + kPrefetchAhead;
  for (size_t lane = 0; lane < kPanelRows; ++lane) {
#pragma GCC unroll 8
    for (size_t i = 0; i < kChunkBytes<Block>; i += 64) {
      PrefetchTo<kPrefetchCache>(rows[lane] + ahead + i);
    }
  }
}

// n panels of neighbouring rows from `row` on: those of this thread's next task
// where they are of no other; behind the last row the last one's first line.
HWY_INLINE ReadAhead RowsFrom(const GemmRows& g, size_t row, size_t n,
                              size_t row_bytes) {
  const size_t n_rows = g.weights.rows;
  if (row >= n_rows) return {g.weights.row(n_rows - 1), 0, 0, 0};
  return {g.weights.row(row), row_bytes, g.weights.stride_bytes,
          std::min(n * kPanelRows, n_rows - row)};
}
// As many lines as a chunk of n panels has.
template <class Block>
HWY_INLINE void AskForPanels(size_t n, ReadAhead& rows) {
  for (size_t i = 0; i < n * kPanelRows * kChunkBytes<Block>; i += 64) {
    rows.AskForLine();
  }
}

// Accumulators of a token tile, rounded up to what the widest tier writes.
inline constexpr size_t kAccPadding = 32;

// Panels of neighbouring rows leave together, token by token: a store per page
// and panel would wait for the address translation of each.
HWY_INLINE void StorePanels(const GemmRows& g, const RowMap& map,
                            size_t c_begin, size_t c_end, const float* acc,
                            size_t acc_stride, size_t token_begin,
                            size_t token_end) {
  size_t c = c_begin;
  if (map.lane_step == 1) {
    while (c < c_end && map.At(c, kPanelRows - 1) < map.end) ++c;
    const size_t row = map.At(c_begin, 0);
    for (size_t t = token_begin; t < token_end; ++t) {
      float* out = g.out.data + t * g.out.stride + row;
      const float* from = acc + (t - token_begin) * kPanelRows;
      for (size_t i = 0; i < c - c_begin; ++i) {
        StorePanelRow(g, row + i * kPanelRows, from + i * acc_stride,
                      out + i * kPanelRows);
      }
    }
  }
  for (; c < c_end; ++c) {
    StoreRows(g, map, c, acc + (c - c_begin) * acc_stride, token_begin,
              token_end);
  }
}

using PanelRowPointers = const std::byte* [kPanelRows];

// Blocks b .. b + n - 1, one chunk, of kV panels side by side.
template <class Block, size_t kV>
HWY_INLINE void PanelGroup(const PanelRowPointers* rows, size_t b, size_t n,
                           const GemmActivations& x, size_t token_begin,
                           size_t token_end, float* acc, size_t acc_stride,
                           Ahead ahead, std::byte* scratch) {
  using F = PanelFormat<Block>;
  const std::byte* panels[kV];
  float* accs[kV];
  for (size_t v = 0; v < kV; ++v) {
    UnpackPanels<Block>(rows[v], b, n, scratch + v * kMaxPanelBytes);
    panels[v] = scratch + v * kMaxPanelBytes;
    accs[v] = acc + v * acc_stride;
  }
  MultiplyChunk<Block, kV>(panels, x, b / (kChunk / F::kBlock), token_begin,
                           token_end, n, accs, ahead);
}

// The rows of up to kGroups panels from `rows` on, at block b.
template <class Block>
HWY_INLINE Ahead RowsAt(const PanelRowPointers* rows, size_t n_panels, size_t b,
                        const std::byte** ahead) {
  const size_t n = std::min(n_panels, kGroups) * kPanelRows;
  for (size_t i = 0; i < n; ++i) {
    ahead[i] = rows[i / kPanelRows][i % kPanelRows] + b * sizeof(Block);
  }
  return {ahead, n};
}

// Panels c_begin .. c_end - 1. Columns outermost: with many tokens a chunk of
// the activations stays in the second-level cache while all panels meet it,
// beside the accumulators. What is asked for ahead is then the next group.
template <class Block>
HWY_INLINE void PanelColumns(const GemmRows& g, const GemmActivations& x,
                             const RowMap& map, size_t c_begin, size_t c_end,
                             size_t token_begin, size_t token_end,
                             std::byte* scratch) {
  using F = PanelFormat<Block>;
  constexpr size_t kBlocks = kChunk / F::kBlock;
  const size_t n_tokens = token_end - token_begin;
  const size_t acc_stride = (n_tokens + kAccPadding) * kPanelRows;
  const size_t n_panels = c_end - c_begin;
  PanelRowPointers rows[kMaxPanels];
  for (size_t i = 0; i < n_panels; ++i) {
    for (size_t lane = 0; lane < kPanelRows; ++lane) {
      rows[i][lane] = g.weights.row(map.Row(c_begin + i, lane));
    }
  }
  float* acc = reinterpret_cast<float*>(scratch);
  scratch += n_panels * acc_stride * sizeof(float);
  std::memset(acc, 0, n_panels * acc_stride * sizeof(float));
  const std::byte* ahead[kGroups * kPanelRows];
  Ahead next = {ahead, 0};
  const size_t row_bytes = x.cols / F::kBlock * sizeof(Block);
  ReadAhead next_rows = RowsFrom(g, map.At(c_end, 0), n_panels, row_bytes);
  const size_t n_blocks = x.cols / F::kBlock;
  for (size_t b = 0; b < n_blocks; b += kBlocks) {
    const size_t n = std::min(kBlocks, n_blocks - b);
    const auto multiply = [&]<size_t kV>(size_t i) HWY_ATTR {
      if (n_tokens <= kManyTokens) {
        for (size_t v = 0; v < kV; ++v) PrefetchChunk<Block>(rows[i + v], b);
        if (map.lane_step == 1) AskForPanels<Block>(kV, next_rows);
      } else if (i + kV < n_panels) {
        next = RowsAt<Block>(rows + i + kV, n_panels - i - kV, b, ahead);
      } else if (b + kBlocks < n_blocks) {
        next = RowsAt<Block>(rows, n_panels, b + kBlocks, ahead);
      } else {
        next.n_rows = 0;
      }
      PanelGroup<Block, kV>(rows + i, b, n, x, token_begin, token_end,
                            acc + i * acc_stride, acc_stride, next, scratch);
    };
    size_t i = 0;
    if (n_tokens > 1) {
      for (; i + kGroups <= n_panels; i += kGroups) {
        multiply.template operator()<kGroups>(i);
      }
    }
    for (; i < n_panels; ++i) multiply.template operator()<1>(i);
  }
  StorePanels(g, map, c_begin, c_end, acc, acc_stride, token_begin, token_end);
}

#if ETALON_TIER_AMX
// Where panel c's weights lie two chunks on; past the end of the rows the first
// chunks of panel c + step. Returns how many rows there are, 0 at the end.
template <class Block>
HWY_INLINE size_t RowsAhead(const GemmRows& g, const RowMap& map, size_t c,
                            size_t step, size_t chunk, size_t n_chunks,
                            const std::byte** ahead) {
  chunk += 2;
  if (chunk >= n_chunks) {
    chunk -= n_chunks;
    c += step;
    if (c >= map.n_panels || chunk >= n_chunks) return 0;
  }
  for (size_t lane = 0; lane < kPanelRows; ++lane) {
    ahead[lane] = g.weights.row(map.Row(c, lane)) + chunk * kChunkBytes<Block>;
  }
  return kPanelRows;
}

// Chunk b of panels c .. c + kV - 1, which are part of a group of `step`.
template <class Block, size_t kV>
HWY_INLINE void AmxGroups(const GemmRows& g, const GemmActivations& x,
                          const RowMap& map, size_t c, size_t step,
                          size_t chunk, size_t token_begin, size_t token_end,
                          float* acc, size_t acc_stride, std::byte* scratch) {
  using F = PanelFormat<Block>;
  constexpr size_t kBlocks = kChunk / F::kBlock;
  const size_t b = chunk * kBlocks;
  const size_t n = std::min(kBlocks, x.cols / F::kBlock - b);
  const std::byte* rows[kV][kPanelRows];
  const std::byte* ahead[kV * kPanelRows];
  size_t n_ahead = 0;
  std::byte* panels[kV];
  float* accs[kV];
  for (size_t v = 0; v < kV; ++v) {
    for (size_t lane = 0; lane < kPanelRows; ++lane) {
      rows[v][lane] = g.weights.row(map.Row(c + v, lane));
    }
    panels[v] = scratch + v * kMaxPanelBytes;
    accs[v] = acc + v * acc_stride;
    n_ahead += RowsAhead<Block>(g, map, c + v, step, chunk, x.n_chunks(),
                                ahead + n_ahead);
  }
  AmxChunk<Block, kV>(rows, b, n, panels, x, chunk, token_begin, token_end,
                      accs, {ahead, n_ahead}, scratch + kV * kMaxPanelBytes);
}

// Panels c .. c_end - 1. Columns outermost: a chunk of the activations stays
// in the second-level cache while all panels meet it, beside the accumulators.
template <class Block>
HWY_INLINE void AmxPanels(const GemmRows& g, const GemmActivations& x,
                          const RowMap& map, size_t c_begin, size_t c_end,
                          size_t token_begin, size_t token_end,
                          std::byte* scratch) {
  const size_t n_tokens = token_end - token_begin;
  const size_t acc_stride = (n_tokens + kAccPadding) * kPanelRows;
  float* acc = reinterpret_cast<float*>(scratch);
  scratch += kMaxPanels * acc_stride * sizeof(float);
  // Super-blocks begin with their first chunk, where there is one.
  if (!PanelFormat<Block>::kSuper || x.n_chunks() == 0) {
    std::memset(acc, 0, (c_end - c_begin) * acc_stride * sizeof(float));
  }
  for (size_t chunk = 0; chunk < x.n_chunks(); ++chunk) {
    size_t c = c_begin;
    float* at = acc;
    for (; c + kAmxGroups <= c_end; c += kAmxGroups) {
      AmxGroups<Block, kAmxGroups>(g, x, map, c, c_end - c_begin, chunk,
                                   token_begin, token_end, at, acc_stride,
                                   scratch);
      at += kAmxGroups * acc_stride;
    }
    for (; c < c_end; ++c, at += acc_stride) {
      AmxGroups<Block, 1>(g, x, map, c, c_end - c_begin, chunk, token_begin,
                          token_end, at, acc_stride, scratch);
    }
  }
  StorePanels(g, map, c_begin, c_end, acc, acc_stride, token_begin, token_end);
}
#endif

// Rows c of every run, one token.
template <class Block>
HWY_INLINE void GemvColumn(const GemmRows& g, const GemmActivations& x,
                           const RowMap& map, size_t c) {
  using F = PanelFormat<Block>;
  constexpr size_t kBlocks = kChunk / F::kBlock;
  const std::byte* rows[kPanelRows];
  for (size_t lane = 0; lane < kPanelRows; ++lane) {
    rows[lane] = g.weights.row(map.Row(c, lane));
  }
  GemvAhead<Block> ahead(rows, RowsFrom(g, map.At(c + 1, 0), 1,
                                        x.cols / F::kBlock * sizeof(Block)));
  VecF acc[kPanelRows / kTileLanes];
  for (VecF& a : acc) a = hn::Zero(TileF());
  const size_t n_blocks = x.cols / F::kBlock;
  for (size_t b = 0; b < n_blocks; b += kBlocks) {
    const size_t n = std::min(kBlocks, n_blocks - b);
    GemvChunk<Block>(rows, b, n, x, b / kBlocks, ahead, acc);
  }
  HWY_ALIGN float sums[kPanelRows];
  for (size_t v = 0; v < kPanelRows / kTileLanes; ++v) {
    hn::Store(acc[v], TileF(), sums + v * kTileLanes);
  }
  StoreRows(g, map, c, sums, 0, 1);
}

template <class Block>
HWY_NOINLINE void GemmBlocks(const GemmRows& g, const GemmActivations& x,
                             std::byte* scratch) {
  const RowMap map = MapRows(g.row_begin, g.row_end, x.rows);
#if ETALON_TIER_AMX
  std::optional<AmxSession> session;
  if (x.rows >= kAmxMinTokens) {
    session.emplace(std::min<size_t>(PanelFormat<Block>::kBlock, 64));
  }
#endif
  for (size_t t = 0; t < x.rows; t += kTokenTile) {
    const size_t t_end = std::min(t + kTokenTile, x.rows);
    size_t c = 0;
#if ETALON_TIER_AMX
    const size_t step = t_end - t > kManyTokens ? kMaxPanels : kAmxGroups;
    for (; c < map.n_panels && t_end - t >= kAmxMinTokens; c += step) {
      AmxPanels<Block>(g, x, map, c, std::min(c + step, map.n_panels), t, t_end,
                       scratch);
    }
#endif
    for (; c < map.n_panels && t_end - t == 1 && x.rows == 1; ++c) {
      GemvColumn<Block>(g, x, map, c);
    }
    const size_t width = t_end - t > kManyTokens ? kMaxPanels : kGroups;
    for (; c < map.n_panels; c += width) {
      PanelColumns<Block>(g, x, map, c, std::min(c + width, map.n_panels), t,
                          t_end, scratch);
    }
  }
}

template void GemmBlocks<ETALON_GEMM_BLOCK>(const GemmRows& g,
                                            const GemmActivations& x,
                                            std::byte* scratch);

}  // namespace ETALON_TIER
}  // namespace etalon::simd
HWY_AFTER_NAMESPACE();
