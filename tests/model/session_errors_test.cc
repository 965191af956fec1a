// What a session refuses, and that it is then as if nothing had been asked.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <ctime>
#include <limits>
#include <string>
#include <vector>

#include "tests/model/session_fixture.h"

namespace etalon::model {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

test::ModelSpec SmallSpec() {
  test::ModelSpec spec;
  spec.n_vocab = 40;
  return spec;
}

class SessionErrors : public testing::Test {
 protected:
  void SetUp() override {
    model_ = LoadTestModel(SmallSpec());
    SessionOptions options;
    options.n_ctx = 8;
    options.n_batch = 4;
    session_ = MakeSession(*model_, options);
    tokens_ = TestTokens(*model_, 8);
  }
  // After an error the session goes on as a fresh one would.
  void ExpectUntouched(size_t n_past) {
    ASSERT_EQ(session_->n_past(), n_past);
    SessionOptions options;
    const auto fresh = AllLogits(*model_, options, tokens_);
    const auto rest = AllLogits(*session_, std::span(tokens_).subspan(n_past));
    EXPECT_TRUE(SameBits(rest, std::span(fresh).subspan(n_past * 40)));
  }

  std::unique_ptr<Model> model_;
  std::unique_ptr<Session> session_;
  std::vector<int32_t> tokens_;
};

TEST_F(SessionErrors, TokenOutsideTheVocabulary) {
  ASSERT_TRUE(session_->Append(std::span(tokens_).first(3), {}));
  for (const int32_t bad : {40, -1, std::numeric_limits<int32_t>::max(),
                            std::numeric_limits<int32_t>::min()}) {
    const std::vector<int32_t> tokens = {1, bad, 2};
    const Status status = session_->Append(tokens, {});
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ErrorCode::kBadInput);
    EXPECT_EQ(status.error().message,
              fmt::format("token[1]: {} is outside 0..39", bad));
  }
  ExpectUntouched(3);
}

TEST_F(SessionErrors, ContextFull) {
  ASSERT_TRUE(session_->Append(std::span(tokens_).first(5), {}));
  const Status status = session_->Append(std::span(tokens_).first(4), {});
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kBadInput);
  EXPECT_EQ(status.error().message,
            "4 tokens do not fit the context: 5 of 8 positions used");
  ExpectUntouched(5);
  ASSERT_EQ(session_->n_past(), 8u);
  EXPECT_FALSE(session_->Append({tokens_.data(), 1}, {}));
  EXPECT_EQ(session_->n_past(), 8u);
}

TEST_F(SessionErrors, CallersMistakes) {
  std::vector<float> logits(8 * 40);
  const std::span<const int32_t> three = std::span(tokens_).first(3);
  for (const Span2D<float>& bad : {Span2D<float>(logits.data(), 2, 40),
                                   Span2D<float>(logits.data(), 3, 39),
                                   Span2D<float>(logits.data(), 4, 40)}) {
    const Status status = session_->Append(three, bad);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(status.error().message, StartsWith("logits: "));
  }
  const Status status = session_->Append({}, {});
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "tokens: none given");
  ExpectUntouched(0);
}

TEST_F(SessionErrors, StridedLogitsLeaveTheGapAlone) {
  std::vector<float> logits(3 * 50, -7.0f);
  ASSERT_TRUE(session_->Append(std::span(tokens_).first(3),
                               Span2D<float>(logits.data(), 3, 40, 50)));
  for (size_t t = 0; t < 3; ++t) {
    for (size_t i = 40; i < 50; ++i) EXPECT_EQ(logits[t * 50 + i], -7.0f);
  }
}

TEST_F(SessionErrors, StoppingBetweenChunksKeepsWhatIsDone) {
  std::vector<size_t> seen;
  session_->on_chunk = [&](size_t done) {
    seen.push_back(done);
    return false;
  };
  ASSERT_TRUE(session_->Append(tokens_, {}));
  EXPECT_EQ(seen, std::vector<size_t>{4});
  session_->on_chunk = nullptr;
  ExpectUntouched(4);
}

TEST(SessionCreate, RefusesWhatCannotBe) {
  const auto model = LoadTestModel(SmallSpec());
  SessionOptions options;
  options.n_ctx = 0;
  const auto session = Session::Create(*model, options);
  ASSERT_FALSE(session);
  EXPECT_EQ(session.error().code, ErrorCode::kInvalidArgument);
}

