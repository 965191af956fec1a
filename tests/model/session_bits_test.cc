// Law 1 for whole models: threads, prefill split, SIMD tier and cache capacity
// never show in the bits of the logits.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/model/session_fixture.h"
#include "tests/simd/tier_scope.h"

namespace etalon::model {
namespace {

using test::NamedSpec;

struct Variant {
  int n_threads;
  size_t n_batch;
  size_t n_ctx;
};

// Every architecture in F32, and each with a mix of block formats.
std::vector<NamedSpec> Specs() {
  const std::vector<std::pair<std::string, std::vector<TensorType>>> mixes = {
      {"KQuants", {TensorType::kQ4_K, TensorType::kQ6_K, TensorType::kQ5_K}},
      {"Blocks32", {TensorType::kQ4_0, TensorType::kQ8_0, TensorType::kQ5_1}},
      {"Halves", {TensorType::kF16, TensorType::kQ4_1, TensorType::kBF16}},
      {"Mixed", {TensorType::kQ5_0, TensorType::kF32, TensorType::kQ4_K}}};
  std::vector<NamedSpec> all = test::AllArchitectureSpecs();
  const size_t n = all.size();
  for (size_t i = 0; i < n; ++i) {
    const auto& [mix, types] = mixes[i % mixes.size()];
    test::ModelSpec spec = test::Quantised(all[i].spec, types);
    if (spec.arch == "smollm3") spec.n_layers = 4;
    all.push_back({all[i].name + mix, spec});
  }
  return all;
}

class SessionBits : public testing::TestWithParam<NamedSpec> {
 protected:
  void SetUp() override {
    model_ = LoadTestModel(GetParam().spec);
    ASSERT_TRUE(model_);
    tokens_ = TestTokens(*model_, kTokens);
    want_ = Run({1, kTokens, kTokens});
  }
  std::vector<float> Run(const Variant& v) {
    SessionOptions options;
    options.n_threads = v.n_threads;
    options.n_batch = v.n_batch;
    options.n_ctx = v.n_ctx;
    return AllLogits(*model_, options, tokens_);
  }

