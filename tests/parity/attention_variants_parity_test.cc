// Attention of every variant against the reference: every element within its
// bound, one bit pattern over tiers, threads and prefill splits. By default a
// set of combinations in which every pair of values meets; with
// ETALON_PARITY_FULL=1 (`./dev parity --full`) the whole product, which takes
// hours, or a part of it.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/parity/attention_case.h"
#include "tests/parity/parity.h"
#include "tests/util/pairwise.h"

namespace etalon::test {
namespace {

struct Dims {
  size_t k, v;
};
constexpr Dims kDims[] = {{1, 1},     {40, 40},   {64, 64},   {72, 72},
                          {80, 80},   {96, 96},   {112, 112}, {128, 128},
                          {192, 192}, {192, 128}, {256, 256}, {576, 576},
                          {576, 512}, {24, 40}};
struct Types {
  TensorType k, v;
};
constexpr Types kTypes[] = {{TensorType::kF32, TensorType::kF32},
                            {TensorType::kF16, TensorType::kF16},
                            {TensorType::kBF16, TensorType::kBF16},
                            {TensorType::kQ8_0, TensorType::kQ8_0},
                            {TensorType::kF16, TensorType::kQ8_0},
                            {TensorType::kBF16, TensorType::kF32}};
constexpr size_t kGroups[] = {1, 4, 7, 8, 64};
constexpr size_t kKvLens[] = {1, 2, 255, 256, 257, 1024, 65536};
constexpr size_t kTokens[] = {1, 2, 8, 9, 40, 300};
constexpr size_t kVariants = std::size(kVariantNames);
constexpr size_t kInputs = std::size(kInputNames);

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    !defined(NDEBUG)
constexpr bool kSlowBuild = true;
#else
constexpr bool kSlowBuild = false;
#endif

AttentionCase CaseOf(const Combination& c) {
  AttentionCase a;
  a.variant = static_cast<Variant>(c[0]);
  a.head_dim = kDims[c[1]].k;
  a.head_dim_v = kDims[c[1]].v;
  a.type_k = kTypes[c[2]].k;
  a.type_v = kTypes[c[2]].v;
  a.q_per_kv = kGroups[c[3]];
  a.kv_len = kKvLens[c[4]];
  a.n_tokens = std::min(kTokens[c[5]], a.kv_len);
  a.inputs = static_cast<Inputs>(c[6]);
  a.token_major = c[7] != 0;
  a.n_kv_heads = 1 + c[8];
  return a;
}
const std::vector<size_t> kSizes = {kVariants,
                                    std::size(kDims),
                                    std::size(kTypes),
                                    std::size(kGroups),
                                    std::size(kKvLens),
                                    std::size(kTokens),
                                    kInputs,
                                    2,
                                    2};

class AttentionVariants : public Parity {
 protected:
  void Check(const AttentionCase& c, uint32_t stream) {
    const AttentionData data(c, stream);
    const size_t row = c.n_heads() * c.head_dim_v;
    std::vector<float> out(c.n_tokens * row);
    const AttentionArgs args = data.Args(out.data(), row);
    const auto oracle = reference::AttentionOracle(args);
    ASSERT_TRUE(oracle) << oracle.error().message;
    const std::vector<double> bound =
        AttentionTolerance(*oracle, CpuStrictProfile(), c.head_dim, c.kv_len);
    const CaseLabel label = {std::string("attention ") +
                                 kVariantNames[static_cast<size_t>(c.variant)],
                             c.Text(), fmt::format("stream {}", stream)};
    // Heads side by side, tokens as rows of a matrix with gaps; `step` tokens
    // per call.
    const auto run = [&](int n_threads, size_t step) {
      ExecContext ctx{&workspace_, &config_, n_threads};
      return RunInto(c.n_tokens, row, [&](Span2D<float> m) {
        const AttentionArgs all = data.Args(m.data, m.stride);
        for (size_t t = 0; t < c.n_tokens; t += step) {
          const size_t n = std::min(step, c.n_tokens - t);
          const Status status = ops::Attention(
              step == c.n_tokens ? all : data.Slice(all, t, n), ctx);
          if (!status) return status;
        }
        return Status();
      });
    };
    const TierGuard guard;
    std::vector<float> first;
    for (const SimdTier tier : SupportedSimdTiers()) {
      // VNNI and AMX have AVX-512's kernels here.
      if (tier > SimdTier::kAvx512) continue;
      ASSERT_TRUE(SetActiveSimdTier(tier));
      const std::vector<float> got = run(1, c.n_tokens);
      if (first.empty()) {
        first = got;
        ASSERT_TRUE(
            WithinBound(got, oracle->value, bound, label, &ratios_[label.op]));
      } else {
        ASSERT_TRUE(SameBits(got, first, label)) << "1 thread";
      }
    }
    ASSERT_TRUE(SetActiveSimdTier(SupportedSimdTiers().back()));
    for (const int n_threads : {2, 3, 4, 8}) {
      ASSERT_TRUE(SameBits(run(n_threads, c.n_tokens), first, label))
          << n_threads << " threads";
    }
    if (!c.causal()) return;  // each call would see other keys
    for (const size_t step : {1, 7, 32, 64, 256}) {
      if (step >= c.n_tokens) break;
      ASSERT_TRUE(SameBits(run(2, step), first, label))
          << "prefill by " << step;
    }
  }
  void TearDown() override {
    for (const auto& [op, stats] : ratios_) {
      std::printf("  %-26s %9zu elements  err/bound max %.3f mean %.4f\n",
                  op.c_str(), stats.n, stats.max, stats.mean());
    }
    Parity::TearDown();
  }

