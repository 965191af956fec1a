#include "simd/gemm_activations.h"

#include <algorithm>
#include <cstring>

namespace etalon::simd {
namespace {

constexpr size_t kTileRows = 32;  // rows a kernel may read past the end
constexpr size_t kAlign = 64;

size_t BlockOf(TensorType type) { return type == TensorType::kQ8_K ? 256 : 32; }

size_t Padded(size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

uint32_t Pair(int lo, int hi) {
  return (static_cast<uint32_t>(lo) & 0xffffu) | static_cast<uint32_t>(hi)
                                                     << 16;
}

}  // namespace

size_t GemmActivationsBytes(TensorType type, size_t rows, size_t cols) {
  const size_t n = (cols + kChunk - 1) / kChunk * (rows + kTileRows);
  const size_t per_row = kChunk + kChunk / BlockOf(type) * sizeof(float) +
                         (8 + 4 + 8) * sizeof(int32_t);
  return n * per_row + 5 * kAlign;
}

GemmActivations PlaceGemmActivations(TensorType type, size_t rows, size_t cols,
                                     void* memory) {
  GemmActivations a;
  a.rows = rows;
  a.cols = cols;
  a.block = BlockOf(type);
  a.stride_rows = rows + kTileRows;
  const size_t n = a.n_chunks() * a.stride_rows;
  std::byte* p = static_cast<std::byte*>(memory);
  a.qs = reinterpret_cast<int8_t*>(p);
  p += Padded(n * kChunk);
  a.d = reinterpret_cast<float*>(p);
  p += Padded(n * a.blocks_per_chunk() * sizeof(float));
  a.sums = reinterpret_cast<int32_t*>(p);
  p += Padded(n * 8 * sizeof(int32_t));
  if (a.block != kChunk) return a;
  a.pairs = reinterpret_cast<int32_t*>(p);
  p += Padded(n * 4 * sizeof(int32_t));
  a.starts = reinterpret_cast<int32_t*>(p);
  return a;
}

void PackActivationRow(const ActivationRows& x, size_t from, size_t to,
                       const GemmActivations& out) {
  const int8_t* qs = x.qs + from * x.qs_stride;
  const float* d = x.d + from * x.d_stride;
  const int16_t* bsums = x.bsums + from * x.bsums_stride;
  const size_t per_chunk = out.blocks_per_chunk();
  for (size_t c = 0; c < out.n_chunks(); ++c) {
    const size_t n = std::min(kChunk, x.cols - c * kChunk);
    const size_t at = c * out.stride_rows + to;
    std::memcpy(out.qs + at * kChunk, qs + c * kChunk, n);
    std::memcpy(out.d + at * per_chunk, d + c * per_chunk,
                n / out.block * sizeof(float));
    int32_t* sums = out.sums + at * 8;
    if (out.block != kChunk) {
      for (size_t b = 0; b < n / out.block; ++b) sums[b] = bsums[c * 8 + b];
      continue;
    }
    const int16_t* s = bsums + c * 16;
    std::memcpy(sums, s, 16 * sizeof(int16_t));
    const auto sum32 = [&](size_t i) { return s[2 * i] + s[2 * i + 1]; };
    const uint32_t pairs[4] = {
        Pair(sum32(0), sum32(2)), Pair(sum32(1), sum32(3)),
        Pair(sum32(4), sum32(6)), Pair(sum32(5), sum32(7))};
    std::memcpy(out.pairs + at * 4, pairs, sizeof(pairs));
    for (size_t i = 0; i < 8; ++i) out.starts[at * 8 + i] = -8 * sum32(i);
  }
}

}  // namespace etalon::simd
