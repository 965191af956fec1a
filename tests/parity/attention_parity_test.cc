// Special values through attention, and cache writes of both backends.
#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "tests/parity/parity.h"

namespace etalon::test {
namespace {

struct Shape {
  size_t n_tokens, n_kv_heads, q_per_kv, kv_len, head_dim;
  bool causal;
};

// A cache filled through a backend's kv_write, in two calls as prefill does.
class Cache {
 public:
  Cache(const Shape& s, TensorType type, bool token_major)
      : type_(type), shape_(s) {
    capacity_ = s.kv_len + 5;
    lane_stride_ = s.head_dim + 3;
    if (token_major) {
      head_stride_ = lane_stride_;
      pos_stride_ = lane_stride_ * s.n_kv_heads;
    } else {
      head_stride_ = lane_stride_ * capacity_;
      pos_stride_ = lane_stride_;
    }
    const size_t n = lane_stride_ * s.n_kv_heads * capacity_;
    bytes_.resize(n * (type == TensorType::kF16 ? 2 : 4));
    for (size_t i = 0; i < n; ++i) Put(i, PaddedMatrix::Poison());
  }

  // x: [kv_len, n_kv_heads, head_dim]
  bool Write(const Backend& backend, ExecContext& ctx,
             const std::vector<float>& x) {
    const size_t row = shape_.n_kv_heads * shape_.head_dim;
    for (const auto& [first, last] :
         {std::pair<size_t, size_t>{0, shape_.kv_len / 3},
          std::pair<size_t, size_t>{shape_.kv_len / 3, shape_.kv_len}}) {
      const KvWriteArgs args = {
          {x.data() + first * row, last - first, shape_.n_kv_heads,
           shape_.head_dim, row, shape_.head_dim},
          first,
          {type_, bytes_.data(), shape_.n_kv_heads, capacity_, shape_.head_dim,
           head_stride_, pos_stride_}};
      if (first != last && !Succeeded(backend.kv_write(args, ctx))) {
        return false;
      }
    }
    return true;
  }
  void Set(size_t head, size_t pos, size_t lane, float value) {
    Put(head * head_stride_ + pos * pos_stride_ + lane, value);
  }
  KvView view() const {
    return {type_,           bytes_.data(), shape_.n_kv_heads, capacity_,
            shape_.head_dim, head_stride_,  pos_stride_};
  }
  const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  // NaN, infinities and 0 only where the type is F16.
  void Put(size_t i, float value) {
    if (type_ == TensorType::kF16) {
      const uint16_t bits = std::isnan(value)   ? 0x7E01
                            : std::isinf(value) ? (value > 0 ? 0x7C00 : 0xFC00)
                                                : 0;
      std::memcpy(&bytes_[2 * i], &bits, 2);
    } else {
      std::memcpy(&bytes_[4 * i], &value, 4);
    }
  }

  TensorType type_;
  Shape shape_;
  size_t capacity_ = 0;
  size_t lane_stride_ = 0;
  size_t head_stride_ = 0;
  size_t pos_stride_ = 0;
  std::vector<std::byte> bytes_;
};

class AttentionParity : public Parity {
 protected:
  void CheckCase(const Shape& s, const AttentionArgs& args,
                 const CaseLabel& label) {
    const auto oracle = reference::AttentionOracle(args);
    ASSERT_TRUE(oracle) << oracle.error().message;
    const size_t n_heads = s.n_kv_heads * s.q_per_kv;
    Check(label, *oracle,
          AttentionTolerance(*oracle, CpuStrictProfile(), s.head_dim, s.kv_len),
          [&](const Backend& backend, ExecContext& ctx) {
            // Heads side by side with a gap, tokens as rows of a matrix.
            return RunInto(s.n_tokens, n_heads * s.head_dim,
                           [&](Span2D<float> out) {
                             AttentionArgs a = args;
                             a.out = {out.data,   s.n_tokens, n_heads,
                                      s.head_dim, out.stride, s.head_dim};
                             return backend.attention(a, ctx);
                           });
          });
  }
};

// NaN and Inf in a visible position reach exactly the outputs that see them.
TEST_F(AttentionParity, VisibleSpecialValuesPropagate) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  Random rng(302);
  const Shape s = {4, 2, 2, 270, 32, true};
  const size_t n_heads = 4;
  const size_t row = n_heads * s.head_dim;
  for (const float special : {std::nanf(""), kInf, -kInf}) {
    for (const bool in_values : {false, true}) {
      // Positions seen by all queries, by the last two only, by the last only.
      for (const size_t pos : {size_t{3}, size_t{268}, size_t{269}}) {
        const PaddedMatrix q(rng.Vector(Family::kUniform, s.n_tokens * row),
                             s.n_tokens, row);
        const size_t n_cache = s.kv_len * s.n_kv_heads * s.head_dim;
        Cache k(s, TensorType::kF32, false);
        Cache v(s, TensorType::kF32, true);
        Workspace workspace;
        const Config config;
        ExecContext ctx{&workspace, &config, 1};
        ASSERT_TRUE(
            k.Write(CpuBackend(), ctx, rng.Vector(Family::kUniform, n_cache)));
        ASSERT_TRUE(
            v.Write(CpuBackend(), ctx, rng.Vector(Family::kUniform, n_cache)));
        (in_values ? v : k).Set(1, pos, 5, special);
        std::vector<float> shape(s.n_tokens * row);
        const AttentionArgs args = {
            {q.view().data, s.n_tokens, n_heads, s.head_dim, q.stride(),
             s.head_dim},
            k.view(),
            v.view(),
            s.kv_len,
            0.2f,
            true,
            {shape.data(), s.n_tokens, n_heads, s.head_dim, row, s.head_dim}};
        ASSERT_NO_FATAL_FAILURE(CheckCase(
            s, args,
            {"attention specials",
             fmt::format("{} in {} at {}", special, in_values ? "v" : "k", pos),
             ""}));
      }
    }
  }
}

TEST(KvWriteParity, BackendsStoreTheSameBytes) {
  const TierGuard guard;
  const Config config;
  Random rng(303);
  for (const Family family : kFamilies) {
    for (const TensorType type : {TensorType::kF32, TensorType::kF16}) {
      for (const size_t head_dim : {1u, 7u, 16u, 33u, 128u}) {
        const Shape s = {1, 3, 1, 7, head_dim, true};
        std::vector<float> x = rng.Vector(family, 7 * 3 * head_dim);
        x[0] = 1e6f;  // overflows f16
        x.back() = std::nanf("");
        Workspace workspace;
        ExecContext ctx{&workspace, &config, 1};
        Cache want(s, type, rng.Below(2) == 0);
        Cache empty = want;
        ASSERT_TRUE(want.Write(ReferenceBackend(), ctx, x));
        for (const SimdTier tier : SupportedSimdTiers()) {
          ASSERT_TRUE(SetActiveSimdTier(tier));
          for (int n_threads = 1; n_threads <= 3; ++n_threads) {
            ExecContext parallel{&workspace, &config, n_threads};
            Cache got = empty;
            ASSERT_TRUE(got.Write(CpuBackend(), parallel, x));
            // A NaN may keep its payload or lose it.
            size_t differing = 0;
            for (size_t i = 0; i < got.bytes().size(); ++i) {
              differing += got.bytes()[i] == want.bytes()[i] ? 0 : 1;
            }
            ASSERT_LE(differing, 2u)
                << FamilyName(family) << " hd=" << head_dim << " tier "
                << SimdTierName(tier) << "; " << SeedNote();
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace etalon::test
