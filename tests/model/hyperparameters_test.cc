// What a file says about its shape: read as stated, and refused by name, value
// and rule when it cannot be.
#include "model/hyperparameters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "model/architecture.h"
#include "model/model.h"
#include "tests/util/model_builder.h"
#include "tests/util/temp_dir.h"

namespace etalon::model {
namespace {

using test::MakeModel;
using test::ModelSpec;
using test::TestModel;
using testing::HasSubstr;

ModelSpec SmallSpec() {
  ModelSpec spec;
  spec.n_vocab = 40;
  spec.n_layers = 1;
  spec.model_dim = 32;
  spec.n_heads = 2;
  spec.n_kv_heads = 1;
  spec.ffn_dim = 48;
  return spec;
}

Expected<std::unique_ptr<Model>> Load(const TestModel& m) {
  const test::TempDir dir;
  m.Write(dir.File("m.gguf"));
  return Model::Load(dir.File("m.gguf"), {});
}

struct Refusal {
  const char* name;
  std::function<void(TestModel&)> bend;
  const char* message;  // part of it: field, value and rule
};
void PrintTo(const Refusal& r, std::ostream* os) { *os << r.name; }
std::string NameOf(const testing::TestParamInfo<Refusal>& test) {
  return test.param.name;
}

std::function<void(TestModel&)> Set(const char* key, test::KvValue value) {
  return [=](TestModel& m) { m.Set(key, value); };
}
std::function<void(TestModel&)> Remove(const char* key) {
  return [=](TestModel& m) { m.Remove(key); };
}

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

class HyperparameterRefusal : public testing::TestWithParam<Refusal> {};

TEST_P(HyperparameterRefusal, NamesTheField) {
  TestModel m = MakeModel(SmallSpec());
  ASSERT_TRUE(Load(m)) << Load(m).error().message;
  GetParam().bend(m);
  const auto model = Load(m);
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::kBadInput);
  EXPECT_THAT(model.error().message, HasSubstr(GetParam().message));
  EXPECT_EQ(model.error().message.find('\n'), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    Sizes, HyperparameterRefusal,
    testing::Values(
        Refusal{"ArchUnknown", Set("general.architecture", "xyzzy"),
                "general.architecture: \"xyzzy\" unknown"},
        Refusal{"ArchMissing", Remove("general.architecture"),
                "general.architecture missing"},
        Refusal{"ArchType", Set("general.architecture", 3u),
                "general.architecture type u32"},
        Refusal{"Layers0", Set(".block_count", 0u),
                "llama.block_count: 0 is outside 1..512"},
        Refusal{"Layers513", Set(".block_count", 513u),
                "llama.block_count: 513 is outside 1..512"},
        Refusal{"LayersMax", Set(".block_count", 0xFFFFFFFFu),
                "llama.block_count: 4294967295 is outside 1..512"},
        Refusal{"LayersNegative", Set(".block_count", -1), "llama.block_count"},
        Refusal{"LayersMissing", Remove(".block_count"),
                "llama.block_count missing"},
        Refusal{"LayersText", Set(".block_count", "two"),
                "llama.block_count type string"},
        Refusal{"LayersFloat", Set(".block_count", 1.0f),
                "llama.block_count type f32"},
        Refusal{"LayersTooMany", Set(".block_count", 2u),
                "blk.1.attn_norm.weight: missing"},
        Refusal{"Context0", Set(".context_length", 0u),
                "llama.context_length: 0 is outside"},
        Refusal{"ContextMissing", Remove(".context_length"),
                "llama.context_length missing"},
        Refusal{"Width0", Set(".embedding_length", 0u),
                "llama.embedding_length: 0 is outside"},
        Refusal{"WidthMissing", Remove(".embedding_length"),
                "llama.embedding_length missing"},
        Refusal{"WidthHuge", Set(".embedding_length", 1u << 31),
                "token_embd.weight: shape [32,40], need [2147483648,40]"},
        Refusal{"WidthOther", Set(".embedding_length", 64u),
                "token_embd.weight: shape [32,40], need [64,40]"},
        Refusal{"Ffn0", Set(".feed_forward_length", 0u),
                "llama.feed_forward_length: 0 is outside"},
        Refusal{"FfnMissing", Remove(".feed_forward_length"),
                "llama.feed_forward_length missing"},
        Refusal{"FfnOther", Set(".feed_forward_length", 49u),
                "blk.0.ffn_gate.weight: shape [32,48], need [32,49]"},
        Refusal{"FfnArrayNegative",
                Set(".feed_forward_length", std::vector<int32_t>{-4}),
                "llama.feed_forward_length[0]: -4 is negative"},
        Refusal{"VocabMissing", Remove(".vocab_size"),
                "tokenizer.ggml.tokens: missing or empty, and no "
                "llama.vocab_size"},
        Refusal{"Vocab0", Set(".vocab_size", 0u),
                "llama.vocab_size: 0 is outside"},
        Refusal{"VocabOther", Set(".vocab_size", 41u),
                "token_embd.weight: shape [32,40], need [32,41]"}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    Heads, HyperparameterRefusal,
    testing::Values(
        Refusal{"Zero", Set(".attention.head_count", 0u),
                "llama.attention.head_count: 0 is outside"},
        Refusal{"Missing", Remove(".attention.head_count"),
                "llama.attention.head_count missing"},
        Refusal{"ArrayLength",
                Set(".attention.head_count", std::vector<uint32_t>{4, 4}),
                "llama.attention.head_count: array length 2, need 1"},
        Refusal{"ArrayOfFloat",
                Set(".attention.head_count", std::vector<float>{4}),
                "llama.attention.head_count: array of f32, need integers"},
        Refusal{"ArrayOfText",
                Set(".attention.head_count", std::vector<std::string>{"4"}),
                "llama.attention.head_count: array of string, need integers"},
        Refusal{"ArrayZero",
                Set(".attention.head_count", std::vector<uint32_t>{0}),
                "llama.attention.head_count[0]: 0 is outside"},
        Refusal{"KvZero", Set(".attention.head_count_kv", 0u),
                "llama.attention.head_count_kv: 0 is outside"},
        Refusal{"KvNoDivisor", Set(".attention.head_count_kv", 3u),
                "llama.attention.head_count: 2 is not a multiple of "
                "head_count_kv 3"},
        Refusal{"KeyLength0", Set(".attention.key_length", 0u),
                "llama.attention.key_length: 0 is outside 1..576"},
        Refusal{"KeyLengthHuge", Set(".attention.key_length", 577u),
                "llama.attention.key_length: 577 is outside 1..576"},
        Refusal{"ValueLengthOther", Set(".attention.value_length", 8u),
                "llama.attention.value_length: 8 differs from key_length 16"},
        Refusal{"NoKeyLength",
                [](TestModel& m) {
                  m.Remove(".attention.key_length");
                  m.Set(".attention.head_count", 3u);
                  m.Set(".attention.head_count_kv", 1u);
                },
                "llama.embedding_length: 32 is not a multiple of head_count 3"},
        Refusal{"EpsMissing", Remove(".attention.layer_norm_rms_epsilon"),
                "llama.attention.layer_norm_rms_epsilon: missing or negative"},
        Refusal{"EpsNegative", Set(".attention.layer_norm_rms_epsilon", -1e-5f),
                "llama.attention.layer_norm_rms_epsilon: missing or negative"},
        Refusal{"EpsNan", Set(".attention.layer_norm_rms_epsilon", kNan),
                "llama.attention.layer_norm_rms_epsilon: nan is not finite"},
        Refusal{"EpsType", Set(".attention.layer_norm_rms_epsilon", 1u),
                "llama.attention.layer_norm_rms_epsilon type u32"}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    Rope, HyperparameterRefusal,
    testing::Values(
        Refusal{"DimOverHead", Set(".rope.dimension_count", 128u),
                "llama.rope.dimension_count: 128 must be even and <= head_dim "
                "16"},
        Refusal{"DimOdd", Set(".rope.dimension_count", 7u),
                "llama.rope.dimension_count: 7 must be even"},
        Refusal{"Dim0", Set(".rope.dimension_count", 0u),
                "llama.rope.dimension_count: 0 is outside"},
        Refusal{"Base0", Set(".rope.freq_base", 0.0f),
                "llama.rope.freq_base: 0 must be > 0"},
        Refusal{"BaseNan", Set(".rope.freq_base", kNan),
                "llama.rope.freq_base: nan is not finite"},
        Refusal{"BaseInf", Set(".rope.freq_base", kInf),
                "llama.rope.freq_base: inf is not finite"},
        Refusal{"FactorNan", Set(".rope.scaling.factor", kNan),
                "llama.rope.scaling.factor: nan is not finite"},
        Refusal{"FactorNegative", Set(".rope.scaling.factor", -2.0f),
                "llama.rope.scaling.factor: -2 must be >= 0"},
        Refusal{"OldFactorNan", Set(".rope.scale_linear", kNan),
                "llama.rope.scale_linear: nan is not finite"},
        Refusal{"OldFactorNegative", Set(".rope.scale_linear", -2.0f),
                "llama.rope.scale_linear: -2 must be >= 0"},
        Refusal{"TypeUnknown", Set(".rope.scaling.type", "longrope"),
                "llama.rope.scaling.type: \"longrope\" unknown"},
        Refusal{"TypeType", Set(".rope.scaling.type", 1u),
                "llama.rope.scaling.type type u32"},
        Refusal{"AttnFactor0", Set(".rope.scaling.attn_factor", 0.0f),
                "llama.rope.scaling.attn_factor: 0 must be > 0"},
        Refusal{"BetaFastInf", Set(".rope.scaling.yarn_beta_fast", kInf),
                "llama.rope.scaling.yarn_beta_fast: inf is not finite"},
        Refusal{"BetaSlow0", Set(".rope.scaling.yarn_beta_slow", 0.0f),
                "llama.rope.scaling.yarn_beta_slow: 0 must be > 0"},
        Refusal{"LogMulNan", Set(".rope.scaling.yarn_log_multiplier", kNan),
                "llama.rope.scaling.yarn_log_multiplier: nan is not finite"},
        Refusal{"ExtFactorNan", Set(".rope.scaling.yarn_ext_factor", kNan),
                "llama.rope.scaling.yarn_ext_factor: nan is not finite"},
        Refusal{"TemperatureNan", Set(".attention.temperature_scale", kNan),
                "llama.attention.temperature_scale: nan is not finite"}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    Experts, HyperparameterRefusal,
    testing::Values(Refusal{"CountHuge", Set(".expert_count", 1000000u),
                            "llama.expert_count: 1000000 is outside 0..512"},
                    Refusal{"UsedMissing", Set(".expert_count", 4u),
                            "llama.expert_used_count missing"},
                    Refusal{"UsedTooMany",
                            [](TestModel& m) {
                              m.Set(".expert_count", 4u);
                              m.Set(".expert_used_count", 5u);
                            },
                            "llama.expert_used_count: 5 is outside 1..4"},
                    Refusal{"Used0",
                            [](TestModel& m) {
                              m.Set(".expert_count", 4u);
                              m.Set(".expert_used_count", 0u);
                            },
                            "llama.expert_used_count: 0 is outside 1..4"}),
    NameOf);

TEST(Hyperparameters, ExpertsMustFitTheArchitecture) {
  ModelSpec spec = SmallSpec();
  spec.arch = "qwen3moe";
  auto model = Load(MakeModel(spec));
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().message, "qwen3moe.expert_count: missing or 0");

  spec.arch = "qwen2";
  spec.n_experts = 4;
  spec.n_experts_used = 2;
  model = Load(MakeModel(spec));
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().message,
            "qwen2.expert_count: 4, but qwen2 has no experts");
}

TEST(Hyperparameters, AreReadAsWritten) {
  for (const auto& [name, spec] : test::AllArchitectureSpecs()) {
    SCOPED_TRACE(name);
    const auto model = Load(MakeModel(spec));
    ASSERT_TRUE(model) << model.error().message;
    const Hyperparameters& hp = (*model)->hyperparameters();
    EXPECT_EQ(hp.architecture, spec.arch);
    EXPECT_EQ(hp.n_vocab, test::kTinyVocab);
    EXPECT_EQ(hp.n_ctx_train, spec.n_ctx);
    EXPECT_EQ(hp.model_dim, spec.model_dim);
    EXPECT_EQ(hp.n_layers, spec.n_layers);
    EXPECT_EQ(hp.head_dim, spec.head_dim);
    EXPECT_EQ(hp.rope.rotary_dim, spec.head_dim);
    EXPECT_EQ(hp.n_experts, spec.n_experts);
    EXPECT_EQ(hp.n_experts_used, spec.n_experts_used);
    EXPECT_EQ(hp.rms_eps, 1e-5f);
    EXPECT_EQ(hp.attn_temperature, spec.attn_temperature);
    const size_t half = spec.vary_layers ? 2 : 1;
    EXPECT_EQ(hp.n_heads[1], spec.n_heads / half);
    EXPECT_EQ(hp.n_kv_heads[1], spec.n_kv_heads / half);
    EXPECT_EQ(hp.ffn_dim[1], spec.ffn_dim / half);
    EXPECT_EQ(hp.rope.freq_factors.empty(), !spec.rope_freqs);
    EXPECT_EQ(hp.rope.scaling, spec.rope_scaling == "yarn" ? RopeScaling::kYarn
                               : spec.rope_scaling == "linear"
                                   ? RopeScaling::kLinear
                                   : RopeScaling::kNone);
    EXPECT_EQ(hp.rope.n_ctx_orig, spec.rope_scaling.empty() ? spec.n_ctx : 16);
  }
}

TEST(Hyperparameters, RopeStylesOfTheArchitectures) {
  for (const Architecture& a : AllArchitectures()) {
    const bool half =
        a.name == "qwen2" || a.name == "qwen3" || a.name == "qwen3moe";
    EXPECT_EQ(a.rope_style,
              half ? RopeStyle::kHalfSplit : RopeStyle::kInterleaved)
        << a.name;
    EXPECT_EQ(FindArchitecture(a.name)->name, a.name);
  }
  EXPECT_EQ(FindArchitecture("Llama"), nullptr);
  EXPECT_EQ(FindArchitecture(""), nullptr);
}

TEST(Hyperparameters, DefaultsOfFilesThatSayLess) {
  TestModel m = MakeModel(SmallSpec());
  for (const char* key : {".attention.key_length", ".attention.value_length",
                          ".rope.dimension_count", ".rope.freq_base"}) {
    m.Remove(key);
  }
  const auto model = Load(m);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ((*model)->hyperparameters().head_dim, 16u);
  EXPECT_EQ((*model)->hyperparameters().rope.rotary_dim, 16u);
  EXPECT_EQ((*model)->hyperparameters().rope.freq_base, 10000.0f);

  // head_count_kv missing: as many as query heads.
  m.Remove(".attention.head_count_kv");
  const auto refused = Load(m);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message,
              HasSubstr("blk.0.attn_k.weight: shape [32,16], need [32,32]"));
}

TEST(Hyperparameters, OldLinearFactorAndZeroFactor) {
  TestModel m = MakeModel(SmallSpec());
  m.Set(".rope.scale_linear", 2.0f);
  auto model = Load(m);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ((*model)->hyperparameters().rope.scaling, RopeScaling::kLinear);
  EXPECT_EQ((*model)->hyperparameters().rope.factor, 2.0f);
  m.Set(".rope.scaling.factor", 0.0f);  // none, and it wins over the old key
  model = Load(m);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ((*model)->hyperparameters().rope.scaling, RopeScaling::kNone);
}

}  // namespace
}  // namespace etalon::model
