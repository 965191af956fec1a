// The block's backward pass: against the fp64 reference, one bit pattern, the
// caller's d_output kept (B-70 to B-74), with a forward pass that has the bits
// of inference (B-63).
#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <iostream>
#include <string>
#include <vector>

#include "etalon/config.h"
#include "etalon/layer.h"
#include "etalon/simd_tier.h"
#include "reference/backward_bounds.h"
#include "reference/backward_layer.h"
#include "tests/simd/tier_scope.h"
#include "tests/util/backward_fixture.h"

namespace etalon::layer {
namespace {

using reference::Matrix;
using test::Rows;

struct Options {
  bool bias = false, qk_norm = false, rope = true;
  RopeStyle style = RopeStyle::kHalfSplit;
};

// n_heads * head_dim != model_dim, widths that are no multiple of a vector.
constexpr size_t kDim = 44, kHeads = 4, kKvHeads = 2, kHeadDim = 12;
constexpr size_t kFfn = 58, kSeqLen = 33, kTokens = 2 * kSeqLen;
constexpr size_t kQ = kHeads * kHeadDim, kKv = kKvHeads * kHeadDim;

class Block {
 public:
  explicit Block(const Options& o) : options(o) {
    config.model_dim = kDim;
    config.n_heads = kHeads;
    config.n_kv_heads = kKvHeads;
    config.head_dim = kHeadDim;
    config.ffn_dim = kFfn;
    config.rms_eps = 1e-5f;
    config.use_rope = o.rope;
    config.rope_style = o.style;
    Norm(kDim, &w.attn_norm, &ref.attn_norm);
    Norm(kDim, &w.ffn_norm, &ref.ffn_norm);
    if (o.qk_norm) {
      Norm(kHeadDim, &w.q_norm, &ref.q_norm);
      Norm(kHeadDim, &w.k_norm, &ref.k_norm);
    }
    Add(kQ, kDim, &w.q, &ref.q, &ref.bq);
    Add(kKv, kDim, &w.k, &ref.k, &ref.bk);
    Add(kKv, kDim, &w.v, &ref.v, &ref.bv);
    Add(kDim, kQ, &w.o, &ref.o, &ref.bo);
    Add(kFfn, kDim, &w.gate, &ref.gate, &ref.b_gate);
    Add(kFfn, kDim, &w.up, &ref.up, &ref.b_up);
    Add(kDim, kFfn, &w.down, &ref.down, &ref.b_down);
    ref.attention = {kHeads, kKvHeads, kHeadDim, kSeqLen,
                     static_cast<double>(kScale)};
    ref.eps = static_cast<double>(config.rms_eps);
    ref.interleaved = o.style == RopeStyle::kInterleaved;
    if (o.rope) {
      ref.cos = Repeated(cos.matrix());
      ref.sin = Repeated(sin.matrix());
    }
    positions.resize(kTokens);
    for (size_t t = 0; t < kTokens; ++t) {
      positions[t] = static_cast<int32_t>(t % kSeqLen);
    }
  }

  BatchState state() {
    return {kSeqLen, positions, cos.span(), sin.span(), kScale};
  }

  static constexpr float kScale = 0.3f;
  Options options;
  test::Random rng{20, /*stream=*/3};
  LayerConfig config;
  LayerWeights w;
  reference::Layer ref;
  Rows x = Rows::Random(rng, kTokens, kDim);
  Rows cos = Rows::Random(rng, kSeqLen, kHeadDim / 2);
  Rows sin = Rows::Random(rng, kSeqLen, kHeadDim / 2);
  std::vector<int32_t> positions;

 private:
  void Norm(size_t n, std::vector<float>* to, Matrix* reference) {
    const Rows r = Rows::Random(rng, 1, n, 1, 0.4f, 0);
    *to = r.data();
    *reference = r.matrix();
  }
  void Add(size_t n_out, size_t n_in, Linear* to, Matrix* weights,
           Matrix* bias) {
    kept_.push_back(Rows::Random(rng, n_out, n_in, 0, 0.25f));
    to->weights = kept_.back().weights();
    *weights = kept_.back().matrix();
    if (!options.bias) return;
    const Rows b = Rows::Random(rng, 1, n_out, 0, 0.3f, 0);
    to->bias = b.data();
    *bias = b.matrix();
  }
  static Matrix Repeated(const Matrix& m) {
    Matrix twice(2 * m.rows, m.cols);
    for (size_t i = 0; i < twice.v.size(); ++i) {
      twice.v[i] = m.v[i % m.v.size()];
    }
    return twice;
  }

