// The run of a whole model as golden cases: faithful, complete, and able to
// name the op that is wrong.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "reference/golden/judge.h"
#include "reference/golden/pack.h"
#include "reference/golden/trace.h"
#include "tests/model/session_fixture.h"

namespace etalon::model {
namespace {

struct Traced {
  golden::Case c;
  golden::TensorFile outputs;
};

std::vector<Traced> TraceRun(const Model& model, size_t n_tokens) {
  std::vector<Traced> all;
  const auto rope = MakeRopeFrequencies(model.hyperparameters().rope);
  EXPECT_TRUE(rope);
  golden::Tracer tracer(
      CpuBackend(), rope->freq,
      [&](golden::Case c, golden::TensorFile outputs) -> Status {
        all.push_back({std::move(c), std::move(outputs)});
        return {};
      });
  SessionOptions options;
  options.n_batch = n_tokens;
  options.backend = &tracer.backend();
  options.observer = &tracer;
  const std::vector<int32_t> tokens = TestTokens(model, n_tokens);
  const auto logits = AllLogits(model, options, tokens);
  EXPECT_TRUE(tracer.Finish());
  EXPECT_TRUE(SameBits(logits, AllLogits(model, SessionOptions(), tokens)))
      << "tracing changes the run";
  return all;
}

golden::Subject Cpu(ExecContext* ctx) {
  golden::Subject s;
  s.name = "cpu";
  s.backend = &CpuBackend();
  s.ctx = ctx;
  return s;
}

// Every tensor a little off: what no bound allows.
void Spoil(golden::TensorFile& outputs) {
  for (auto& [name, t] : outputs.tensors) {
    if (t.dtype == golden::DType::kI32) {
      for (int32_t& x : t.As<int32_t>()) x += 1;
    } else {
      for (float& x : t.As<float>()) x = x * 1.01f + 1e-3f;
    }
  }
}

TEST(GoldenTrace, EveryOpOfEveryArchitectureRepeatsPassesAndConvicts) {
  const auto strict = golden::FindShippedProfile("cpu-strict");
  ASSERT_TRUE(strict);
  for (const auto& named : test::AllArchitectureSpecs()) {
    SCOPED_TRACE(named.name);
    const auto model = LoadTestModel(named.spec);
    Config config;
    Workspace workspace;
    ExecContext ctx{&workspace, &config, 1};
    const golden::Subject cpu = Cpu(&ctx);
    std::set<std::string> ids;
    std::set<int> layers;
    int call = 0;
    for (Traced& t : TraceRun(*model, 5)) {
      SCOPED_TRACE(t.c.id);
      EXPECT_EQ(t.c.call, call++);
      EXPECT_TRUE(ids.insert(t.c.id).second);
      EXPECT_FALSE(t.c.module.empty());
      layers.insert(t.c.layer);
      const Status done = golden::CompleteCase(t.c, cpu);
      ASSERT_TRUE(done) << done.error().message;
      for (const golden::Output& out : t.c.outputs) {
        const golden::Tensor* bits = t.outputs.Find(out.name);
        ASSERT_NE(bits, nullptr);
        EXPECT_EQ(golden::StrictDigest(*bits), out.strict_sha256)
            << "the op alone gives other bits than in the run";
      }
      const auto right = golden::JudgeCase(t.c, t.outputs, *strict, nullptr);
      EXPECT_EQ(right.status, golden::CaseStatus::kPass) << right.message;
      EXPECT_EQ(right.layer, t.c.layer);
      Spoil(t.outputs);
      const auto wrong = golden::JudgeCase(t.c, t.outputs, *strict, nullptr);
      EXPECT_EQ(wrong.status, golden::CaseStatus::kFail) << wrong.message;
    }
    // The layers, and what is outside of any.
    EXPECT_EQ(layers.size(), named.spec.n_layers + 1);
    EXPECT_EQ(*layers.begin(), -1);
  }
}

TEST(GoldenTrace, StagesNameTheOps) {
  test::ModelSpec spec;
  spec.arch = "qwen3";
  const auto model = LoadTestModel(spec);
  std::vector<std::string> modules;
  for (const Traced& t : TraceRun(*model, 3)) {
    if (t.c.layer <= 0) modules.push_back(t.c.module);
  }
  const std::vector<std::string> want = {
      "token_embd", "ln1_out",         "q_proj",          "k_proj",
      "v_proj",     "q_rope.rms_norm", "k_rope.rms_norm", "q_rope",
      "k_rope",     "kv_write",        "kv_write",        "attn_out",
      "attn_proj",  "residual1",       "ln2_out",         "swiglu_out",
      "mlp_out",    "output",          "output_norm",     "output"};
  EXPECT_EQ(modules, want);
}

}  // namespace
}  // namespace etalon::model
