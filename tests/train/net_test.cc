// The net's gradients against differences of its own loss.
#include "train/net.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "etalon/simd_tier.h"
#include "tests/simd/tier_scope.h"
#include "train/random.h"

namespace etalon::train {
namespace {

NetShape Tiny() {
  NetShape s;
  s.n_vocab = 37;
  s.n_layers = 2;
  s.model_dim = 40;
  s.n_heads = 4;
  s.n_kv_heads = 2;
  s.head_dim = 8;
  s.ffn_dim = 52;
  s.seq_len = 19;
  return s;
}

struct Batch {
  std::vector<int32_t> tokens, targets;
};
Batch RandomBatch(const NetShape& s, size_t n_windows, uint64_t seed) {
  Batch b;
  for (size_t i = 0; i < n_windows * s.seq_len; ++i) {
    b.tokens.push_back(
        static_cast<int32_t>(RandomBits(seed, 1, i) % s.n_vocab));
    b.targets.push_back(
        static_cast<int32_t>(RandomBits(seed, 2, i) % s.n_vocab));
  }
  return b;
}

std::unique_ptr<Net> MakeNet(const NetShape& shape, size_t n_windows,
                             int n_threads) {
  auto net = Net::Create(shape, n_windows, n_threads);
  EXPECT_TRUE(net) << net.error().message;
  (*net)->Initialise(7);
  // Larger than at the start of training, so that every term shows.
  for (size_t i = 0; i < (*net)->values().size(); ++i) {
    (*net)->values()[i] += 0.3f * RandomNormal(3, 4, i);
  }
  return std::move(*net);
}

// For every parameter tensor the change of the loss along the tensor's own
// gradient is h |g|^2; f32 forward passes leave about 1e-3 of it as noise.
TEST(NetTest, LossFallsAlongTheGradientOfEveryParameter) {
  const NetShape shape = Tiny();
  const auto net = MakeNet(shape, 2, 2);
  const Batch b = RandomBatch(shape, 2, 11);
  const auto loss = net->Loss(b.tokens, b.targets, true, 1.0f);
  ASSERT_TRUE(loss) << loss.error().message;
  const std::vector<float> g(net->gradients().begin(), net->gradients().end());
  for (const Parameter& p : net->parameters()) {
    double norm2 = 0;
    for (size_t i = 0; i < p.size(); ++i) {
      norm2 += static_cast<double>(g[p.offset + i]) *
               static_cast<double>(g[p.offset + i]);
    }
    ASSERT_GT(norm2, 0) << p.name;
    // A step that changes the loss by about 0.02 each way.
    const float h = static_cast<float>(0.02 / norm2);
    const std::vector<float> old(net->values().begin(), net->values().end());
    double at[2];
    for (int side = 0; side < 2; ++side) {
      const float step = side == 0 ? h : -h;
      for (size_t i = 0; i < p.size(); ++i) {
        net->values()[p.offset + i] =
            old[p.offset + i] + step * g[p.offset + i];
      }
      const auto l = net->Loss(b.tokens, b.targets, false, 1.0f);
      ASSERT_TRUE(l) << l.error().message;
      at[side] = *l;
    }
    std::copy(old.begin(), old.end(), net->values().begin());
    const double slope = (at[0] - at[1]) / (2 * static_cast<double>(h)) / norm2;
    EXPECT_NEAR(slope, 1.0, 0.01) << p.name;
  }
}

TEST(NetTest, GradientsAreTheSameBitsOnEveryTierAndThreadCount) {
  const NetShape shape = Tiny();
  const Batch b = RandomBatch(shape, 3, 12);
  std::vector<float> first;
  double first_loss = 0;
  for (const SimdTier tier : SupportedSimdTiers()) {
    const test::TierScope scope(tier);
    for (const int n_threads : {1, 2, 3}) {
      const auto net = MakeNet(shape, 3, n_threads);
      const auto loss = net->Loss(b.tokens, b.targets, true, 0.25f);
      ASSERT_TRUE(loss) << loss.error().message;
      const std::vector<float> g(net->gradients().begin(),
                                 net->gradients().end());
      if (first.empty()) {
        first = g;
        first_loss = *loss;
        continue;
      }
      EXPECT_EQ(first_loss, *loss);
      EXPECT_EQ(0, std::memcmp(first.data(), g.data(), g.size() * 4))
          << SimdTierName(tier) << ", " << n_threads << " threads";
    }
  }
}

// Accumulation: twice the same batch gives twice the gradient, exactly, since
// every parameter's gradient is added chunk by chunk to what is there only if
// there is one chunk.
TEST(NetTest, GradientsAccumulate) {
  const NetShape shape = Tiny();
  const Batch b = RandomBatch(shape, 2, 13);
  const auto net = MakeNet(shape, 2, 1);
  ASSERT_TRUE(net->Loss(b.tokens, b.targets, true, 1.0f));
  const std::vector<float> once(net->gradients().begin(),
                                net->gradients().end());
  ASSERT_TRUE(net->Loss(b.tokens, b.targets, true, 1.0f));
  for (const Parameter& p : net->parameters()) {
    for (size_t i = 0; i < p.size(); ++i) {
      const float g = once[p.offset + i];
      const float twice = net->gradients()[p.offset + i];
      // The embedding takes rows one by one.
      ASSERT_NEAR(twice, 2 * g, 1e-4 * std::abs(g) + 1e-5) << p.name;
    }
  }
}

}  // namespace
}  // namespace etalon::train
