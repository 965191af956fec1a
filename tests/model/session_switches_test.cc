// Switches of a session may change at any time and are looked at anew by every
// Append (B-84); whoever wants to sees the stages of every layer (B-82).
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/log.h"
#include "tests/model/session_fixture.h"

namespace etalon::model {
namespace {

class SessionSwitches : public testing::Test {
 protected:
  void SetUp() override {
    model_ = LoadTestModel(test::Quantised(
        test::AllArchitectureSpecs()[0].spec,
        {TensorType::kQ4_K, TensorType::kQ6_K, TensorType::kQ5_K}));
    ASSERT_TRUE(model_);
    tokens_ = TestTokens(*model_, 5);
  }
  std::unique_ptr<Model> model_;
  std::vector<int32_t> tokens_;
};

TEST_F(SessionSwitches, B81_B83_B84_TakeEffectOnTheNextCallAndBack) {
  SessionOptions options;
  options.n_threads = 2;
  const auto session = MakeSession(*model_, options);
  const auto logits = [&] {
    session->Truncate(0);
    return AllLogits(*session, tokens_);
  };
  const auto eight_bits = logits();
  session->config().q8k_activations = false;
  const auto f32 = logits();
  EXPECT_FALSE(SameBits(f32, eight_bits));
  session->config().q8k_activations.reset();
  EXPECT_TRUE(SameBits(logits(), eight_bits));
  // Strict parity turns 8-bit activations off by default, not against a word.
  session->config().strict_parity = true;
  const auto parity = logits();
  EXPECT_FALSE(SameBits(parity, eight_bits));
  EXPECT_LT(Nmse(parity, f32), 1e-9) << "naive attention, f32 activations";
  session->config().q8k_activations = true;
  EXPECT_LT(Nmse(logits(), eight_bits), 1e-9);
  session->config() = Config();
  EXPECT_TRUE(SameBits(logits(), eight_bits));
}

struct Stages : layer::LayerObserver {
  void OnLayer(size_t layer) override { layers.push_back(layer); }
  void OnStage(std::string_view stage, Span2D<const float>) override {
    if (stage == "output") ++n_outputs;
  }
  void OnBlocks(std::string_view stage, const WeightMatrix& blocks) override {
    if (stage == "q8_buf" && blocks.type == TensorType::kQ8_K) ++n_q8;
  }
  std::vector<size_t> layers;
  size_t n_outputs = 0, n_q8 = 0;
};

TEST_F(SessionSwitches, B82_StagesOfEveryLayerAreSeenAndChangeNothing) {
  SessionOptions options;
  const auto want = AllLogits(*model_, options, tokens_);
  Stages stages;
  options.observer = &stages;
  EXPECT_TRUE(SameBits(AllLogits(*model_, options, tokens_), want));
  const size_t n_layers = model_->hyperparameters().n_layers;
  ASSERT_EQ(stages.layers.size(), n_layers);
  for (size_t i = 0; i < n_layers; ++i) EXPECT_EQ(stages.layers[i], i);
  EXPECT_EQ(stages.n_outputs, n_layers);
  EXPECT_GT(stages.n_q8, 0u);

  // The switch: the same stages as lines.
  std::string lines;
  SetLogSink(
      [](LogLevel, std::string_view message, void* user) {
        *static_cast<std::string*>(user) += std::string(message) + "\n";
      },
      &lines, LogLevel::kInfo);
  options.observer = nullptr;
  options.config.layer_debug = true;
  EXPECT_TRUE(SameBits(AllLogits(*model_, options, tokens_), want));
  SetLogSink(nullptr);
  for (const char* text : {"[LAYER_DEBUG] layer 0", "[LAYER_DEBUG] ln1_out ",
                           "[LAYER_DEBUG] q8_buf ", "[LAYER_DEBUG] wq ",
                           "[LAYER_DEBUG] attn_out ", " range=["}) {
    EXPECT_NE(lines.find(text), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace etalon::model
