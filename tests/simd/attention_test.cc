#include "simd/attention.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "etalon/simd_tier.h"
#include "tests/util/random.h"
#include "tests/util/tolerance.h"

namespace etalon {
namespace {

using simd::PaddedHeadDim;
using simd::PaddedRows;

constexpr float kInf = std::numeric_limits<float>::infinity();

struct States {
  std::vector<float> m, l, o;
  States(size_t rows, size_t head_dim)
      : m(rows, 7.0f), l(rows, 7.0f), o(rows * PaddedHeadDim(head_dim), 7.0f) {}
  simd::SoftmaxStates view() { return {m.data(), l.data(), o.data()}; }
};

class AttentionKernel : public ::testing::TestWithParam<SimdTier> {
 protected:
  void SetUp() override {
    before_ = ActiveSimdTier();
    ASSERT_TRUE(SetActiveSimdTier(GetParam()).has_value());
  }
  void TearDown() override {
    ASSERT_TRUE(SetActiveSimdTier(before_).has_value());
  }

  // Rows [first, first + n) of q [rows, head_dim] against one chunk.
  States Run(const std::vector<float>& q, size_t first, size_t n,
             size_t head_dim, const std::vector<float>& kv,
             const std::vector<size_t>& n_visible) {
    const size_t dim = PaddedHeadDim(head_dim);
    const float nan = std::nanf("");
    std::vector<float> packed(PaddedRows(n) * dim, nan);
    std::vector<const float*> rows_of_q(n);
    for (size_t r = 0; r < n; ++r) {
      rows_of_q[r] = q.data() + (first + r) * head_dim;
    }
    simd::PackQueries(rows_of_q.data(), n, head_dim, packed.data());
    std::vector<float> scores(PaddedRows(n) * kKvChunk, nan);
    std::vector<float> block(simd::kAttentionBlock * dim, nan);
    States state(n, head_dim);
    const simd::KvRows rows{TensorType::kF32,
                            reinterpret_cast<const std::byte*>(kv.data()),
                            head_dim};
    simd::AttentionChunk({.q = packed.data(),
                          .n_rows = n,
                          .head_dim = head_dim,
                          .head_dim_v = head_dim,
                          .k = rows,
                          .v = rows,
                          .next_k = {},
                          .n_visible = n_visible.data() + first,
                          .scale = 0.125f,
                          .scores = scores.data(),
                          .block = block.data(),
                          .state = state.view()});
    return state;
  }

