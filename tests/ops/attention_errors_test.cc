// Typed errors of attention and of cache writes: in the stated order, naming
// the value, and nothing written.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "etalon/attention.h"
#include "quant/f16.h"
#include "tests/ops/attention_fixture.h"

namespace etalon {
namespace {

constexpr float kUntouched = -5.0f;

// 4 query heads, 2 kv heads, 3 tokens, 10 of 12 positions, head_dim 8.
class AttentionErrors : public ::testing::Test {
 protected:
  AttentionErrors() {
    args_.q = {q_.data(), 3, 4, 8, 32, 8};
    args_.k = {TensorType::kF32, Bytes(k_), 2, 12, 8, 96, 8};
    args_.v = {TensorType::kF32, Bytes(v_), 2, 12, 8, 96, 8};
    args_.kv_len = 10;
    args_.scale = 0.5f;
    args_.out = {out_.data(), 3, 4, 8, 32, 8};
  }
  static const std::byte* Bytes(const std::vector<float>& x) {
    return reinterpret_cast<const std::byte*>(x.data());
  }
  void Expect(const std::function<void(AttentionArgs&)>& spoil,
              const std::string& text) {
    spoil(args_);
    const Status status = ops::Attention(args_, ctx_);
    ASSERT_FALSE(status.has_value()) << text;
    EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(status.error().message, text);
    EXPECT_EQ(std::count(out_.begin(), out_.end(), kUntouched),
              static_cast<ptrdiff_t>(out_.size()));
  }

