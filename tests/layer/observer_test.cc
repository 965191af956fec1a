// B-82: every stage of a block is shown to an observer, and described.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "etalon/config.h"
#include "etalon/layer.h"
#include "layer/log_observer.h"
#include "quant/block_formats.h"
#include "tests/util/backward_fixture.h"

namespace etalon::layer {
namespace {

using test::Rows;
using ::testing::ElementsAre;

class Recorder : public LayerObserver {
 public:
  void OnStage(std::string_view stage, Span2D<const float> values) override {
    stages.emplace_back(stage);
    sizes.push_back(values.rows * values.cols);
    if (stage == "output") {
      output.assign(values.row(0).begin(), values.row(0).end());
    }
  }
  std::vector<std::string> stages;
  std::vector<size_t> sizes;
  std::vector<float> output;
};

TEST(LayerObserver, B82SeesEveryStageInOrder) {
  constexpr size_t kDim = 16, kFfn = 24;
  test::Random rng(3, 4);
  LayerConfig config;
  config.model_dim = kDim;
  config.n_heads = 2, config.n_kv_heads = 1, config.head_dim = 8;
  config.ffn_dim = kFfn;
  config.use_rope = false;
  const Rows square = Rows::Random(rng, kDim, kDim);
  const Rows narrow = Rows::Random(rng, 8, kDim);
  const Rows wide = Rows::Random(rng, kFfn, kDim);
  const Rows down = Rows::Random(rng, kDim, kFfn);
  LayerWeights w;
  w.attn_norm.assign(kDim, 1.0f);
  w.ffn_norm.assign(kDim, 1.0f);
  w.q.weights = w.o.weights = square.weights();
  w.k.weights = w.v.weights = narrow.weights();
  w.gate.weights = w.up.weights = wide.weights();
  w.down.weights = down.weights();
  Rows x = Rows::Random(rng, 1, kDim), h(1, kDim), q(1, 16), k(1, 8), v(1, 8),
       attn(1, 16), ffn(1, kFfn);
  LayerBuffers b;
  b.x = x.span(), b.h = h.span(), b.q = q.span(), b.k = k.span();
  b.v = v.span(), b.attn = attn.span(), b.ffn = ffn.span();
  std::vector<std::byte> keys(32), values(32);
  Recorder recorder;
  const std::vector<int32_t> positions = {0};
  LayerState state;
  state.positions = positions;
  state.attention_scale = 1.0f;
  state.k_cache = {TensorType::kF32, keys.data(), 1, 1, 8, 8, 8};
  state.v_cache = state.k_cache;
  state.v_cache.data = values.data();
  state.observer = &recorder;
  Workspace workspace;
  ExecContext ctx{&workspace, nullptr, 1};
  const Status status = Forward(config, w, state, b, CpuBackend(), ctx);
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_THAT(
      recorder.stages,
      ElementsAre("input", "ln1_out", "q_proj", "k_proj", "v_proj", "q_rope",
                  "k_rope", "attn_out", "attn_proj", "residual1", "ln2_out",
                  "swiglu_out", "mlp_out", "output"));
  EXPECT_THAT(recorder.sizes, ElementsAre(16u, 16u, 16u, 8u, 8u, 16u, 8u, 16u,
                                          16u, 16u, 16u, 24u, 16u, 16u));
  for (size_t i = 0; i < kDim; ++i) EXPECT_EQ(recorder.output[i], x.at(0, i));
}

TEST(LayerObserver, B82LinesTellRangesOrCounts) {
  Rows x(2, 3);
  x.at(0, 1) = -1.5f;
  x.at(1, 2) = 2;
  EXPECT_EQ(DescribeStage("ln1_out", x.span()),
            "[LAYER_DEBUG] ln1_out                        size=6 "
            "range=[-1.5, 2]");
  x.at(0, 0) = NAN;
  x.at(1, 1) = -INFINITY;
  x.at(1, 0) = INFINITY;
  EXPECT_EQ(DescribeStage("mlp_out", x.span()),
            "[LAYER_DEBUG] mlp_out                        size=6 nan=1 inf=2");
}

TEST(LayerObserver, B82LinesTellTheScalesOfBlocks) {
  BlockQ4_K weights[2] = {};
  weights[0].d = 0x3800;     // 0.5
  weights[1].d = 0xb400;     // -0.25
  weights[1].dmin = 0x7e00;  // NaN
  const auto* bytes = reinterpret_cast<const std::byte*>(weights);
  EXPECT_EQ(DescribeBlocks("wq", {TensorType::kQ4_K, bytes, 2, 256, 144}),
            "[LAYER_DEBUG] wq                             Q4_K size=512 "
            "d=[-0.25, 0.5] nan=0 inf=0 dmin=[0, 0] nan=1 inf=0");
  BlockQ8_K rows[2] = {};
  rows[0].d = -0.125f;
  rows[1].d = NAN;
  bytes = reinterpret_cast<const std::byte*>(rows);
  EXPECT_EQ(DescribeBlocks("q8_buf", {TensorType::kQ8_K, bytes, 2, 256, 292}),
            "[LAYER_DEBUG] q8_buf                         Q8_K size=512 "
            "d=[-0.125, -0.125] nan=1 inf=0");
}

}  // namespace
}  // namespace etalon::layer
