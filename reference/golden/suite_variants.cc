// Attention with what models add to it: each variant alone, some together, and
// other types of keys and values.
#include <algorithm>
#include <cmath>

#include "reference/golden/suite_builder.h"

namespace etalon::golden::internal {
namespace {

// Keys or values, what lies behind kv_len being poison.
Input Cache(const std::string& name, const std::string& type,
            const Shape& shape, size_t kv_len, uint32_t stream) {
  if (type == "Q8_0") {
    Shape padded = shape;
    padded.back() = (shape.back() + 31) / 32 * 32;
    return WeightInput(name, type, padded, stream);
  }
  const DType dtype = type == "F32"   ? DType::kF32
                      : type == "F16" ? DType::kF16
                                      : DType::kBF16;
  Input i = Data(name, shape, "normal", stream, dtype);
  i.recipe->poison_axis = 1;
  i.recipe->poison_from = kv_len;
  return i;
}

// -Inf at single positions, or over the whole row of one query.
void Hide(Chooser& choose, size_t kv_len, bool whole_row, Input& mask) {
  const size_t row = choose.Below(mask.shape[0] * mask.shape[1]);
  for (size_t p = 0; p < kv_len; ++p) {
    if (!whole_row && !choose.OneIn(3)) continue;
    mask.recipe->patch.push_back({row * kv_len + p, kNegInf});
  }
}

// -Inf over the first tile, the last one, or every other, for all queries. One
// key stays visible to each.
void HideTiles(const std::string& family, size_t kv_len, Input& mask) {
  const size_t tile = kv_len > 256 ? 256 : kv_len > 32 ? 32 : 16;
  const size_t last = (kv_len - 1) / tile;
  for (size_t row = 0; row < mask.shape[0] * mask.shape[1]; ++row) {
    for (size_t p = 0; p < kv_len; ++p) {
      const size_t t = p / tile;
      const bool hidden = family == "mask_first_tile"  ? t == 0
                          : family == "mask_last_tile" ? t == last
                                                       : t % 2 == 0;
      if (hidden && p != 0)
        mask.recipe->patch.push_back({row * kv_len + p, kNegInf});
    }
  }
}

}  // namespace

Case DescribeAttentionVariant(Chooser& choose) {
  Case c;
  c.family = choose.Cycle<const char*>(
      {"window", "softcap", "alibi", "mask", "sinks", "gate", "kv_bf16",
       "kv_q8_0", "v_dim", "window_sinks", "softcap_mask", "masked_row", "all",
       "mask_first_tile", "mask_last_tile", "mask_blocks", "v_128"});
  // Every 15th after the smoke pack's 17 is over an empty cache, so is the last
  // of that; a window and a mask over no key there are none of.
  const bool empty = choose.index() >= 17 && choose.index() % 15 == 2;
  std::string f = c.family;
  if (empty) {
    c.family = "empty";
    f = choose.Cycle<const char*>(
        {"v_dim", "gate", "sinks", "kv_q8_0", "softcap", "kv_bf16", "v_128"},
        15);
  }
  const bool all = f == "all";
  const bool first = choose.index() < 18;  // the smoke pack is small
  const size_t head_dim =
      f == "v_128" ? 192
      : first      ? choose.Pick<size_t>({8, 16, 24})
                   : choose.Cycle<size_t>({64, 16, 40, 128, 8, 96, 32, 80}, 17);
  const size_t kv_len =
      empty ? 0
      : first
          ? choose.Pick<size_t>({17, 33, 20})
          : choose.Cycle<size_t>({64, 1, 257, 17, 300, 33, 513, 256, 2}, 17);
  const bool wide = f == "v_128";  // as of latent attention
  const size_t n_kv_heads = wide ? 1 : 1 + choose.Below(2);
  const size_t n_heads = wide ? 1 : n_kv_heads * choose.Pick<size_t>({1, 2});
  const size_t n_tokens =
      std::min(empty ? size_t{3} : kv_len, 1 + choose.Below(first ? 2 : 3));
  const size_t v_dim =
      f == "v_dim" || wide ? std::max<size_t>(1, head_dim * 2 / 3) : head_dim;
  const bool causal = !empty && (f == "window" || f == "window_sinks" || all ||
                                 choose.OneIn(2));
  const std::string k_type = f == "kv_q8_0"   ? "Q8_0"
                             : f == "kv_bf16" ? "BF16"
                                              : choose.Pick({"F32", "F16"});
  const std::string v_type = f == "kv_q8_0" && choose.OneIn(2)   ? "Q8_0"
                             : f == "kv_bf16" && choose.OneIn(2) ? "BF16"
                                                                 : "F32";
  const size_t capacity = kv_len + (empty ? 1 : 0) + choose.Below(3);

  c.params["kv_len"] = static_cast<int64_t>(kv_len);
  c.params["causal"] = int64_t{causal ? 1 : 0};
  if (k_type == "Q8_0") c.params["type_k"] = k_type;
  if (v_type == "Q8_0") c.params["type_v"] = v_type;
  // Numbers of blocks are larger than those of `normal`.
  c.SetFloat("scale", (k_type == "Q8_0" ? 0x1p-4f : 1.0f) /
                          std::sqrt(static_cast<float>(head_dim)));
  Input k = Cache("k", k_type, {n_kv_heads, capacity, head_dim}, kv_len, 2);
  Input v = Cache("v", v_type, {n_kv_heads, capacity, v_dim}, kv_len, 5);
  Input q = Data("q", {n_tokens, n_heads, head_dim}, "normal", 0);
  q.recipe->times_log2 = choose.Pick({0, 0, 2});

  if (causal && (f == "window" || f == "window_sinks" || all)) {
    const size_t window =
        choose.Pick<size_t>({1, 2, 5, 16, 17, first ? 7u : 256u, 300});
    c.params["window"] = static_cast<int64_t>(window);
    if (kv_len >= n_tokens + window && v_type != "Q8_0") {
      // Hidden from every query: a NaN there cannot show.
      v.recipe->patch.push_back({0, kNan});
    }
  }
  c.inputs = {std::move(q), std::move(k), std::move(v)};
  if (f == "softcap" || f == "softcap_mask" || all) {
    c.SetFloat("softcap", choose.Pick({0.5f, 5.0f, 30.0f, 50.0f}));
  }
  if (f == "alibi" || all) {
    c.inputs.push_back(Data("alibi_slopes", {n_heads}, "positive", 8));
    c.inputs.back().recipe->times_log2 = choose.Pick({-6, -3, 0});
  }
  if (f.find("mask") != std::string::npos || all) {
    Input mask = Data("mask", {n_tokens, n_heads, kv_len}, "normal", 9);
    if (f == "mask_first_tile" || f == "mask_last_tile" || f == "mask_blocks") {
      HideTiles(f, kv_len, mask);
    } else {
      Hide(choose, kv_len, f == "masked_row", mask);
    }
    c.inputs.push_back(std::move(mask));
  }
  if (f == "sinks" || f == "window_sinks" || all || (empty && f == "gate")) {
    c.inputs.push_back(Data("sinks", {n_heads}, "normal", 10));
  }
  const Shape out = {n_tokens, n_heads, v_dim};
  if (f == "gate" || all) {
    c.inputs.push_back(Data("gate", out, "normal", 11));
    c.inputs.back().recipe->times_log2 = choose.Pick({0, 2, 6});
  }
  c.outputs.push_back(Bounded("out", out, "attention_variant"));
  if (choose.OneIn(2)) c.outputs[0].layout = PaddedRows(out, 3, 1);
  return c;
}

}  // namespace etalon::golden::internal
