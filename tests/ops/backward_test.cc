// Backward ops: each within its derived bound of the fp64 reference, one bit
// pattern on every tier and thread count, and the one rule for gradients
// (parameters added to, activations overwritten, inputs only read: B-72, B-73).
#include "etalon/backward.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <iostream>

#include "etalon/config.h"
#include "etalon/norm.h"
#include "etalon/simd_tier.h"
#include "reference/backward_bounds.h"
#include "tests/simd/tier_scope.h"
#include "tests/util/backward_fixture.h"

namespace etalon {
namespace {

using reference::Matrix;
using reference::Measured;
using test::Rows;

const reference::Profile& Strict() { return reference::CpuStrictProfile(); }

class BackwardOpsTest : public ::testing::Test {
 protected:
  Rows Random(size_t rows, size_t cols, float mean = 0, float spread = 1) {
    return Rows::Random(rng_, rows, cols, mean, spread);
  }
  ExecContext Context(int n_threads = 2) {
    return {&workspace_, &config_, n_threads};
  }
  void ExpectWithin(const Rows& got, const Matrix& want, const Matrix& bound,
                    const char* what) {
    largest_ = std::max(largest_, test::ExpectWithin(got, want, bound, what));
  }
  void TearDown() override {
    if (largest_ == 0) return;
    std::cout << "largest share of a bound: " << largest_ << "\n";
  }

