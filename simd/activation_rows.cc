#include "simd/activation_rows.h"

#include "quant/block_formats.h"

namespace etalon::simd {
namespace {

constexpr size_t kAlign = 64;  // one cache line, one zmm

constexpr size_t RoundUp(size_t bytes) {
  return (bytes + kAlign - 1) / kAlign * kAlign;
}

struct Layout {
  size_t block;
  size_t qs_stride;     // bytes
  size_t d_stride;      // elements
  size_t bsums_stride;  // elements
};

Layout LayoutOf(TensorType type, size_t cols) {
  ETALON_DCHECK(type == TensorType::kQ8_K || type == TensorType::kQ8_0);
  const size_t block = type == TensorType::kQ8_K ? kQkK : kQk;
  const size_t bsum_group = type == TensorType::kQ8_K ? 16 : 32;
  ETALON_DCHECK(cols % block == 0);
  return {block, RoundUp(cols), cols / block, cols / bsum_group};
}

}  // namespace

size_t ActivationRowsBytes(TensorType type, size_t rows, size_t cols) {
  const Layout layout = LayoutOf(type, cols);
  return rows * layout.qs_stride +
         RoundUp(rows * layout.d_stride * sizeof(float)) +
         RoundUp(rows * layout.bsums_stride * sizeof(int16_t));
}

MutableActivationRows PlaceActivationRows(TensorType type, size_t rows,
                                          size_t cols, void* memory) {
  const Layout layout = LayoutOf(type, cols);
  std::byte* p = static_cast<std::byte*>(memory);
  MutableActivationRows r;
  r.rows = rows;
  r.cols = cols;
  r.block = layout.block;
  r.qs = reinterpret_cast<int8_t*>(p);
  r.qs_stride = layout.qs_stride;
  p += rows * layout.qs_stride;
  r.d = reinterpret_cast<float*>(p);
  r.d_stride = layout.d_stride;
  p += RoundUp(rows * layout.d_stride * sizeof(float));
  r.bsums = reinterpret_cast<int16_t*>(p);
  r.bsums_stride = layout.bsums_stride;
  return r;
}

}  // namespace etalon::simd