 private:
  Workspace workspace_;
  Config config_;
  std::map<std::string, RatioStats> ratios_;
};

TEST_F(AttentionVariants, EveryPairOfValuesWithinItsBoundAndOneBitPattern) {
  // Long caches meet wide heads, many heads or many tokens, one at a time.
  Pairwise pairs(
      kSizes, [](const Combination& c) { return CaseOf(c).Cost(); },
      {300'000, 3'000'000, kSlowBuild ? 3'000'000u : 40'000'000u}, 310);
  uint32_t stream = 3100;
  for (const Combination& c : pairs.All()) {
    ASSERT_NO_FATAL_FAILURE(Check(CaseOf(c), ++stream));
  }
  EXPECT_TRUE(kSlowBuild || pairs.impossible() == 0) << pairs.impossible();
}

// "1": everything; "k/n": every n-th case from the k-th on, 1 <= k <= n.
bool ParseShard(const char* text, size_t* k, size_t* n) {
  *k = *n = 1;
  if (text == nullptr || std::strcmp(text, "1") == 0) return text != nullptr;
  return std::sscanf(text, "%zu/%zu", k, n) == 2 && *k >= 1 && *k <= *n;
}

// As many tokens as a case can pay for, a different number in every case; one
// always.
void ChooseTokens(size_t i, AttentionCase* a) {
  constexpr size_t kBudget = 200'000'000;
  size_t pick = i % std::size(kTokens);
  do {
    a->n_tokens = std::min(kTokens[pick], a->kv_len);
  } while (a->Cost() > kBudget && pick-- > 0);
}

// Variant x head_dim x types x heads per kv head x kv_len: 26,460 cases. The
// number of tokens, inputs, layout and kv heads rotate.
TEST_F(AttentionVariants, FullProduct) {
  size_t shard = 0, n_shards = 0;
  if (!ParseShard(std::getenv("ETALON_PARITY_FULL"), &shard, &n_shards)) {
    GTEST_SKIP() << "takes hours: ./dev parity --full [K/N]";
  }
  size_t total = 1;
  for (size_t f = 0; f < 5; ++f) total *= kSizes[f];
  const auto start = std::chrono::steady_clock::now();
  size_t n_cases = 0;
  for (size_t i = shard - 1; i < total; i += n_shards, ++n_cases) {
    Combination c(kSizes.size());
    size_t rest = i;
    for (size_t f = 0; f < 5; ++f) {
      c[f] = rest % kSizes[f];
      rest /= kSizes[f];
    }
    c[6] = i % kInputs;
    c[7] = i / 3 % 2;
    c[8] = i / 5 % 2;
    AttentionCase a = CaseOf(c);
    ChooseTokens(i / 7, &a);
    ASSERT_NO_FATAL_FAILURE(Check(a, static_cast<uint32_t>(i)));
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
            .count();
    std::fprintf(stderr, "\r%zu of %zu, %.0f s  ", i + 1, total, seconds);
  }
  std::fprintf(stderr, "\n");
  std::printf("  %zu cases\n", n_cases);
}

}  // namespace
}  // namespace etalon::test
