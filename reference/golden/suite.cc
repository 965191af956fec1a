#include "reference/golden/suite.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "reference/formats.h"
#include "reference/golden/operands.h"
#include "reference/golden/sha256.h"
#include "reference/golden/suite_builder.h"

namespace etalon::golden {
namespace {

using internal::Chooser;

struct Generator {
  std::string_view op;
  Case (*describe)(Chooser&);
  size_t n_smoke;
  size_t n_full;
  size_t n_procedural;  // of the full suite, beside the others
};
constexpr Generator kGenerators[] = {
    {"rms_norm", internal::DescribeRmsNorm, 20, 420, 20},
    {"softmax", internal::DescribeSoftmax, 20, 420, 20},
    {"rope", internal::DescribeRope, 18, 300, 20},
    {"swiglu", internal::DescribeSwiGlu, 14, 250, 20},
    {"add", internal::DescribeAdd, 8, 130, 20},
    {"scale_rows", internal::DescribeScaleRows, 8, 110, 20},
    {"dequantize", internal::DescribeDequantize, 24, 220, 0},
    {"embedding", internal::DescribeEmbedding, 6, 80, 0},
    {"quantize_q8_k", internal::DescribeQuantizeQ8K, 12, 110, 0},
    {"quantize_q8_0", internal::DescribeQuantizeQ80, 12, 110, 0},
    {"kv_write", internal::DescribeKvWrite, 8, 100, 0},
    {"gemm", internal::DescribeGemm, 66, 1500, 60},
    {"gemm_swiglu", internal::DescribeGemmSwiGlu, 6, 120, 10},
    {"attention", internal::DescribeAttention, 61, 1000, 60},
    {"moe_router", internal::DescribeRouter, 14, 180, 20},
    {"moe_ffn", internal::DescribeMoeFfn, 4, 60, 4},
    {"attention_variant", internal::DescribeAttentionVariant, 18, 408, 17},
    {"layer", internal::DescribeLayer, 7, 96, 8},
};

const Generator* FindGenerator(std::string_view op) {
  for (const Generator& g : kGenerators) {
    if (g.op == op) return &g;
  }
  return nullptr;
}

Case Describe(const Generator& g, uint64_t index) {
  // Ops share no seeds.
  const uint64_t number = static_cast<uint64_t>(&g - kGenerators);
  const uint64_t seed = (number + 1) * 1000003 + index;
  Chooser choose(seed, index);
  Case c = g.describe(choose);
  c.op = g.op;
  c.seed = seed;
  c.id = fmt::format("{}-{:04}", g.op, index);
  c.kind = CaseKind::kGenerated;
  return c;
}

bool IsProduct(const std::string& op) {
  return op == "gemm" || op == "gemm_swiglu" || op == "attention" ||
         op == "attention_variant" || op == "moe_ffn" || op == "layer";
}

double LargestFinite(const Tensor& t) {
  double max = 0.0;
  for (size_t i = 0; i < t.n(); ++i) {
    const double x = std::abs(ElementValue(t, i));
    if (std::isfinite(x)) max = std::max(max, x);
  }
  return max;
}

// Of the weights and activations of a product.
Status MeasureOperands(Case& c) {
  Operands operands(c);
  for (const Input& i : c.inputs) {
    if (i.dtype == DType::kI32) continue;
    if (i.dtype != DType::kU8) {
      c.max_in = std::max(c.max_in, LargestFinite(i.data));
      continue;
    }
    std::string param = "type_" + i.name;  // where it is one of its own
    if (!c.params.contains(param)) param = "type";
    std::vector<double> row;
    const auto measure = [&](const WeightMatrix& w) {
      row.resize(w.cols);
      for (size_t r = 0; r < w.rows; ++r) {
        reference::DecodeRow(w.type, w.row(r), row);
        for (const double x : row) c.max_in = std::max(c.max_in, std::abs(x));
      }
    };
    if (i.shape.size() == 3) {
      ETALON_ASSIGN_OR_RETURN(const ExpertWeights stack,
                              operands.Experts(i.name, param));
      for (size_t e = 0; e < stack.n_experts; ++e) measure(stack.expert(e));
    } else {
      ETALON_ASSIGN_OR_RETURN(const WeightMatrix w,
                              operands.Weights(i.name, param));
      measure(w);
    }
  }
  return {};
}

}  // namespace

std::vector<std::string> SuiteOps() {
  std::vector<std::string> names;
  for (const Generator& g : kGenerators) names.emplace_back(g.op);
  return names;
}

Expected<Case> DescribeCase(const std::string& op, uint64_t index) {
  const Generator* g = FindGenerator(op);
  if (g == nullptr) {
    return InvalidArgument(fmt::format("no cases of op \"{}\"", op));
  }
  return Describe(*g, index);
}

Expected<std::vector<Case>> DescribeSuite(std::string_view suite) {
  if (suite != "smoke" && suite != "full") {
    return InvalidArgument(
        fmt::format("suite \"{}\" is neither smoke nor full", suite));
  }
  const bool full = suite == "full";
  std::vector<Case> cases;
  for (const Generator& g : kGenerators) {
    const size_t n = full ? g.n_full : g.n_smoke;
    const size_t n_procedural = full ? g.n_procedural : 0;
    for (size_t i = 0; i < n + n_procedural; ++i) {
      Case c = Describe(g, i);
      size_t bytes = 0;
      for (const Input& input : c.inputs) {
        bytes += Elements(input.shape) * DTypeSize(input.dtype);
      }
      if (i >= n) {
        c.kind = CaseKind::kProcedural;
      } else if (bytes <= (full ? 6000u : 2500u)) {
        c.kind = CaseKind::kStored;
      }
      cases.push_back(std::move(c));
    }
  }
  return cases;
}

Status MakeInputs(Case& c) {
  for (Input& i : c.inputs) {
    if (i.recipe) {
      ETALON_ASSIGN_OR_RETURN(i.data,
                              Generate(*i.recipe, i.dtype, i.shape, c.seed));
    }
    i.sha256 = Sha256Hex(i.data.bytes);
  }
  if (IsProduct(c.op)) return MeasureOperands(c);
  return {};
}

}  // namespace etalon::golden