TEST(SessionCreate, AContextBeyondMemoryIsRefusedAtOnceWithTheNumbers) {
  test::ModelSpec spec = test::Quantised(SmallSpec(), {TensorType::kF16});
  spec.n_kv_heads = 8;
  spec.n_vocab = 2;
  const auto model = LoadTestModel(spec);
  const std::clock_t start = std::clock();
  for (const size_t n_ctx :
       {size_t{1} << 40, std::numeric_limits<size_t>::max(),
        std::numeric_limits<size_t>::max() / 2 + 1}) {
    SessionOptions options;
    options.n_ctx = n_ctx;
    const auto session = Session::Create(*model, options);
    ASSERT_FALSE(session);
    EXPECT_EQ(session.error().code, ErrorCode::kLimit);
    EXPECT_THAT(session.error().message,
                testing::MatchesRegex(
                    "context [0-9]+: KV cache needs (over 2.64|[0-9]+) bytes, "
                    "[0-9]+ available; largest context that fits: [0-9]+"));
  }
  EXPECT_LT(std::clock() - start, CLOCKS_PER_SEC / 2);  // processor time
}

TEST(SessionCreate, AContextBeyondThePositionTablesIsALimitToo) {
  // One tiny head: the cache would fit.
  test::ModelSpec spec = SmallSpec();
  spec.n_layers = spec.n_kv_heads = 1;
  spec.n_heads = 1;
  spec.head_dim = 2;
  const auto model = LoadTestModel(spec);
  SessionOptions options;
  options.n_ctx = kMaxRopePositions + 1;
  const auto session = Session::Create(*model, options);
  ASSERT_FALSE(session);
  EXPECT_EQ(session.error().code, ErrorCode::kLimit);
}

TEST(KvCacheBytes, CountsBothTypesAndAllLayers) {
  Hyperparameters hp;
  hp.n_layers = 2;
  hp.n_kv_heads = {2, 1};
  hp.head_dim = 64;
  EXPECT_EQ(KvCache::Bytes(hp, 100, TensorType::kF32, TensorType::kF32),
            2u * 3 * 100 * 64 * 4);
  EXPECT_EQ(KvCache::Bytes(hp, 100, TensorType::kF16, TensorType::kF32),
            3u * 100 * 64 * (2 + 4));
  EXPECT_EQ(
      KvCache::Bytes(hp, UINT64_MAX / 4, TensorType::kF16, TensorType::kF16),
      std::nullopt);
}

// Lane 0 of the residual stream is 0 unless token 7 is read, and the second
// layer multiplies it with a weight that leaves the range of f32.
test::TestModel OverflowingModel(const char* tensor) {
  test::TestModel m = test::MakeModel(SmallSpec());
  const auto set = [&](const std::string& name, size_t row, size_t col,
                       float x) {
    test::TestTensor& t = m.Tensor(name);
    std::memcpy(&t.bytes[(row * t.ne[0] + col) * 4], &x, 4);
  };
  for (size_t token = 0; token < 40; ++token) {
    set("token_embd.weight", token, 0, token == 7 ? 1.0f : 0.0f);
  }
  for (const int layer : {0, 1}) {
    for (const char* out : {"attn_output", "ffn_down"}) {
      const std::string name = fmt::format("blk.{}.{}.weight", layer, out);
      const size_t cols = m.Tensor(name).ne[0];
      for (size_t c = 0; c < cols; ++c) set(name, 0, c, 0.0f);
    }
  }
  for (size_t row = 0; row < 40; ++row) set(tensor, row, 0, 3e38f);
  return m;
}

void ExpectErrorAndUnchangedSession(const Model& model,
                                    const std::string& where) {
  for (const size_t n_batch : {1, 64}) {
    SessionOptions options;
    options.n_batch = n_batch;
    const auto session = MakeSession(model, options);
    const std::vector<int32_t> start = {1, 2, 3}, bad = {4, 7}, next = {5};
    AllLogits(*session, start);
    std::vector<float> logits(2 * 40);
    const Status status =
        session->Append(bad, Span2D<float>(logits.data(), 2, 40));
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ErrorCode::kBadInput);
    EXPECT_THAT(status.error().message, StartsWith(where));
    EXPECT_THAT(status.error().message, HasSubstr("position 4"));
    EXPECT_EQ(session->n_past(), 3u);
    const std::vector<int32_t> good = {1, 2, 3, 5};
    const auto want = AllLogits(model, {}, good);
    EXPECT_TRUE(
        SameBits(AllLogits(*session, next), std::span(want).subspan(3 * 40)));
  }
}

TEST(SessionOverflow, ActivationsNameTheFirstBadLayer) {
  const auto model = LoadTestModel(OverflowingModel("blk.1.ffn_gate.weight"));
  ExpectErrorAndUnchangedSession(*model, "layer 1: ");
}

TEST(SessionOverflow, LogitsAreCheckedToo) {
  test::TestModel m = OverflowingModel("output.weight");
  // The normalised lane is not far below 1.
  const float gain = 16.0f;
  std::memcpy(&m.Tensor("output_norm.weight").bytes[0], &gain, 4);
  ExpectErrorAndUnchangedSession(*LoadTestModel(m), "logit");
}

}  // namespace
}  // namespace etalon::model