  std::vector<float> q_ = std::vector<float>(96, 1.0f);
  std::vector<float> k_ = std::vector<float>(192, 1.0f);
  std::vector<float> v_ = std::vector<float>(192, 1.0f);
  std::vector<float> out_ = std::vector<float>(96, kUntouched);
  AttentionArgs args_;
  Workspace workspace_;
  ExecContext ctx_{&workspace_, nullptr, 2};
};

TEST_F(AttentionErrors, TheUnspoiledCallSucceeds) {
  EXPECT_TRUE(ops::Attention(args_, ctx_).has_value());
  EXPECT_EQ(std::count(out_.begin(), out_.end(), kUntouched), 0);
}

// Faults pile up from the last to the first: each call reports the earliest.
TEST_F(AttentionErrors, AreReportedInOrder) {
  using A = AttentionArgs;
  Expect([&](A& a) { a.out.data = q_.data(); },
         "attention out overlaps attention q");
  Expect([](A& a) { a.v.pos_stride = 7; },
         "attention v: pos_stride 7 is below head_dim 8");
  Expect([](A& a) { a.q.data = nullptr; }, "attention q: data is null");
  Expect([](A& a) { a.out.head_dim = 9; },
         "attention out: head_dim is 9, expected 8");
  Expect([](A& a) { a.out.n_heads = 3; },
         "attention out: n_heads is 3, expected 4");
  Expect([](A& a) { a.out.n_tokens = 2; },
         "attention out: n_tokens is 2, expected 3");
  Expect([](A& a) { a.v.n_kv_heads = 4; },
         "attention v: n_kv_heads is 4, expected 2");
  Expect([](A& a) { a.k.head_dim = 4; },
         "attention k: head_dim is 4, expected 8");
  Expect([](A& a) { a.v.type = TensorType::kQ4_0; },
         "attention v: type 2 is not F32, F16, BF16 or Q8_0");
  Expect([](A& a) { a.k.type = TensorType::kQ6_K; },
         "attention k: type 14 is not F32, F16, BF16 or Q8_0");
  Expect([](A& a) { a.scale = std::nanf(""); },
         "attention: scale nan is not finite");
  Expect([](A& a) { a.kv_len = 2; },
         "attention: causal with kv_len 2 below n_tokens 3");
  Expect([](A& a) { a.kv_len = 0; },
         "attention: causal with kv_len 0 below n_tokens 3");
  Expect([](A& a) { a.kv_len = 13; },
         "attention: kv_len 13 exceeds kv_capacity 12");
  Expect([](A& a) { a.q.n_tokens = 0; }, "attention: n_tokens is 0");
  Expect([](A& a) { a.k.n_kv_heads = 3; },
         "attention: n_heads 4 is not a multiple of n_kv_heads 3");
  Expect([](A& a) { a.k.n_kv_heads = 0; }, "attention: n_kv_heads is 0");
  Expect([](A& a) { a.q.n_heads = 0; }, "attention: n_heads is 0");
  Expect([](A& a) { a.q.head_dim = 0; }, "attention: head_dim is 0");
}

TEST_F(AttentionErrors, ViewsMustLieInTheAddressSpaceAndNotOverlap) {
  Expect([](AttentionArgs& a) { a.k.data += 2; },
         "attention k: data is not aligned to its 4-byte elements");
  args_.k.data -= 2;
  Expect([](AttentionArgs& a) { a.k.head_stride = 88; },
         "attention k: rows overlap: head_stride 88 and pos_stride 8 for 2 x "
         "12 rows of 8");
  constexpr size_t huge = std::numeric_limits<size_t>::max() / 4;
  Expect([](AttentionArgs& a) { a.k.head_stride = huge; },
         "attention k: 2 x 12 rows at strides " + std::to_string(huge) +
             " and 8 exceed the address space");
  args_.k.head_stride = 96;
  Expect([this](AttentionArgs& a) { a.out.data = v_.data() + 96; },
         "attention out overlaps attention v");
}

TEST_F(AttentionErrors, NotCausalMayHaveMoreTokensThanPositions) {
  args_.causal = false;
  args_.kv_len = 2;
  EXPECT_TRUE(ops::Attention(args_, ctx_).has_value());
}

// An empty cache takes nothing from the checks but that of its own length.
TEST_F(AttentionErrors, AnEmptyCacheIsCheckedLikeAnyOther) {
  args_.causal = false;
  args_.kv_len = 0;
  using A = AttentionArgs;
  Expect([&](A& a) { a.out.data = k_.data(); },
         "attention out overlaps attention k");
  Expect([](A& a) { a.v.pos_stride = 7; },
         "attention v: pos_stride 7 is below head_dim 8");
  Expect([](A& a) { a.k.data = nullptr; }, "attention k: data is null");
  const float slopes[4] = {};
  Expect([&](A& a) { a.variant.alibi_slopes = slopes; },
         "attention: ALiBi with kv_len 0 below n_tokens 3");
  Expect([](A& a) { a.variant.window = 2; },
         "attention: window 2 without causal");
  Expect([](A& a) { a.v.type = TensorType::kQ4_0; },
         "attention v: type 2 is not F32, F16, BF16 or Q8_0");
  Expect([](A& a) { a.scale = std::nanf(""); },
         "attention: scale nan is not finite");
  Expect([](A& a) { a.causal = true; },
         "attention: causal with kv_len 0 below n_tokens 3");
}

class KvWriteTest : public ::testing::Test {
 protected:
  static constexpr size_t kTokens = 37, kHeads = 3, kDim = 20, kCapacity = 64;
  KvWriteTest() {
    test::Random random(77);
    x_ = random.Vector(test::Family::kWide, kTokens * kHeads * kDim);
    x_[5] = std::numeric_limits<float>::infinity();
    x_[6] = 70000.0f;
    args_.x = {x_.data(), kTokens, kHeads, kDim, kHeads * kDim, kDim};
    args_.pos = 11;
  }
  // Element (h, p, d) of a token-major cache with gaps.
  static constexpr size_t kHeadStride = kDim + 1;
  static constexpr size_t kPosStride = kHeads * kHeadStride + 2;

