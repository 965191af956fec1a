// What the adapters of etalon/layer_adapters.h share: checks of pointers and
// extents, and the copies between head-major and token-major layouts.
#ifndef ETALON_OPS_CKE_LAYOUT_H_
#define ETALON_OPS_CKE_LAYOUT_H_

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <string_view>

#include "etalon/tensor.h"

namespace etalon::adapters::cke {

struct NamedPointer {
  std::string_view name;
  const void* pointer;
};
struct NamedExtent {
  std::string_view name;
  int extent;
};

inline Status NeedPointers(std::string_view op,
                           std::initializer_list<NamedPointer> pointers) {
  for (const NamedPointer& p : pointers) {
    ETALON_ENSURE(p.pointer != nullptr,
                  fmt::format("{}: {} is null", op, p.name));
  }
  return {};
}
inline Status NeedExtents(std::string_view op,
                          std::initializer_list<NamedExtent> extents) {
  for (const NamedExtent& e : extents) {
    ETALON_ENSURE(e.extent > 0, fmt::format("{}: {} is {}, need at least 1", op,
                                            e.name, e.extent));
  }
  return {};
}
// An aligned width and the real one in it.
inline Status NeedAligned(std::string_view op, NamedExtent real,
                          NamedExtent aligned) {
  ETALON_RETURN_IF_ERROR(NeedExtents(op, {real, aligned}));
  ETALON_ENSURE(aligned.extent >= real.extent,
                fmt::format("{}: {} {} is less than {} {}", op, aligned.name,
                            aligned.extent, real.name, real.extent));
  return {};
}

// Rows of `cols` elements of a type that is known, in whole blocks: without
// that not even the rows' beginnings are defined.
inline Status NeedBlocks(std::string_view op, std::string_view name,
                         TensorType type, int cols) {
  const TypeTraits* traits = FindTypeTraits(type);
  ETALON_ENSURE(traits != nullptr,
                fmt::format("{}: {} has type {}, which is not known", op, name,
                            static_cast<int>(type)));
  ETALON_ENSURE(cols > 0 && static_cast<size_t>(cols) % traits->block_size == 0,
                fmt::format("{}: {} has rows of {}, {} needs a multiple of {}",
                            op, name, cols, traits->name, traits->block_size));
  return {};
}

inline size_t Size(int extent) { return static_cast<size_t>(extent); }

// [H][T][ad] as heads of tokens.
template <class T>
HeadsView<T> HeadMajor(T* data, size_t heads, size_t tokens, size_t head_dim,
                       size_t aligned) {
  return {data, tokens, heads, head_dim, aligned, tokens * aligned};
}

// Pads of an [H][T][ad] buffer become 0.
inline void ClearHeadMajor(float* data, size_t heads, size_t tokens,
                           size_t head_dim, size_t aligned) {
  for (size_t r = 0; r < heads * tokens; ++r) {
    std::fill(data + r * aligned + head_dim, data + (r + 1) * aligned, 0.0f);
  }
}

// [H][rows][ad] to [rows][H * ad], lanes [0, head_dim), pads 0. Activations
// with rows = tokens; the f32 slabs of Wo with rows = output features, of which
// each slab holds `slab_rows`.
inline void FlattenHeads(const float* from, size_t heads, size_t rows,
                         size_t slab_rows, size_t head_dim, size_t aligned,
                         float* to) {
  for (size_t h = 0; h < heads; ++h) {
    for (size_t r = 0; r < rows; ++r) {
      const float* lanes = from + (h * slab_rows + r) * aligned;
      float* head = to + (r * heads + h) * aligned;
      std::copy(lanes, lanes + head_dim, head);
      std::fill(head + head_dim, head + aligned, 0.0f);
    }
  }
}
// The inverse; pads of `to` become 0.
inline void UnflattenHeads(Span2D<const float> from, size_t heads,
                           size_t slab_rows, size_t head_dim, size_t aligned,
                           float* to) {
  for (size_t h = 0; h < heads; ++h) {
    for (size_t r = 0; r < from.rows; ++r) {
      const float* lanes = from.data + r * from.stride + h * aligned;
      float* head = to + (h * slab_rows + r) * aligned;
      std::copy(lanes, lanes + head_dim, head);
      std::fill(head + head_dim, head + aligned, 0.0f);
    }
  }
}

}  // namespace etalon::adapters::cke

#endif  // ETALON_OPS_CKE_LAYOUT_H_
