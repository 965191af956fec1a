// The transformer block alone: prefill is decode, padding is nobody's, and the
// options of the block do what they say.
#include "etalon/layer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "etalon/config.h"
#include "tests/util/random.h"
#include "tests/util/random_blocks.h"

namespace etalon::layer {
namespace {

constexpr size_t kDim = 256, kHeads = 4, kKvHeads = 2, kHeadDim = 64;
constexpr size_t kFfn = 512, kTokens = 11, kCapacity = 20, kRotary = 32;
constexpr size_t kGap = 16;  // floats after each row
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Rows with a gap of NaN behind each.
struct Rows {
  Rows(size_t n_rows, size_t cols)
      : data(n_rows * (cols + kGap), kNan),
        view(data.data(), n_rows, cols, cols + kGap) {}
  bool GapsUntouched() const {
    for (size_t r = 0; r < view.rows; ++r) {
      for (size_t c = view.cols; c < view.stride; ++c) {
        if (!std::isnan(data[r * view.stride + c])) return false;
      }
    }
    return true;
  }
  std::vector<float> Values() const {
    std::vector<float> out;
    for (size_t r = 0; r < view.rows; ++r) {
      const auto row = view.row(r);
      out.insert(out.end(), row.begin(), row.end());
    }
    return out;
  }

  std::vector<float> data;
  Span2D<float> view;
};

// Weights of one layer with the bytes behind them.
class Block {
 public:
  Block(TensorType type, bool qk_norm) : rng_(/*seed=*/5, /*stream=*/31) {
    const size_t q = kHeads * kHeadDim, kv = kKvHeads * kHeadDim;
    w.attn_norm = w.ffn_norm = Near1(kDim);
    w.q = Matrix(type, q, kDim);
    w.k = Matrix(type, kv, kDim);
    w.v = Matrix(type, kv, kDim);
    w.o = Matrix(type, kDim, q);
    w.gate = Matrix(type, kFfn, kDim);
    w.up = Matrix(type, kFfn, kDim);
    w.down = Matrix(type, kDim, kFfn);
    if (qk_norm) w.q_norm = w.k_norm = Near1(kHeadDim);
    config.model_dim = kDim;
    config.n_heads = kHeads;
    config.n_kv_heads = kKvHeads;
    config.head_dim = kHeadDim;
    config.ffn_dim = kFfn;
    config.rms_eps = 1e-5f;
    x = rng_.Vector(test::Family::kNormal, kTokens * kDim);
    cos = rng_.Vector(test::Family::kUniform, kCapacity * kRotary);
    sin = rng_.Vector(test::Family::kUniform, kCapacity * kRotary);
  }

  std::vector<float> Near1(size_t n) {
    std::vector<float> v(n);
    for (float& y : v) y = 1.0f + 0.3f * rng_.Uniform();
    return v;
  }
  Linear Matrix(TensorType type, size_t rows, size_t cols) {
    bytes_.push_back(test::RandomWeightBytes(
        type, rows * cols, 1.0f / std::sqrt(static_cast<float>(cols)), rng_));
    Linear linear;
    linear.weights = {type, bytes_.back().data(), rows, cols,
                      RowBytes(type, cols)};
    return linear;
  }

  LayerConfig config;
  LayerWeights w;
  std::vector<float> x, cos, sin;

