// Requirement B-74: the fp64 backward passes against central differences of
// the fp64 forward passes, relative error at most 1e-6, on every input and
// every parameter (B-12, B-14, B-16, B-45, B-70, B-71).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>

#include "reference/backward_layer.h"
#include "tests/util/random.h"

namespace etalon::reference {
namespace {

class BackwardTest : public ::testing::Test {
 protected:
  Matrix Random(size_t rows, size_t cols, double mean = 0) {
    Matrix m(rows, cols);
    for (double& x : m.v) {
      x = mean + 0.8 * static_cast<double>(rng_.Uniform());
    }
    return m;
  }

  test::Random rng_{42, /*stream=*/9};
};

double Dot(const Matrix& a, const Matrix& b) {
  double sum = 0;
  for (size_t i = 0; i < a.v.size(); ++i) sum += a.v[i] * b.v[i];
  return sum;
}

// d loss / d x by central differences of fourth order: the error is of order
// h^4 + 1e-16 / h, about 1e-11 for h = 1e-3.
void ExpectGradient(const std::function<double()>& loss, Matrix& x,
                    const Matrix& gradient, const std::string& name) {
  ASSERT_EQ(x.v.size(), gradient.v.size()) << name;
  double largest = 0;
  for (const double g : gradient.v) largest = std::max(largest, std::abs(g));
  ASSERT_GT(largest, 0) << name << ": a gradient that is 0 tests nothing";
  for (size_t i = 0; i < x.v.size(); ++i) {
    const double at = x.v[i], h = 1e-3;
    const auto loss_at = [&](double step) {
      x.v[i] = at + step;
      return loss();
    };
    const double near = loss_at(h) - loss_at(-h);
    const double far = loss_at(2 * h) - loss_at(-2 * h);
    x.v[i] = at;
    const double difference = (8 * near - far) / (12 * h);
    ASSERT_TRUE(std::abs(difference - gradient.v[i]) <=
                1e-6 * std::abs(gradient.v[i]) + 1e-9 * largest)
        << name << "[" << i << "]: " << difference << " by differences, "
        << gradient.v[i] << " by the formula";
  }
}

TEST_F(BackwardTest, B71LinearMatchesDifferences) {
  Matrix x = Random(5, 7), w = Random(4, 7), b = Random(1, 4);
  const Matrix d = Random(5, 4);
  const auto loss = [&] { return Dot(Linear(x, w, b), d); };
  const LinearGradients g = LinearBackward(x, w, d);
  ExpectGradient(loss, x, g.x, "x");
  ExpectGradient(loss, w, g.w, "w");
  ExpectGradient(loss, b, g.b, "b");
}

TEST_F(BackwardTest, B12RmsNormMatchesDifferences) {
  Matrix x = Random(3, 9), w = Random(1, 9, 1);
  const Matrix d = Random(3, 9);
  const auto loss = [&] { return Dot(RmsNormOf(x, w, 1e-5), d); };
  const RmsNormGradients g = RmsNormBackward(x, w, 1e-5, d);
  ExpectGradient(loss, x, g.x, "x");
  ExpectGradient(loss, w, g.weight, "weight");
}

TEST_F(BackwardTest, B14SwiGluMatchesDifferences) {
  Matrix gate = Random(4, 6), up = Random(4, 6);
  for (double& g : gate.v) g *= 5;
  const Matrix d = Random(4, 6);
  const auto loss = [&] { return Dot(SwiGluOf(gate, up), d); };
  const SwiGluGradients g = SwiGluBackward(gate, up, d);
  ExpectGradient(loss, gate, g.gate, "gate");
  ExpectGradient(loss, up, g.up, "up");
}

TEST_F(BackwardTest, B16RopeMatchesDifferences) {
  for (const bool interleaved : {false, true}) {
    Matrix x = Random(3, 16), cos(3, 3), sin(3, 3);
    for (size_t i = 0; i < cos.v.size(); ++i) {
      cos.v[i] = std::cos(0.7 * static_cast<double>(i));
      sin.v[i] = std::sin(0.7 * static_cast<double>(i));
    }
    const Matrix d = Random(3, 16);
    const auto loss = [&] {
      return Dot(RopeOf(x, 8, cos, sin, interleaved), d);
    };
    ExpectGradient(loss, x, RopeOf(d, 8, cos, sin, interleaved, true), "x");
  }
}

TEST_F(BackwardTest, B45AttentionMatchesDifferences) {
  const AttentionShape s = {4, 2, 3, 5, 0.6};
  Matrix q = Random(10, 12), k = Random(10, 6), v = Random(10, 6);
  const Matrix d = Random(10, 12);
  const auto loss = [&] { return Dot(AttentionOf(s, q, k, v), d); };
  const AttentionGradients g = AttentionBackward(s, q, k, v, d);
  ExpectGradient(loss, q, g.q, "q");
  ExpectGradient(loss, k, g.k, "k");
  ExpectGradient(loss, v, g.v, "v");
}

TEST_F(BackwardTest, CrossEntropyMatchesDifferences) {
  Matrix x = Random(4, 11);
  const std::vector<int32_t> targets = {3, -1, 0, 10};
  const auto loss = [&] { return CrossEntropyOf(x, targets); };
  ExpectGradient(loss, x, CrossEntropyBackward(x, targets), "logits");
}

// B-70: the whole block, every parameter, with and without the options.
TEST_F(BackwardTest, B70LayerMatchesDifferencesInEveryParameter) {
  for (const bool options : {false, true}) {
    Layer l;
    l.attention = {4, 2, 4, 3, 0.5};
    l.interleaved = options;
    const size_t n = 6, model_dim = 10, ffn_dim = 7;  // 4 * 4 != 10
    l.attn_norm = Random(1, model_dim, 1);
    l.ffn_norm = Random(1, model_dim, 1);
    l.q = Random(16, model_dim), l.k = Random(8, model_dim);
    l.v = Random(8, model_dim), l.o = Random(model_dim, 16);
    l.gate = Random(ffn_dim, model_dim), l.up = Random(ffn_dim, model_dim);
    l.down = Random(model_dim, ffn_dim);
    if (options) {
      l.bq = Random(1, 16), l.bk = Random(1, 8), l.bv = Random(1, 8);
      l.bo = Random(1, model_dim), l.b_down = Random(1, model_dim);
      l.b_gate = Random(1, ffn_dim), l.b_up = Random(1, ffn_dim);
      l.q_norm = Random(1, 4, 1), l.k_norm = Random(1, 4, 1);
      l.cos = Random(n, 2), l.sin = Random(n, 2);
    }
    Matrix x = Random(n, model_dim);
    const Matrix d = Random(n, model_dim);
    LayerGradient g = LayerBackward(l, LayerForward(l, x), d);
    const auto loss = [&] { return Dot(LayerForward(l, x).out, d); };
    ExpectGradient(loss, x, g.x, "x");
    const auto parameters = l.Parameters();
    const auto gradients = g.parameters.Parameters();
    for (size_t i = 0; i < parameters.size(); ++i) {
      if (parameters[i]->v.empty()) continue;
      // A key's bias shifts all scores of a query alike where nothing rotates
      // or normalises the keys; the options are on together, so none is dull.
      ExpectGradient(loss, *parameters[i], *gradients[i],
                     "parameter " + std::to_string(i));
    }
  }
}

}  // namespace
}  // namespace etalon::reference