  std::deque<Rows> kept_;
};

// Gradients in the order of reference::Layer::Parameters().
struct Gradients {
  explicit Gradients(const Block& block) {
    reference::Layer shapes = block.ref;
    for (const Matrix* m : shapes.Parameters()) {
      rows.emplace_back(m->rows, m->cols, 0);
    }
    const auto linear = [&](size_t weights, size_t bias) {
      return LinearGradient{rows[weights].span(), rows[bias].vector()};
    };
    g.attn_norm = rows[0].vector();
    g.q = linear(1, 5), g.k = linear(2, 6), g.v = linear(3, 7);
    g.o = linear(4, 8);
    g.q_norm = rows[9].vector(), g.k_norm = rows[10].vector();
    g.ffn_norm = rows[11].vector();
    g.gate = linear(12, 15), g.up = linear(13, 16), g.down = linear(14, 17);
  }
  std::vector<Rows> rows;
  LayerGradients g;
};

reference::LayerTape Widened(const LayerTape& t);

struct Result {
  std::vector<float> y, d_input;
  std::vector<Rows> gradients;
  reference::LayerTape tape;
};

Result RunBlock(Block& block, const Rows& d_output, int n_threads) {
  Workspace tape_memory, workspace;
  const Config config;
  ExecContext ctx{&workspace, &config, n_threads};
  auto tape = AllocateTape(block.config, block.w, kTokens, tape_memory);
  EXPECT_TRUE(tape);
  for (size_t t = 0; t < kTokens; ++t) {
    const auto row = block.x.span().row(t);
    std::copy(row.begin(), row.end(), tape->x.row(t).begin());
  }
  Rows y(kTokens, kDim), d_input(kTokens, kDim);
  Status status = ForwardOnTape(block.config, block.w, block.state(), *tape,
                                y.span(), CpuBackend(), ctx);
  EXPECT_TRUE(status) << status.error().message;
  Gradients gradients(block);
  const std::vector<float> before = d_output.data();
  status = Backward(block.config, block.w, block.state(), *tape,
                    d_output.span(), d_input.span(), gradients.g, ctx);
  EXPECT_TRUE(status) << status.error().message;
  EXPECT_EQ(0, std::memcmp(before.data(), d_output.data().data(),
                           before.size() * sizeof(float)));
  return {y.data(), d_input.data(), gradients.rows, Widened(*tape)};
}

Matrix Widened(Span2D<const float> rows) {
  Matrix m(rows.rows, rows.cols);
  for (size_t r = 0; r < rows.rows; ++r) {
    for (size_t c = 0; c < rows.cols; ++c) {
      m(r, c) = static_cast<double>(rows.row(r)[c]);
    }
  }
  return m;
}

reference::LayerTape Widened(const LayerTape& t) {
  reference::LayerTape r;
  r.x = Widened(t.x), r.h1 = Widened(t.h1);
  r.q = Widened(t.q), r.k = Widened(t.k), r.v = Widened(t.v);
  r.q_raw = Widened(t.q_raw), r.k_raw = Widened(t.k_raw);
  r.attn = Widened(t.attn), r.x_mid = Widened(t.x_mid), r.h2 = Widened(t.h2);
  r.gate = Widened(t.gate), r.up = Widened(t.up), r.ffn = Widened(t.ffn);
  return r;
}

// A slot of the tape holds what its name says. No judgement of numerics (the
// ops' own tests have bounds for that): any other tensor is off by its size.
void ExpectSlot(const Matrix& got, const Matrix& want, const char* name) {
  if (got.v.empty()) return;  // raw heads without a QK-norm
  ASSERT_EQ(got.v.size(), want.v.size()) << name;
  double largest = 0, error = 0;
  for (size_t i = 0; i < want.v.size(); ++i) {
    largest = std::max(largest, std::abs(want.v[i]));
    error = std::max(error, std::abs(got.v[i] - want.v[i]));
  }
  EXPECT_TRUE(error <= 1e-4 * largest) << name << " is off by " << error;
}

TEST(LayerBackward, B70AgreesWithTheReferenceInEveryParameter) {
  double largest = 0;
  for (const Options& o :
       {Options{}, Options{.bias = true, .qk_norm = true},
        Options{.bias = true, .rope = false},
        Options{.qk_norm = true, .style = RopeStyle::kInterleaved}}) {
    Block block(o);
    const Rows d = Rows::Random(block.rng, kTokens, kDim);
    const Result got = RunBlock(block, d, 2);
    const auto formula = reference::LayerForward(block.ref, block.x.matrix());
    const reference::LayerTape& tape = got.tape;
    ExpectSlot(tape.h1, formula.h1, "h1");
    ExpectSlot(tape.q_raw, formula.q_raw, "q_raw");
    ExpectSlot(tape.k_raw, formula.k_raw, "k_raw");
    ExpectSlot(tape.q, formula.q, "q");
    ExpectSlot(tape.k, formula.k, "k");
    ExpectSlot(tape.v, formula.v, "v");
    ExpectSlot(tape.attn, formula.attn, "attn");
    ExpectSlot(tape.x_mid, formula.x_mid, "x_mid");
    ExpectSlot(tape.h2, formula.h2, "h2");
    ExpectSlot(tape.gate, formula.gate, "gate");
    ExpectSlot(tape.up, formula.up, "up");
    ExpectSlot(tape.ffn, formula.ffn, "ffn");
    auto want = reference::LayerBackward(block.ref, tape, d.matrix());
    auto bound = reference::LayerBackwardBound(block.ref, tape, d.matrix(),
                                               reference::CpuStrictProfile());
    Rows d_input(kTokens, kDim);
    std::memcpy(d_input.span().data, got.d_input.data(),
                got.d_input.size() * sizeof(float));
    largest = std::max(largest,
                       test::ExpectWithin(d_input, want.x, bound.x, "d_input"));
    const auto parameters = want.parameters.Parameters();
    const auto bounds = bound.parameters.Parameters();
    ASSERT_EQ(parameters.size(), got.gradients.size());
    for (size_t i = 0; i < parameters.size(); ++i) {
      largest = std::max(
          largest,
          test::ExpectWithin(got.gradients[i], *parameters[i], *bounds[i],
                             "parameter " + std::to_string(i)));
    }
  }
  std::cout << "largest share of a bound: " << largest << "\n";
}

TEST(LayerBackward, B73IsOneBitPatternAndKeepsTheCallersGradient) {
  Block block({.bias = true, .qk_norm = true});
  const Rows d = Rows::Random(block.rng, kTokens, kDim);
  const auto bits = [&](int n_threads) {
    Result r = RunBlock(block, d, n_threads);
    std::vector<float> all = r.y;
    all.insert(all.end(), r.d_input.begin(), r.d_input.end());
    for (const Rows& g : r.gradients) {
      all.insert(all.end(), g.data().begin(), g.data().end());
    }
    return all;
  };
  const std::vector<float> first = bits(1);
  for (const SimdTier tier : SupportedSimdTiers()) {
    const test::TierScope scope(tier);
    for (const int n_threads : {1, 2, 3}) {
      const std::vector<float> now = bits(n_threads);
      EXPECT_EQ(0, std::memcmp(first.data(), now.data(), first.size() * 4))
          << SimdTierName(tier) << ", " << n_threads << " threads";
    }
  }
}

// B-72: parameters' gradients add up over calls, d_input does not.
TEST(LayerBackward, B72ParametersAccumulateActivationsDoNot) {
  Block block({});
  const Rows d = Rows::Random(block.rng, kTokens, kDim);
  Workspace tape_memory, workspace;
  const Config config;
  ExecContext ctx{&workspace, &config, 2};
  auto tape = AllocateTape(block.config, block.w, kTokens, tape_memory);
  for (size_t t = 0; t < kTokens; ++t) {
    const auto row = block.x.span().row(t);
    std::copy(row.begin(), row.end(), tape->x.row(t).begin());
  }
  Rows y(kTokens, kDim), once(kTokens, kDim), twice(kTokens, kDim);
  ASSERT_TRUE(ForwardOnTape(block.config, block.w, block.state(), *tape,
                            y.span(), CpuBackend(), ctx));
  Gradients g(block);
  ASSERT_TRUE(Backward(block.config, block.w, block.state(), *tape, d.span(),
                       once.span(), g.g, ctx));
  const std::vector<Rows> first = g.rows;
  ASSERT_TRUE(Backward(block.config, block.w, block.state(), *tape, d.span(),
                       twice.span(), g.g, ctx));
  EXPECT_EQ(0, std::memcmp(once.data().data(), twice.data().data(),
                           once.data().size() * 4));
  for (size_t i = 0; i < first.size(); ++i) {
    for (size_t j = 0; j < first[i].data().size(); ++j) {
      ASSERT_EQ(g.rows[i].data()[j], 2 * first[i].data()[j]);
    }
  }
}

// B-63: the forward pass of training is that of inference, bit by bit.
TEST(LayerBackward, B63ForwardOnTapeHasTheBitsOfForward) {
  Block block({.bias = true, .qk_norm = true});
  const Rows d(kTokens, kDim);
  const Result tape = RunBlock(block, d, 2);
  Workspace workspace;
  const Config config;
  ExecContext ctx{&workspace, &config, 1};
  for (size_t s = 0; s < kTokens; s += kSeqLen) {
    Rows x(kSeqLen, kDim), h(kSeqLen, kDim), q(kSeqLen, kQ), k(kSeqLen, kKv),
        v(kSeqLen, kKv), attn(kSeqLen, kQ), ffn(kSeqLen, kFfn);
    for (size_t t = 0; t < kSeqLen; ++t) {
      const auto row = block.x.span().row(s + t);
      std::copy(row.begin(), row.end(), x.span().row(t).begin());
    }
    std::vector<std::byte> keys(kSeqLen * kKv * 4), values(kSeqLen * kKv * 4);
    LayerState state;
    state.positions = std::span(block.positions).first(kSeqLen);
    state.rope_cos = block.cos.span();
    state.rope_sin = block.sin.span();
    state.attention_scale = Block::kScale;
    state.activations = Activations::kF32;
    state.k_cache = {TensorType::kF32, keys.data(),        kKvHeads, kSeqLen,
                     kHeadDim,         kSeqLen * kHeadDim, kHeadDim};
    state.v_cache = state.k_cache;
    state.v_cache.data = values.data();
    LayerBuffers b;
    b.x = x.span(), b.h = h.span(), b.q = q.span(), b.k = k.span();
    b.v = v.span(), b.attn = attn.span(), b.ffn = ffn.span();
    const Status status =
        Forward(block.config, block.w, state, b, CpuBackend(), ctx);
    ASSERT_TRUE(status) << status.error().message;
    EXPECT_EQ(0,
              std::memcmp(x.data().data(), tape.y.data() + s * x.span().stride,
                          x.data().size() * sizeof(float)));
  }
}

TEST(LayerBackward, RefusesWhatItCannotDo) {
  Block block({});
  Workspace memory, workspace;
  ExecContext ctx{&workspace, nullptr, 1};
  auto tape = AllocateTape(block.config, block.w, kTokens, memory);
  Rows d(kTokens, kDim), d_input(kTokens, kDim);
  BatchState state = block.state();
  state.seq_len = 5;
  Status status = Backward(block.config, block.w, state, *tape, d.span(),
                           d_input.span(), {}, ctx);
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("seq_len 5"), std::string::npos);
  block.config.n_experts = 4;
  status = Backward(block.config, block.w, block.state(), *tape, d.span(),
                    d_input.span(), {}, ctx);
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("4 experts"), std::string::npos);
}

}  // namespace
}  // namespace etalon::layer
