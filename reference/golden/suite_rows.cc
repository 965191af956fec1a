// Row-wise ops: extents round the vector widths 16, 32, 64 and the tile 256.
#include <cmath>

#include "reference/golden/suite_builder.h"

namespace etalon::golden::internal {
namespace {

size_t Columns(Chooser& choose) {
  return choose.Cycle<size_t>({1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100,
                               127, 128, 129, 255, 256, 257});
}

// Half of the cases are strided, at an odd offset.
void MaybeStrided(Chooser& choose, Case& c) {
  for (Input& i : c.inputs) {
    if (i.shape.size() >= 2 && i.dtype == DType::kF32 && choose.OneIn(2)) {
      i.layout = PaddedRows(i.shape, 1 + choose.Below(7), choose.Below(4));
    }
  }
  for (Output& o : c.outputs) {
    if (choose.OneIn(2)) {
      o.layout = PaddedRows(o.shape, 1 + choose.Below(7), choose.Below(4));
    }
  }
}

}  // namespace

Case DescribeRmsNorm(Chooser& choose) {
  Case c;
  const size_t n = Columns(choose);
  const size_t rows = 1 + choose.Below(3);
  c.family = choose.Cycle<const char*>(
      {"normal", "uniform", "wide", "exact_int", "large", "outlier", "offset",
       "cancel", "tiny", "constant", "huge", "subnormal", "zero", "special",
       "spike", "rising", "ones"});
  const bool special = c.family == "special";
  Input x = Data("x", {rows, n}, special ? "normal" : c.family, 0);
  if (special) {
    x.recipe->patch.push_back(
        {choose.Below(n), choose.Pick({kNan, kPosInf, kNegInf, kMinusZero})});
  }
  c.inputs.push_back(std::move(x));
  if (!choose.OneIn(4)) c.inputs.push_back(Data("weight", {n}, "normal", 2));
  // A model's, a large one that shows where it stands, and none.
  float eps = choose.Pick({1e-5f, 1e-6f, 0.25f, 1e-5f});
  if (c.family == "normal" && choose.OneIn(2)) eps = 0.0f;
  c.SetFloat("eps", eps);
  c.outputs.push_back(Bounded("out", {rows, n}, "rms_norm"));
  if (c.family == "huge") c.needs.push_back("f64_norm_sum");
  MaybeStrided(choose, c);
  return c;
}

Case DescribeSoftmax(Chooser& choose) {
  Case c;
  const size_t n = Columns(choose);
  const size_t rows = 1 + choose.Below(3);
  c.family = choose.Cycle<const char*>(
      {"normal", "large", "uniform", "constant", "spike", "offset", "outlier",
       "exact_int", "masked", "tiny", "rising", "zero", "all_masked",
       "late_max", "low", "special", "huge_logits"});
  std::string rule = c.family;
  if (rule == "late_max" || rule == "low") rule = "normal";
  if (rule == "huge_logits") rule = "large";
  if (rule == "masked" || rule == "all_masked" || rule == "special") {
    rule = "normal";
  }
  Input x = Data("x", {rows, n}, rule, 0);
  if (c.family == "huge_logits") x.recipe->times_log2 = 6;  // +-10^4
  if (c.family == "masked") {
    for (size_t i = 0; i < n; ++i) {
      if (choose.OneIn(3) && i + 1 < n) {
        x.recipe->patch.push_back({i, kNegInf});
      }
    }
  }
  // 200 behind 0s; all about -150: both overflow or vanish without the maximum.
  if (c.family == "late_max") x.recipe->patch.push_back({n - 1, 0x43480000u});
  if (c.family == "low") {
    for (size_t i = 0; i < rows * n; ++i) {
      x.recipe->patch.push_back(
          {i, 0xC3160000u + static_cast<uint32_t>(choose.Below(0x10000))});
    }
  }
  if (c.family == "all_masked") {
    for (size_t i = 0; i < n; ++i) x.recipe->patch.push_back({i, kNegInf});
  }
  if (c.family == "special") {
    x.recipe->patch.push_back({choose.Below(n), choose.Pick({kNan, kPosInf})});
  }
  c.inputs.push_back(std::move(x));
  c.outputs.push_back(Bounded("out", {rows, n}, "softmax"));
  MaybeStrided(choose, c);
  return c;
}

// base^(-i / half) by products of square roots: no libm's pow.
std::vector<float> RopeFrequencies(size_t half, double base) {
  std::vector<float> freq;
  for (size_t i = 0; i < half; ++i) {
    double f = 1.0;
    double root = 1.0 / base;
    double fraction = static_cast<double>(i) / static_cast<double>(half);
    for (int bit = 0; bit < 30; ++bit) {
      root = std::sqrt(root);
      fraction *= 2;
      if (fraction >= 1.0) {
        fraction -= 1.0;
        f *= root;
      }
    }
    freq.push_back(static_cast<float>(f));
  }
  return freq;
}

void AddRopeTables(const std::vector<float>& freq, size_t first, size_t n_rows,
                   Case& c) {
  std::vector<float> cos;
  std::vector<float> sin;
  for (size_t r = 0; r < n_rows; ++r) {
    for (const float f : freq) {
      const auto [co, si] = CosSin(static_cast<float>(first + r) * f);
      cos.push_back(co);
      sin.push_back(si);
    }
  }
  for (const auto& [name, values] :
       {std::pair{"cos", &cos}, std::pair{"sin", &sin}}) {
    Input table;
    table.name = name;
    table.shape = {n_rows, freq.size()};
    table.data =
        Tensor(DType::kF32, table.shape, std::span<const float>(*values));
    c.inputs.push_back(std::move(table));
  }
}

// The tables come from the reference's sin and cos of the f32 angle, rounded:
// whatever they are, they are inputs.
Case DescribeRope(Chooser& choose) {
  Case c;
  const size_t head_dim =
      choose.Cycle<size_t>({2, 8, 16, 34, 40, 64, 80, 96, 128});
  // In step with neither the styles nor the families, even over few cases.
  const bool partial =
      choose.Cycle<int>({0, 0, 0, 1, 0, 0, 1}) != 0 && head_dim > 8;
  const size_t half = partial ? head_dim / 4 : head_dim / 2;
  const size_t n_tokens = 1 + choose.Below(3);
  const size_t n_heads = 1 + choose.Below(2);
  c.family = choose.Cycle<const char*>({"normal", "uniform", "wide",
                                        "exact_int", "outlier", "cancel",
                                        "normal", "tiny", "zero", "special"});
  const bool special = c.family == "special";
  Input x = Data("x", {n_tokens, n_heads, head_dim},
                 special ? "normal" : c.family, 0);
  if (special) {
    x.recipe->patch.push_back(
        {choose.Below(head_dim), choose.Pick({kNan, kPosInf, kMinusZero})});
  }
  c.inputs.push_back(std::move(x));
  c.params["style"] =
      std::string(choose.Cycle<const char*>({"half_split", "interleaved"}, 10));
  // Rows of the table stand for these positions of a context.
  const size_t first =
      choose.Pick<size_t>({0, 1, 7, 255, 4096, 131072, 1048576});
  const size_t n_rows = n_tokens + 1;
  const std::vector<float> freq =
      RopeFrequencies(half, choose.Pick({10000.0, 1e6, 500000.0}));
  std::vector<uint32_t> positions;
  for (size_t t = 0; t < n_tokens; ++t) {
    positions.push_back(static_cast<uint32_t>(n_rows - 1 - t));
  }
  // A port with angles of its own knows the first position by this.
  c.params["first_position"] = static_cast<int64_t>(first);
  c.inputs.push_back(Integers("positions", {n_tokens}, positions));
  AddRopeTables(freq, first, n_rows, c);
  Input f;
  f.name = "freq";
  f.shape = {half};
  f.data = Tensor(DType::kF32, f.shape, std::span<const float>(freq));
  c.inputs.push_back(std::move(f));
  c.outputs.push_back(Bounded("out", {n_tokens, n_heads, head_dim}, "rope"));
  if (choose.OneIn(2)) {
    c.outputs[0].layout = PaddedRows(c.outputs[0].shape, 3, choose.Below(3));
  }
  return c;
}

Case DescribeSwiGlu(Chooser& choose) {
  Case c;
  const size_t n = Columns(choose);
  const size_t rows = 1 + choose.Below(3);
  c.family = choose.Cycle<const char*>(
      {"normal", "uniform", "wide", "large", "exact_int", "outlier", "offset",
       "tiny", "subnormal", "huge", "zero", "special", "edge"});
  const bool special = c.family == "special";
  const bool edge = c.family == "edge";
  Input gate =
      Data("gate", {rows, n}, special || edge ? "normal" : c.family, 0);
  if (edge) {
    // Round -87.3, -88.7 and -103.9, where exp(-g) and sigmoid leave the range
    // of f32 and of its normal numbers.
    for (size_t i = 0; i < rows * n; ++i) {
      const uint32_t base =
          choose.Pick({0xC2AEA000u, 0xC2B17000u, 0xC2CFE000u, 0x42B17000u});
      gate.recipe->patch.push_back(
          {i, base + static_cast<uint32_t>(choose.Below(0x4000))});
    }
  }
  if (special) {
    gate.recipe->patch.push_back(
        {choose.Below(n), choose.Pick({kNan, kPosInf, kNegInf})});
  }
  c.inputs.push_back(std::move(gate));
  c.inputs.push_back(
      Data("up", {rows, n}, choose.Pick({"normal", "wide", "outlier"}), 2));
  c.outputs.push_back(Bounded("out", {rows, n}, "swiglu"));
  MaybeStrided(choose, c);
  return c;
}

Case DescribeAdd(Chooser& choose) {
  Case c;
  const size_t n = Columns(choose);
  const size_t rows = 1 + choose.Below(3);
  c.family = choose.Cycle<const char*>({"normal", "wide", "cancel", "outlier",
                                        "tiny", "huge", "zero", "subnormal",
                                        "special", "large", "exact_int"});
  const bool special = c.family == "special";
  Input a = Data("a", {rows, n}, special ? "normal" : c.family, 0);
  if (special) {
    a.recipe->patch.push_back(
        {choose.Below(n), choose.Pick({kNan, kPosInf, kNegInf})});
  }
  c.inputs.push_back(std::move(a));
  c.inputs.push_back(Data("b", {rows, n}, special ? "wide" : c.family, 2));
  c.outputs.push_back(Bounded("out", {rows, n}, "add"));
  MaybeStrided(choose, c);
  return c;
}

Case DescribeScaleRows(Chooser& choose) {
  Case c;
  const size_t n = Columns(choose);
  const size_t rows = 1 + choose.Below(4);
  c.family = choose.Cycle<const char*>(
      {"normal", "wide", "outlier", "tiny", "huge", "zero", "special"});
  const bool special = c.family == "special";
  c.inputs.push_back(Data("x", {rows, n}, special ? "normal" : c.family, 0));
  if (special) {
    c.inputs[0].recipe->patch.push_back(
        {choose.Below(n), choose.Pick({kNan, kPosInf, kMinusZero})});
  }
  c.inputs.push_back(
      Data("scale", {rows}, choose.Pick({"normal", "positive", "wide"}), 2));
  c.outputs.push_back(Bounded("out", {rows, n}, "scale_rows"));
  MaybeStrided(choose, c);
  return c;
}

}  // namespace etalon::golden::internal
