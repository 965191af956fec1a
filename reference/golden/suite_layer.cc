// Whole blocks: weight types, grouped heads, biases, QK-norm, filled caches.
#include <cmath>

#include "reference/golden/suite_builder.h"

namespace etalon::golden::internal {
namespace {

struct Sizes {
  size_t dim, ffn, head_dim, n_heads, n_kv_heads;
};

Sizes SizesOf(Chooser& choose, size_t block) {
  if (block == 256) return {256, 256, 64, 4, choose.Pick<size_t>({1, 2})};
  if (block == 32) return {64, 96, 16, 4, choose.Pick<size_t>({1, 2, 4})};
  return {choose.Pick<size_t>({24, 40, 33}), choose.Pick<size_t>({17, 56, 64}),
          choose.Pick<size_t>({6, 10, 16}), 4, choose.Pick<size_t>({1, 2, 4})};
}

}  // namespace

Case DescribeLayer(Chooser& choose) {
  Case c;
  const bool first = choose.index() < 7;  // the smoke pack is small
  const std::string type = choose.Cycle<const char*>(
      {"F32", "Q8_0", "F16", "Q4_K", "Q4_0", "BF16", "Q5_K", "Q5_1"});
  const size_t block = BlockSize(type);
  const bool quantized = block > 1;
  const Sizes s = SizesOf(choose, block);
  c.family = choose.Cycle<const char*>(
      {"normal", "bias", "qk_norm", "normal", "outlier", "all"});
  const bool all = c.family == "all";
  const size_t n_tokens =
      first ? 1 + choose.Below(block == 256 ? 1 : 2) : 1 + choose.Below(3);
  const size_t pos =
      first ? choose.Pick<size_t>({1, 3}) : choose.Pick<size_t>({0, 1, 5, 17});
  const size_t capacity = pos + n_tokens + choose.Below(3);

  c.params["type"] = type;
  if (block == 256) {
    // As files of mixed types have it.
    c.params["type_wv"] = std::string("Q6_K");
    c.params["type_down"] = std::string("Q6_K");
  }
  c.params["act"] = std::string(quantized && !choose.OneIn(4) ? "q8" : "f32");
  c.params["pos"] = static_cast<int64_t>(pos);
  c.params["style"] =
      std::string(choose.Cycle<const char*>({"half_split", "interleaved"}));
  c.SetFloat("eps", choose.Pick({1e-5f, 1e-6f}));
  c.SetFloat("scale", 1.0f / std::sqrt(static_cast<float>(s.head_dim)));

  const int norm = block == 256 ? -12 : block == 32 ? -9 : -1;
  uint32_t stream = 0;
  const auto add = [&](const std::string& name, Shape shape,
                       const std::string& rule, int times_log2) {
    Input i = Data(name, std::move(shape), rule, stream, DType::kF32);
    i.recipe->times_log2 = times_log2;
    stream += 3;
    c.inputs.push_back(std::move(i));
  };
  // A bound grows with every product; it stays telling where the residual
  // stream is large and what is added to it small. `blocks` makes weights of 10
  // to 100, which norms of 2^-12 take back.
  add("x", {n_tokens, s.dim},
      c.family == "outlier" || all ? "outlier" : "normal",
      block == 256 ? 9
      : quantized  ? 6
                   : 2);
  add("attn_norm", {s.dim}, "positive", norm);
  const auto weights = [&](const std::string& name, size_t rows, size_t cols) {
    const auto own = c.params.find("type_" + name);
    const std::string& of =
        own == c.params.end() ? type : std::get<std::string>(own->second);
    Input i = WeightInput(name, of, {rows, cols}, stream);
    if (!quantized) i.recipe->times_log2 = -2;
    stream += 3;
    c.inputs.push_back(std::move(i));
  };
  const size_t q_dim = s.n_heads * s.head_dim;
  const size_t kv_dim = s.n_kv_heads * s.head_dim;
  weights("wq", q_dim, s.dim);
  weights("wk", kv_dim, s.dim);
  weights("wv", kv_dim, s.dim);
  weights("wo", s.dim, q_dim);
  if (c.family == "bias" || all) {
    add("bq", {q_dim}, "normal", -1);
    add("bk", {kv_dim}, "normal", -1);
    add("bv", {kv_dim}, "normal", -1);
  }
  if (c.family == "qk_norm" || all) {
    add("q_norm", {s.head_dim}, "positive", -1);
    add("k_norm", {s.head_dim}, "positive", -1);
  }
  add("ffn_norm", {s.dim}, "uniform", norm);
  weights("gate", s.ffn, s.dim);
  weights("up", s.ffn, s.dim);
  weights("down", s.dim, s.ffn);

  std::vector<uint32_t> positions;
  for (size_t t = 0; t < n_tokens; ++t) {
    positions.push_back(static_cast<uint32_t>(pos + t));
  }
  c.inputs.push_back(Integers("positions", {n_tokens}, positions));
  AddRopeTables(RopeFrequencies(s.head_dim / 2, 10000.0), 0, pos + n_tokens, c);
  for (const char* name : {"k_cache", "v_cache"}) {
    Input cache =
        Data(name, {s.n_kv_heads, capacity, s.head_dim}, "normal", stream,
             choose.Cycle<DType>({DType::kF32, DType::kF16}, 2));
    cache.recipe->poison_axis = 1;
    cache.recipe->poison_from = pos;
    stream += 3;
    c.inputs.push_back(std::move(cache));
  }
  c.outputs.push_back(Bounded("out", {n_tokens, s.dim}, "stored"));
  return c;
}

}  // namespace etalon::golden::internal
