#include <algorithm>
#include <cstring>
#include <vector>

#include "reference/ops.h"
#include "reference/quantize.h"
#include "reference/validate.h"

namespace etalon::reference {
namespace {

uint16_t DoubleToBF16(double x) {
  const float f = static_cast<float>(x);
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  if (f != f) return static_cast<uint16_t>(bits >> 16 | 0x40u);
  const uint32_t below = bits & 0xffffu;
  uint32_t high = bits >> 16;
  if (below > 0x8000u || (below == 0x8000u && (high & 1u) != 0)) ++high;
  return static_cast<uint16_t>(high);
}

// Whole blocks; lanes past the row's end are 0.
void StoreQ8_0(std::vector<float> row, std::byte* out) {
  row.resize((row.size() + 31) / 32 * 32, 0.0f);
  const QuantizedRow blocks = QuantizeQ8_0(row);
  for (size_t b = 0; b < blocks.d.size(); ++b) {
    const uint16_t d = DoubleToF16(static_cast<double>(blocks.d[b]));
    std::memcpy(out + 34 * b, &d, 2);
    for (size_t i = 0; i < 32; ++i) {
      const int8_t q = static_cast<int8_t>(blocks.q[32 * b + i]);
      std::memcpy(out + 34 * b + 2 + i, &q, 1);
    }
  }
}

void StoreRow(TensorType type, const std::vector<float>& row, std::byte* out) {
  if (type == TensorType::kQ8_0) return StoreQ8_0(row, out);
  for (size_t d = 0; d < row.size(); ++d) {
    if (type == TensorType::kF32) {
      std::memcpy(out + 4 * d, &row[d], 4);
      continue;
    }
    const double value = static_cast<double>(row[d]);
    const uint16_t bits =
        type == TensorType::kF16 ? DoubleToF16(value) : DoubleToBF16(value);
    std::memcpy(out + 2 * d, &bits, 2);
  }
}

}  // namespace

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
  const size_t lanes = std::max(args.padded_head_dim, x.head_dim);
  ETALON_ENSURE((cache.n_kv_heads == 1 || lanes <= cache.head_stride) &&
                    (cache.kv_capacity == 1 || lanes <= cache.pos_stride),
                fmt::format("{}: {} lanes do not fit strides {} and {}", kOp,
                            lanes, cache.head_stride, cache.pos_stride));
  const Format format = *WeightFormat(cache.type);
  for (size_t t = 0; t < x.n_tokens; ++t) {
    for (size_t h = 0; h < x.n_heads; ++h) {
      const size_t first =
          h * cache.head_stride + (args.pos + t) * cache.pos_stride;
      std::vector<float> row(x.at(t, h), x.at(t, h) + x.head_dim);
      row.resize(lanes, 0.0f);
      StoreRow(cache.type, row,
               cache.data + first / format.block_size * format.block_bytes);
    }
  }
  return {};
}

}  // namespace etalon::reference
