#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "etalon/elementwise.h"
#include "etalon/simd_tier.h"
#include "quant/dequantize.h"
#include "tests/util/random.h"
#include "tests/util/random_weights.h"
#include "tests/util/ulp.h"

namespace etalon {
namespace {

using test::Random;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

Status Embed(const EmbeddingArgs& args, int n_threads = 1) {
  Workspace workspace;
  ExecContext ctx{&workspace, nullptr, n_threads};
  return ops::Embedding(args, ctx);
}

TEST(Embedding, RowsAreTheDequantisedRowsOfTheTable) {
  Random rng(11);
  constexpr size_t kVocab = 37, kDim = 512, kStride = kDim + 3;
  const SimdTier saved = ActiveSimdTier();
  for (const SimdTier tier : SupportedSimdTiers()) {
    ASSERT_TRUE(SetActiveSimdTier(tier));
    for (const TensorType type : test::kWeightTypes) {
      const test::RandomWeights table =
          test::MakeWeights(type, kVocab, kDim, rng);
      for (const size_t n_tokens : {0u, 1u, 15u, 16u, 17u, 50u}) {
        std::vector<int32_t> tokens(n_tokens);
        for (int32_t& t : tokens) t = static_cast<int32_t>(rng.Below(kVocab));
        for (const int n_threads : {1, 2, 3}) {
          std::vector<float> out(n_tokens * kStride + 1, kNaN);
          const Span2D<float> view(out.data(), n_tokens, kDim, kStride);
          ASSERT_TRUE(Embed({table.view(), tokens, view}, n_threads));
          std::vector<float> expected(kDim);
          for (size_t t = 0; t < n_tokens; ++t) {
            DequantizeRow(type,
                          table.view().row(static_cast<size_t>(tokens[t])),
                          kDim, expected.data());
            ASSERT_EQ(test::BitDiff(view.row(t), expected), 0u)
                << TypeName(type) << " " << SimdTierName(tier);
            for (size_t pad = kDim; pad < kStride; ++pad) {
              ASSERT_TRUE(std::isnan(out[t * kStride + pad]));
            }
          }
        }
      }
    }
  }
  ASSERT_TRUE(SetActiveSimdTier(saved));
}

class EmbeddingErrors : public testing::Test {
 protected:
  EmbeddingErrors() : rng_(12), tokens_{1, 3} {
    table_ = test::MakeWeights(TensorType::kQ4_K, 4, 256, rng_);
    args_ = {table_.view(), tokens_, Span2D<float>(out_.data(), 2, 256)};
  }
  // The error names what is wrong and nothing is written.
  void ExpectError(const std::string& part) {
    const Status status = Embed(args_);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(status.error().message.find(part), std::string::npos)
        << status.error().message;
    for (const float v : out_) ASSERT_TRUE(std::isnan(v));
  }

  Random rng_;
  std::vector<int32_t> tokens_;
  test::RandomWeights table_;
  std::vector<float> out_ = std::vector<float>(2 * 256, kNaN);
  EmbeddingArgs args_;
};

TEST_F(EmbeddingErrors, TokenOutsideTheTable) {
  for (const int32_t bad : {-1, 4, std::numeric_limits<int32_t>::min(),
                            std::numeric_limits<int32_t>::max()}) {
    tokens_[1] = bad;
    ExpectError("tokens[1] = " + std::to_string(bad) + " is not in [0, 4)");
  }
}

TEST_F(EmbeddingErrors, ShapesTypesAndStrides) {
  const EmbeddingArgs good = args_;
  args_.out.cols = 255;
  ExpectError("out is [2, 255]");
  args_ = good;
  args_.out.rows = 3;
  ExpectError("out is [3, 256]");
  args_ = good;
  args_.out.stride = 255;
  ExpectError("stride 255");
  args_ = good;
  args_.table.cols = 128;
  ExpectError("width 128");
  args_ = good;
  args_.table.stride_bytes = 143;
  ExpectError("stride 143");
  args_ = good;
  args_.table.stride_bytes = 145;
  ExpectError("aligned");
  args_ = good;
  args_.table.type = TensorType::kQ8_K;
  ExpectError("type 15");
  args_ = good;
  args_.table.type = static_cast<TensorType>(99);
  ExpectError("type 99");
  args_ = good;
  args_.table.data = nullptr;
  ExpectError("null");
}

}  // namespace
}  // namespace etalon