 private:
  test::Random rng_;
  std::vector<std::vector<std::byte>> bytes_;
};

struct RunOptions {
  size_t chunk = kTokens;
  int n_threads = 1;
  std::vector<float> q_scale = {};
  size_t first_position = 0;
};

// Output [kTokens, kDim] of the block, and the first error.
struct Result {
  std::vector<float> y;
  std::string error;
};

Result Forward(const Block& block, const RunOptions& run) {
  std::vector<std::byte> k(kKvHeads * kCapacity * kHeadDim * 4),
      v(kKvHeads * kCapacity * kHeadDim * 4);
  LayerState state;
  state.attention_scale = 1.0f / 8;
  state.k_cache = {TensorType::kF32, k.data(), kKvHeads,
                   kCapacity,        kHeadDim, kCapacity * kHeadDim,
                   kHeadDim};
  state.v_cache = state.k_cache;
  state.v_cache.data = v.data();
  state.rope_cos = {block.cos.data(), kCapacity, kRotary};
  state.rope_sin = {block.sin.data(), kCapacity, kRotary};
  Workspace workspace;
  const Config config;
  ExecContext ctx{&workspace, &config, run.n_threads};
  Result result;
  for (size_t begin = 0; begin < kTokens; begin += run.chunk) {
    const size_t n = std::min(run.chunk, kTokens - begin);
    Rows x(n, kDim), h(n, kDim), q(n, kHeads * kHeadDim),
        kk(n, kKvHeads * kHeadDim), vv(n, kKvHeads * kHeadDim),
        attn(n, kHeads * kHeadDim), ffn(n, kFfn);
    for (size_t t = 0; t < n; ++t) {
      std::memcpy(x.view.row(t).data(), &block.x[(begin + t) * kDim],
                  kDim * sizeof(float));
    }
    LayerBuffers buffers;
    buffers.x = x.view;
    buffers.h = h.view;
    buffers.q = q.view;
    buffers.k = kk.view;
    buffers.v = vv.view;
    buffers.attn = attn.view;
    buffers.ffn = ffn.view;
    state.pos = run.first_position + begin;
    std::vector<int32_t> positions(n);
    std::iota(positions.begin(), positions.end(), static_cast<int32_t>(begin));
    state.positions = positions;
    if (!run.q_scale.empty()) {
      state.q_scale = std::span(run.q_scale).subspan(begin, n);
    }
    const Status status = layer::Forward(block.config, block.w, state, buffers,
                                         CpuBackend(), ctx);
    if (!status) {
      result.error = status.error().message;
      return result;
    }
    for (const Rows* rows : {&x, &h, &q, &kk, &vv, &attn, &ffn}) {
      EXPECT_TRUE(rows->GapsUntouched());
    }
    const std::vector<float> y = x.Values();
    result.y.insert(result.y.end(), y.begin(), y.end());
  }
  return result;
}

bool Same(const Result& a, const Result& b) {
  return a.error.empty() && b.error.empty() && a.y.size() == b.y.size() &&
         std::memcmp(a.y.data(), b.y.data(), a.y.size() * 4) == 0;
}

TEST(Layer, PrefillIsDecodeOnAnyNumberOfThreads) {
  for (const TensorType type :
       {TensorType::kF32, TensorType::kBF16, TensorType::kQ8_0,
        TensorType::kQ5_1, TensorType::kQ4_K, TensorType::kQ6_K}) {
    for (const bool qk_norm : {false, true}) {
      const Block block(type, qk_norm);
      const Result want = Forward(block, {});
      ASSERT_EQ(want.error, "");
      for (const float y : want.y) ASSERT_TRUE(std::isfinite(y));
      for (const size_t chunk : {1, 2, 5}) {
        for (const int n_threads : {1, 3}) {
          EXPECT_TRUE(Same(
              Forward(block, {.chunk = chunk, .n_threads = n_threads}), want))
              << TypeName(type) << " chunk " << chunk;
        }
      }
    }
  }
}

TEST(Layer, WithoutRopeTheTablesAreNotRead) {
  Block block(TensorType::kF32, /*qk_norm=*/true);
  const Result with = Forward(block, {});
  block.config.use_rope = false;
  const Result without = Forward(block, {});
  EXPECT_FALSE(Same(with, without));
  std::fill(block.cos.begin(), block.cos.end(), kNan);
  block.sin = block.cos;
  EXPECT_TRUE(Same(Forward(block, {}), without));
}

TEST(Layer, RopeStylesDiffer) {
  Block block(TensorType::kF32, false);
  const Result half = Forward(block, {});
  block.config.rope_style = RopeStyle::kInterleaved;
  EXPECT_FALSE(Same(Forward(block, {}), half));
}

TEST(Layer, QueryScalesOfOneChangeNothingOthersTheirTokenOnly) {
  const Block block(TensorType::kF32, false);
  const Result want = Forward(block, {});
  RunOptions run;
  run.q_scale.assign(kTokens, 1.0f);
  EXPECT_TRUE(Same(Forward(block, run), want));
  run.q_scale[4] = 3.0f;
  run.chunk = 3;
  const Result scaled = Forward(block, run);
  ASSERT_EQ(scaled.error, "");
  for (size_t t = 0; t < kTokens; ++t) {
    const bool same = std::memcmp(&scaled.y[t * kDim], &want.y[t * kDim],
                                  kDim * sizeof(float)) == 0;
    EXPECT_EQ(same, t != 4) << t;
  }
}

TEST(Layer, BiasesAndScalesArePartOfTheProduct) {
  const Block plain(TensorType::kQ8_0, false);
  const Result want = Forward(plain, {});
  for (Linear LayerWeights::*part :
       {&LayerWeights::q, &LayerWeights::v, &LayerWeights::o,
        &LayerWeights::gate, &LayerWeights::up, &LayerWeights::down}) {
    Block block(TensorType::kQ8_0, false);
    Linear& linear = block.w.*part;
    linear.bias.assign(linear.weights.rows, 0.0f);
    EXPECT_TRUE(Same(Forward(block, {}), want)) << "a bias of zeros";
    linear.bias[3] = 1.0f;
    EXPECT_FALSE(Same(Forward(block, {}), want));
    linear.bias.clear();
    linear.scale = 0.5f;
    EXPECT_FALSE(Same(Forward(block, {}), want));
  }
}

TEST(Layer, ErrorsOfAnOpAreForwarded) {
  const Block block(TensorType::kF32, false);
  RunOptions run;
  run.first_position = kCapacity - kTokens + 1;  // one position too many
  EXPECT_NE(Forward(block, run).error, "");
  run.first_position -= 1;
  EXPECT_EQ(Forward(block, run).error, "");
}

}  // namespace
}  // namespace etalon::layer
