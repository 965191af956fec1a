#include <cstring>

#include "reference/ops.h"
#include "reference/validate.h"

namespace etalon::reference {

Status KvWrite(const KvWriteArgs& args, ExecContext&) {
  constexpr char kOp[] = "kv_write";
  const HeadsView<const float>& x = args.x;
  const MutableKvView& cache = args.cache;
  ETALON_RETURN_IF_ERROR(CheckHeads(kOp, "x", x));
  ETALON_RETURN_IF_ERROR(CheckCache(kOp, "cache", cache));
  ETALON_ENSURE(
      x.n_heads == cache.n_kv_heads && x.head_dim == cache.head_dim,
      fmt::format("{}: x has {} heads of {} lanes, the cache {} of {}", kOp,
                  x.n_heads, x.head_dim, cache.n_kv_heads, cache.head_dim));
  ETALON_ENSURE(
      args.pos <= cache.kv_capacity &&
          x.n_tokens <= cache.kv_capacity - args.pos,
      fmt::format("{}: {} tokens at position {} exceed the capacity of {}", kOp,
                  x.n_tokens, args.pos, cache.kv_capacity));
  for (size_t t = 0; t < x.n_tokens; ++t) {
    for (size_t h = 0; h < x.n_heads; ++h) {
      const size_t first =
          h * cache.head_stride + (args.pos + t) * cache.pos_stride;
      for (size_t d = 0; d < x.head_dim; ++d) {
        const float value = x.at(t, h)[d];
        if (cache.type == TensorType::kF32) {
          std::memcpy(cache.data + 4 * (first + d), &value, 4);
        } else {
          const uint16_t bits = DoubleToF16(static_cast<double>(value));
          std::memcpy(cache.data + 2 * (first + d), &bits, 2);
        }
      }
    }
  }
  return {};
}

}  // namespace etalon::reference