 private:
  SimdTier before_ = SimdTier::kScalar;
};

TEST_P(AttentionKernel, StateIndependentOfGroupingOfRows) {
  constexpr size_t kRows = 64, kPositions = 256;
  for (const size_t head_dim : {16, 20, 64, 576}) {
    test::Random random(static_cast<uint32_t>(head_dim));
    const auto q = random.Vector(test::Family::kNormal, kRows * head_dim);
    const auto kv = random.Vector(test::Family::kNormal, kPositions * head_dim);
    std::vector<size_t> n_visible(kRows);
    for (size_t r = 0; r < kRows; ++r) {
      n_visible[r] = r < 2 ? 0 : r > 60 ? kPositions : random.Below(257);
    }
    States all = Run(q, 0, kRows, head_dim, kv, n_visible);
    const size_t dim = PaddedHeadDim(head_dim);
    for (const size_t group : {1, 2, 3, 5, 8, 9, 17, 33}) {
      for (size_t first = 0; first < kRows; first += group) {
        const size_t n = std::min(group, kRows - first);
        States part = Run(q, first, n, head_dim, kv, n_visible);
        for (size_t r = 0; r < n; ++r) {
          ASSERT_EQ(part.m[r], all.m[first + r]);
          ASSERT_TRUE(test::SameBits(part.l[r], all.l[first + r]));
          for (size_t d = 0; d < head_dim; ++d) {
            ASSERT_TRUE(test::SameBits(part.o[r * dim + d],
                                       all.o[(first + r) * dim + d]))
                << "group " << group << " row " << first + r << " d " << d;
          }
        }
      }
    }
    // Rows that see nothing keep what was there.
    EXPECT_EQ(all.m[0], 7.0f);
    EXPECT_EQ(all.l[1], 7.0f);
    EXPECT_EQ(all.o[0], 7.0f);
  }
}

TEST_P(AttentionKernel, MergeOfEmptyChunkIsIdentity) {
  constexpr size_t kDim = 24;
  States into(2, kDim), later(2, kDim);
  into.m = {1.0f, -kInf};
  into.l = {2.0f, 0.0f};
  for (size_t i = 0; i < into.o.size(); ++i) {
    into.o[i] = i % 3 == 0 ? -0.0f : static_cast<float>(i);
  }
  const States before = into;
  later.m.assign(2, std::nanf(""));
  later.l.assign(2, std::nanf(""));
  const size_t none[] = {0, 0};
  simd::MergeSoftmaxStates(2, kDim, none, into.view(), later.view());
  EXPECT_EQ(test::BitDiff(into.m, before.m), 0u);
  EXPECT_EQ(test::BitDiff(into.l, before.l), 0u);
  EXPECT_EQ(test::BitDiff(into.o, before.o), 0u);
}

TEST_P(AttentionKernel, MergeTakesTheLargerMaximum) {
  constexpr size_t kDim = 16;
  const size_t seen[] = {1};
  for (const bool later_larger : {false, true}) {
    States into(1, kDim), later(1, kDim);
    into.m[0] = later_larger ? -200.0f : 10.0f;
    later.m[0] = later_larger ? 10.0f : -200.0f;
    into.l[0] = 2.0f;
    later.l[0] = 3.0f;
    into.o.assign(kDim, 4.0f);
    later.o.assign(kDim, 5.0f);
    simd::MergeSoftmaxStates(1, kDim, seen, into.view(), later.view());
    EXPECT_EQ(into.m[0], 10.0f);
    EXPECT_EQ(into.l[0], later_larger ? 3.0f : 2.0f);
    EXPECT_EQ(into.o[7], later_larger ? 5.0f : 4.0f);
  }
}

// Chunks without any weight merge to no weight, and with another to that one.
TEST_P(AttentionKernel, MergeOfMinusInfinities) {
  constexpr size_t kDim = 16;
  const size_t seen[] = {1};
  States into(1, kDim), later(1, kDim);
  into.m[0] = later.m[0] = -kInf;
  into.l[0] = later.l[0] = 0.0f;
  into.o.assign(kDim, 0.0f);
  later.o.assign(kDim, 0.0f);
  simd::MergeSoftmaxStates(1, kDim, seen, into.view(), later.view());
  EXPECT_EQ(into.m[0], -kInf);
  EXPECT_EQ(into.l[0], 0.0f);
  later.m[0] = -3.0f;
  later.l[0] = 2.0f;
  later.o.assign(kDim, 6.0f);
  simd::MergeSoftmaxStates(1, kDim, seen, into.view(), later.view());
  EXPECT_EQ(into.m[0], -3.0f);
  EXPECT_EQ(into.l[0], 2.0f);
  EXPECT_EQ(into.o[3], 6.0f);
}

TEST_P(AttentionKernel, FinishWritesHeadDimElementsAndOneKindOfNaN) {
  const std::vector<float> o(32, 6.0f);
  for (const size_t head_dim : {1, 15, 16, 17, 31}) {
    std::vector<float> out(33, -1.0f);
    simd::FinishAttentionRow(4.0f, o.data(), head_dim, out.data());
    for (size_t d = 0; d < out.size(); ++d) {
      ASSERT_EQ(out[d], d < head_dim ? 1.5f : -1.0f);
    }
    simd::FinishAttentionRow(std::bit_cast<float>(0xffc12345u), o.data(),
                             head_dim, out.data());
    ASSERT_EQ(std::bit_cast<uint32_t>(out[head_dim - 1]), 0x7fc00000u);
  }
}

INSTANTIATE_TEST_SUITE_P(Tiers, AttentionKernel,
                         ::testing::ValuesIn(SupportedSimdTiers()),
                         [](const auto& tier_info) {
                           std::string name(SimdTierName(tier_info.param));
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace etalon