  static constexpr size_t kTokens = 70;  // more than one tile of tokens
  std::unique_ptr<Model> model_;
  std::vector<int32_t> tokens_;
  std::vector<float> want_;
};

TEST_P(SessionBits, ThreadsChunksAndCapacityDoNotShow) {
  for (const float x : want_) ASSERT_TRUE(std::isfinite(x));
  for (const Variant& v :
       {Variant{2, kTokens, 70}, Variant{3, kTokens, 71},
        Variant{4, kTokens, 512}, Variant{1, 1, 300}, Variant{4, 1, 70},
        Variant{1, 7, 512}, Variant{2, 7, 70}, Variant{3, 32, 128},
        Variant{1, 64, 100}, Variant{4, 64, 70}, Variant{2, 32, 4096}}) {
    EXPECT_TRUE(SameBits(Run(v), want_))
        << v.n_threads << " threads, chunks of " << v.n_batch << ", capacity "
        << v.n_ctx;
  }
}

TEST_P(SessionBits, TiersDoNotShow) {
  for (const SimdTier tier : SupportedSimdTiers()) {
    const test::TierScope scope(tier);
    EXPECT_TRUE(SameBits(Run({2, kTokens, 80}), want_)) << SimdTierName(tier);
    // One token at a time takes other kernels: on a part, for time.
    SessionOptions options;
    const auto session = MakeSession(*model_, options);
    const size_t n_vocab = model_->hyperparameters().n_vocab;
    for (size_t t = 0; t < 9; ++t) {
      const auto row = AllLogits(*session, {&tokens_[t], 1});
      EXPECT_TRUE(SameBits(row, std::span(want_).subspan(t * n_vocab, n_vocab)))
          << SimdTierName(tier) << " token " << t;
    }
  }
}

TEST_P(SessionBits, AnySplitOfAppendsAndTruncations) {
  SessionOptions options;
  options.n_threads = 2;
  options.n_batch = 16;
  options.n_ctx = kTokens;
  const auto session = MakeSession(*model_, options);
  const size_t n_vocab = model_->hyperparameters().n_vocab;
  const size_t growths = session->workspace().growths();
  test::Random rng(/*stream=*/901);
  const std::span<const int32_t> all(tokens_);
  std::vector<float> last(n_vocab);
  const Span2D<float> row(last.data(), 1, n_vocab);
  for (int round = 0; round < 6; ++round) {
    // Wrong tokens first, then forgotten.
    const size_t keep = rng.Below(session->n_past() + 1);
    session->Truncate(keep);
    ASSERT_EQ(session->n_past(), keep);
    if (keep + 3 <= kTokens) {
      const std::vector<int32_t> wrong(3, tokens_[round]);
      ASSERT_TRUE(session->Append(wrong, {}));
      session->Truncate(keep);
    }
    session->Truncate(kTokens);  // beyond the end: nothing to forget
    ASSERT_EQ(session->n_past(), keep);
    if (keep == kTokens) continue;
    const size_t n = 1 + rng.Below(kTokens - keep);
    // Of the last token only, which takes its own path.
    ASSERT_TRUE(session->Append(all.subspan(keep, n), row));
    EXPECT_TRUE(SameBits(
        last, std::span(want_).subspan((keep + n - 1) * n_vocab, n_vocab)))
        << keep << " + " << n << ", " << test::SeedNote();
  }
  EXPECT_EQ(session->workspace().growths(), growths)
      << "memory was allocated after Create";
}

INSTANTIATE_TEST_SUITE_P(All, SessionBits, testing::ValuesIn(Specs()),
                         [](const testing::TestParamInfo<NamedSpec>& test) {
                           return test.param.name;
                         });

TEST(SessionLong, SeveralAttentionChunks) {
  // 600 positions: two borders of 256, where chunks of the cache merge.
  for (const char* arch : {"llama", "qwen3"}) {
    test::ModelSpec spec;
    spec.arch = arch;
    spec.n_vocab = 50;
    const auto model = LoadTestModel(spec);
    const std::vector<int32_t> tokens = TestTokens(*model, 600);
    for (const TensorType kv : {TensorType::kF32, TensorType::kF16}) {
      SessionOptions options;
      options.k_type = options.v_type = kv;
      options.n_ctx = 600;
      options.n_batch = 600;
      const auto want = AllLogits(*model, options, tokens);
      for (const Variant& v :
           {Variant{2, 600, 600}, Variant{3, 100, 1000}, Variant{4, 1, 601},
            Variant{1, 255, 800}, Variant{2, 257, 2048}}) {
        options.n_threads = v.n_threads;
        options.n_batch = v.n_batch;
        options.n_ctx = v.n_ctx;
        EXPECT_TRUE(SameBits(AllLogits(*model, options, tokens), want))
            << arch << " " << TypeName(kv) << " " << v.n_threads << " threads, "
            << v.n_batch << " a chunk, capacity " << v.n_ctx;
      }
      for (const SimdTier tier : SupportedSimdTiers()) {
        const test::TierScope scope(tier);
        options.n_threads = 2;
        options.n_batch = 64;
        EXPECT_TRUE(SameBits(AllLogits(*model, options, tokens), want))
            << arch << " " << TypeName(kv) << " " << SimdTierName(tier);
      }
    }
  }
}

TEST(SessionLong, WorkspaceNeverGrows) {
  for (const auto& [name, plain] : test::AllArchitectureSpecs()) {
    for (const TensorType type : {TensorType::kF32, TensorType::kQ4_K}) {
      const test::ModelSpec spec = test::Quantised(plain, {type});
      const auto model = LoadTestModel(spec);
      const std::vector<int32_t> tokens = TestTokens(*model, 300);
      for (int n_threads : {1, 16}) {
        SessionOptions options;
        options.n_threads = n_threads;
        options.n_ctx = 300;
        options.n_batch = 48;
        const auto session = MakeSession(*model, options);
        const size_t growths = session->workspace().growths();
        EXPECT_EQ(growths, 0u) << name << ": not all rows in one block";
        const size_t capacity = session->workspace().capacity();
        ASSERT_TRUE(session->Append(std::span(tokens).first(297), {}));
        for (size_t i = 297; i < 300; ++i) {
          AllLogits(*session, {&tokens[i], 1});
        }
        EXPECT_EQ(session->workspace().growths(), growths)
            << name << " " << TypeName(type) << " " << n_threads;
        EXPECT_EQ(session->workspace().capacity(), capacity) << name;
      }
    }
  }
}

}  // namespace
}  // namespace etalon::model
