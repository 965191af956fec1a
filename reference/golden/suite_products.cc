// Block formats, matrix products, attention and experts.
#include <algorithm>
#include <cmath>

#include "reference/golden/suite_builder.h"

namespace etalon::golden::internal {
namespace {

constexpr std::initializer_list<const char*> kTypes = {
    "Q4_K", "Q6_K", "Q8_0", "F32",  "Q4_0", "Q5_K",
    "F16",  "Q4_1", "Q5_0", "BF16", "Q5_1"};

std::string ActOf(const std::string& type) {
  if (type.ends_with("_K")) return "q8_k";
  return type[0] == 'Q' ? "q8_0" : "f32";
}

Output Exact(std::string name, Shape shape, DType dtype) {
  Output o;
  o.name = std::move(name);
  o.dtype = dtype;
  o.shape = std::move(shape);
  o.judge = Judge::kExact;
  return o;
}

}  // namespace

Case DescribeDequantize(Chooser& choose) {
  Case c;
  const std::string type = choose.Cycle(kTypes);
  c.family = choose.Cycle<const char*>(
      {"random", "max_scales", "d_zero", "second_zero", "d_subnormal", "d_one"},
      kTypes.size());
  const size_t block = BlockSize(type);
  const size_t cols = block == 1
                          ? 1 + choose.Below(70)
                          : block * (1 + choose.Below(block == 256 ? 1 : 4));
  const size_t rows = 1 + choose.Below(2);
  c.params["type"] = type;
  c.inputs.push_back(WeightInput("w", type, {rows, cols}, 0,
                                 c.family == "random" ? "" : c.family));
  c.outputs.push_back(Exact("out", {rows, cols}, DType::kF32));
  return c;
}

Case DescribeEmbedding(Chooser& choose) {
  Case c;
  const std::string type = choose.Cycle(kTypes);
  c.family = "random";
  const size_t block = BlockSize(type);
  const size_t cols = block == 1 ? 33 : block * (1 + choose.Below(2));
  const size_t rows = 3 + choose.Below(5);
  const size_t n = 1 + choose.Below(3);
  c.params["type"] = type;
  c.inputs.push_back(WeightInput("w", type, {rows, cols}, 0));
  Input tokens = Data("tokens", {n}, "below", 5, DType::kI32);
  tokens.recipe->n = rows;
  c.inputs.push_back(std::move(tokens));
  c.outputs.push_back(Exact("out", {n, cols}, DType::kF32));
  c.outputs[0].layout = PaddedRows({n, cols}, choose.Below(5), 1);
  return c;
}

namespace {

Case DescribeQuantize(Chooser& choose, size_t block) {
  Case c;
  const size_t blocks = 1 + choose.Below(block == 256 ? 2 : 5);
  const size_t rows = 1 + choose.Below(2);
  const size_t cols = block * blocks;
  c.family = choose.Cycle<const char*>(
      {"normal", "half_ties", "opposite", "uniform", "outlier", "wide",
       "exact_int", "constant", "spike", "tiny", "subnormal", "zero", "cancel",
       "special"});
  const bool special = c.family == "special";
  Input x = Data("x", {rows, cols}, special ? "normal" : c.family, 0);
  if (special) {
    x.recipe->patch.push_back(
        {choose.Below(cols), choose.Pick({kNan, kPosInf, kNegInf})});
  }
  if (c.family == "tiny" || c.family == "subnormal") {
    c.needs.push_back("subnormals");
  }
  c.inputs.push_back(std::move(x));
  Output d;
  d.name = "d";
  d.shape = {rows, blocks};
  d.judge = Judge::kScales;
  d.bound = "scales";
  Output q;
  q.name = "q";
  q.dtype = DType::kI8;
  q.shape = {rows, cols};
  q.judge = Judge::kQuants;
  c.outputs = {d, q};
  return c;
}

}  // namespace

Case DescribeQuantizeQ8K(Chooser& choose) {
  return DescribeQuantize(choose, 256);
}
Case DescribeQuantizeQ80(Chooser& choose) {
  return DescribeQuantize(choose, 32);
}

Case DescribeKvWrite(Chooser& choose) {
  Case c;
  const size_t n_tokens = 1 + choose.Below(3);
  const size_t n_heads = 1 + choose.Below(2);
  const size_t head_dim = choose.Cycle<size_t>({1, 7, 16, 33, 64, 128});
  const bool half = choose.OneIn(2);
  c.family = choose.Cycle<const char*>(
      {"normal", "wide", "subnormal", "tiny", "large", "huge", "zero"});
  if (c.family == "subnormal") c.needs.push_back("subnormals");
  const int64_t pos = static_cast<int64_t>(choose.Below(5));
  c.params["pos"] = pos;
  c.params["kv_capacity"] =
      pos + static_cast<int64_t>(n_tokens + choose.Below(4));
  c.params["type"] = std::string(half ? "F16" : "F32");
  c.inputs.push_back(Data("x", {n_tokens, n_heads, head_dim}, c.family, 0));
  if (choose.OneIn(2)) {
    c.inputs[0].layout = PaddedRows(c.inputs[0].shape, 3, 1);
  }
  c.outputs.push_back(Exact("cache", {n_heads, n_tokens, head_dim},
                            half ? DType::kF16 : DType::kF32));
  return c;
}

Case DescribeGemm(Chooser& choose) {
  Case c;
  const std::string type = choose.Cycle(kTypes);
  const size_t block = BlockSize(type);
  const bool f32 = block == 1 || choose.Cycle<int>({0, 0, 1}, kTypes.size());
  // Rows round the token tile, outputs round the panel of 16, columns round
  // lanes and blocks.
  const size_t m = choose.Pick<size_t>({1, 1, 2, 3, 4, 5, 8, 9});
  const size_t n = choose.Pick<size_t>({1, 2, 5, 8, 15, 16, 17, 33});
  size_t k = 0;
  if (block == 256) {
    k = 256 * choose.Pick<size_t>({1, 1, 2, 3, 4});
  } else if (block == 32) {
    k = 32 * choose.Pick<size_t>({1, 2, 3, 5, 8, 9, 16});
  } else {
    k = choose.Pick<size_t>({1, 2, 15, 16, 17, 33, 63, 64, 65, 100, 256, 257});
  }
  c.family = choose.Cycle<const char*>(
      {"normal", "outlier", "exact_int", "cancel", "uniform", "wide", "offset",
       "large", "max_scales", "spike", "tiny", "constant", "zero", "d_one",
       "second_zero", "special", "d_zero", "d_subnormal", "huge"},
      2);
  const bool weights_only = c.family == "max_scales" || c.family == "d_one" ||
                            c.family == "second_zero" || c.family == "d_zero" ||
                            c.family == "d_subnormal";
  const bool special = c.family == "special";
  std::string rule = weights_only || special ? "normal" : c.family;
  if (c.family == "d_one") rule = "exact_int";
  c.params["type"] = type;
  c.params["act"] = f32 ? std::string("f32") : ActOf(type);
  c.SetFloat("scale", choose.Pick({1.0f, 1.0f, 0.37f, -1.5f}));
  Input x = Data("x", {m, k}, rule, 0);
  // Sums stay below 2^128 in any order.
  if (c.family == "huge") x.recipe->times_log2 = -24;
  if (special) {
    x.recipe->patch.push_back(
        {choose.Below(k), choose.Pick({kNan, kPosInf, kMinusZero})});
  }
  if (choose.OneIn(2)) x.layout = PaddedRows({m, k}, 1 + choose.Below(7), 2);
  c.inputs.push_back(std::move(x));
  c.inputs.push_back(
      WeightInput("w", type, {n, k}, 2, weights_only ? c.family : ""));
  if (choose.OneIn(2)) c.inputs.push_back(Data("bias", {n}, "normal", 9));
  c.outputs.push_back(
      Bounded("out", {m, n}, f32 ? "gemm_f32" : "gemm_quantized"));
  if (choose.OneIn(2)) {
    c.outputs[0].layout = PaddedRows({m, n}, 1 + choose.Below(7), 1);
  }
  if (c.family == "tiny" && !f32) c.needs.push_back("subnormals");
  return c;
}

Case DescribeGemmSwiGlu(Chooser& choose) {
  Case c;
  const std::string type = choose.Cycle(kTypes);
  const size_t block = BlockSize(type);
  const size_t m = choose.Pick<size_t>({1, 2, 5});
  const size_t n = choose.Pick<size_t>({1, 7, 16, 17, 33});
  const size_t k = block == 1 ? 64 : block * (1 + choose.Below(2));
  c.family = choose.Cycle<const char*>({"normal", "uniform", "outlier"}, 3);
  const bool f32 = block == 1 || choose.OneIn(4);
  c.params["type"] = type;
  c.params["act"] = f32 ? std::string("f32") : ActOf(type);
  c.inputs.push_back(Data("x", {m, k}, c.family, 0));
  c.inputs.push_back(WeightInput("gate", type, {n, k}, 2));
  c.inputs.push_back(WeightInput("up", type, {n, k}, 5));
  // What a normalised model has: products of about 1.
  c.inputs[0].recipe->times_log2 = -4;
  c.outputs.push_back(Bounded("out", {m, n}, "stored"));
  return c;
}

Case DescribeAttention(Chooser& choose) {
  Case c;
  const bool is_long = choose.index() % 500 == 499;
  const size_t head_dim =
      is_long ? choose.Pick<size_t>({4, 8})
              : choose.Cycle<size_t>({64, 1, 16, 128, 40, 80, 8, 96, 33, 112,
                                      72, 256, 192, 576});
  // The first of them is the last case of the smoke pack.
  const bool empty = choose.index() >= 60 && choose.index() % 40 == 20;
  const size_t kv_len =
      empty ? 0
      : is_long
          ? choose.Pick<size_t>({65537, 70000})
          : choose.Cycle<size_t>(
                {1, 17, 257, 2, 64, 255, 16, 256, 300, 31, 513, 1024, 100}, 1);
  const bool wide = head_dim > 128;
  // Rows enough for kernels that tile 32 queries of a kv head.
  const bool prompt = !wide && !is_long && kv_len >= 64 &&
                      choose.index() > 64 && choose.index() % 25 == 24;
  const size_t q_per_kv =
      wide || is_long ? 1
      : prompt
          ? choose.Pick<size_t>({1, 4})
          : choose.Pick<size_t>({1, 2, 4, 7, 8, head_dim <= 16 ? 64u : 3u});
  const size_t n_kv_heads = q_per_kv * head_dim <= 256 && !is_long && !prompt
                                ? 1 + choose.Below(2)
                                : 1;
  const size_t n_heads = q_per_kv * n_kv_heads;
  // The smoke pack is small.
  const size_t room = std::max<size_t>(
      1, (choose.index() < 64 ? 360 : 640) / (n_heads * head_dim));
  const size_t n_tokens =
      prompt && q_per_kv == 1 ? 33 + choose.Below(2)
      : prompt                ? 9 + choose.Below(2)
                              : std::min(empty ? size_t{5} : kv_len,
                          1 + choose.Below(std::min<size_t>(room, 5)));
  const size_t capacity = kv_len + (empty ? 1 : 0) + choose.Below(4);
  c.family = choose.Cycle<const char*>(
      {"normal",     "large",     "uniform",     "constant",    "rising",
       "v_cancel",   "v_offset",  "spike",       "falling",     "outlier",
       "qk_cancel",  "exact_int", "tiny",        "zero",        "nan_live",
       "inf_live",   "wide_v",    "huge_scores", "subnormal_v", "huge_v",
       "low_scores", "ninf_live", "subnormal_k"},
      1);
  // All of the cache is poison.
  if (empty) c.family = "empty";
  std::string q_rule = "normal";
  std::string k_rule = "normal";
  std::string v_rule = "normal";
  if (c.family == "large") k_rule = "large";
  if (c.family == "uniform") q_rule = k_rule = v_rule = "uniform";
  if (c.family == "constant") k_rule = "constant";
  if (c.family == "rising" || c.family == "falling") {
    q_rule = "ones";
    k_rule = c.family;
  }
  if (c.family == "v_cancel") v_rule = "cancel";
  if (c.family == "v_offset") v_rule = "offset";
  if (c.family == "wide_v") v_rule = "wide";
  if (c.family == "spike") k_rule = "spike";
  if (c.family == "outlier") q_rule = k_rule = v_rule = "outlier";
  if (c.family == "qk_cancel") q_rule = "cancel";
  if (c.family == "exact_int") q_rule = k_rule = v_rule = "exact_int";
  if (c.family == "tiny") q_rule = k_rule = v_rule = "tiny";
  if (c.family == "zero") q_rule = v_rule = "zero";
  if (c.family == "low_scores") {
    q_rule = "ones";
    k_rule = "offset";
  }
  if (c.family == "huge_scores") k_rule = "large";
  if (c.family == "subnormal_v") v_rule = "subnormal";
  if (c.family == "subnormal_k") k_rule = "subnormal";
  if (c.family == "huge_v") v_rule = "huge";
  const DType k_type = choose.OneIn(2) ? DType::kF16 : DType::kF32;
  const bool f32_v = c.family == "huge_v" || c.family == "subnormal_v";
  const DType v_type = choose.OneIn(2) && !f32_v ? DType::kF16 : DType::kF32;
  Input q = Data("q", {n_tokens, n_heads, head_dim}, q_rule, 0);
  const Shape cache = {n_kv_heads, capacity, head_dim};
  Input k = Data("k", cache, k_rule, 2, k_type);
  Input v = Data("v", cache, v_rule, 5, v_type);
  if (c.family == "rising" || c.family == "falling") {
    // Scores of a few units from one key to the next at most.
    k.recipe->times_log2 = -6;
  }
  if (c.family == "outlier") k.recipe->times_log2 = -5;
  // Scores of +-10^4; values whose unnormalised sum stays below 2^128.
  if (c.family == "huge_scores") q.recipe->times_log2 = 7;
  if (c.family == "huge_v") v.recipe->times_log2 = -10;
  if (c.family == "exact_int" || c.family == "qk_cancel") {
    k.recipe->times_log2 = -2;
  }
  if (c.family.ends_with("_live")) {
    // In a live position of the keys or the values; all queries of the last
    // token see it.
    const size_t at = choose.Below(kv_len) * head_dim + choose.Below(head_dim);
    const uint32_t bits = c.family == "nan_live"   ? kNan
                          : c.family == "inf_live" ? kPosInf
                                                   : kNegInf;
    (choose.OneIn(2) ? k : v)
        .recipe->patch.push_back(
            {at, k_type == v_type || bits == kNan ? bits : kNan});
  }
  for (Input* i : {&k, &v}) {
    i->recipe->poison_axis = 1;
    i->recipe->poison_from = kv_len;
    const size_t kind = choose.Below(3);
    if (kind == 1) i->layout = PaddedRows(cache, 1 + choose.Below(5), 1);
    if (kind == 2) {
      // Token-major: heads side by side.
      i->layout = Layout{0, {head_dim, head_dim * n_kv_heads, 1}};
    }
  }
  c.inputs = {std::move(q), std::move(k), std::move(v)};
  c.params["kv_len"] = static_cast<int64_t>(kv_len);
  c.params["causal"] = int64_t{choose.OneIn(4) || empty ? 0 : 1};
  // All of about -50 sqrt(head_dim) in low_scores.
  c.SetFloat("scale", (c.family == "low_scores" ? -1.0f : 1.0f) /
                          std::sqrt(static_cast<float>(head_dim)));
  c.outputs.push_back(
      Bounded("out", {n_tokens, n_heads, head_dim}, "attention"));
  if (choose.OneIn(2)) {
    c.outputs[0].layout = PaddedRows(c.outputs[0].shape, 3, 1);
  }
  return c;
}

Case DescribeRouter(Chooser& choose) {
  Case c;
  const size_t n_tokens = 1 + choose.Below(4);
  const size_t n_experts = choose.Cycle<size_t>({4, 8, 16, 33, 60, 128, 2});
  const size_t n_used =
      std::min<size_t>(n_experts, choose.Pick<size_t>({1, 2, 4, 8}));
  c.family =
      choose.Cycle<const char*>({"normal", "large", "exact_int", "uniform",
                                 "constant", "spike", "offset", "one_ulp"});
  const bool one_ulp = c.family == "one_ulp";
  Input logits =
      Data("logits", {n_tokens, n_experts}, one_ulp ? "constant" : c.family, 0);
  // Two neighbours in f32, the later one larger.
  if (one_ulp) logits.recipe->patch.push_back({n_experts - 1, 0x3E99999Bu});
  c.inputs.push_back(std::move(logits));
  c.params["normalize"] = int64_t{choose.OneIn(3) ? 0 : 1};
  c.params["n_used"] = static_cast<int64_t>(n_used);
  c.SetFloat("scale", choose.Pick({1.0f, 1.0f, 2.5f}));
  Output experts;
  experts.name = "experts";
  experts.dtype = DType::kI32;
  experts.shape = {n_tokens, n_used};
  experts.judge = Judge::kTopK;
  c.outputs.push_back(std::move(experts));
  c.outputs.push_back(Bounded("weights", {n_tokens, n_used}, "router_weights"));
  return c;
}

Case DescribeMoeFfn(Chooser& choose) {
  Case c;
  const std::string type =
      choose.Cycle<const char*>({"Q8_0", "Q4_0", "F32", "Q4_K", "F16", "Q5_1"});
  const std::string down = type == "Q4_K" ? "Q6_K" : type;
  const size_t block = BlockSize(type);
  const size_t dim = block == 256 ? 256 : 32;
  const size_t ffn = block == 256 ? 256 : 64;
  const size_t n_tokens = block == 256 ? 1 : 1 + choose.Below(3);
  const size_t n_experts = 3;
  const size_t n_used = 2;
  c.family = choose.Cycle<const char*>({"normal", "all_on_one"}, 6);
  c.params["type"] = type;
  c.params["type_down"] = down;
  c.params["act"] = ActOf(type);
  c.inputs.push_back(Data("x", {n_tokens, dim}, "normal", 0));
  c.inputs[0].recipe->times_log2 = -3;
  std::vector<uint32_t> experts;
  for (size_t t = 0; t < n_tokens; ++t) {
    // Expert 2 stays empty where all tokens are on one pair.
    const size_t e = c.family == "all_on_one" ? 0 : choose.Below(n_experts);
    experts.push_back(static_cast<uint32_t>(e));
    experts.push_back(static_cast<uint32_t>((e + 1) % n_experts));
  }
  c.inputs.push_back(Integers("experts", {n_tokens, n_used}, experts));
  c.inputs.push_back(Data("weights", {n_tokens, n_used}, "positive", 4));
  c.inputs.push_back(WeightInput("gate", type, {n_experts, ffn, dim}, 5));
  c.inputs.push_back(WeightInput("up", type, {n_experts, ffn, dim}, 8));
  c.inputs.push_back(WeightInput("down", down, {n_experts, dim, ffn}, 11));
  c.outputs.push_back(Bounded("out", {n_tokens, dim}, "stored"));
  return c;
}

}  // namespace etalon::golden::internal
