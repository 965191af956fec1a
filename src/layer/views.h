// Views of a block's buffers, and the clearing of padding.
#ifndef ETALON_LAYER_VIEWS_H_
#define ETALON_LAYER_VIEWS_H_

#include <algorithm>

#include "etalon/layer.h"

namespace etalon::layer {

// Head h of token t begins at lane h * pitch of row t.
template <class T>
HeadsView<T> Heads(Span2D<T> rows, size_t n_heads, size_t head_dim,
                   size_t pitch) {
  return {rows.data, rows.rows, n_heads, head_dim, rows.stride, pitch};
}
inline HeadsView<const float> ConstHeads(Span2D<float> rows, size_t n_heads,
                                         size_t head_dim, size_t pitch) {
  return Heads<const float>(rows, n_heads, head_dim, pitch);
}

// Rows of the workspace that start on cache lines, and what n of them take.
inline Expected<Span2D<float>> AllocateRows(Workspace& workspace, size_t n,
                                            size_t cols) {
  constexpr size_t kLine = Workspace::kAlignment / sizeof(float);
  const size_t stride = (cols + kLine - 1) / kLine * kLine;
  ETALON_ASSIGN_OR_RETURN(const std::span<float> memory,
                          workspace.Allocate<float>(n * stride));
  return Span2D<float>(memory.data(), n, cols, stride);
}
inline size_t RowsBytes(size_t n, size_t cols) {
  constexpr size_t kAlign = Workspace::kAlignment;
  return n * ((cols * sizeof(float) + kAlign - 1) / kAlign * kAlign);
}

inline GemmPart Part(const Linear& linear, Span2D<float> out) {
  return {linear.weights, linear.bias, out, linear.scale};
}

// The first `cols` columns; all where there are fewer, which the op refuses.
template <class T>
Span2D<T> Columns(Span2D<T> rows, size_t cols) {
  return {rows.data, rows.rows, std::min(cols, rows.cols), rows.stride};
}

// Lanes [width, cols) of every row become 0.
inline void ClearColumns(Span2D<float> rows, size_t width) {
  for (size_t t = 0; width < rows.cols && t < rows.rows; ++t) {
    std::fill(rows.data + t * rows.stride + width,
              rows.data + t * rows.stride + rows.cols, 0.0f);
  }
}
// Lanes [head_dim, pitch) of every head become 0.
inline void ClearHeads(Span2D<float> rows, size_t head_dim, size_t pitch) {
  if (pitch == head_dim) return;
  for (size_t t = 0; t < rows.rows; ++t) {
    for (size_t lane = 0; lane + pitch <= rows.cols; lane += pitch) {
      float* head = rows.data + t * rows.stride + lane;
      std::fill(head + head_dim, head + pitch, 0.0f);
    }
  }
}

}  // namespace etalon::layer

#endif  // ETALON_LAYER_VIEWS_H_
