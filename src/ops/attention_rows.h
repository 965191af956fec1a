// What the plain row-by-row forms of attention read: elements of a cache of any
// type, and what a row sees of it.
#ifndef ETALON_OPS_ATTENTION_ROWS_H_
#define ETALON_OPS_ATTENTION_ROWS_H_

#include <cstddef>
#include <limits>

#include "etalon/attention.h"
#include "quant/block_formats.h"
#include "quant/f16.h"

namespace etalon::ops {

// Element d of position p of one kv head.
class HeadRows {
 public:
  HeadRows(const KvView& x, size_t kv_head)
      : type_(x.type),
        data_(x.data),
        stride_(x.pos_stride),
        head_(kv_head * x.head_stride) {}
  float operator()(size_t p, size_t d) const {
    const size_t i = head_ + p * stride_ + d;
    switch (type_) {
      case TensorType::kF16:
        return F16ToF32(reinterpret_cast<const uint16_t*>(data_)[i]);
      case TensorType::kBF16:
        return BF16ToF32(reinterpret_cast<const uint16_t*>(data_)[i]);
      case TensorType::kQ8_0: {
        const BlockQ8_0& b = reinterpret_cast<const BlockQ8_0*>(data_)[i / kQk];
        return F16ToF32(b.d) * static_cast<float>(b.qs[i % kQk]);
      }
      default:
        return reinterpret_cast<const float*>(data_)[i];
    }
  }

 private:
  TensorType type_;
  const std::byte* data_;
  size_t stride_;
  size_t head_;
};

// Positions [first, end) of token t, less those that the mask hides.
struct RowSight {
  size_t pos, first, end;
  const float* mask;

  RowSight(const AttentionArgs& args, size_t t, size_t h) {
    const AttentionVariant& v = args.variant;
    pos = args.kv_len - args.q.n_tokens + t;
    end = args.causal ? pos + 1 : args.kv_len;
    first = v.window != 0 && end > v.window ? end - v.window : 0;
    mask = v.mask.data == nullptr
               ? nullptr
               : v.mask.data + t * v.mask.token_stride + h * v.mask.head_stride;
  }
  bool Hides(size_t p) const {
    return mask != nullptr &&
           mask[p] == -std::numeric_limits<float>::infinity();
  }
};

}  // namespace etalon::ops

#endif  // ETALON_OPS_ATTENTION_ROWS_H_
