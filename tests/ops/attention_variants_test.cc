// Variants of attention: the order of evaluation that the header states, the
// weights, batches, edges of windows, errors.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "etalon/attention.h"
#include "etalon/config.h"
#include "etalon/sdpa.h"
#include "ops/attention_rows.h"
#include "reference/oracle.h"
#include "simd/exp.h"
#include "simd/tanh.h"
#include "tests/ops/attention_fixture.h"
#include "tests/parity/attention_case.h"
#include "tests/util/tolerance.h"

namespace etalon {
namespace {

using test::AttentionCase;
using test::AttentionData;
using test::Inputs;
using test::Variant;

constexpr float kInf = std::numeric_limits<float>::infinity();

float Tanh1(float x) {
  float y;
  simd::Tanh(&x, &y, 1);
  return y;
}

struct State {
  float m = -kInf, l = 0.0f;
  std::vector<float> o;
};

void Merge(State& a, const State& b) {
  const float m = b.m > a.m ? b.m : a.m;
  const float base = m == -kInf ? 0.0f : m;
  const float keep = test::ExpOf(a.m - base), add = test::ExpOf(b.m - base);
  a.m = m;
  a.l = std::fma(b.l, add, a.l * keep);
  for (size_t d = 0; d < a.o.size(); ++d) {
    a.o[d] = std::fma(b.o[d], add, a.o[d] * keep);
  }
}

// etalon/attention.h line by line, one scalar operation after the other.
void StrictRow(const AttentionArgs& args, size_t t, size_t h, float* out) {
  const AttentionVariant& v = args.variant;
  const size_t kv_head = h / (args.q.n_heads / args.k.n_kv_heads);
  const ops::HeadRows keys(args.k, kv_head), values(args.v, kv_head);
  const ops::RowSight sight(args, t, h);
  const size_t dim = args.q.head_dim, dim_v = args.v.head_dim;
  State all;
  bool any = false;
  for (size_t begin = sight.first / 256 * 256; begin < sight.end;
       begin += 256) {
    State chunk;
    chunk.o.assign(dim_v, 0.0f);
    std::vector<float> s(256, -kInf);
    for (size_t p = std::max(begin, sight.first);
         p < std::min(begin + 256, sight.end); ++p) {
      if (sight.Hides(p)) continue;
      float lane[16] = {};
      for (size_t d = 0; d < (dim + 15) / 16 * 16; ++d) {
        lane[d % 16] = std::fma(d < dim ? args.q.at(t, h)[d] : 0.0f,
                                d < dim ? keys(p, d) : 0.0f, lane[d % 16]);
      }
      float x = test::Fold(lane) * args.scale;
      if (v.softcap != 0.0f) x = v.softcap * Tanh1(x / v.softcap);
      if (!v.alibi_slopes.empty()) {
        const size_t distance = p > sight.pos ? p - sight.pos : sight.pos - p;
        x = std::fma(-v.alibi_slopes[h], static_cast<float>(distance), x);
      }
      if (sight.mask != nullptr) x = x + sight.mask[p];
      s[p - begin] = x;
      chunk.m = x > chunk.m ? x : chunk.m;
    }
    const float base = chunk.m == -kInf ? 0.0f : chunk.m;
    float lanes[16] = {};
    for (size_t i = 0; i < 256; ++i) {
      const size_t p = begin + i;
      const float e = test::ExpOf(s[i] - base);
      lanes[i % 16] += e;
      if (p < sight.first || p >= sight.end || sight.Hides(p)) continue;
      for (size_t d = 0; d < dim_v; ++d) {
        chunk.o[d] = std::fma(e, values(p, d), chunk.o[d]);
      }
    }
    chunk.l = test::Fold(lanes);
    if (any) {
      Merge(all, chunk);
    } else {
      all = chunk;
    }
    any = true;
  }
  if (!v.sinks.empty()) {
    Merge(all, {v.sinks[h], 1.0f, std::vector<float>(dim_v, 0.0f)});
  }
  const float inverse = 1.0f / all.l;
  for (size_t d = 0; d < dim_v; ++d) {
    out[d] = all.o[d] * inverse;
    if (args.gate.data == nullptr) continue;
    const float e = test::ExpOf(-args.gate.at(t, h)[d]);
    out[d] = out[d] * (1.0f / (1.0f + e));
  }
}

std::vector<AttentionCase> Cases() {
  std::vector<AttentionCase> out;
  size_t i = 0;
  for (size_t variant = 0; variant < std::size(test::kVariantNames);
       ++variant) {
    for (const size_t n_tokens : {1, 5, 30}) {
      for (const size_t kv_len : {1, 17, 256, 600}) {
        ++i;
        AttentionCase c;
        c.variant = static_cast<Variant>(variant);
        c.kv_len = kv_len;
        c.n_tokens = std::min(n_tokens, kv_len);
        c.q_per_kv = 1 + i % 3 * 3;
        c.n_kv_heads = 1 + i % 2;
        c.head_dim = i % 4 == 0 ? 40 : 32;
        c.head_dim_v = i % 5 == 0 ? 24 : c.head_dim;
        constexpr TensorType kTypes[] = {TensorType::kF32, TensorType::kF16,
                                         TensorType::kBF16, TensorType::kQ8_0};
        c.type_k = kTypes[i % 4];
        c.type_v = kTypes[i / 3 % 4];
        c.token_major = i % 2 == 0;
        out.push_back(c);
      }
    }
  }
  return out;
}

TEST(AttentionVariants, FollowTheStatedOrderOnEveryTier) {
  uint32_t stream = 600;
  for (const AttentionCase& c : Cases()) {
    const AttentionData data(c, ++stream);
    const size_t row = c.n_heads() * c.head_dim_v;
    std::vector<float> want(c.n_tokens * row), got(want.size());
    const AttentionArgs args = data.Args(got.data(), row);
    for (size_t t = 0; t < c.n_tokens; ++t) {
      for (size_t h = 0; h < c.n_heads(); ++h) {
        StrictRow(args, t, h, want.data() + t * row + h * c.head_dim_v);
      }
    }
    test::ForEachTier([&](SimdTier) {
      Workspace workspace;
      ExecContext ctx{&workspace, nullptr, 2};
      ASSERT_TRUE(ops::Attention(args, ctx));
      ASSERT_TRUE(test::SameBits(got, want, {"attention", c.Text(), ""}));
    });
    if (HasFatalFailure()) return;
  }
}

TEST(AttentionVariants, WorkspaceBoundsAreNeverExceeded) {
  uint32_t stream = 900;
  for (const AttentionCase& c : Cases()) {
    const AttentionData data(c, ++stream);
    const size_t row = c.n_heads() * c.head_dim_v;
    const size_t dim = std::max(c.head_dim, c.head_dim_v);
    std::vector<float> out(c.n_tokens * row);
    std::vector<float> probs(c.n_tokens * c.n_heads() * c.kv_len);
    const AttentionArgs args = data.Args(out.data(), row);
    for (const int n_threads : {1, 3, 64}) {
      // For a call, with its bound; neither may take more.
      const auto within = [&](size_t bytes, const auto& call) {
        Workspace workspace;
        ASSERT_TRUE(workspace.Reserve(bytes).has_value());
        const size_t growths = workspace.growths();
        ExecContext ctx{&workspace, nullptr, n_threads};
        ASSERT_TRUE(call(ctx));
        ASSERT_EQ(workspace.growths(), growths)
            << c.Text() << " " << n_threads << " threads";
      };
      within(ops::AttentionWorkspaceBytes(c.n_tokens, c.n_heads(), dim,
                                          c.kv_len, n_threads),
             [&](ExecContext& ctx) { return ops::Attention(args, ctx); });
      within(ops::AttentionProbsWorkspaceBytes(c.n_tokens, c.n_heads(), dim,
                                               c.kv_len, n_threads),
             [&](ExecContext& ctx) {
               return ops::AttentionWithProbs(
                   {args, probs.data(), c.n_heads() * c.kv_len, c.kv_len}, ctx);
             });
      if (args.gate.data != nullptr) continue;  // Sdpa has none
      const std::vector<uint16_t> q(c.n_tokens * c.n_heads() * c.head_dim);
      std::vector<uint16_t> out16(out.size());
      SdpaArgs sdpa;
      sdpa.q = {TensorType::kBF16,
                reinterpret_cast<const std::byte*>(q.data()),
                1,
                c.n_tokens,
                c.n_heads(),
                c.head_dim,
                0,
                c.n_heads() * c.head_dim,
                c.head_dim};
      sdpa.k = args.k;
      sdpa.v = args.v;
      sdpa.kv_len = c.kv_len;
      sdpa.scale = 1.0f;
      sdpa.causal = args.causal;
      sdpa.variant = args.variant;
      sdpa.out = {TensorType::kBF16,
                  reinterpret_cast<std::byte*>(out16.data()),
                  1,
                  c.n_tokens,
                  c.n_heads(),
                  c.head_dim_v,
                  0,
                  row,
                  c.head_dim_v};
      within(ops::SdpaWorkspaceBytes(c.n_tokens, c.n_heads(), dim, c.kv_len,
                                     n_threads),
             [&](ExecContext& ctx) { return ops::Sdpa(sdpa, ctx); });
    }
    if (HasFatalFailure()) return;
  }
}

// Profile fast has no kernels for variants: they are strict.
TEST(AttentionVariants, AreStrictInProfileFast) {
  uint32_t stream = 800;
  for (const AttentionCase& c : Cases()) {
    const bool plain =
        c.variant == Variant::kPlain || c.variant == Variant::kBidirectional;
    if (plain && c.head_dim == c.head_dim_v) continue;
    const AttentionData data(c, ++stream);
    const size_t row = c.n_heads() * c.head_dim_v;
    std::vector<float> strict(c.n_tokens * row), fast(strict);
    Workspace workspace;
    Config config;
    ExecContext ctx{&workspace, &config, 2};
    ASSERT_TRUE(ops::Attention(data.Args(strict.data(), row), ctx));
    config.profile = Profile::kFast;
    ASSERT_TRUE(ops::Attention(data.Args(fast.data(), row), ctx));
    ASSERT_TRUE(test::SameBits(fast, strict, {"fast", c.Text(), ""}));
  }
}

// B-80, B-83: the form without tiles obeys the same bound.
TEST(AttentionVariants, TwoPassKernelWithinTheBoundOfAnyOrder) {
  reference::Profile naive = reference::AnyOrderF32Profile();
  uint32_t stream = 600;
  for (const AttentionCase& c : Cases()) {
    const AttentionData data(c, ++stream);
    const size_t row = c.n_heads() * c.head_dim_v;
    std::vector<float> got(c.n_tokens * row);
    const AttentionArgs args = data.Args(got.data(), row);
    Workspace workspace;
    Config config;
    config.strict_parity = true;
    ExecContext ctx{&workspace, &config, 1};
    ASSERT_TRUE(ops::Attention(args, ctx));
    const auto oracle = reference::AttentionOracle(args);
    ASSERT_TRUE(oracle);
    ASSERT_TRUE(test::WithinBound(
        got, oracle->value,
        AttentionTolerance(*oracle, naive, c.head_dim, c.kv_len),
        {"two-pass", c.Text(), ""}));
  }
}

TEST(AttentionVariants, B43_WeightsWithinTheirBoundAndOutputUnchanged) {
  uint32_t stream = 700;
  for (const AttentionCase& c : Cases()) {
    const AttentionData data(c, ++stream);
    const size_t row = c.n_heads() * c.head_dim_v;
    std::vector<float> plain(c.n_tokens * row), out(plain.size());
    std::vector<float> probs(c.n_tokens * c.n_heads() * c.kv_len, -7.0f);
    Workspace workspace;
    ExecContext ctx{&workspace, nullptr, 2};
    ASSERT_TRUE(ops::Attention(data.Args(plain.data(), row), ctx));
    const AttentionArgs args = data.Args(out.data(), row);
    const AttentionProbsArgs with = {args, probs.data(), c.n_heads() * c.kv_len,
                                     c.kv_len};
    const auto oracle = reference::AttentionProbsOracle(args);
    ASSERT_TRUE(oracle);
    const std::vector<double> bound = AttentionTolerance(
        *oracle, reference::CpuStrictProfile(), c.head_dim, c.kv_len);
    std::vector<float> first;
    test::ForEachTier([&](SimdTier) {
      ASSERT_TRUE(ops::AttentionWithProbs(with, ctx));
      ASSERT_TRUE(test::SameBits(out, plain, {"out", c.Text(), ""}));
      ASSERT_TRUE(test::WithinBound(probs, oracle->value, bound,
                                    {"probs", c.Text(), ""}));
      if (first.empty()) first = probs;
      ASSERT_TRUE(test::SameBits(probs, first, {"probs", c.Text(), ""}));
    });
    if (HasFatalFailure()) return;
  }
}

// Table 1.0: W keys, its own included.
TEST(AttentionVariants, WindowSeesExactlyWKeys) {
  for (const size_t window : {1, 2, 255, 256, 257, 300}) {
    AttentionCase c;
    c.kv_len = 300;
    c.n_tokens = 40;
    c.head_dim = c.head_dim_v = 16;
    const AttentionData data(c, 77);
    std::vector<float> out(c.n_tokens * 16), one(16);
    AttentionArgs args = data.Args(out.data(), 16);
    args.variant.window = window;
    Workspace workspace;
    ExecContext ctx{&workspace, nullptr, 1};
    ASSERT_TRUE(ops::Attention(args, ctx));
    // The same keys as a mask: hidden position by position.
    for (const size_t t : {0, 39}) {
      const size_t pos = 260 + t;
      std::vector<float> mask(300, 0.0f);
      for (size_t p = 0; p + window <= pos; ++p) mask[p] = -kInf;
      AttentionArgs masked = data.Slice(data.Args(one.data(), 16), t, 1);
      masked.out.data = one.data();
      masked.variant.mask = {mask.data(), 0, 0};
      ASSERT_TRUE(ops::Attention(masked, ctx));
      for (size_t d = 0; d < 16; ++d) {
        // Chunks that a mask hides merge with a weight of 0: equal numbers.
        ASSERT_EQ(out[t * 16 + d], one[d]) << window << " " << t;
      }
    }
  }
}

TEST(AttentionVariants, SinkOfMinusInfinityIsNoSinkAndNaNPropagates) {
  AttentionCase c;
  c.kv_len = 300;
  c.q_per_kv = 2;
  const AttentionData data(c, 78);
  std::vector<float> plain(32), out(32);
  Workspace workspace;
  ExecContext ctx{&workspace, nullptr, 1};
  ASSERT_TRUE(ops::Attention(data.Args(plain.data(), 32), ctx));
  AttentionArgs args = data.Args(out.data(), 32);
  const std::vector<float> sinks = {-kInf, std::nanf("")};
  args.variant.sinks = sinks;
  ASSERT_TRUE(ops::Attention(args, ctx));
  for (size_t d = 0; d < 16; ++d) {
    EXPECT_EQ(out[d], plain[d]);
    EXPECT_TRUE(std::isnan(out[16 + d]));
  }
}

TEST(AttentionVariants, ErrorsNameTheFieldAndWriteNothing) {
  AttentionCase c;
  c.variant = Variant::kAll;
  c.n_tokens = 3;
  c.kv_len = 20;
  c.q_per_kv = 2;
  const AttentionData data(c, 79);
  std::vector<float> out(3 * 32, -5.0f);
  Workspace workspace;
  ExecContext ctx{&workspace, nullptr, 1};
  const auto expect = [&](const std::function<void(AttentionArgs&)>& spoil,
                          const std::string& text) {
    AttentionArgs args = data.Args(out.data(), 32);
    spoil(args);
    const Status status = ops::Attention(args, ctx);
    ASSERT_FALSE(status) << text;
    EXPECT_EQ(status.error().message, text);
    EXPECT_EQ(std::count(out.begin(), out.end(), -5.0f),
              static_cast<ptrdiff_t>(out.size()));
  };
  using A = AttentionArgs;
  const std::vector<float> three(3);
  expect([](A& a) { a.causal = false; }, "attention: window 9 without causal");
  expect([](A& a) { a.variant.softcap = -1.0f; },
         "attention: softcap -1 is not a finite number from 0 on");
  expect([&](A& a) { a.variant.alibi_slopes = three; },
         "attention alibi_slopes: size is 3, expected 2");
  expect([&](A& a) { a.variant.sinks = three; },
         "attention sinks: size is 3, expected 2");
  expect([](A& a) { a.gate.n_tokens = 2; },
         "attention gate: n_tokens is 2, expected 3");
  expect([](A& a) { a.v.head_dim = 600; },
         "attention v: head_dim 600 exceeds 576");
  expect([](A& a) { a.q.head_dim = 577; },
         "attention: head_dim 577 exceeds 576");
  expect([](A& a) { a.v.head_dim = 0; }, "attention v: head_dim is 0");
  expect([&](A& a) { a.variant.mask.data = out.data(); },
         "attention out overlaps attention mask");
  expect([&](A& a) { a.gate.data = out.data(); },
         "attention out overlaps attention gate");
  expect(
      [&](A& a) {
        a.variant.sinks = {out.data() + 4, 2};
      },
      "attention out overlaps attention sinks");
  AttentionArgs args = data.Args(out.data(), 32);
  args.gate = {};
  EXPECT_EQ(ops::GatedSdpa(args, ctx).error().message,
            "attention gate: data is null");
  AttentionCase nine;
  nine.n_tokens = 9;
  nine.kv_len = 20;
  std::vector<float> out9(9 * 16);
  EXPECT_EQ(ops::FlashDecode(AttentionData(nine, 80).Args(out9.data(), 16), ctx)
                .error()
                .message,
            "attention: n_tokens 9 exceeds the 8 of a decode");
  EXPECT_EQ(
      ops::AttentionGgmlF16(data.Args(out.data(), 32), ctx).error().message,
      "attention: the f16 emulation has no variants");
}

// A batch gives the bits of its sequences alone, whatever the type.
TEST(Sdpa, IndependentOfBatchAndRoundedOnce) {
  constexpr size_t kB = 3, kT = 4, kH = 4, kHkv = 2, kD = 24, kN = 50;
  test::Random rng(80);
  for (const TensorType type :
       {TensorType::kF32, TensorType::kF16, TensorType::kBF16}) {
    const auto narrow = [&](float x) {
      return type == TensorType::kF16 ? F32ToF16(x) : F32ToBF16(x);
    };
    const auto widen = [&](uint16_t x) {
      return type == TensorType::kF16 ? F16ToF32(x) : BF16ToF32(x);
    };
    std::vector<float> q = rng.Vector(test::Family::kNormal, kB * kT * kH * kD);
    std::vector<float> k =
        rng.Vector(test::Family::kNormal, kB * kHkv * kN * kD);
    std::vector<float> v = k;
    std::reverse(v.begin(), v.end());
    const bool wide = type == TensorType::kF32;
    std::vector<std::vector<uint16_t>> half;
    for (std::vector<float>* x : {&q, &k, &v}) {
      half.emplace_back(x->size());
      for (size_t i = 0; i < x->size() && !wide; ++i) {
        half.back()[i] = narrow((*x)[i]);
        (*x)[i] = widen(half.back()[i]);
      }
    }
    const auto bytes = [&](const std::vector<float>& x, size_t i) {
      return wide ? reinterpret_cast<const std::byte*>(x.data())
                  : reinterpret_cast<const std::byte*>(half[i].data());
    };
    std::vector<float> out(q.size());
    std::vector<uint16_t> out16(q.size());
    SdpaArgs args;
    args.q = {type, bytes(q, 0), kB, kT, kH, kD, kT * kH * kD, kH * kD, kD};
    args.k = {type, bytes(k, 1), kHkv, kN, kD, kN * kD, kD};
    args.v = {type, bytes(v, 2), kHkv, kN, kD, kN * kD, kD};
    args.k_batch_stride = args.v_batch_stride = kHkv * kN * kD;
    args.kv_len = kN;
    args.scale = 0.2f;
    args.out = {type,
                wide ? reinterpret_cast<std::byte*>(out.data())
                     : reinterpret_cast<std::byte*>(out16.data()),
                kB,
                kT,
                kH,
                kD,
                kT * kH * kD,
                kH * kD,
                kD};
    Workspace workspace;
    ExecContext ctx{&workspace, nullptr, 2};
    ASSERT_TRUE(ops::Sdpa(args, ctx));
    for (size_t b = 0; b < kB; ++b) {
      const auto cache = [&](const std::vector<float>& x) {
        return KvView{
            TensorType::kF32,
            reinterpret_cast<const std::byte*>(x.data() + b * kHkv * kN * kD),
            kHkv,
            kN,
            kD,
            kN * kD,
            kD};
      };
      std::vector<float> alone(kT * kH * kD);
      AttentionArgs one;
      one.q = {q.data() + b * kT * kH * kD, kT, kH, kD, kH * kD, kD};
      one.k = cache(k);
      one.v = cache(v);
      one.kv_len = kN;
      one.scale = 0.2f;
      one.out = {alone.data(), kT, kH, kD, kH * kD, kD};
      ASSERT_TRUE(ops::Attention(one, ctx));
      for (size_t i = 0; i < alone.size(); ++i) {
        const size_t at = b * alone.size() + i;
        if (wide) {
          ASSERT_EQ(out[at], alone[i]);
        } else {
          ASSERT_EQ(out16[at], narrow(alone[i]));
        }
      }
    }
    SdpaArgs bad = args;
    bad.out.batch_stride = 1;
    EXPECT_EQ(ops::Sdpa(bad, ctx).error().message,
              "sdpa out: batch_stride 1 is below one item's extent");
    bad = args;
    bad.q.n_batch = bad.out.n_batch = 0;
    EXPECT_EQ(ops::Sdpa(bad, ctx).error().message, "sdpa: n_batch is 0");
    bad = args;
    bad.out.data = const_cast<std::byte*>(args.v.data) +
                   (wide ? 4 : 2) * (2 * kHkv * kN * kD);
    EXPECT_EQ(ops::Sdpa(bad, ctx).error().message, "sdpa out overlaps sdpa v");
  }
}

// C-09: more than 2^31 scores, and offsets beyond 2^31 elements.
TEST(AttentionVariants, IndicesBeyond32Bits) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    !defined(NDEBUG)
  constexpr size_t kTokens = 512;
#else
  constexpr size_t kTokens = 8224;
#endif
  constexpr size_t kHeads = 32, kDim = 1;
  static_assert(kTokens < 8000 || kHeads * kTokens * kTokens > 1ull << 31);
  std::vector<float> q(kTokens * kHeads), out(q.size());
  std::vector<float> k(kTokens), v(kTokens);
  for (size_t p = 0; p < kTokens; ++p) v[p] = static_cast<float>(p % 8);
  const auto cache = [&](const std::vector<float>& x) {
    return KvView{TensorType::kF32,
                  reinterpret_cast<const std::byte*>(x.data()),
                  1,
                  kTokens,
                  kDim,
                  kTokens,
                  1};
  };
  AttentionArgs args;
  args.q = {q.data(), kTokens, kHeads, kDim, kHeads, 1};
  args.k = cache(k);
  args.v = cache(v);
  args.kv_len = kTokens;
  args.scale = 1.0f;
  args.out = {out.data(), kTokens, kHeads, kDim, kHeads, 1};
  Workspace workspace;
  ExecContext ctx{&workspace, nullptr, 2};
  ASSERT_TRUE(ops::Attention(args, ctx));
  // Equal scores: the mean of the first t + 1 values, every sum of which is an
  // exact integer.
  size_t sum = 0;
  for (size_t t = 0; t < kTokens; ++t) {
    sum += t % 8;
    const double mean = static_cast<double>(sum) / static_cast<double>(t + 1);
    for (const size_t h : {size_t{0}, kHeads - 1}) {
      ASSERT_LE(test::UlpError(out[t * kHeads + h], mean), 1.5) << t;
    }
  }
}

// Weights far apart in memory that exists in name only.
TEST(AttentionVariants, StridesBeyond32Bits) {
  constexpr size_t kStride = (size_t{1} << 31) + 64;
  const size_t bytes = 3 * kStride * sizeof(float);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) GTEST_SKIP() << "no 25 GB of address space";
  float* probs = static_cast<float*>(memory);
  AttentionCase c;
  c.n_tokens = 2;
  c.q_per_kv = 2;
  c.kv_len = 10;
  const AttentionData data(c, 81);
  std::vector<float> out(64), dense(2 * 2 * 10);
  Workspace workspace;
  ExecContext ctx{&workspace, nullptr, 1};
  const AttentionArgs args = data.Args(out.data(), 32);
  ASSERT_TRUE(ops::AttentionWithProbs({args, dense.data(), 20, 10}, ctx));
  ASSERT_TRUE(ops::AttentionWithProbs({args, probs, 16, kStride}, ctx));
  for (size_t t = 0; t < 2; ++t) {
    for (size_t h = 0; h < 2; ++h) {
      for (size_t p = 0; p < 10; ++p) {
        ASSERT_EQ(probs[t * 16 + h * kStride + p], dense[t * 20 + h * 10 + p]);
      }
    }
  }
  munmap(memory, bytes);
}

TEST(AttentionVariants, ScaleIsTheCorrectlyRoundedInverseRoot) {
  for (size_t n = 1; n <= kMaxHeadDim; ++n) {
    const long double exact = 1.0L / std::sqrt(static_cast<long double>(n));
    EXPECT_EQ(AttentionScale(n), static_cast<float>(exact)) << n;
  }
}

}  // namespace
}  // namespace etalon