  template <class T>
  void Check(TensorType type, T untouched, const std::function<T(float)>& as) {
    std::vector<T> cache(kCapacity * kPosStride, untouched);
    args_.cache = {type,      reinterpret_cast<std::byte*>(cache.data()),
                   kHeads,    kCapacity,
                   kDim,      kHeadStride,
                   kPosStride};
    test::ForEachTier([&](SimdTier) {
      for (const int n_threads : {1, 3}) {
        std::fill(cache.begin(), cache.end(), untouched);
        ExecContext ctx{nullptr, nullptr, n_threads};
        ASSERT_TRUE(ops::KvWrite(args_, ctx).has_value());
        for (size_t i = 0; i < cache.size(); ++i) {
          const size_t p = i / kPosStride, h = i % kPosStride / kHeadStride;
          const size_t d = i % kPosStride % kHeadStride;
          const bool written = p >= args_.pos && p < args_.pos + kTokens &&
                               h < kHeads && d < kDim;
          const T expected =
              written ? as(x_[((p - args_.pos) * kHeads + h) * kDim + d])
                      : untouched;
          ASSERT_EQ(cache[i], expected) << "p " << p << " h " << h;
        }
      }
    });
  }

  std::vector<float> x_;
  KvWriteArgs args_;
};

TEST_F(KvWriteTest, StoresF32AsItIsAndNothingElse) {
  Check<float>(TensorType::kF32, 3.25f, [](float x) { return x; });
}

TEST_F(KvWriteTest, StoresF16RoundedAndNothingElse) {
  Check<uint16_t>(TensorType::kF16, 0x4242,
                  [](float x) { return F32ToF16(x); });
}

TEST_F(KvWriteTest, ErrorsNameTheValueAndWriteNothing) {
  std::vector<float> cache(kHeads * kCapacity * kDim, kUntouched);
  args_.cache = {TensorType::kF32,
                 reinterpret_cast<std::byte*>(cache.data()),
                 kHeads,
                 kCapacity,
                 kDim,
                 kCapacity * kDim,
                 kDim};
  ExecContext ctx{nullptr, nullptr, 1};
  const auto expect = [&](const std::function<void(KvWriteArgs&)>& spoil,
                          const std::string& text) {
    KvWriteArgs bad = args_;
    spoil(bad);
    const Status status = ops::KvWrite(bad, ctx);
    ASSERT_FALSE(status.has_value()) << text;
    EXPECT_EQ(status.error().message, text);
    EXPECT_EQ(std::count(cache.begin(), cache.end(), kUntouched),
              static_cast<ptrdiff_t>(cache.size()));
  };
  using A = KvWriteArgs;
  expect([](A& a) { a.x.head_dim = 0; }, "kv_write: head_dim is 0");
  expect([](A& a) { a.x.n_heads = 0; }, "kv_write: n_kv_heads is 0");
  expect([](A& a) { a.x.n_tokens = 0; }, "kv_write: n_tokens is 0");
  expect([](A& a) { a.pos = 28; },
         "kv_write: 37 tokens at pos 28 exceed kv_capacity 64");
  expect([](A& a) { a.pos = std::numeric_limits<size_t>::max() - 3; },
         "kv_write: 37 tokens at pos 18446744073709551612 exceed kv_capacity "
         "64");
  expect([](A& a) { a.cache.type = TensorType::kQ4_0; },
         "kv_write cache: type 2 is not F32, F16, BF16 or Q8_0");
  expect([](A& a) { a.cache.n_kv_heads = 2; },
         "kv_write cache: n_kv_heads is 2, expected 3");
  expect([](A& a) { a.cache.head_dim = 16; },
         "kv_write cache: head_dim is 16, expected 20");
  expect([](A& a) { a.cache.data = nullptr; }, "kv_write cache: data is null");
  expect([](A& a) { a.x.data = nullptr; }, "kv_write x: data is null");
  expect([&](A& a) { a.x.data = cache.data(); },
         "kv_write: x overlaps the cache");
}

}  // namespace
}  // namespace etalon
