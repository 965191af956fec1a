// One op, run under callgrind, whose instruction count does not depend on what
// else the machine does: `./dev bench --counts`. callgrind counts inside
// CountedRun alone, and hides AVX-512, so that it is the AVX2 tier on every
// machine.
//   count_kernels --list     names
//   count_kernels NAME       runs that one, once to warm up and once counted
#include <fmt/format.h>

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "etalon/attention.h"
#include "etalon/elementwise.h"
#include "etalon/gemm.h"
#include "etalon/norm.h"
#include "etalon/rope.h"
#include "tests/util/random.h"
#include "tests/util/random_weights.h"

namespace etalon::bench {
namespace {

Workspace workspace;
ExecContext ctx{&workspace, nullptr, 1};
test::Random rng(1, 1);

std::vector<float> Random(size_t n) {
  return rng.Vector(test::Family::kNormal, n);
}

using Run = std::function<Status()>;

Run Gemm(TensorType type, size_t m) {
  constexpr size_t kN = 256, kK = 1024;
  auto w = std::make_shared<test::RandomWeights>(
      test::MakeWeights(type, kN, kK, rng));
  auto x = std::make_shared<std::vector<float>>(Random(m * kK));
  auto y = std::make_shared<std::vector<float>>(m * kN);
  return [=] {
    const GemmPart part{w->view(), {}, {y->data(), m, kN}};
    return ops::Gemm({{x->data(), m, kK}, {&part, 1}}, ctx);
  };
}

Run Attention(size_t n_tokens) {
  constexpr size_t kHeads = 4, kKvHeads = 2, kDim = 64, kLen = 512;
  auto q =
      std::make_shared<std::vector<float>>(Random(n_tokens * kHeads * kDim));
  auto kv =
      std::make_shared<std::vector<float>>(Random(2 * kKvHeads * kLen * kDim));
  auto out = std::make_shared<std::vector<float>>(q->size());
  return [=] {
    const auto view = [&](size_t i) {
      return KvView{TensorType::kF32,
                    reinterpret_cast<const std::byte*>(
                        kv->data() + i * kKvHeads * kLen * kDim),
                    kKvHeads,
                    kLen,
                    kDim,
                    kLen * kDim,
                    kDim};
    };
    AttentionArgs a;
    a.q = {q->data(), n_tokens, kHeads, kDim, kHeads * kDim, kDim};
    a.k = view(0);
    a.v = view(1);
    a.kv_len = kLen;
    a.scale = 0.125f;
    a.out = {out->data(), n_tokens, kHeads, kDim, kHeads * kDim, kDim};
    return ops::Attention(a, ctx);
  };
}

Run Embedding(TensorType type) {
  constexpr size_t kVocab = 64, kDim = 1024;
  auto table = std::make_shared<test::RandomWeights>(
      test::MakeWeights(type, kVocab, kDim, rng));
  auto y = std::make_shared<std::vector<float>>(4 * kDim);
  return [=] {
    constexpr int32_t kTokens[] = {3, 1, 63, 40};
    return ops::Embedding({table->view(), kTokens, {y->data(), 4, kDim}}, ctx);
  };
}

Run Rope() {
  constexpr size_t kTokens = 4, kHeads = 8, kDim = 128, kHalf = kDim / 2;
  auto x =
      std::make_shared<std::vector<float>>(Random(kTokens * kHeads * kDim));
  auto cos = std::make_shared<std::vector<float>>(kTokens * kHalf, 0.8f);
  auto sin = std::make_shared<std::vector<float>>(kTokens * kHalf, 0.6f);
  return [=] {
    constexpr int32_t kPositions[kTokens] = {0, 1, 2, 3};
    RopeArgs a;
    a.x = {x->data(), kTokens, kHeads, kDim, kHeads * kDim, kDim};
    a.positions = kPositions;
    a.cos = {cos->data(), kTokens, kHalf};
    a.sin = {sin->data(), kTokens, kHalf};
    return ops::Rope(a, ctx);
  };
}

// An op on two matrices of f32.
Run Rows(Status (*op)(Span2D<const float>, Span2D<float>)) {
  constexpr size_t kRows = 16, kCols = 1024;
  auto x = std::make_shared<std::vector<float>>(Random(kRows * kCols));
  auto y = std::make_shared<std::vector<float>>(Random(kRows * kCols));
  return [=] {
    return op({x->data(), kRows, kCols}, {y->data(), kRows, kCols});
  };
}

struct Case {
  const char* name;
  Run (*make)();
};
const Case kCases[] = {
    {"gemv_q4_k", [] { return Gemm(TensorType::kQ4_K, 1); }},
    {"gemv_q5_k", [] { return Gemm(TensorType::kQ5_K, 1); }},
    {"gemv_q6_k", [] { return Gemm(TensorType::kQ6_K, 1); }},
    {"gemv_q8_0", [] { return Gemm(TensorType::kQ8_0, 1); }},
    {"gemv_q4_0", [] { return Gemm(TensorType::kQ4_0, 1); }},
    {"gemv_q4_1", [] { return Gemm(TensorType::kQ4_1, 1); }},
    {"gemv_q5_0", [] { return Gemm(TensorType::kQ5_0, 1); }},
    {"gemv_q5_1", [] { return Gemm(TensorType::kQ5_1, 1); }},
    {"gemv_f16", [] { return Gemm(TensorType::kF16, 1); }},
    {"gemv_bf16", [] { return Gemm(TensorType::kBF16, 1); }},
    {"gemv_f32", [] { return Gemm(TensorType::kF32, 1); }},
    {"gemm_q4_k_32", [] { return Gemm(TensorType::kQ4_K, 32); }},
    {"gemm_q6_k_32", [] { return Gemm(TensorType::kQ6_K, 32); }},
    {"gemm_q8_0_32", [] { return Gemm(TensorType::kQ8_0, 32); }},
    {"gemm_f32_32", [] { return Gemm(TensorType::kF32, 32); }},
    {"embedding_q4_k", [] { return Embedding(TensorType::kQ4_K); }},
    {"embedding_q6_k", [] { return Embedding(TensorType::kQ6_K); }},
    {"rope", Rope},
    {"attention_1", [] { return Attention(1); }},
    {"attention_32", [] { return Attention(32); }},
    {"rms_norm",
     [] {
       return Rows([](Span2D<const float> x, Span2D<float> y) {
         return ops::RmsNorm({x, {}, 1e-5f, y, {}}, ctx);
       });
     }},
    {"softmax",
     [] {
       return Rows([](Span2D<const float> x, Span2D<float> y) {
         return ops::Softmax({x, y}, ctx);
       });
     }},
    {"swiglu",
     [] {
       return Rows([](Span2D<const float> x, Span2D<float> y) {
         return ops::SwiGlu({x, x, y}, ctx);
       });
     }},
    {"add",
     [] {
       return Rows([](Span2D<const float> x, Span2D<float> y) {
         return ops::Add({x, x, y}, ctx);
       });
     }},
};

}  // namespace
}  // namespace etalon::bench

// The name that callgrind is told to count in.
extern "C" __attribute__((noinline)) bool CountedRun(
    const std::function<etalon::Status()>* run) {
  return (*run)().has_value();
}

int main(int argc, char** argv) {
  const std::string_view wanted = argc == 2 ? argv[1] : "";
  for (const auto& c : etalon::bench::kCases) {
    if (wanted == "--list") fmt::print("{}\n", c.name);
    if (wanted != c.name) continue;
    const auto run = c.make();
    return run().has_value() && CountedRun(&run) ? 0 : 1;
  }
  if (wanted == "--list") return 0;
  fmt::print(stderr, "usage: count_kernels --list | NAME\n");
  return 1;
}
