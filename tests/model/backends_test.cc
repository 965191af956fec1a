// A whole model on the two backends, and on the switches that change how it is
// computed: all within what their arithmetic allows.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/model/session_fixture.h"

namespace etalon::model {
namespace {

std::string Label(const test::NamedSpec& named, TensorType type) {
  return named.name + " " + std::string(TypeName(type));
}

TEST(Backends, CpuAgreesWithTheReferenceInF32) {
  for (const auto& named : test::AllArchitectureSpecs()) {
    const auto model = LoadTestModel(named.spec);
    const std::vector<int32_t> tokens = TestTokens(*model, 48);
    SessionOptions options;
    const auto cpu = AllLogits(*model, options, tokens);
    options.backend = &ReferenceBackend();
    const auto reference = AllLogits(*model, options, tokens);
    EXPECT_LE(Nmse(cpu, reference), 1e-10) << named.name;
    EXPECT_FALSE(SameBits(cpu, reference)) << "one backend judges itself";
  }
}

TEST(Backends, CpuAgreesWithTheReferenceInEveryWeightType) {
  for (const TensorType type :
       {TensorType::kF16, TensorType::kBF16, TensorType::kQ4_0,
        TensorType::kQ4_1, TensorType::kQ5_0, TensorType::kQ5_1,
        TensorType::kQ8_0, TensorType::kQ4_K, TensorType::kQ5_K,
        TensorType::kQ6_K}) {
    for (const auto& named : test::AllArchitectureSpecs()) {
      // Dense and experts; the others differ in what F32 has shown.
      if (named.name != "LlamaDense" && named.name != "Qwen3Moe") continue;
      const auto model = LoadTestModel(test::Quantised(named.spec, {type}));
      const std::vector<int32_t> tokens = TestTokens(*model, 12);
      SessionOptions options;
      const auto cpu = AllLogits(*model, options, tokens);
      options.backend = &ReferenceBackend();
      const auto reference = AllLogits(*model, options, tokens);
      // An activation that rounds the other way may choose another expert.
      const double bar = !IsQuantized(type)         ? 1e-10
                         : named.spec.n_experts > 0 ? 3e-2
                                                    : 1e-3;
      EXPECT_LE(Nmse(cpu, reference), bar) << Label(named, type);
    }
  }
}

TEST(Backends, F32ActivationsTakeTheRoundingOut) {
  for (const TensorType type :
       {TensorType::kQ4_0, TensorType::kQ5_1, TensorType::kQ8_0,
        TensorType::kQ4_K, TensorType::kQ6_K}) {
    for (const auto& named : test::AllArchitectureSpecs()) {
      if (named.name != "LlamaExtras" && named.name != "Qwen3Moe") continue;
      const auto model = LoadTestModel(test::Quantised(named.spec, {type}));
      const std::vector<int32_t> tokens = TestTokens(*model, 12);
      SessionOptions options;
      const auto rounded = AllLogits(*model, options, tokens);
      options.config.q8k_activations = false;
      const auto cpu = AllLogits(*model, options, tokens);
      EXPECT_FALSE(SameBits(cpu, rounded)) << Label(named, type);
      options.n_batch = 5;
      options.n_threads = 3;
      EXPECT_TRUE(SameBits(AllLogits(*model, options, tokens), cpu))
          << Label(named, type);
      options.backend = &ReferenceBackend();
      EXPECT_LE(Nmse(cpu, AllLogits(*model, options, tokens)), 1e-10)
          << Label(named, type);
    }
  }
}

TEST(Backends, F16CacheIsCloseAndOneBitPattern) {
  for (const auto& named : test::AllArchitectureSpecs()) {
    const auto model = LoadTestModel(named.spec);
    const std::vector<int32_t> tokens = TestTokens(*model, 48);
    SessionOptions options;
    const auto f32 = AllLogits(*model, options, tokens);
    for (const auto& [k, v] : {std::pair{TensorType::kF16, TensorType::kF16},
                               std::pair{TensorType::kF16, TensorType::kF32},
                               std::pair{TensorType::kF32, TensorType::kF16}}) {
      options = {};
      options.k_type = k;
      options.v_type = v;
      const auto f16 = AllLogits(*model, options, tokens);
      const double nmse = Nmse(f16, f32);
      EXPECT_GT(nmse, 0) << named.name;
      // 11 bits: 2^-22 per product, a few of them in a row.
      EXPECT_LE(nmse, named.spec.n_experts > 0 ? 1e-2 : 1e-5) << named.name;
      options.n_threads = 3;
      options.n_batch = 7;
      options.n_ctx = 48;
      EXPECT_TRUE(SameBits(AllLogits(*model, options, tokens), f16))
          << named.name;
    }
  }
}

TEST(Backends, SwitchesOfTheConfigurationStayClose) {
  for (const auto& named : test::AllArchitectureSpecs()) {
    const auto model = LoadTestModel(named.spec);
    const std::vector<int32_t> tokens = TestTokens(*model, 20);
    const auto want = AllLogits(*model, {}, tokens);
    SessionOptions options;
    options.config.flash_attn_strict = true;
    EXPECT_LE(Nmse(AllLogits(*model, options, tokens), want), 1e-10)
        << named.name;
    options = {};
    options.config.strict_parity = true;
    EXPECT_LE(Nmse(AllLogits(*model, options, tokens), want), 1e-10)
        << named.name;
  }
}

// The numbers of a model depend on all that the file says: a test that each
// of these reaches the computation.
TEST(Backends, EveryPartOfTheFileMatters) {
  test::ModelSpec spec;
  spec.arch = "llama";
  spec.rope_freqs = spec.scales = true;
  spec.qkv_bias = spec.projection_bias = spec.output_bias = false;
  const test::TestModel whole = test::MakeModel(spec);
  const auto base_model = LoadTestModel(whole);
  const std::vector<int32_t> tokens = TestTokens(*base_model, 10);
  const auto base = AllLogits(*base_model, {}, tokens);
  for (const test::TestTensor& t : whole.tensors) {
    test::TestModel m = whole;
    float x = 0;
    std::byte* last = &m.Tensor(t.name).bytes[t.bytes.size() - 4];
    if (t.name == "token_embd.weight") {
      last = &m.Tensor(t.name).bytes[static_cast<size_t>(tokens[3]) * 64 * 4];
    }
    std::memcpy(&x, last, 4);
    x = x * 1.5f + 0.25f;
    std::memcpy(last, &x, 4);
    EXPECT_FALSE(SameBits(AllLogits(*LoadTestModel(m), {}, tokens), base))
        << t.name;
  }
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, test::KvValue>>{
           {".attention.layer_norm_rms_epsilon", 1e-3f},
           {".rope.freq_base", 20000.0f},
           {".rope.dimension_count", 8u},
           {".rope.scaling.factor", 2.0f}}) {
    test::TestModel m = whole;
    m.Set(key, value);
    if (key == ".rope.dimension_count") m.RemoveTensor("rope_freqs.weight");
    EXPECT_FALSE(SameBits(AllLogits(*LoadTestModel(m), {}, tokens), base))
        << key;
  }
}

TEST(Backends, Mistral3TemperatureStartsAtItsFirstEra) {
  test::ModelSpec spec;
  spec.arch = "mistral3";
  spec.rope_scaling = "yarn";  // trained on 16 positions
  spec.attn_temperature = 0.5f;
  test::TestModel m = test::MakeModel(spec);
  const auto with = LoadTestModel(m);
  m.Remove(".attention.temperature_scale");
  const auto without = LoadTestModel(m);
  const std::vector<int32_t> tokens = TestTokens(*with, 40);
  const size_t n_vocab = with->hyperparameters().n_vocab;
  const auto a = AllLogits(*with, {}, tokens);
  const auto b = AllLogits(*without, {}, tokens);
  // 1 + 0.5 * ln(1) = 1 below position 16.
  EXPECT_TRUE(SameBits(std::span(a).first(16 * n_vocab),
                       std::span(b).first(16 * n_vocab)));
  for (size_t t = 16; t < 40; ++t) {
    EXPECT_FALSE(SameBits(std::span(a).subspan(t * n_vocab, n_vocab),
                          std::span(b).subspan(t * n_vocab, n_vocab)))
        << t;
  }
}

TEST(Backends, SmolLm3LeavesEveryFourthLayerUnrotated) {
  const Architecture* a = FindArchitecture("smollm3");
  ASSERT_NE(a, nullptr);
  test::ModelSpec spec;
  spec.arch = "smollm3";
  spec.n_layers = 8;
  const auto model = LoadTestModel(spec);
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(model->LayerConfigOf(i).use_rope, i != 3 && i != 7) << i;
  }
}

}  // namespace
}  // namespace etalon::model
