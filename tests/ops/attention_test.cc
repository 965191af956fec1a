#include "etalon/attention.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "ops/attention_two_pass.h"
#include "tests/ops/attention_fixture.h"

namespace etalon {
namespace {

using test::AttentionProblem;
using test::AttentionShape;
using test::RunOptions;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr size_t kKvLens[] = {1,   2,   15,  16,  17,  255,
                              256, 257, 511, 512, 513, 1025};
constexpr size_t kHeadDims[] = {1, 7, 16, 40, 64, 80, 128, 192, 256};
constexpr size_t kGroups[] = {1, 4, 7, 8};
constexpr TensorType kTypes[] = {TensorType::kF32, TensorType::kF16};

// Every kv_len with every head_dim and type; group, tokens and masking rotate.
TEST(Attention, FollowsTheStrictOrderOnEveryTier) {
  uint32_t i = 0;
  for (const size_t kv_len : kKvLens) {
    for (const size_t head_dim : kHeadDims) {
      for (const TensorType type : kTypes) {
        ++i;
        AttentionShape shape;
        shape.kv_len = kv_len;
        shape.head_dim = head_dim;
        shape.type = type;
        shape.q_per_kv = kGroups[(i / 2) % 4];
        shape.n_kv_heads = 1 + i % 5 % 2;
        shape.n_tokens = std::min<size_t>(kv_len, i % 3 == 0 ? 3 : 1);
        shape.causal = i % 4 != 3;
        const AttentionProblem problem(shape, i);
        const std::vector<float> expected = problem.StrictOrder();
        problem.ExpectWithinBound(expected, "strict order");
        test::ForEachTier([&](SimdTier) {
          problem.ExpectSame(problem.Run(), expected, "op");
        });
        if (HasFailure()) return;
      }
    }
  }
}

// Enough tokens for tiles of rows, with limits inside, at and across chunks.
TEST(Attention, PrefillFollowsTheStrictOrderOnEveryTier) {
  uint32_t i = 100000;
  for (const size_t past : {0, 1, 240, 255, 500}) {
    for (const size_t n_tokens : {9, 16, 33}) {
      for (const size_t group : kGroups) {
        ++i;
        AttentionShape shape;
        shape.n_tokens = n_tokens;
        shape.q_per_kv = group;
        shape.n_kv_heads = group == 1 ? 2 : 1;
        shape.kv_len = past + n_tokens;
        shape.head_dim = i % 3 == 0 ? 80 : i % 3 == 1 ? 24 : 16;
        shape.type = kTypes[i % 2];
        shape.causal = i % 7 != 0;
        const AttentionProblem problem(shape, i);
        const std::vector<float> expected = problem.StrictOrder();
        problem.ExpectWithinBound(expected, "strict order");
        test::ForEachTier([&](SimdTier) {
          problem.ExpectSame(problem.Run(), expected, "op");
        });
        if (HasFailure()) return;
      }
    }
  }
}

// Long caches: more rows to a tile than short ones have, one tile not full.
TEST(Attention, TallTilesFollowTheStrictOrderOnEveryTier) {
  for (const size_t head_dim : {72, 128}) {
    AttentionShape shape;
    shape.n_tokens = 14;  // 98 rows, 96 of which would be a short tile
    shape.q_per_kv = 7;
    shape.n_kv_heads = 1;
    shape.kv_len = 2040 + shape.n_tokens;
    shape.head_dim = head_dim;
    shape.type = kTypes[head_dim / 8 % 2];
    const AttentionProblem problem(shape, static_cast<uint32_t>(head_dim));
    const std::vector<float> expected = problem.StrictOrder();
    problem.ExpectWithinBound(expected, "strict order");
    test::ForEachTier(
        [&](SimdTier) { problem.ExpectSame(problem.Run(), expected, "op"); });
  }
}

// The judge can say no: a scale that is off by 0.1 %, a position left out.
TEST(Attention, TheBoundRejectsWrongAnswers) {
  for (const size_t kv_len : {2, 17, 257, 1025}) {
    AttentionShape shape;
    shape.kv_len = kv_len;
    shape.head_dim = 64;
    const AttentionProblem problem(shape, 41);
    const test::AttentionRow right = problem.Row(0, 0);
    std::vector<double> value(64), bound(64);
    test::AttentionBound(right, test::StrictChains(64, kv_len), value.data(),
                         bound.data());
    test::AttentionRow wrong_scale = right, short_cache = right;
    wrong_scale.scale *= 1.001f;
    --short_cache.n;
    for (const test::AttentionRow& wrong : {wrong_scale, short_cache}) {
      std::vector<float> out(64);
      test::AttentionInStrictOrder(wrong, out.data());
      EXPECT_FALSE(
          test::WithinBound(out, value, bound, {"wrong", shape.Text(), ""}));
    }
  }
}

enum class Scores { kLarge, kOneHot, kRising, kFalling, kEqual, kCancelV };

TEST(Attention, StaysWithinTheBoundOnHardFamilies) {
  for (const Scores family :
       {Scores::kLarge, Scores::kOneHot, Scores::kRising, Scores::kFalling,
        Scores::kEqual, Scores::kCancelV}) {
    for (const size_t kv_len : {1, 17, 257, 1025}) {
      for (const TensorType type : kTypes) {
        AttentionShape shape;
        shape.kv_len = kv_len;
        shape.head_dim = 64;
        shape.q_per_kv = 4;
        shape.type = type;
        AttentionProblem problem(shape, 7000 +
                                            static_cast<uint32_t>(family) * 8 +
                                            static_cast<uint32_t>(kv_len));
        for (size_t p = 0; p < kv_len; ++p) {
          const float x = static_cast<float>(p) / static_cast<float>(kv_len);
          for (size_t d = 0; d < shape.head_dim; ++d) {
            float& k = problem.K(0, p, d);
            float& v = problem.V(0, p, d);
            switch (family) {
              case Scores::kLarge:
                k *= 16.0f;
                break;
              case Scores::kOneHot:
                if (p == kv_len / 2) k = 8.0f * problem.q[d];
                break;
              case Scores::kRising:
                k = 4.0f * x * problem.q[d] + 0.05f * k;
                break;
              case Scores::kFalling:
                k = 4.0f * (1.0f - x) * problem.q[d] + 0.05f * k;
                break;
              case Scores::kEqual:
                k = 0.25f;
                break;
              case Scores::kCancelV:
                v = (p % 2 == 0 ? 50.0f : -50.0f) + v;
                break;
            }
          }
        }
        problem.RoundToType();
        const std::vector<float> expected = problem.StrictOrder();
        const std::string where =
            "family " + std::to_string(static_cast<int>(family));
        problem.ExpectWithinBound(expected, where);
        test::ForEachTier([&](SimdTier) {
          problem.ExpectSame(problem.Run(), expected, where);
        });
        RunOptions two_pass;
        two_pass.config.flash_attn_strict = true;
        problem.ExpectWithinBound(problem.Run(two_pass), where + " two-pass",
                                  /*strict=*/false);
      }
    }
  }
}

TEST(Attention, IndependentOfThreadCount) {
  for (const size_t n_tokens : {1, 5, 70}) {
    AttentionShape shape;
    shape.n_tokens = n_tokens;
    shape.n_kv_heads = 3;
    shape.q_per_kv = 2;
    shape.kv_len = 800;
    shape.head_dim = 32;
    shape.type = TensorType::kF16;
    const AttentionProblem problem(shape, 42);
    const std::vector<float> expected = problem.Run();
    for (const int n_threads : {2, 3, 4, 16}) {
      RunOptions o;
      o.n_threads = n_threads;
      problem.ExpectSame(problem.Run(o), expected,
                         std::to_string(n_threads) + " threads");
    }
  }
}

TEST(Attention, IndependentOfPrefillSplit) {
  for (const size_t group : kGroups) {
    for (const TensorType type : kTypes) {
      AttentionShape shape;
      shape.n_tokens = 100;
      shape.q_per_kv = group;
      shape.kv_len = 330;
      shape.head_dim = 48;
      shape.type = type;
      const AttentionProblem problem(shape, 43);
      const std::vector<float> expected = problem.StrictOrder();
      for (const size_t split : {1, 7, 32, 64, 100}) {
        RunOptions o;
        o.split = split;
        o.n_threads = 2;
        problem.ExpectSame(problem.Run(o), expected,
                           "prefill by " + std::to_string(split));
      }
    }
  }
}

// Caches longer than a wave of chunk states, more rows than a tile has, threads
// that begin inside a head and threads that have several.
TEST(Attention, LongCachesGoInWaves) {
  for (const size_t chunks : {64, 65, 127, 128}) {
    AttentionShape shape;
    shape.kv_len = chunks * 256 - 3;
    shape.n_kv_heads = 3;
    shape.head_dim = 16;
    shape.n_tokens = 2;
    shape.q_per_kv = chunks == 65 ? 33 : 1;
    shape.type = TensorType::kF16;
    const AttentionProblem problem(shape, 44);
    const std::vector<float> expected = problem.StrictOrder();
    for (const int n_threads : {1, 2, 5}) {
      RunOptions o;
      o.n_threads = n_threads;
      problem.ExpectSame(
          problem.Run(o), expected,
          fmt::format("{} chunks, {} threads", chunks, n_threads));
    }
  }
}

TEST(Attention, IndependentOfCapacityAndLayout) {
  for (const size_t n_tokens : {1, 20}) {
    for (const TensorType type : kTypes) {
      AttentionShape shape;
      shape.n_tokens = n_tokens;
      shape.n_kv_heads = 2;
      shape.q_per_kv = 2;
      shape.kv_len = 300;
      shape.head_dim = 64;
      shape.type = type;
      const AttentionProblem problem(shape, 45);
      const std::vector<float> expected = problem.Run();
      EXPECT_TRUE(std::isfinite(expected[0]));
      for (const size_t spare : {0, 1, 300}) {
        for (const bool token_major : {false, true}) {
          RunOptions o;
          o.spare_capacity = spare;
          o.token_major = token_major;
          problem.ExpectSame(problem.Run(o), expected, "layout");
        }
      }
    }
  }
}

// A later position may hold anything: rows that do not see it keep their bits.
TEST(Attention, MaskedPositionsDoNotLeak) {
  for (const size_t n_tokens : {2, 8, 40}) {
    for (const size_t kv_len : {40, 256, 270, 530}) {
      AttentionShape shape;
      shape.n_tokens = n_tokens;
      shape.kv_len = kv_len;
      shape.q_per_kv = 3;
      shape.head_dim = 32;
      AttentionProblem problem(shape, 46);
      const std::vector<float> clean = problem.Run();
      for (size_t d = 0; d < shape.head_dim; ++d) {
        problem.K(0, kv_len - 1, d) = std::nanf("");
        problem.V(0, kv_len - 1, d) = kInf;
      }
      test::ForEachTier([&](SimdTier) {
        const std::vector<float> out = problem.Run();
        const size_t row = shape.n_heads() * shape.head_dim;
        const size_t before = (n_tokens - 1) * row;
        problem.ExpectSame({out.data(), before}, {clean.data(), before},
                           "rows before the poison");
        for (size_t i = before; i < out.size(); ++i) {
          ASSERT_TRUE(std::isnan(out[i])) << i;
        }
      });
    }
  }
}

TEST(Attention, VisibleNaNAndInfPropagate) {
  for (const size_t kv_len : {1, 3, 100, 256, 300, 700}) {
    for (const size_t n_tokens : {size_t{1}, std::min<size_t>(kv_len, 12)}) {
      AttentionShape shape;
      shape.kv_len = kv_len;
      shape.n_tokens = n_tokens;
      shape.head_dim = 20;
      shape.q_per_kv = 2;
      const AttentionProblem clean(shape, 47);
      const size_t dim = shape.head_dim;
      for (const size_t at : {size_t{0}, kv_len - n_tokens, kv_len / 2}) {
        test::ForEachTier([&](SimdTier) {
          // A NaN or infinite score: the whole row.
          for (const float bad : {std::nanf(""), kInf}) {
            AttentionProblem problem = clean;
            problem.K(0, at, 3) = bad;
            for (size_t i = 0; i < problem.q.size(); ++i) {
              problem.q[i] = std::fabs(problem.q[i]) + 0.1f;
            }
            const std::vector<float> out = problem.Run();
            for (size_t i = 0; i < out.size(); ++i) {
              const size_t t = i / dim / shape.n_heads();
              ASSERT_EQ(std::isnan(out[i]), at < shape.Limit(t)) << i;
            }
          }
          // A value: its lane only, infinities as themselves.
          AttentionProblem problem = clean;
          problem.V(0, at, 3) = std::nanf("");
          problem.V(0, at, 4) = kInf;
          problem.V(0, at, 5) = -kInf;
          const std::vector<float> out = problem.Run();
          for (size_t i = 0; i < out.size(); ++i) {
            const size_t d = i % dim;
            const bool seen = at < shape.Limit(i / dim / shape.n_heads());
            ASSERT_EQ(std::isnan(out[i]), seen && d == 3) << i;
            ASSERT_EQ(out[i] == kInf, seen && d == 4) << i;
            ASSERT_EQ(out[i] == -kInf, seen && d == 5) << i;
          }
        });
      }
    }
  }
}

// A score of -Inf is a weight of 0; only if all are is there no answer.
TEST(Attention, MinusInfinityIsWeightZero) {
  AttentionShape shape;
  shape.kv_len = 600;
  shape.head_dim = 16;
  AttentionProblem problem(shape, 48);
  for (float& x : problem.q) x = std::fabs(x) + 0.1f;
  // The middle chunk altogether, then all.
  for (size_t p = 256; p < 512; ++p) problem.K(0, p, 0) = -kInf;
  test::ForEachTier([&](SimdTier) {
    const std::vector<float> out = problem.Run();
    problem.ExpectSame(out, problem.StrictOrder(), "one chunk");
    for (const float x : out) EXPECT_TRUE(std::isfinite(x));
  });
  problem.ExpectWithinBound(problem.Run(), "one chunk");
  for (size_t p = 0; p < 600; ++p) problem.K(0, p, 0) = -kInf;
  test::ForEachTier([&](SimdTier) {
    for (const float x : problem.Run()) EXPECT_TRUE(std::isnan(x));
  });
}

TEST(Attention, WorkspaceBoundIsNeverExceeded) {
  constexpr size_t kMaxTokens = 70, kMaxLen = 900, kHeads = 12, kDim = 8;
  for (const int n_threads : {1, 2, 64}) {
    Workspace workspace;
    ASSERT_TRUE(workspace
                    .Reserve(ops::AttentionWorkspaceBytes(
                        kMaxTokens, kHeads, kDim, kMaxLen, n_threads))
                    .has_value());
    const size_t growths = workspace.growths();
    for (const size_t n_kv_heads : {1, 3, 12}) {
      for (const size_t n_tokens : {1, 3, 8, 9, 70}) {
        for (const size_t kv_len : {70, 256, 900}) {
          const std::vector<float> x(kHeads * kMaxLen * kDim, 0.5f);
          std::vector<float> out(kMaxTokens * kHeads * kDim);
          const KvView kv{TensorType::kF32,
                          reinterpret_cast<const std::byte*>(x.data()),
                          n_kv_heads,
                          kMaxLen,
                          kDim,
                          kMaxLen * kDim,
                          kDim};
          AttentionArgs args;
          args.q = {x.data(), n_tokens, kHeads, kDim, kHeads * kDim, kDim};
          args.k = args.v = kv;
          args.kv_len = kv_len;
          args.scale = 1.0f;
          args.out = {out.data(), n_tokens, kHeads, kDim, kHeads * kDim, kDim};
          for (const bool naive : {false, true}) {
            if (naive && n_tokens > 1) continue;  // slow, and takes kv_len
            Config config;
            config.strict_parity = naive;
            ExecContext ctx{&workspace, &config, n_threads};
            ASSERT_TRUE(ops::Attention(args, ctx).has_value());
            for (size_t i = 0; i < n_tokens * kHeads * kDim; ++i) {
              ASSERT_NEAR(out[i], 0.5f, 1e-4f);
            }
          }
        }
      }
    }
    EXPECT_EQ(workspace.growths(), growths) << n_threads << " threads";
  }
}

TEST(Attention, SwitchesSelectTheTwoPassKernel) {
  AttentionShape shape;
  shape.kv_len = 300;
  shape.head_dim = 64;
  shape.n_kv_heads = 2;
  for (const size_t n_tokens : {1, 12}) {
    shape.n_tokens = n_tokens;
    const AttentionProblem problem(shape, 49);
    const std::vector<float> main = problem.Run();
    RunOptions decode_only, always;
    decode_only.config.flash_attn_strict = true;
    always.config.strict_parity = true;
    const std::vector<float> naive = problem.Run(always);
    problem.ExpectWithinBound(naive, "two-pass", /*strict=*/false);
    // Same answer, not the same bits: so it did run.
    EXPECT_NE(test::BitDiff(naive, main), 0u);
    problem.ExpectSame(problem.Run(decode_only), n_tokens == 1 ? naive : main,
                       "flash_attn_strict");
  }
}

}  // namespace
}  // namespace etalon