  test::Random rng_{test::TestSeed(), /*stream=*/31};
  Workspace workspace_;
  Config config_;
  double largest_ = 0;
};

// Runs `op` on every tier with 1 to 3 threads; `result` must always be the
// same bits, NaN gaps included (nothing outside the view is written).
void ExpectOneBitPattern(const std::function<std::vector<float>(int)>& op) {
  const std::vector<float> first = op(1);
  for (const SimdTier tier : SupportedSimdTiers()) {
    const test::TierScope scope(tier);
    for (const int n_threads : {1, 2, 3}) {
      const std::vector<float> now = op(n_threads);
      ASSERT_EQ(first.size(), now.size());
      EXPECT_EQ(0, std::memcmp(first.data(), now.data(), first.size() * 4))
          << SimdTierName(tier) << ", " << n_threads << " threads";
    }
  }
}

// B-71. Shapes round the tiles: 12 and 6 rows, 32 and 16 columns, 96 and 512
// of a task, chunks of 256 terms.
TEST_F(BackwardOpsTest, B71GemmIsWithinItsBound) {
  struct Shape {
    size_t m, n, k;
  };
  for (const Shape& s :
       {Shape{1, 1, 1}, Shape{5, 7, 3}, Shape{12, 32, 33}, Shape{97, 257, 31},
        Shape{259, 13, 16}, Shape{300, 512, 48}, Shape{13, 40, 515}}) {
    Rows x = Random(s.m, s.k), w = Random(s.n, s.k), d = Random(s.m, s.n);
    Rows dx(s.m, s.k), dw = Random(s.n, s.k), db = Random(1, s.n);
    const Matrix old_w = dw.matrix(), old_b = db.matrix();
    const std::vector<float> d_before = d.data();
    auto ctx = Context();
    const GemmBackwardPart part = {w.weights(), d.span(), dw.span(),
                                   db.vector()};
    const Status status =
        ops::GemmBackward({x.span(), {&part, 1}, dx.span()}, ctx);
    ASSERT_TRUE(status) << status.error().message;
    EXPECT_EQ(
        0, std::memcmp(d_before.data(), d.data().data(), d_before.size() * 4));

    auto want = reference::LinearBackward(x.matrix(), w.matrix(), d.matrix());
    const Measured d_y(d.matrix());
    const Matrix weights = w.matrix();
    const reference::LinearPart measured = {weights, d_y};
    ExpectWithin(dx, want.x,
                 reference::LinearInputBound({&measured, 1}, Strict()), "d_x");
    for (size_t i = 0; i < old_w.v.size(); ++i) want.w.v[i] += old_w.v[i];
    for (size_t i = 0; i < old_b.v.size(); ++i) want.b.v[i] += old_b.v[i];
    ExpectWithin(dw, want.w,
                 reference::LinearWeightBound(x.matrix(), d_y, Strict(), old_w),
                 "d_weights");
    ExpectWithin(db, want.b, reference::LinearBiasBound(d_y, Strict(), old_b),
                 "d_bias");
  }
}

// Parts that share x make one long sum; a scale is applied to d_out.
TEST_F(BackwardOpsTest, GemmPartsAddUp) {
  Rows x = Random(20, 24), w1 = Random(9, 24), w2 = Random(30, 24);
  Rows d1 = Random(20, 9), d2 = Random(20, 30), dx(20, 24);
  Rows dw2(30, 24);
  const GemmBackwardPart parts[] = {{w1.weights(), d1.span(), {}, {}, 0.5f},
                                    {w2.weights(), d2.span(), dw2.span(), {}}};
  auto ctx = Context();
  ASSERT_TRUE(ops::GemmBackward({x.span(), parts, dx.span()}, ctx));
  const auto a =
      reference::LinearBackward(x.matrix(), w1.matrix(), d1.matrix());
  const auto b =
      reference::LinearBackward(x.matrix(), w2.matrix(), d2.matrix());
  Matrix want = b.x;
  for (size_t i = 0; i < want.v.size(); ++i) want.v[i] += 0.5 * a.x.v[i];
  Matrix half = d1.matrix();  // exactly: a power of two
  for (double& v : half.v) v *= 0.5;
  const Matrix m1 = w1.matrix(), m2 = w2.matrix();
  const Measured d_y1(half), d_y2(d2.matrix());
  const reference::LinearPart measured[] = {{m1, d_y1}, {m2, d_y2}};
  ExpectWithin(dx, want, reference::LinearInputBound(measured, Strict()),
               "d_x");
}

TEST_F(BackwardOpsTest, GemmIsOneBitPattern) {
  const Rows x = Random(270, 45), w = Random(35, 45), d = Random(270, 35);
  const Rows before = Random(35, 45);
  ExpectOneBitPattern([&](int n_threads) {
    Rows dx(270, 45), dw = before, db(1, 35);
    const GemmBackwardPart part = {w.weights(), d.span(), dw.span(),
                                   db.vector()};
    auto ctx = Context(n_threads);
    EXPECT_TRUE(ops::GemmBackward({x.span(), {&part, 1}, dx.span()}, ctx));
    std::vector<float> all = dx.data();
    all.insert(all.end(), dw.data().begin(), dw.data().end());
    all.insert(all.end(), db.data().begin(), db.data().end());
    return all;
  });
}

// B-12.
TEST_F(BackwardOpsTest, B12RmsNormIsWithinItsBound) {
  for (const size_t n : {1u, 15u, 16u, 65u, 130u}) {
    const size_t rows = 261;
    Rows x = Random(rows, n, 0.2f), w = Random(1, n, 1, 0.5f);
    Rows d = Random(rows, n), dx(rows, n), dw = Random(1, n);
    const Matrix old = dw.matrix();
    std::vector<float> rstd(rows);
    Rows y(rows, n);
    auto ctx = Context();
    ASSERT_TRUE(
        ops::RmsNorm({x.span(), w.vector(), 1e-5f, y.span(), rstd}, ctx));
    const Status status = ops::RmsNormBackward(
        {x.span(), w.vector(), rstd, d.span(), dx.span(), dw.vector()}, ctx);
    ASSERT_TRUE(status) << status.error().message;
    const Matrix xm = x.matrix(), wm = w.matrix(), dm = d.matrix();
    auto want =
        reference::RmsNormBackward(xm, wm, static_cast<double>(1e-5f), dm);
    const auto bound = reference::RmsNormBackwardBound(
        xm, wm, static_cast<double>(1e-5f), Measured(dm), Strict(), old);
    ExpectWithin(dx, want.x, bound.x, "d_x");
    for (size_t c = 0; c < n; ++c) want.weight.v[c] += old.v[c];
    ExpectWithin(dw, want.weight, bound.weight, "d_weight");
  }
}

TEST_F(BackwardOpsTest, RmsNormIsOneBitPatternAndWorksInPlace) {
  const Rows x = Random(70, 37), d = Random(70, 37), before = Random(1, 37);
  Rows w = Random(1, 37, 1);
  const std::vector<float> rstd(70, 0.7f);
  ExpectOneBitPattern([&](int n_threads) {
    Rows dx = d, dw = before;
    auto ctx = Context(n_threads);
    EXPECT_TRUE(ops::RmsNormBackward(
        {x.span(), w.vector(), rstd, dx.span(), dx.span(), dw.vector()}, ctx));
    std::vector<float> all = dx.data();
    all.insert(all.end(), dw.data().begin(), dw.data().end());
    return all;
  });
}

// B-16: the rotation back; a vector rotated there and back is itself.
TEST_F(BackwardOpsTest, B16RopeIsWithinItsBound) {
  for (const RopeStyle style :
       {RopeStyle::kHalfSplit, RopeStyle::kInterleaved}) {
    const size_t n = 9, dim = 12;  // rotary_dim 10: two lanes pass
    Rows cos = Random(n, 5), sin = Random(n, 5), d = Random(n, 3 * dim);
    const Matrix before = d.matrix();
    std::vector<int32_t> positions(n);
    for (size_t t = 0; t < n; ++t) positions[t] = static_cast<int32_t>(t);
    auto ctx = Context();
    ASSERT_TRUE(ops::RopeBackward(
        {d.heads(dim), positions, cos.span(), sin.span(), style}, ctx));
    const Matrix want =
        reference::RopeOf(before, dim, cos.matrix(), sin.matrix(),
                          style == RopeStyle::kInterleaved, true);
    const bool interleaved = style == RopeStyle::kInterleaved;
    ExpectWithin(
        d, want,
        reference::RopeBackwardBound(dim, cos.matrix(), sin.matrix(),
                                     interleaved, Measured(before), Strict()),
        "d_x");
  }
}

// B-14.
TEST_F(BackwardOpsTest, B14SwiGluIsWithinItsBound) {
  Rows g = Random(40, 53, 0, 20), u = Random(40, 53), d = Random(40, 53);
  g.at(0, 0) = 0, g.at(0, 1) = -95, g.at(0, 2) = 95;
  Rows dg(40, 53), du(40, 53);
  auto ctx = Context();
  ASSERT_TRUE(ops::SwiGluBackward(
      {g.span(), u.span(), d.span(), dg.span(), du.span()}, ctx));
  const auto want =
      reference::SwiGluBackward(g.matrix(), u.matrix(), d.matrix());
  const auto bound = reference::SwiGluBackwardBound(
      g.matrix(), u.matrix(), Measured(d.matrix()), Strict());
  ExpectWithin(dg, want.gate, bound.gate, "d_gate");
  ExpectWithin(du, want.up, bound.up, "d_up");
  ExpectOneBitPattern([&](int n_threads) {
    Rows a = g, b = u;  // in place
    auto ctx2 = Context(n_threads);
    EXPECT_TRUE(ops::SwiGluBackward(
        {a.span(), b.span(), d.span(), a.span(), b.span()}, ctx2));
    std::vector<float> all = a.data();
    all.insert(all.end(), b.data().begin(), b.data().end());
    return all;
  });
}

TEST_F(BackwardOpsTest, CrossEntropyIsWithinItsBound) {
  for (const size_t n : {1u, 16u, 333u}) {
    const Rows x = Random(8, n, 0, 6);
    std::vector<int32_t> targets;
    for (size_t t = 0; t < 8; ++t) {
      targets.push_back(t == 3 ? -1 : static_cast<int32_t>(t * 41 % n));
    }
    std::vector<double> losses(8);
    Rows dx(8, n);
    auto ctx = Context();
    const Status status =
        ops::CrossEntropy({x.span(), targets, 0.25f, losses, dx.span()}, ctx);
    ASSERT_TRUE(status) << status.error().message;
    const Matrix want = reference::CrossEntropyBackward(x.matrix(), targets);
    Matrix scaled = want;
    for (double& v : scaled.v) v *= 0.25;
    const auto bound =
        reference::CrossEntropyBound(x.matrix(), targets, 0.25, Strict());
    ExpectWithin(dx, scaled, bound.x, "d_logits");
    for (size_t t = 0; t < 8; ++t) {
      Matrix row(1, n);
      for (size_t c = 0; c < n; ++c) row.v[c] = x.matrix()(t, c);
      const double loss = reference::CrossEntropyOf(row, {&targets[t], 1});
      EXPECT_TRUE(std::abs(losses[t] - loss) <= bound.losses[t])
          << losses[t] << ", want " << loss << ", bound " << bound.losses[t];
    }
    // Without gradients, and in place: the same losses.
    std::vector<double> again(8);
    ASSERT_TRUE(ops::CrossEntropy({x.span(), targets, 1.0f, again, {}}, ctx));
    EXPECT_EQ(losses, again);
  }
}

struct AttentionCase {
  size_t n_sequences, seq_len, n_heads, n_kv_heads, head_dim;
};
constexpr AttentionCase kAttentionCases[] = {
    {1, 1, 1, 1, 1},   {2, 3, 4, 2, 8},    {1, 64, 2, 2, 16},
    {1, 65, 3, 1, 20}, {2, 130, 2, 1, 33}, {1, 300, 2, 1, 12}};

// B-45, keys and values summed over the query heads of a group.
TEST_F(BackwardOpsTest, B45AttentionIsWithinItsBound) {
  for (const AttentionCase& c : kAttentionCases) {
    const size_t n = c.n_sequences * c.seq_len;
    const Rows q = Random(n, c.n_heads * c.head_dim);
    const Rows k = Random(n, c.n_kv_heads * c.head_dim);
    const Rows v = Random(n, c.n_kv_heads * c.head_dim);
    const Rows d = Random(n, c.n_heads * c.head_dim);
    Rows dq(n, q.cols()), dk = Random(n, k.cols()), dv = Random(n, k.cols());
    auto ctx = Context();
    const float scale = 0.4f;
    const Status status = ops::AttentionBackward(
        {q.const_heads(c.head_dim), k.const_heads(c.head_dim),
         v.const_heads(c.head_dim), c.seq_len, scale, d.const_heads(c.head_dim),
         dq.heads(c.head_dim), dk.heads(c.head_dim), dv.heads(c.head_dim)},
        ctx);
    ASSERT_TRUE(status) << status.error().message;
    const reference::AttentionShape s = {c.n_heads, c.n_kv_heads, c.head_dim,
                                         c.seq_len, static_cast<double>(scale)};
    const auto want = reference::AttentionBackward(s, q.matrix(), k.matrix(),
                                                   v.matrix(), d.matrix());
    const auto bound = reference::AttentionBackwardBound(
        s, q.matrix(), k.matrix(), v.matrix(), Measured(d.matrix()), Strict());
    ExpectWithin(dq, want.q, bound.q, "d_q");
    ExpectWithin(dk, want.k, bound.k, "d_k");
    ExpectWithin(dv, want.v, bound.v, "d_v");
  }
}

TEST_F(BackwardOpsTest, AttentionIsOneBitPattern) {
  const size_t n = 2 * 70, dim = 24;
  const Rows q = Random(n, 4 * dim), k = Random(n, 2 * dim),
             v = Random(n, 2 * dim), d = Random(n, 4 * dim);
  ExpectOneBitPattern([&](int n_threads) {
    Rows dq(n, 4 * dim), dk(n, 2 * dim), dv(n, 2 * dim);
    auto ctx = Context(n_threads);
    EXPECT_TRUE(ops::AttentionBackward(
        {q.const_heads(dim), k.const_heads(dim), v.const_heads(dim), 70, 0.2f,
         d.const_heads(dim), dq.heads(dim), dk.heads(dim), dv.heads(dim)},
        ctx));
    std::vector<float> all = dq.data();
    all.insert(all.end(), dk.data().begin(), dk.data().end());
    all.insert(all.end(), dv.data().begin(), dv.data().end());
    return all;
  });
}

TEST_F(BackwardOpsTest, EmbeddingAddsRowsInOrder) {
  const Rows d = Random(50, 70);
  std::vector<int32_t> tokens;
  for (size_t t = 0; t < 50; ++t) {
    tokens.push_back(static_cast<int32_t>(t * 7 % 9));
  }
  Rows table = Random(9, 70);
  Rows want = table;
  for (size_t t = 0; t < 50; ++t) {
    for (size_t c = 0; c < 70; ++c) {
      want.at(static_cast<size_t>(tokens[t]), c) += d.at(t, c);
    }
  }
  auto ctx = Context(3);
  ASSERT_TRUE(ops::EmbeddingBackward({tokens, d.span(), table.span()}, ctx));
  EXPECT_EQ(0, std::memcmp(table.data().data(), want.data().data(),
                           want.data().size() * 4));
}

// Each refusal names what is wrong, and nothing is written.
TEST_F(BackwardOpsTest, BadArgumentsAreRefused) {
  const auto refused = [](const Status& status, const char* text) {
    ASSERT_FALSE(status);
    EXPECT_NE(status.error().message.find(text), std::string::npos)
        << status.error().message;
  };
  Rows x = Random(4, 8), w = Random(6, 8), d = Random(4, 6), dx(4, 8);
  Rows wrong(3, 8);
  auto ctx = Context();
  GemmBackwardPart part = {w.weights(), d.span(), {}, {}};
  refused(ops::GemmBackward({x.span(), {&part, 1}, wrong.span()}, ctx), "d_x");
  part.d_weights = wrong.span();
  refused(ops::GemmBackward({x.span(), {&part, 1}, dx.span()}, ctx),
          "d_weights is [3, 8], must be [6, 8]");
  part.d_weights = {};
  part.weights.type = TensorType::kF16;
  refused(ops::GemmBackward({x.span(), {&part, 1}, dx.span()}, ctx),
          "need F32");
  std::vector<float> rstd(3);
  refused(
      ops::RmsNormBackward({x.span(), {}, rstd, x.span(), dx.span(), {}}, ctx),
      "rstd has 3 elements, need 4");
  refused(ops::SwiGluBackward(
              {x.span(), x.span(), d.span(), dx.span(), dx.span()}, ctx),
          "swiglu_backward");
  std::vector<double> losses(4);
  const std::vector<int32_t> targets = {0, 1, 8, 2};
  refused(ops::CrossEntropy({x.span(), targets, 1.0f, losses, {}}, ctx),
          "targets[2] = 8 is not in [-1, 8)");
  refused(ops::AttentionBackward(
              {x.const_heads(4), x.const_heads(4), x.const_heads(4), 3, 1.0f,
               x.const_heads(4), dx.heads(4), dx.heads(4), dx.heads(4)},
              ctx),
          "4 tokens are no multiple of seq_len 3");
  refused(ops::EmbeddingBackward({targets, x.span(), wrong.span()}, ctx),
          "tokens[2] = 8 is not in [0, 3)");
  for (const float v : dx.data()) EXPECT_TRUE(v == 0.0f || std::isnan(v));
}

}  // namespace
}  // namespace etalon
